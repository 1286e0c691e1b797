"""Imports one after another: what changed is published, what did not is not, and nothing is lost between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.eventlog.port import LogUnavailable
from producers.registrar import lines as spooled
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.feed import FactRow
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_runs import ImportSuperseded, SqlImports
from producers.registrar.import_steps import APPEND_ATTEMPTS_MAX
from producers.registrar.lines import SpoolFailed
from producers.registrar.profiles import choose
from producers.registrar.report import ImportEnd, ImportReport
from schemas.catalogue import ENROLMENTS
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.registrar_kit import MAMADOU, NOW, ZOE, Registrar

DU = {"COD_ETP": "DULSF", "LIB_ETP": "DU Langue des signes", "TEM_IAE_PRM": "N"}


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class DiesBeforeConfirming(SqlFeedMemory):
    """The process ends after the log acknowledged, before the feed remembers."""

    def finish(self, import_id: int, **_ended: object) -> None:
        raise Killed


class DiesBeforeAppending(SqlFeedMemory):
    """The process ends after the intention was written down."""

    def intend(self, import_id: int, source: str, rows: Sequence[FactRow], *, confirmed: int = 0) -> None:
        super().intend(import_id, source, rows, confirmed=confirmed)
        raise Killed


@pytest.fixture
def registrar(stored_registrar: Registrar) -> Registrar:
    return stored_registrar


def die(registrar: Registrar, kind: type[SqlFeedMemory], *rows: dict[str, str]) -> None:
    """An import of `rows` that ends as if by kill -9."""
    registrar.memory = kind(registrar.database)
    with pytest.raises(Killed):
        registrar.import_rows(*rows)
    registrar.memory = SqlFeedMemory(registrar.database)


def test_each_line_is_published_under_its_students_key(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, MAMADOU)
    assert (report.lines, report.students, report.recorded, report.rejected) == (2, 2, 2, 0)
    assert [(record.topic, record.key) for record in registrar.log.records] == [
        (ENROLMENTS, "22600017"),
        (ENROLMENTS, "22600018"),
    ]
    first, _ = registrar.log.messages
    assert (first.emitter, first.time) == ("registrar", NOW)
    assert isinstance(first.event, EnrolmentRecorded)
    assert (first.event.source, first.event.given_name) == ("apogee", "Zoé")


def test_the_same_file_again_publishes_nothing(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, ZOE | DU, MAMADOU | {"ETA_IAE": "A"})
    registrar.log.take()
    report = registrar.import_rows(ZOE, ZOE | DU, MAMADOU | {"ETA_IAE": "A"})
    assert (report.unchanged, report.published) == (3, 0)
    assert registrar.log.records == []


def test_only_the_line_that_changed_is_published(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    registrar.log.take()
    report = registrar.import_rows(MAMADOU, ZOE | {"IP_VALIDE": "N"})
    assert (report.recorded, report.unchanged) == (1, 1)
    (message,) = registrar.log.take()
    assert message.event.student_number == "22600017"


def test_a_dry_run_counts_as_the_import_would_and_publishes_nothing(registrar: Registrar) -> None:
    rows = (ZOE, ZOE | DU | {"ETA_IAE": "A"}, MAMADOU | {"DATE_NAI_IND": "31/02/2005"})
    dry = registrar.import_rows(*rows, dry_run=True)
    assert registrar.log.records == []
    assert [row["fault"] for row in registrar.rejected()] == ["bad_date"]
    real = registrar.import_rows(*rows)
    assert dry.counts() == real.counts()
    assert (dry.import_id, real.import_id) == (None, 1)
    assert len(registrar.log.records) == 2


def test_a_cancelled_step_is_published_as_cancelled_even_if_it_was_never_recorded(
    registrar: Registrar,
) -> None:
    report = registrar.import_rows(ZOE | {"ETA_IAE": "R"})
    assert (report.cancelled, report.recorded) == (1, 0)
    (message,) = registrar.log.messages
    assert isinstance(message.event, EnrolmentCancelled)
    assert message.event.reason == "terminated"


def test_a_step_that_is_recorded_cancelled_and_recorded_again_is_three_facts_in_order(
    registrar: Registrar,
) -> None:
    for state in ("E", "A", "E"):
        registrar.import_rows(ZOE | {"ETA_IAE": state})
    messages = registrar.log.messages
    assert [type(message.event) for message in messages] == [
        EnrolmentRecorded,
        EnrolmentCancelled,
        EnrolmentRecorded,
    ]
    assert len({message.id for message in messages}) == 3
    sequences = sequences_of(registrar)
    assert sequences == sorted(set(sequences))


def sequences_of(registrar: Registrar) -> list[int]:
    events = [message.event for message in registrar.log.messages]
    assert all(isinstance(event, EnrolmentRecorded | EnrolmentCancelled) for event in events)
    return [
        event.source_sequence for event in events if isinstance(event, EnrolmentRecorded | EnrolmentCancelled)
    ]


def test_a_source_sequence_is_the_import_and_the_line(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    registrar.import_rows(ZOE | {"LIB_ETP": "L1"}, MAMADOU | {"LIB_ETP": "L1"})
    assert sequences_of(registrar) == [100_000_002, 100_000_003, 200_000_002, 200_000_003]


def test_a_crash_before_remembering_publishes_the_same_events_again(registrar: Registrar) -> None:
    die(registrar, DiesBeforeConfirming, ZOE, MAMADOU)
    before = [message.id for message in registrar.log.take()]
    assert len(before) == 2
    report = registrar.import_rows(ZOE, MAMADOU)
    assert report.recorded == 2
    assert [message.id for message in registrar.log.take()] == before
    assert registrar.import_rows(ZOE, MAMADOU).published == 0


def test_a_crash_before_appending_loses_nothing(registrar: Registrar) -> None:
    die(registrar, DiesBeforeAppending, ZOE, MAMADOU)
    assert registrar.log.records == []
    assert registrar.import_rows(ZOE, MAMADOU).recorded == 2


def test_a_file_that_takes_back_what_a_crashed_import_may_have_said_is_published(
    registrar: Registrar,
) -> None:
    """Otherwise the crashed import would have the log's last word, and the file would count as unchanged."""
    registrar.import_rows(ZOE)
    die(registrar, DiesBeforeConfirming, ZOE | {"ETA_IAE": "A"})
    registrar.import_rows(ZOE)
    recorded, cancelled, again = registrar.log.messages
    assert isinstance(cancelled.event, EnrolmentCancelled)
    assert isinstance(again.event, EnrolmentRecorded)
    assert again.id != recorded.id


def test_crashes_in_a_row_never_give_one_id_to_facts_with_another_one_between(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    for state in ("A", "E", "A"):
        die(registrar, DiesBeforeConfirming, ZOE | {"ETA_IAE": state})
    ids = [message.id for message in registrar.log.messages]
    assert len(set(ids)) == 4


def test_what_was_acknowledged_before_a_crash_is_not_published_again(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.registrar.enrolments._PAGE", 1)

    die(registrar, DiesBeforeConfirming, ZOE, MAMADOU)
    assert [message.event.student_number for message in registrar.log.take()] == ["22600017", "22600018"]
    registrar.import_rows(ZOE, MAMADOU)
    assert [message.event.student_number for message in registrar.log.take()] == ["22600018"]


def test_a_log_that_refuses_is_asked_again_and_readers_recognise_the_duplicates(registrar: Registrar) -> None:
    registrar.log.refuses = 2
    registrar.import_rows(ZOE)
    assert len(registrar.slept_s) == 2
    assert len({message.id for message in registrar.log.messages}) == 1
    assert registrar.import_rows(ZOE).published == 0


def test_a_log_that_goes_on_refusing_ends_the_import_and_the_next_one_goes_on(registrar: Registrar) -> None:
    registrar.log.refuses = APPEND_ATTEMPTS_MAX
    with pytest.raises(LogUnavailable):
        registrar.import_rows(ZOE)
    assert registrar.import_rows(ZOE).recorded == 1


def test_a_newer_import_fences_an_older_one_off(registrar: Registrar) -> None:
    class Overtaken(SqlFeedMemory):
        def intend(self, import_id: int, source: str, rows: Sequence[FactRow], *, confirmed: int = 0) -> None:
            self.begin(source, file_name="newer.csv", started_at=NOW.timestamp())
            super().intend(import_id, source, rows, confirmed=confirmed)

    registrar.memory = Overtaken(registrar.database)
    with pytest.raises(ImportSuperseded):
        registrar.import_rows(ZOE)
    assert registrar.log.records == []


def test_feeds_of_different_names_know_nothing_of_one_another(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    key = ("22600017", 2026, "L1INFO", "261")
    assert key in registrar.memory.published("apogee", ["22600017"])
    assert registrar.memory.published("pegase", ["22600017"]) == {}


def test_a_log_that_lost_everything_is_given_it_again_under_the_same_ids(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    before = [message.id for message in registrar.log.take()]
    report = registrar.import_rows(ZOE, MAMADOU, republish=True)
    assert report.recorded == 2
    assert [message.id for message in registrar.log.take()] == before
    assert registrar.import_rows(ZOE, MAMADOU).published == 0


def test_a_line_copied_word_for_word_is_taken_once_and_counted(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, MAMADOU, ZOE, ZOE)
    assert (report.recorded, report.duplicates, report.rejected) == (2, 2, 0)


def test_two_lines_that_say_different_things_of_one_step_are_both_refused(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, MAMADOU, ZOE | {"IP_VALIDE": "N"}, ZOE | DU)
    assert (report.recorded, report.rejected) == (2, 2)
    assert report.faults == {Fault.CONFLICTING_LINES: 2}
    rows = registrar.rejected()
    assert [row["line"] for row in rows] == ["2", "4"]
    assert all(row["detail"].startswith("lines 2, 4 ") for row in rows)


def test_a_step_both_in_force_and_cancelled_is_a_conflict(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, ZOE | {"ETA_IAE": "A"})
    assert (report.published, report.rejected) == (0, 2)


def test_one_student_with_two_birth_dates_is_refused_with_the_column_and_both_lines(
    registrar: Registrar,
) -> None:
    report = registrar.import_rows(ZOE, MAMADOU, ZOE | DU | {"DATE_NAI_IND": "07/03/2007"})
    assert (report.recorded, report.students, report.rejected) == (1, 1, 2)
    assert report.faults == {Fault.CONTRADICTING_PERSON: 2}
    rows = registrar.rejected()
    assert [(row["line"], row["column"], row["value"]) for row in rows] == [
        ("2", "DATE_NAI_IND", "2008-03-07"),
        ("4", "DATE_NAI_IND", "2007-03-07"),
    ]
    assert "lines 2, 4" in rows[0]["detail"]


@pytest.mark.parametrize("column", ["LIB_NOM_PAT_IND", "LIB_NOM_USU_IND", "LIB_PR1_IND"])
def test_one_student_with_two_names_is_refused(registrar: Registrar, column: str) -> None:
    report = registrar.import_rows(ZOE, ZOE | DU | {column: "Autre"})
    assert (report.published, report.rejected) == (0, 2)
    assert {row["column"] for row in registrar.rejected()} == {column}


def test_a_cancelled_line_says_nothing_of_the_person(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, ZOE | DU | {"ETA_IAE": "A", "LIB_PR1_IND": "Zoe"})
    assert (report.recorded, report.cancelled, report.rejected) == (1, 1, 0)


def test_two_people_of_one_name_are_two_students(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, ZOE | {"COD_ETU": "22600099", "DATE_NAI_IND": "01/12/2007"})
    assert (report.students, report.rejected) == (2, 0)


def test_a_formula_in_a_bad_value_is_text_in_the_rejects_file(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU | {"DATE_NAI_IND": "=cmd|' /C calc'!A0"})
    (row,) = registrar.rejected()
    assert (row["line"], row["student"], row["value"]) == ("3", "22600018", "'=cmd|' /C calc'!A0")


def test_bytes_that_are_no_text_reach_the_rejects_file_spelled_out(registrar: Registrar) -> None:
    path = registrar.write([ZOE, ZOE | DU, MAMADOU])
    path.write_bytes(path.read_bytes().replace(b"Mamadou", b"Mama\xe9dou"))
    report = registrar.import_(path)
    assert (report.recorded, report.encoding) == (2, "utf-8")
    (row,) = registrar.rejected()
    assert (row["fault"], row["value"]) == ("undecodable", r"Mama\xe9dou")


def test_a_rejects_file_of_an_earlier_import_does_not_stay(registrar: Registrar) -> None:
    assert registrar.import_rows(ZOE | {"ETA_IAE": "X"}).rejects_path == registrar.rejects
    assert registrar.rejects.exists()
    assert registrar.import_rows(ZOE).rejects_path is None
    assert not registrar.rejects.exists()


def test_a_file_that_cannot_be_used_publishes_nothing_and_is_kept_as_failed(registrar: Registrar) -> None:
    with pytest.raises(UnusableFile, match="line 1: a header, and no line below it"):
        registrar.import_rows()
    registrar.export.write_text("COD_ETU;LIB_PR1_IND\n1;Zoé\n")
    with pytest.raises(UnusableFile, match="the header lacks COD_NNE_IND"):
        registrar.import_(registrar.export)
    assert registrar.log.records == []
    assert registrar.import_rows(ZOE).import_id == 3
    *_, failed = SqlImports(registrar.database).past(before=None, limit=10)
    assert (failed.id, failed.finished_at, failed.counts) == (1, None, {})
    assert failed.detail is not None
    assert (failed.detail.ended, failed.detail.published) == (ImportEnd.FAILED, 0)
    assert "line 1: a header, and no line below it" in failed.detail.error


def test_an_unusable_file_fences_nobody_off(registrar: Registrar) -> None:
    memory = SqlImports(registrar.database)
    running = memory.begin("apogee", file_name="nuit.csv", started_at=1.0)
    with pytest.raises(UnusableFile):
        registrar.import_rows()
    assert not present(memory.run_of(running)).superseded


def test_the_rejects_file_never_takes_the_exports_place(registrar: Registrar) -> None:
    registrar.rejects = registrar.export
    with pytest.raises(UnusableFile, match="would replace the export"):
        registrar.import_rows(ZOE | {"ETA_IAE": "X"})
    assert registrar.export.read_text().startswith("COD_ETU")


def test_progress_only_grows_and_ends_at_the_whole(registrar: Registrar) -> None:
    rows = [ZOE | {"COD_ETU": f"226{number:05d}"} for number in range(1200)]
    told: list[tuple[int, int | None]] = []
    registrar.import_(registrar.write(rows), progress=lambda done, in_all: told.append((done, in_all)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (1201, 1201)
    assert len(told) > 3
    assert {in_all for _, in_all in told} == {1201}, "the lines of the file, header included"


def test_the_report_is_plain_json(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, ZOE | {"COD_ETU": "x y"}).to_json()
    assert report == {
        "kind": "enrolments",
        "source": "apogee",
        "import_id": 1,
        "dry_run": False,
        "lines": 2,
        "students": 1,
        "recorded": 1,
        "cancelled": 0,
        "gone": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": 1,
        "faults": {"bad_student_number": 1},
        "rejects": str(registrar.rejects),
        "encoding": "utf-8",
        "separator": ";",
        "form": "",
        "sheet": "",
        "titles": 0,
        "footers": 0,
        "dates": {"dd/mm/yyyy": 2},
        "sha256": sha256(registrar.export.read_bytes()).hexdigest(),
        "held": False,
        "approval": None,
        "years": [],
        "affected": None,
        "full_year": None,
        "spared": 0,
        "not_enrolled": 0,
        "unattributed": 1,
        "accepted": 0,
        "damaged": 0,
        "likely_encoding": "",
        "misread": False,
        "differences": [
            {
                "year": 2026,
                "people": {"new": 1, "gone": 0, "changed": 0},
                "programmes": {"L1INFO": {"new": 1, "gone": 0, "changed": 0}},
                "others": 0,
            }
        ],
    }


def test_the_report_says_how_the_file_is_written(registrar: Registrar) -> None:
    rows = [ZOE, MAMADOU, ZOE | {"COD_ETU": "3", "DATE_NAI_IND": "?"}]
    report = registrar.import_(registrar.write(rows, separator="\t", encoding="utf-8-sig"))
    assert (report.encoding, report.separator) == ("utf-8-sig", "\t")
    assert report.dates == {"dd/mm/yyyy": 1, "yyyy-mm-dd": 1}


variants = st.fixed_dictionaries(
    {
        "COD_ETU": st.sampled_from(["22600001", "22600002", "22600003", "*"]),
        "COD_ETP": st.sampled_from(["L1INFO", "DULSF"]),
        "ETA_IAE": st.sampled_from(["E", "E", "C", "A", "X"]),
        "LIB_PR1_IND": st.sampled_from(["Zoé", "Zoé", "Zoe", ""]),
        "IP_VALIDE": st.sampled_from(["O", "N"]),
    }
)


@given(files=st.lists(st.lists(variants, min_size=1, max_size=8), min_size=1, max_size=3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_line_of_every_file_is_accounted_for_and_the_last_fact_is_what_the_file_says(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[dict[str, str]]]
) -> None:
    registrar = Registrar(tmp_path_factory.mktemp("feed"))
    try:
        for file in files:
            rows = [ZOE | variant for variant in file]
            report = registrar.import_rows(*rows)
            counts = report.counts()
            assert report.lines == len(file) == sum(counts.values()) - counts["lines"] - counts["students"]
            assert len(registrar.log.take()) == (0 if report.held else report.published)
            again = registrar.import_rows(*rows)
            left = report.published if report.held else 0
            assert (again.held, again.published, again.rejected) == (report.held, left, report.rejected)
    finally:
        registrar.close()


FULL_AFTER_PAGES = 12
"""How much of the temporary copy finds room: SQLite itself then answers that the disk is full."""


@pytest.mark.parametrize("groups", [False, True], ids=["enrolments", "groups"])
def test_a_disk_that_is_full_publishes_nothing_and_the_next_import_does(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch, groups: bool
) -> None:
    rows = [ZOE | {"COD_ETU": f"22{number:06}", "COD_NNE_IND": ""} for number in range(300)]
    lines = [f"22{number:06} UE1 TD1" for number in range(800)]

    def once() -> ImportReport:
        return registrar.import_groups(*lines) if groups else registrar.import_rows(*rows)

    with monkeypatch.context() as patch:
        whole = spooled._SCHEMA  # noqa: SLF001 -- the only place where room can be taken away
        patch.setattr(spooled, "_SCHEMA", f"PRAGMA max_page_count = {FULL_AFTER_PAGES};{whole}")
        with pytest.raises(SpoolFailed, match="the disk is full"):
            once()
    assert registrar.log.records == []
    assert not registrar.rejects.exists()
    assert once().recorded == (800 if groups else 300)


@pytest.mark.parametrize("which", ["apogee", "pegase"])
def test_a_pipe_is_refused_before_anybody_waits_for_it(registrar: Registrar, which: str) -> None:
    os.mkfifo(registrar.export)
    with pytest.raises(UnusableFile, match="a pipe or a device") as refused:
        registrar.import_(registrar.export, profile=choose(which))
    assert "file on disk" in refused.value.remedy
