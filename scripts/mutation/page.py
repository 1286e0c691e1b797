"""The figures of a mutation run, for the page of evidence: a line for each group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.mutation.groups import Group
from scripts.mutation.judge import SURVIVED, UNDECIDED
from scripts.mutation.mutants import Mutant

_HEAD = """\
| Group | Judged on | Mutants | Judged | Killed | Survived | Faced some tests only | Killed of judged |
|---|---|--:|--:|--:|--:|--:|--:|
"""


def section(
    groups: Mapping[Group, Sequence[Mutant]],
    verdicts: Mapping[str, Mapping[str, Any]],
    today: dt.date,
    before: str = "",
) -> str:
    """A table of each group's figures.

    Args:
        groups: the mutants of the last run.
        verdicts: the last one on each mutant, by its name.
        today: the date of groups judged now.
        before: the last table: a group without a verdict here keeps its line.
    """
    kept = {line.split()[1]: line for line in before.splitlines() if line.startswith("| ")}
    rows = (
        _row(group, mutants, verdicts, today) or kept.get(group.name) for group, mutants in groups.items()
    )
    return _HEAD + "\n".join(row for row in rows if row) + "\n"


def _row(
    group: Group, mutants: Sequence[Mutant], verdicts: Mapping[str, Mapping[str, Any]], today: dt.date
) -> str | None:
    known = (verdicts.get(mutant.name, {"verdict": UNDECIDED}) for mutant in mutants)
    judged = [
        verdict
        for mutant, verdict in zip(mutants, known, strict=True)
        if verdict["verdict"] != UNDECIDED and verdict["digest"] == mutant.digest
    ]
    if not judged:
        return None
    survived = [verdict for verdict in judged if verdict["verdict"] == SURVIVED]
    some_only = sum(len(verdict["faced"]) < verdict["of"] for verdict in survived)
    killed = len(judged) - len(survived)
    figures = (
        len(mutants),
        len(judged),
        killed,
        len(survived),
        some_only,
        f"{100 * killed / len(judged):.1f} %",
    )
    return f"| {group.name} | {today:%Y-%m-%d} | {' | '.join(map(str, figures))} |"
