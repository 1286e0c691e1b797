"""The report of a mutation run, in Markdown."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from scripts.mutation.judge import SURVIVED, UNDECIDED
from scripts.mutation.mutants import Mutant

IDENTITY, IMPORT = "consumers/registry/", "producers/registrar/"

HEAD = """\
# Mutation run: identity and import

<!-- Written by `make mutation`. -->

[mutmut](https://mutmut.readthedocs.io) changes one expression of the code at a time. A *mutant* that fails a
test is killed, and so is one that never ends; one that passes every test is a survivor, and is listed below.
**Identity** is `identity`, `recognition`, `doubts`, `holders` and `decisions` of `consumers/registry`;
**import** is all of `producers/registrar`. No mutant is left out, texts for people included. The judges are
the unit tests of both, on SQLite, with few examples per property: those that reach the changed statement, the
likeliest first.

`make mutation` runs it again and judges only what has changed since; `make mutation MUTANTS="PATTERN"` judges
some, e.g. `consumers.registry.identity*`.
"""
PARTIAL = "**Not all are judged**: the shares say nothing of the others."
FEW = """\
{few} of the survivors (marked *) faced only some of the tests that reach them, the likeliest for a second or
two: more of them would die of the others."""
TAIL = """\
Many survivors change a text for people, a default that every caller gives, or a bound that no input reaches
from outside. One that changes a decision deserves a test. What a function does while its module is imported
is over before a mutant is active: those survive too.
"""


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


def page(mutants: list[Mutant], verdicts: dict[str, dict[str, Any]], today: dt.date) -> str:
    """The report.

    Args:
        mutants: of the last run.
        verdicts: the last one on each mutant, by its name.
        today: the date that it bears.
    """
    files: dict[str, Tally] = {}
    parts = {prefix: Tally(f"**{title}**") for prefix, title in ((IDENTITY, "identity"), (IMPORT, "import"))}
    every = Tally("**all**")
    for mutant in mutants:
        part = next(tally for prefix, tally in parts.items() if mutant.path.startswith(prefix))
        verdict = verdicts.get(mutant.name)
        for tally in (files.setdefault(mutant.path, Tally(mutant.path)), part, every):
            _count(tally, mutant, verdict)
    lines = [HEAD, f"## Result of {today:%Y-%m-%d}", ""]
    lines += ["| Module | Mutants | Judged | Killed | Survived | Killed, of those judged |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    lines += [tally.row() for tally in (*parts.values(), every, *files.values())]
    if every.judged < every.mutants:
        lines += ["", PARTIAL]
    few = sum(not faced_all for _, faced_all in every.survivors)
    if few:
        lines += ["", FEW.format(few=few)]
    lines += ["", "## Survivors", "", TAIL]
    for tally in files.values():
        if tally.survivors:
            lines += [f"### {tally.title}", "", *_survivors(tally), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _count(tally: Tally, mutant: Mutant, verdict: dict[str, Any] | None) -> None:
    tally.mutants += 1
    if verdict is None or verdict["digest"] != mutant.digest or verdict["verdict"] == UNDECIDED:
        return
    tally.judged += 1
    if verdict["verdict"] == SURVIVED:
        tally.survivors.append((mutant, len(verdict["faced"]) >= verdict["of"]))


def _survivors(tally: Tally) -> list[str]:
    """A table; several that change the same line share its cell."""
    by_line: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mutant, faced_all in tally.survivors:
        by_line[mutant.function, mutant.before].append(_code(mutant.after) + ("" if faced_all else " *"))
    rows = [
        f"| `{function}` | {_code(before)} | {'<br>'.join(afters)} |"
        for (function, before), afters in by_line.items()
    ]
    return ["| Function | Instead of | Survives |", "|---|---|---|", *rows]


def _code(text: str) -> str:
    text = text.replace("|", "\\|") or " "
    return f"`` {text} ``" if "`" in text else f"`{text}`"
