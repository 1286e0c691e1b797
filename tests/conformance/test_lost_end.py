"""A log that lost its end: what took the place of the lost records is read, and never skipped in silence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest

from pipeline.eventlog.port import (
    Consumer,
    LogUnavailable,
    NewRecord,
    OffsetOutOfRange,
    Producer,
    Record,
    TopicPartition,
)
from sandbox.kafka import Kafka
from sesame.testing.eventlog.kit import numbered, numbers, own, read, until
from sesame.testing.servers import require_service
from tests.conformance.adapters import open_log

TOPIC = "t"
TP = TopicPartition(TOPIC, 0)


class Server(Protocol):
    """A log of a test's own, which can be brought back to an earlier state."""

    url: str

    def remember(self) -> None:
        """This is the state that will be left."""

    def go_back(self) -> None:
        """Lose whatever was appended since."""


class Embedded:
    """The embedded log: a copy of its file is put back."""

    def __init__(self, folder: Path) -> None:
        self._file, self._copy = folder / "log.db", folder / "copy.db"
        self.url = f"sqlite:{self._file}"

    def remember(self) -> None:
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(self._copy)) as copy:
            source.backup(copy)

    def go_back(self) -> None:
        for beside in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + beside).unlink(missing_ok=True)
        self._copy.rename(self._file)


class Servers:
    """Kafka: power fails before the end of the topic's log was on the disk; all else was."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.url = f"kafka:{','.join(kafka.servers)}/test."
        self._bytes = 0

    def remember(self) -> None:
        self._bytes = self._segment.stat().st_size

    def go_back(self) -> None:
        self._kafka.kill()
        segment = self._segment
        with segment.open("r+b") as file:
            file.truncate(self._bytes)
        for beside in segment.parent.iterdir():
            if beside.suffix in (".index", ".timeindex", ".snapshot"):
                beside.unlink()
        (segment.parent.parent / "recovery-point-offset-checkpoint").unlink(missing_ok=True)
        self._kafka.start()

    @property
    def _segment(self) -> Path:
        [segment] = self._kafka.folder.rglob(f"{TOPIC}-0/00000000000000000000.log")
        return segment


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "sqlite":
        yield Embedded(tmp_path)
        return
    with require_service(Kafka) as kafka:
        yield Servers(kafka)


@pytest.mark.parametrize("server", ["sqlite", "kafka"], indirect=True)
def test_a_consumer_that_restarts_after_the_log_lost_its_end_skips_nothing_in_silence(server: Server) -> None:
    with closing(open_log(server.url)) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 1})
        producer.append(numbered(TOPIC, "A", 3))
        server.remember()
        producer.append(numbered(TOPIC, "A", 7, start=3))
        with closing(log.consumer("g", [TOPIC], member="one")) as consumer:
            read(consumer, 10)
            consumer.commit({TP: 10})
    server.go_back()
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_log(server.url)))
        producer = stack.enter_context(closing(log.producer()))
        append(producer, numbered(TOPIC, "A", 20, start=100))
        consumer = log.consumer("g", [TOPIC], member="one")
        found: list[Record] = []
        losses: list[tuple[TopicPartition | None, int, int]] = []

        def enough() -> bool:
            try:
                found.extend(consumer.poll(100, 0.1))
            except OffsetOutOfRange as lost:
                losses.append((lost.tp, lost.offset, lost.first))
                if len(losses) == 2:  # it is said until somebody decides
                    consumer.seek(TP, lost.first)
                    consumer.commit({TP: lost.first})
            return 119 in numbers(found, "A")

        until(enough, "the newest record is read")
        assert losses in ([], [(TP, 10, 3), (TP, 10, 3)])
        assert [number for number in numbers(found, "A") if number >= 100] == list(range(100, 120))
        consumer.commit({TP: found[-1].offset + 1})
        consumer.close()
        with closing(log.consumer("g", [TOPIC], member="one")) as again:
            own(again)  # nothing is said twice


@pytest.mark.parametrize("server", ["kafka"], indirect=True)
def test_a_consumer_that_lives_while_the_log_loses_its_end_skips_nothing_either(server: Server) -> None:
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_log(server.url)))
        log.ensure_topics({TOPIC: 1})
        producer = stack.enter_context(closing(log.producer()))
        producer.append(numbered(TOPIC, "A", 3))
        server.remember()
        producer.append(numbered(TOPIC, "A", 7, start=3))
        consumer = stack.enter_context(closing(log.consumer("g", [TOPIC], member="one")))
        read(consumer, 10)
        consumer.commit({TP: 10})
        server.go_back()
        append(producer, numbered(TOPIC, "A", 20, start=100))
        lost = said(consumer.poll)
        assert (lost.tp, lost.offset, lost.first) == (TP, 10, 3)
        assert said(consumer.poll).offset == 10  # until somebody decides
        consumer.seek(TP, lost.first)
        assert numbers(read_on(consumer, lost, 20), "A") == list(range(100, 120))


def read_on(consumer: Consumer, lost: OffsetOutOfRange, count: int) -> list[Record]:
    """What is read once somebody has decided. A member that has to join again meanwhile, since the servers
    were away, begins where it had committed: it is told the same again, and the decision stands."""
    records: list[Record] = []
    told: list[OffsetOutOfRange] = []

    def enough() -> bool:
        try:
            records.extend(consumer.poll(count - len(records), 0.1))
        except OffsetOutOfRange as again:
            told.append(again)
            consumer.seek(TP, lost.first)
        return len(records) >= count

    until(enough, f"{count} records are read")
    assert all((again.tp, again.offset, again.first) == (lost.tp, lost.offset, lost.first) for again in told)
    return records


def said(poll: object) -> OffsetOutOfRange:
    """The loss, however long the servers take to be back."""
    told: list[OffsetOutOfRange] = []

    def lost() -> bool:
        try:
            assert not poll(100, 0.1)  # type: ignore[operator]
        except OffsetOutOfRange as error:
            told.append(error)
        except LogUnavailable:
            return False
        return bool(told)

    until(lost, "the loss is said")
    return told[0]


def append(producer: Producer, records: list[NewRecord]) -> None:
    """Append these, however long the servers take to be back."""

    def done() -> bool:
        try:
            producer.append(records)
        except LogUnavailable:
            return False
        return True

    until(done, "the log takes records")
