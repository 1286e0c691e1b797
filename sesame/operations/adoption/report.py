"""The report: what an operator decides first, then a line for each match and stranger, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from producers.registrar.sheets import WorkbookSheet as Spreadsheet
from producers.registrar.sheets import harmless
from sesame.operations.adoption.adoptions import QuestionRow
from sesame.operations.adoption.questions import WORDS, QuestionKind
from sesame.operations.adoption.sheet import Row, Sheet, Standing

COLUMNS = ("standing", "kind", "question", "target", "object", "student", "login", "mail", "detail", "remedy")
ID_SHOWN = 12

_REPORT = Spreadsheet("adoption report", COLUMNS, "--report")


def write(path: Path, sheet: Sheet, targets: Sequence[str]) -> None:
    """Write the report, readable by its owner only: conflicts first, then matches and strangers, by target.

    Raises:
        UnusableFile: it cannot be written there.
    """
    _REPORT.write(path, _lines(sheet, targets), separator=";")


def _lines(sheet: Sheet, targets: Sequence[str]) -> Iterator[tuple[int | str, ...]]:
    for row, kind, student, detail in sheet.conflicts():
        question = QuestionRow(row.target, row.ref, student or None, kind).id[:ID_SHOWN]
        yield _cells(row, kind, question, student, detail, WORDS[QuestionKind(kind)].remedy)
    for target in targets:
        for rows in sheet.pages(target):
            for row in rows:
                if row.standing in (Standing.MATCH, Standing.STRANGER):
                    kind = row.evidence if row.standing is Standing.MATCH else _stranger(row)
                    yield _cells(row, kind, "", row.student, "", "")


def _stranger(row: Row) -> str:
    return "unknown_number" if row.student else "nobody"


def _cells(
    row: Row, kind: str, question: str, student: str, detail: str, remedy: str
) -> tuple[int | str, ...]:
    return (
        row.standing.value,
        kind,
        question,
        row.target,
        harmless(row.ref, characters_max=512),
        harmless(student),
        harmless(row.login),
        harmless(row.mail),
        harmless(detail, characters_max=512),
        remedy,
    )
