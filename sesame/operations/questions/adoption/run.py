"""One adoption, from reading to writing, and its report, for a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline import audit
from pipeline.db.database import Database
from producers.registrar.sheets import WorkbookSheet as Spreadsheet
from producers.registrar.sheets import harmless
from schemas.language import gettext_noop
from sesame.acts.acts import Report
from sesame.operations.people.diagnosis.words import word
from sesame.operations.questions.adoption.adoptions import QuestionRow
from sesame.operations.questions.adoption.matching import Matcher
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing
from sesame.operations.questions.adoption.writer import Writer, Written

Reader = Callable[[], AbstractContextManager[Iterable[FoundObject]]]
"""Opens all objects of one target; closes the connections at the end."""


class AdoptionReport(Report):
    """Result of an adoption.

    Attributes:
        read: objects by target.
        standings: objects by target and standing (match, candidate, conflict, stranger).
        questions: what an operator must decide, by kind.
        written: what was new in the store; None: it was a dry run.
    """

    read: dict[str, int]
    standings: dict[str, dict[str, int]]
    questions: dict[str, int]
    dry_run: bool
    written: Written | None


def adopt(
    readers: Mapping[str, Reader],
    database: Database,
    *,
    actor: str,
    dry_run: bool,
    report_path: Path | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> AdoptionReport:
    """Read the targets, match them with the registry, and store the result.

    The directory comes first of the readers. See `acts.adopt`.
    """
    with Sheet() as sheet:
        read: dict[str, int] = {}
        for target, reader in readers.items():
            progress(f"reading {target}")
            with reader() as objects:
                read[target] = sheet.put(objects)
        targets = list(read)
        progress("matching")
        Matcher(sheet, database).match(targets)
        if report_path is not None:
            _REPORT.write(report_path, _lines(sheet, targets))
        written = None
        if not dry_run:
            progress("writing")
            written = Writer(sheet, database).write(targets)
        standings: dict[str, dict[str, int]] = {t: dict.fromkeys(map(str, Standing), 0) for t in targets}
        for (target, standing), count in sheet.standings().items():
            standings[target][standing] = count
        found = AdoptionReport(
            read=read, standings=standings, questions=sheet.kinds(), dry_run=dry_run, written=written
        )
    if not dry_run:
        with database.write() as connection:
            audit.note(connection, database, actor=actor, action="adopt", detail=found.model_dump())
    return found


_ID_SHOWN = 12
_REPORT = Spreadsheet(
    (
        *("standing", gettext_noop("kind"), gettext_noop("question"), gettext_noop("target")),
        *(gettext_noop("object"), gettext_noop("student"), gettext_noop("login"), gettext_noop("mail")),
        *(gettext_noop("detail"), gettext_noop("remedy")),
    ),
    re.compile('^"?standing"?;'),
    gettext_noop("{path}: there is something else than an adoption report"),
    gettext_noop("{path}: the adoption report cannot be written: {why}"),
    "--report",
)


def _lines(sheet: Sheet, targets: Sequence[str]) -> Iterator[tuple[int | str, ...]]:
    """The report: conflicts first, then matches and strangers, by target."""
    for row, kind, student, detail in sheet.conflicts():
        question = QuestionRow(row.target, row.ref, student or None, kind).id[:_ID_SHOWN]
        yield _cells(row, kind, question, student, detail, word("object_remedies", kind, "en"))
    for target in targets:
        for rows in sheet.pages(target):
            for row in rows:
                if row.standing is Standing.MATCH:
                    yield _cells(row, row.evidence, "", row.student, "", "")
                elif row.standing is Standing.STRANGER:
                    yield _cells(row, "unknown_number" if row.student else "nobody", "", row.student, "", "")


def _cells(
    row: FoundObject, kind: str, question: str, student: str, detail: str, remedy: str
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
