"""What the tests of the loop of facts share: a log, a store, and a handler and a consumer that can fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.eventlog.port import Consumer, LogUnavailable, NewRecord, Record, TopicPartition
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.facts import Fact, FactLoop
from pipeline.timers import timers
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.envelope import Message, event_id, to_record
from schemas.events import ActivationRequested
from sesame.testing.servers.database_kit import START, kept
from sesame.testing.servers.target_kit import Silent
from sesame.testing.servers.waiting import until

TOPICS = catalogue.both_lanes(catalogue.ACTIVATIONS)


class Handler:
    """Keeps the students of its facts as rows, in order, and fails as it is told to."""

    name = "registry"
    topics: tuple[str, ...] = TOPICS

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fails: dict[str, Exception] = {}
        self.seen: list[str] = []
        self.recovers = ""

    def make_up_for_lost(self, connection: Connection) -> str:
        return self.recovers

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        for record, message in facts:
            number = message.event.student_number
            self.seen.append(number)
            place = f"{record.topic}@{record.offset}"
            row = self._database.insert(timers).values(kind=place, student_number=number, due_at=1.0)
            connection.execute(row.on_conflict_do_nothing())
            if number in self.fails:
                raise self.fails[number]


class Faulty:
    """A consumer whose calls fail as they are told to, once each."""

    def __init__(self, inner: Consumer) -> None:
        self.inner = inner
        self.fail_polls: set[int] = set()
        self.fail_commits = 0
        self.polls = 0
        self.commits: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self.polls += 1
        if self.polls in self.fail_polls:
            raise LogUnavailable("away")
        return self.inner.poll(max_records, timeout_s)

    def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.fail_commits:
            self.fail_commits -= 1
            raise LogUnavailable("away")
        self.commits.append(sum(offsets.values()))
        self.inner.commit(offsets)


class FactLoopHarness:
    """A log, a store and a loop over them."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.log = SqliteEventLog(folder / "log.db")
        self.log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 1))
        self.producer = self.log.producer()
        self.handler: Handler = Handler(database)
        self.observer = Silent()
        self.rang = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def say(self, number: str, *, bulk: bool = False) -> None:
        event = ActivationRequested(student_number=number)
        message = Message(
            event_id(event.type, "test", number), "/sesame/test", datetime.fromtimestamp(START, UTC), event
        )
        headers, value = to_record(message)
        self.producer.append([NewRecord(TOPICS[bulk], number, value, headers)])

    def consumer(self) -> Faulty:
        return Faulty(self.log.consumer(self.handler.name, TOPICS, member="test"))

    def start(self, consumer: Faulty | None = None) -> None:
        loop = FactLoop(
            handler=self.handler,
            consumer=consumer or self.consumer(),  # type: ignore[arg-type]
            database=self.database,
            observer=self.observer,
            after=self._ring,
            clock=time.monotonic,
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=loop.run, args=(self._stopping,))
        self._thread.start()

    def _ring(self) -> None:
        self.rang += 1

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()
            self._thread = None

    def kept(self) -> list[str]:
        return kept(self.database)

    def letters(self) -> list[dead_letters.DeadLetter]:
        with self.database.read() as connection:
            return dead_letters.unresolved(connection)

    def lag(self) -> int:
        consumer = self.consumer()
        lag = sum(consumer.inner.lag().values())
        consumer.inner.close()
        return lag

    def until(self, what: Callable[[], bool]) -> None:
        until(what, lambda: f"troubles: {self.observer.troubles}")

    def close(self) -> None:
        self.stop()
        self.producer.close()
        self.log.close()
