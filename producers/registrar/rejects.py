"""The rejects file: what was refused, where, and what to do, safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from producers.registrar.faults import REMEDIES, Rejection
from producers.registrar.sheets import WorkbookSheet, harmless

COLUMNS = ("line", "student", "column", "fault", "value", "detail", "remedy")
_SHEET = WorkbookSheet("rejects file", COLUMNS, "--rejects")


def write(path: Path, rejections: Iterable[Rejection], *, separator: str) -> None:
    """Write the rejects file; see `Sheet.write`. `rejections`: in the order of their lines."""
    _SHEET.write(path, map(_cells, rejections), separator=separator)


def remove(path: Path) -> None:
    """Remove an earlier import's rejects file; see `Sheet.remove`."""
    _SHEET.remove(path)


def _cells(rejection: Rejection) -> tuple[int | str, ...]:
    return (
        rejection.line,
        harmless(rejection.student_number),
        harmless(rejection.column),
        rejection.fault.value,
        harmless(rejection.value),
        harmless(rejection.detail, characters_max=300),
        REMEDIES[rejection.fault],
    )
