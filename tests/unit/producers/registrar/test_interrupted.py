"""An import that is interrupted: what it says, what is kept of it, and that the same again goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.eventlog.port import LogUnavailable, NewRecord, TopicPartition
from producers.registrar.import_runs import ImportRun, SqlImports
from producers.registrar.import_subject import ImportInterrupted
from producers.registrar.report import ImportEnd, ImportKind
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.registrar_kit import RecordedLog, Registrar, students

PAGE = 500
STUDENTS = 1200


class Interrupted(RecordedLog):
    """A log at whose n-th append somebody presses Ctrl-C."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        done = super().append(records)
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return done


def newest(registrar: Registrar) -> ImportRun:
    return SqlImports(registrar.database).past(before=None, limit=1)[0]


def press(_done: int, _in_all: int | None) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("turns", [{}, {"LET": 0, "SCI": 1}])
def test_interrupted_while_it_publishes_it_says_how_far_it_came_and_goes_on(
    registrar: Registrar, turns: dict[str, int]
) -> None:
    rows = [row | {"COD_CMP": ("SCI", "LET")[place % 2]} for place, row in enumerate(students(STUDENTS))]
    registrar.turns = turns
    before = registrar.log
    registrar.log = Interrupted(at=2)
    with pytest.raises(ImportInterrupted, match=f"{PAGE} of {STUDENTS} changes were published") as told:
        registrar.import_rows(*rows)
    assert told.value.exit_code == 130
    run = newest(registrar)
    assert run.detail is not None
    assert (run.detail.ended, run.detail.published, run.detail.actor) == (
        ImportEnd.INTERRUPTED,
        PAGE,
        "odile",
    )
    assert run.finished_at is None
    first, registrar.log = registrar.log, before
    report = registrar.import_rows(*rows)
    assert (report.unchanged, report.recorded) == (PAGE, STUDENTS - PAGE)
    ids = [message.id for message in (*first.messages, *registrar.log.messages)]
    assert len(set(ids)) == STUDENTS, "what was in doubt came again under the same id"
    assert len(ids) == STUDENTS + PAGE


def test_interrupted_while_it_reads_nothing_was_published(registrar: Registrar) -> None:
    with pytest.raises(ImportInterrupted, match="nothing was published"):
        registrar.import_(registrar.write(students(2)), progress=press)
    assert registrar.log.records == []
    detail = present(newest(registrar).detail)
    assert (detail.ended, detail.kind, detail.published) == (ImportEnd.INTERRUPTED, ImportKind.ENROLMENTS, 0)


def test_a_dry_run_that_is_interrupted_leaves_no_trace(registrar: Registrar) -> None:
    with pytest.raises(ImportInterrupted, match="nothing was published"):
        registrar.import_(registrar.write(students(2)), progress=press, dry_run=True)
    assert SqlImports(registrar.database).past(before=None, limit=1) == []


def test_a_log_that_is_away_is_kept_as_the_failure(registrar: Registrar) -> None:
    registrar.log.refuses = 100
    with pytest.raises(LogUnavailable):
        registrar.import_rows(*students(2))
    detail = present(newest(registrar).detail)
    assert (detail.ended, detail.published) == (ImportEnd.FAILED, 0)
    assert "the disk is slow today" in detail.error


def test_what_is_kept_of_an_import_names_no_student(registrar: Registrar) -> None:
    registrar.import_rows(*students(40))
    report = registrar.import_rows(*students(40, LIB_NOM_PAT_IND="Autre", ETA_IAE="E", COD_CMP=""))
    run = newest(registrar)
    assert run.detail is not None
    assert run.detail.faults == {fault.value: count for fault, count in report.faults.items()}
    kept = run.detail.model_dump_json()
    assert not any(text in kept for text in ("226000", "Autre", "Lefèvre", "Zoé", "example.org"))


def test_a_held_import_keeps_its_approval_and_its_years(registrar: Registrar) -> None:
    registrar.import_rows(*students(60))
    report = registrar.import_rows(*students(60, ETA_IAE="A"))
    detail = present(newest(registrar).detail)
    assert (detail.ended, detail.approval, detail.affected) == (
        ImportEnd.HELD,
        report.approval,
        str(registrar.affected),
    )
    [year] = detail.years
    assert (year["year"], year["losing"], year["changes"]) == (2026, 60, {"cancelled": 60})
