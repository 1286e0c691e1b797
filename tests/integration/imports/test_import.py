"""The registrar's feed on the real embedded log and store, in processes that may be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from examples.generate import write
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.threshold import Threshold
from producers.registrar.enrolments import import_file
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_subject import ImportOptions
from producers.registrar.profiles import apogee
from producers.registrar.report import ImportReport
from sandbox.process import PATIENCE_S
from schemas.catalogue import ENROLMENTS
from schemas.envelope import from_record
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.app.tables import metadata

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
STUDENTS = 1200  # several batches

KILLED_BETWEEN_APPEND_AND_MEMORY = """
import os, signal, sys
from pathlib import Path
from producers.registrar.feed_memory import SqlFeedMemory
from tests.integration.imports.test_import import Site

class Killed(SqlFeedMemory):
    appended = 0
    def intend(self, *args, **given):
        self.die_after()
        Killed.appended += 1
        super().intend(*args, **given)
    def finish(self, *args, **given):
        self.die_after()
    def die_after(self):
        if Killed.appended == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

site = Site(Path(sys.argv[1]))
site.memory = Killed(site.database)
site.import_export()
"""


class Site:
    """A folder with a store, a log and an export."""

    def __init__(self, folder: Path) -> None:
        self.export = folder / "export.csv"
        self.database = Database(f"sqlite:///{folder / 'store.db'}")
        metadata.create_all(self.database.engine)
        self.log = SqliteEventLog(folder / "log.db")
        self.log.ensure_topics({ENROLMENTS: PARTITIONS})
        self.memory = SqlFeedMemory(self.database)
        self.rejects = folder / "rejects.csv"
        self.affected = folder / "affected.csv"

    def generate(self, students: int) -> None:
        with self.export.open("w", encoding="utf-8", newline="") as file:
            write(file, students=students, year=2026)

    def import_export(self, *, dry_run: bool = False) -> ImportReport:
        producer = self.log.producer()
        try:
            return import_file(
                self.export,
                ImportOptions(
                    rejects_path=self.rejects,
                    affected_path=self.affected,
                    dry_run=dry_run,
                    threshold=Threshold(share=1.0, people=10_000),
                ),
                profile=apogee(),
                feed=self.memory,
                producer=producer,
                clock=lambda: datetime.now(UTC),
                progress=lambda _done, _in_all: None,
            )
        finally:
            producer.close()

    def records(self) -> list[Record]:
        """All that the log holds, in order per partition."""
        consumer = self.log.consumer("reader", [ENROLMENTS], member="reader")
        try:
            for tp in consumer.assignment():
                consumer.seek(tp, 0)
            found: list[Record] = []
            in_all = sum(self.log.end_offsets(ENROLMENTS).values())
            while len(found) < in_all:
                found += consumer.poll(1000, 5.0)
            return found
        finally:
            consumer.close()

    def close(self) -> None:
        self.log.close()
        self.database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def killed_in_batch(site: Site, batch: int) -> None:
    """An import in a process of its own that kill -9 ends before this batch is remembered."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN_APPEND_AND_MEMORY, str(site.export.parent), str(batch)],
        cwd=ROOT,
        check=False,
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def facts(records: list[Record]) -> dict[tuple[str, str], tuple[int, str]]:
    """By student and step: the highest source sequence, and the id of its event, as the registry reads."""
    highest: dict[tuple[str, str], tuple[int, str]] = {}
    for record in records:
        message = from_record(record.key, record.headers, record.value)
        event = message.event
        assert isinstance(event, EnrolmentRecorded | EnrolmentCancelled)
        key = (event.student_number, event.step)
        highest[key] = max(highest.get(key, (0, "")), (event.source_sequence, message.id))
    return highest


def test_an_import_reaches_the_log_whole_and_a_second_one_adds_nothing(site: Site) -> None:
    site.generate(STUDENTS)
    report = site.import_export()
    records = site.records()
    assert len(records) == report.published > STUDENTS
    assert len({record.key for record in records}) == STUDENTS == report.students

    again = site.import_export()
    assert (again.published, again.unchanged) == (0, report.published)
    assert len(site.records()) == len(records)


@pytest.mark.parametrize("batch", [1, 2])
def test_an_import_killed_between_log_and_memory_is_completed_by_the_next_one(site: Site, batch: int) -> None:
    site.generate(STUDENTS)
    killed_in_batch(site, batch)
    before = site.records()
    assert before

    report = site.import_export()

    records = site.records()
    ids = [from_record(record.key, record.headers, record.value).id for record in records]
    assert len(facts(records)) == len(set(ids)), "every step has one fact, however often it was said"
    assert len({record.key for record in records}) == STUDENTS
    repeated = len(ids) - len(set(ids))
    assert 0 < repeated <= len(before), "the batch in doubt was said again, under the same ids"
    assert report.unchanged == len(before) - repeated
    assert site.import_export().published == 0


def test_a_newer_file_has_the_last_word_over_a_killed_import(site: Site) -> None:
    site.generate(STUDENTS)
    killed_in_batch(site, 2)
    site.export.write_text(site.export.read_text(encoding="utf-8").replace(";E;P;O\n", ";A;P;O\n"), "utf-8")
    report = site.import_export()
    assert report.cancelled > STUDENTS / 2
    messages = [from_record(record.key, record.headers, record.value) for record in site.records()]
    last = facts(site.records())
    recorded = {message.id for message in messages if isinstance(message.event, EnrolmentRecorded)}
    in_force = [key for key, (_, identity) in last.items() if identity in recorded]
    lines = [line.split(";") for line in site.export.read_text(encoding="utf-8").splitlines()[1:]]
    expected = {(line[0], line[8]) for line in lines if line[0].startswith("2") and line[13] in "EC"}
    assert set(in_force) == expected


def test_memory_does_not_grow_with_the_file(site: Site) -> None:
    def peak_bytes(students: int) -> int:
        site.generate(students)
        tracemalloc.start()
        try:
            site.import_export(dry_run=True)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(100)  # what is loaded once
    assert peak_bytes(10_000) < 1.5 * peak_bytes(1_000)
