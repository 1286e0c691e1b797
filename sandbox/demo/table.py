"""The numbers at the end, as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUANTILES = ("p50", "p95", "p99", "max")
_REASON = re.compile(r"^  (waiting|dead letter)  ")


@dataclass(frozen=True, slots=True)
class Result:
    """The demo's numbers.

    Attributes:
        students: those who requested an account.
        rejected_rows: of the registrar's file.
        waiting, dead_letters: how many students, by reason and by `CONSUMER CAUSE`; a student with several
            counts for each.
        waiting_students, dead_students: how many students.
        unaccounted: neither complete, nor waiting with a reason, nor dead-lettered with a reason.
        within_15_min, within_60_min, beyond: completed students, each counted once.
        seconds: quantiles of the time from the request to the read-back, per target and in all.
    """

    students: int
    rejected_rows: int
    completed: int
    waiting_students: int
    waiting: Mapping[str, int]
    dead_students: int
    dead_letters: Mapping[str, int]
    unaccounted: int
    within_15_min: int
    within_60_min: int
    beyond: int
    seconds: Mapping[str, Mapping[str, float]]

    def document(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "students": self.students,
            "rejected_rows": self.rejected_rows,
            "completed": self.completed,
            "waiting": self.waiting_students,
            "dead_letters": self.dead_students,
            "within_15_min": self.within_15_min,
            "within_60_min": self.within_60_min,
            "beyond": self.beyond,
            "seconds": {name: {q: some[q] for q in QUANTILES} for name, some in self.seconds.items()},
        }

    def text(self) -> str:
        """The table."""
        lines = [
            f"{self.students} students activated, {self.rejected_rows} rows of the file rejected",
            f"  complete      {self.completed:>6}",
            f"  waiting       {self.waiting_students:>6}",
            f"  dead letters  {self.dead_students:>6}",
        ]
        lines += [f"  waiting  {reason}: {count}" for reason, count in sorted(self.waiting.items())]
        lines += [f"  dead letter  {cause}: {count}" for cause, count in sorted(self.dead_letters.items())]
        if self.unaccounted:
            lines.append(f"  NEITHER       {self.unaccounted:>6}")
        width = max([12, *(len(name) + 1 for name in self.seconds)])
        lines += ["", f"  {'seconds':<{width}}" + "".join(f"{name:>9}" for name in QUANTILES)]
        for name in (*(name for name in self.seconds if name != "all"), "all"):
            some = self.seconds.get(name, {})
            lines.append(f"  {name:<{width}}" + "".join(_number(some.get(q)) for q in QUANTILES))
        lines += [
            "",
            f"  inside 15 min {self.within_15_min:>6}",
            f"  inside 60 min {self.within_60_min:>6}  (and not inside 15)",
            f"  beyond        {self.beyond:>6}",
        ]
        return "\n".join(lines)


def result_of(
    overview: Mapping[str, Any], *, students: int, rejected_rows: int, lost: int, given_up: int = 0
) -> Result:
    """The result, from `sesame overview --json` once all are settled.

    Args:
        rejected_rows: of the registrar's file.
        students: how many requested an account.
        lost: how many of them the overview should show and does not, or shows without a reason.
        given_up: how many of them have no account, and a dead letter instead.
    """
    return Result(
        students=students,
        rejected_rows=rejected_rows,
        completed=overview["completed"],
        waiting_students=overview["waiting"],
        waiting=overview["waiting_by_reason"],
        dead_students=overview["failed"] + given_up,
        dead_letters=overview["dead_letters_by_cause"],
        unaccounted=lost,
        within_15_min=overview["within_15_min"],
        within_60_min=overview["within_60_min"],
        beyond=overview["beyond"],
        seconds=overview["seconds"],
    )


def shape(text: str) -> list[str]:
    """The table without its numbers. Two tables of one shape differ in numbers and reasons only."""
    found: list[str] = []
    for line in text.strip("\n").splitlines():
        plain = _REASON.sub(r"  \1  REASON", line)
        if plain != line:
            plain = plain.partition("REASON")[0] + "REASON"
        plain = " ".join(re.sub(r"\d+(\.\d+)?", "N", plain).split())
        if not found or plain != found[-1]:
            found.append(plain)
    return found


def _number(seconds: float | None) -> str:
    return f"{'–':>9}" if seconds is None else f"{seconds:>9.2f}"
