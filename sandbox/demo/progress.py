"""The live view: each target's progress, from `sesame overview`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sandbox.demo.finding import FOLLOWS
from sandbox.demo.stage import say
from sandbox.process import SandboxError

_LOOK_EVERY_S: Final = 1.0
_LINE_EVERY_S: Final = 5.0
_LOOK_SHARE_MAX: Final = 0.25
"""Share of the time for looks at most: on a small machine a look slows the work down."""

_SETTLED: Final = ("provisioned", "waiting", "failed", "after")

Overview = Mapping[str, Any]


class NotSettled(SandboxError):
    """Somebody was still in progress when the time was up, or `sesame run` had ended."""


class View(Protocol):
    """Shows an overview."""

    def show(self, overview: Overview) -> None:
        """Show it."""

    def close(self) -> None:
        """Nothing more will come."""


def watch(
    look: Callable[[], Overview],
    *,
    students: int,
    deadline_s: float,
    trouble: Callable[[], str | None] = lambda: None,
    view: View | None = None,
) -> Overview:
    """Look about once a second until every student is complete, waiting or failed. Return the last look.

    Args:
        look: returns the document of `sesame overview --json`.
        students: how many are to be settled.
        deadline_s: the longest this may take, in seconds.
        trouble: what makes waiting useless, if anything.
        view: where it is shown; default: bars on a terminal, lines elsewhere.

    Raises:
        NotSettled: the time is up, or there is trouble.
    """
    shown = view or view_for(students)
    begun = time.monotonic()
    try:
        while True:
            started = time.monotonic()
            overview = look()
            took_s = time.monotonic() - started
            shown.show(overview)
            if settled(overview, students):
                return overview
            wrong = trouble()
            if wrong is not None or time.monotonic() - begun > deadline_s:
                left = students - overview["completed"] - overview["waiting"] - overview["failed"]
                raise NotSettled(
                    f"{left} students are not settled: {wrong or f'{deadline_s:.0f} s are over'}"
                )
            time.sleep(max(_LOOK_EVERY_S - took_s, took_s * (1 / _LOOK_SHARE_MAX - 1)))
    finally:
        shown.close()


def settled(overview: Overview, students: int) -> bool:
    """Whether no student is on the way to any target. One who waits at one may be on the way to another.

    A request that the registry gave up is settled too. A student who failed, or waits, at a leader stays
    outstanding at its follower.
    """
    given_up = sum(
        count for name, count in overview["dead_letters_by_cause"].items() if name.startswith("registry ")
    )
    known = int(overview["students"])
    if known == 0 or known + given_up < students or overview["in_progress"]:
        return False
    targets = overview["targets"]
    return all(
        counts.get("outstanding", 0)
        <= overview["failed"] + targets.get(FOLLOWS.get(name, ""), {}).get("waiting", 0)
        for name, counts in targets.items()
    )


def view_for(students: int, console: Console | None = None) -> View:
    """Bars on a terminal, lines elsewhere. rich honours NO_COLOR."""
    found = console or Console()
    if found.is_terminal and not found.is_dumb_terminal:
        return _Bars(students, found)
    return _Lines(students)


class _Bars:
    """One bar per target."""

    def __init__(self, students: int, console: Console) -> None:
        self._students = students
        self._progress = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:>6.0f} / {task.total:.0f}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, overview: Overview) -> None:
        for name, counts in _rows(overview):
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=self._students, note="")
            done = sum(counts.get(state, 0) for state in _SETTLED)
            self._progress.update(self._tasks[name], completed=done, note=_note(name, counts, overview))
        self._progress.start()  # only now: without a bar, each refresh would be an empty line

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """A line now and then."""

    def __init__(self, students: int) -> None:
        self._students = students
        self._next_s = 0.0
        self._last = ""

    def show(self, overview: Overview) -> None:
        parts = []
        for name, counts in _rows(overview):
            done = sum(counts.get(state, 0) for state in _SETTLED)
            note = _note(name, counts, overview)
            parts.append(f"{name} {done}/{self._students}" + (f" ({note})" if note else ""))
        line = "  " + "  ".join(parts)
        now = time.monotonic()
        final = settled(overview, self._students)
        if line != self._last and (now >= self._next_s or final):
            self._next_s, self._last = now + _LINE_EVERY_S, line
            say(line)

    def close(self) -> None:
        pass


def _rows(overview: Overview) -> list[tuple[str, Mapping[str, int]]]:
    everywhere = {
        "provisioned": overview["completed"],
        "waiting": overview["waiting"],
        "failed": overview["failed"],
    }
    return [*overview["targets"].items(), ("everywhere", everywhere)]


def _note(name: str, counts: Mapping[str, int], overview: Overview) -> str:
    parts = [f"{counts[state]} {state}" for state in ("waiting", "failed") if counts.get(state)]
    consumer = overview["consumers"].get(name)
    if consumer and consumer["state"] not in ("running", "closed"):
        parts.append(f"{consumer['state']}: {consumer['reason']}")
    return ", ".join(parts)
