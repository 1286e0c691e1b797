"""The file of affected people: who would lose a teaching unit, or a group of one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from producers.registrar.affected import MEANINGS
from producers.registrar.outline import OutlineChange
from producers.registrar.sheets import WorkbookSheet, harmless

COLUMNS = ("student", "year", "unit", "group", "change", "groups left", "meaning")
_SHEET = WorkbookSheet("file of affected people", COLUMNS, "--affected")


class AffectedTeaching(NamedTuple):
    """A unit, or a group of it, that a student would not have any more. `left`: other groups of the unit."""

    student: str
    year: int
    element: str
    group: str
    change: OutlineChange
    left: str


def write(path: Path, affected: Iterable[AffectedTeaching], *, separator: str) -> None:
    """Write the file; see `Sheet.write`."""
    _SHEET.write(path, map(_cells, affected), separator=separator)


def remove(path: Path) -> None:
    """Remove an earlier import's file; see `Sheet.remove`."""
    _SHEET.remove(path)


def _cells(each: AffectedTeaching) -> tuple[int | str, ...]:
    return (
        harmless(each.student),
        each.year,
        harmless(each.element),
        harmless(each.group),
        each.change.value,
        harmless(each.left),
        MEANINGS[each.change],
    )
