"""The report of a mutation run, in Markdown: a page of figures, and the list of the survivors."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.mutation.groups import Group
from scripts.mutation.judge import SURVIVED, UNDECIDED
from scripts.mutation.mutants import Mutant

HEAD = """\
# Mutation run

<!-- Written by `make mutation`. -->

[mutmut](https://mutmut.readthedocs.io) changes one expression of the code at a time. A *mutant* that fails a
test is killed, and so is one that never ends; one that passes every test is a survivor, and is listed in
`scripts/mutation/survivors.md`.
No mutant is left out, texts for people included. The judges are unit tests, on SQLite, with few examples per
property: those that reach the changed statement, the likeliest first. What only a test with a real server
notices counts as a survivor.

`make mutation` judges what has changed since; `make mutation MUTANTS=directory` one group of
`scripts/mutation/groups.py` only (one without a chapter here was not judged yet); and
`make mutation MUTANTS="PATTERN"` some mutants, e.g. `consumers.registry.identity*`.

Many survivors change a text for people, a default that every caller gives, or a bound that no input reaches
from outside. One that changes a decision deserves a test. What a function does while its module is imported
is over before a mutant is active: those survive too.
"""
LIST_HEAD = """\
# Survivors

<!-- Written by `make mutation`. -->

The mutants that pass every unit test, by group and file. Method and figures: docs/reference/mutation.md.
One marked * faced only some of the tests that reach it.
"""
PARTIAL = "**Not all are judged**: the shares say nothing of the others."
FEW = """\
{few} of the survivors faced only some of the tests that reach them, the likeliest for a second or
two: more of them would die of the others."""


@dataclass
class Tally:
    """What became of the mutants of one file, or of several."""

    title: str
    mutants: int = 0
    judged: int = 0
    survivors: list[tuple[Mutant, bool]] = field(default_factory=list)
    """With whether it faced every test that reaches it."""

    def row(self) -> str:
        """Its line in the table."""
        killed = self.judged - len(self.survivors)
        share = f"{100 * killed / self.judged:.1f} %" if self.judged else "–"
        return (
            f"| {self.title} | {self.mutants} | {self.judged} | {killed} | {len(self.survivors)} | {share} |"
        )


def page(
    groups: Mapping[Group, Sequence[Mutant]],
    verdicts: Mapping[str, Mapping[str, Any]],
    today: dt.date,
    before: str = "",
) -> str:
    """The method, and each group's figures.

    Args:
        groups: the mutants of the last run.
        verdicts: the last one on each mutant, by its name.
        today: the date that a group judged now bears.
        before: the last report: of a group without a verdict here, its chapter is kept.
    """
    chapters = {
        group.name: _figures(group, tallies, today) for group, tallies in _tallied(groups, verdicts).items()
    }
    return _joined(HEAD, chapters, before)


def survivors(
    groups: Mapping[Group, Sequence[Mutant]],
    verdicts: Mapping[str, Mapping[str, Any]],
    before: str = "",
) -> str:
    """The list of them, by group and file; the arguments are those of `page`."""
    chapters = {group.name: _listed(tallies) for group, tallies in _tallied(groups, verdicts).items()}
    return _joined(LIST_HEAD, chapters, before)


def _tallied(
    groups: Mapping[Group, Sequence[Mutant]], verdicts: Mapping[str, Mapping[str, Any]]
) -> dict[Group, list[Tally]]:
    """The tally of each group, then of each of its files; none where nothing is judged."""
    found: dict[Group, list[Tally]] = {}
    for group, mutants in groups.items():
        whole, files = Tally(f"**{group.name}**"), dict[str, Tally]()
        for mutant in mutants:
            for tally in (files.setdefault(mutant.path, Tally(mutant.path)), whole):
                _count(tally, mutant, verdicts.get(mutant.name))
        found[group] = [whole, *files.values()] if whole.judged else []
    return found


def _joined(head: str, chapters: Mapping[str, str | None], before: str) -> str:
    kept = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", before, flags=re.DOTALL | re.MULTILINE))
    now = {name: kept.get(name) if chapter is None else chapter for name, chapter in chapters.items()}
    return "\n".join(
        [head, *(f"## {name}\n\n{text.strip()}\n" for name, text in now.items() if text is not None)]
    )


def _figures(group: Group, tallies: Sequence[Tally], today: dt.date) -> str | None:
    if not tallies:
        return None
    whole = tallies[0]
    judges = ", ".join(f"`{Path(each).name}`" for each in group.tests)
    lines = [
        f"Result of {today:%Y-%m-%d}; the judges are {judges}.",
        "",
    ]
    lines += ["| Module | Mutants | Judged | Killed | Survived | Killed, of those judged |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    lines += [tally.row() for tally in tallies]
    if whole.judged < whole.mutants:
        lines += ["", PARTIAL]
    few = sum(not faced_all for _, faced_all in whole.survivors)
    if few:
        lines += ["", FEW.format(few=few)]
    return "\n".join(lines)


def _listed(tallies: Sequence[Tally]) -> str | None:
    if not tallies:
        return None
    chapters = (f"### {each.title}\n\n{_table(each)}" for each in tallies[1:] if each.survivors)
    return "\n\n".join(chapters) or "None."


def _count(tally: Tally, mutant: Mutant, verdict: Mapping[str, Any] | None) -> None:
    tally.mutants += 1
    if verdict is None or verdict["digest"] != mutant.digest or verdict["verdict"] == UNDECIDED:
        return
    tally.judged += 1
    if verdict["verdict"] == SURVIVED:
        tally.survivors.append((mutant, len(verdict["faced"]) >= verdict["of"]))


def _table(tally: Tally) -> str:
    """A table; several that change the same line share its cell."""
    by_line: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mutant, faced_all in tally.survivors:
        by_line[mutant.function, mutant.before].append(_code(mutant.after) + ("" if faced_all else " *"))
    rows = [
        f"| `{function}` | {_code(before)} | {'<br>'.join(afters)} |"
        for (function, before), afters in by_line.items()
    ]
    return "\n".join(["| Function | Instead of | Survives |", "|---|---|---|", *rows])


def _code(text: str) -> str:
    text = text.replace("|", "\\|") or " "
    return f"`` {text} ``" if "`" in text else f"`{text}`"
