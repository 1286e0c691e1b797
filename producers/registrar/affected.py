"""The file of affected people: who would lose an enrolment, or change in a way that seldom happens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from producers.registrar.guard import Affected
from producers.registrar.outline import OutlineChange
from producers.registrar.sheets import WorkbookSheet, harmless

COLUMNS = ("student", "year", "step", "version", "change", "before", "after", "meaning")
MEANINGS: dict[OutlineChange, str] = {
    OutlineChange.CANCELLED: "The file cancels this enrolment.",
    OutlineChange.GONE: "The file is said to be complete for the year, and does not have this any more.",
    OutlineChange.NOT_IN_FORCE: "The enrolment was in force, and is pending or awaits payment in the file.",
    OutlineChange.PEDAGOGICAL: "The pedagogical enrolment was validated, and is not in the file.",
    OutlineChange.IDENTITY: (
        "Birth name, first given name or birth date are others, and not only spelled otherwise."
    ),
    OutlineChange.INE: "The INE is another one, or missing.",
    OutlineChange.PERSONAL_MAIL: "The personal mail address is another one, or missing.",
    OutlineChange.COMPONENT: "The component of this enrolment is another one.",
    OutlineChange.TEACHING: "The student does not follow this teaching unit any more.",
    OutlineChange.GROUP: (
        "The student is not in this group of the teaching unit any more, and stays in the unit."
    ),
}
"""What each change means, for the operator."""

_SHEET = WorkbookSheet("file of affected people", COLUMNS, "--affected")


def write(path: Path, affected: Iterable[Affected], *, separator: str) -> None:
    """Write the file; see `Sheet.write`."""
    _SHEET.write(path, map(_cells, affected), separator=separator)


def remove(path: Path) -> None:
    """Remove an earlier import's file; see `Sheet.remove`."""
    _SHEET.remove(path)


def _cells(each: Affected) -> tuple[int | str, ...]:
    student, year, step, version = each.key
    return (
        harmless(student),
        year,
        harmless(step),
        harmless(version),
        each.change.value,
        harmless(each.before),
        harmless(each.after),
        MEANINGS[each.change],
    )
