"""The loop of those who read facts one by one, in order, and touch nothing but the store.

The registry and propagation are such. Many facts may share one transaction; the offsets are committed after
it, so a crash repeats facts, and handlers recognise what they have seen. When the store is down the loop
stops and waits. A fact that cannot be applied goes to the dead letters, and the rest goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from pipeline.burial import bury
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.eventlog.port import Consumer, LogUnavailable, Record, TopicPartition
from pipeline.store.database import Database
from pipeline.store.dead_letters import DeadLetter
from schemas.account import Lane
from schemas.catalogue import lane_of
from schemas.envelope import EnvelopeError, Message, event_id, from_record

POLL_S = 0.05
RECORDS_PER_TRANSACTION = 200
BULK_SHARE = 20  # records of bulk topics that are read after each full page of personal ones
PAUSE_S = 1.0
REPORT_EVERY_S = 1.0


class Rejected(SesameError):
    """A fact cannot be applied. It goes to the dead letters under its cause; the others go on."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class FactHandler(Protocol):
    """Applies facts to the store."""

    name: str
    topics: tuple[str, ...]

    def handle(self, connection: Connection, record: Record, message: Message) -> None:
        """Apply one fact within this transaction. Applying it again changes nothing.

        Raises:
            Rejected: it cannot be applied; what was written for it is undone.
        """


class FactObserver(Protocol):
    """Told what happens, for metrics and logs. Must not raise."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """The consumer's state is this now."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Records that were not committed yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """Something went wrong that will be tried again, or went to the dead letters."""


class FactLoop:
    """Drives one fact handler. Owned by the thread that calls `run`.

    Args:
        after: called after each transaction that had records, e.g. to ring the outbox.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        handler: FactHandler,
        consumer: Consumer,
        database: Database,
        observer: FactObserver,
        after: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.name = handler.name
        self._handler = handler
        self._consumer = consumer
        self._database = database
        self._observer = observer
        self._after = after
        self._clock = clock
        self._pending: list[Record] = []
        self._next_report = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Apply facts until told to stop.

        Raises:
            OffsetOutOfRange: the log lost facts that were not read: ask the registrar for the file again.
        """
        try:
            while not stopping.is_set():
                try:
                    self._step()
                    self._report("running", "")
                except (DependencyDown, LogUnavailable) as error:
                    self._observer.trouble(self.name, str(error))
                    self._observer.state(self.name, "down", str(error))
                    stopping.wait(PAUSE_S)
        finally:
            self._consumer.close()
            self._observer.state(self.name, "stopped", "the process was told to stop")

    def _step(self) -> None:
        if not self._pending:
            self._pending = self._next_records()
        if not self._pending:
            return
        self._apply(self._pending)
        offsets: dict[TopicPartition, int] = {}
        for record in self._pending:
            offsets[record.tp] = record.offset + 1
        self._pending = []
        self._after()
        self._consumer.commit(offsets)

    def _next_records(self) -> list[Record]:
        """Personal facts first; bulk ones get a minimum share while there are personal ones."""
        bulk = {tp for tp in self._consumer.assignment() if lane_of(tp.topic) is Lane.BULK}
        self._consumer.pause(bulk)
        records = self._consumer.poll(RECORDS_PER_TRANSACTION, 0.0)
        self._consumer.resume(bulk)
        share = BULK_SHARE if records else RECORDS_PER_TRANSACTION
        return records + self._consumer.poll(share, 0.0 if records else POLL_S)

    def _apply(self, records: list[Record]) -> None:
        with self._database.write() as connection:
            for record in records:
                self._apply_one(connection, record)

    def _apply_one(self, connection: Connection, record: Record) -> None:
        try:
            message = from_record(record.key, record.headers, record.value)
        except EnvelopeError as error:
            self._reject(connection, record, error.cause, str(error))
            return
        try:
            with connection.begin_nested():
                self._handler.handle(connection, record, message)
        except Rejected as error:
            self._reject(connection, record, error.cause, str(error), message)
        except (DependencyDown, OperationalError):
            raise  # the store, not the fact: a lost connection, a deadlock, a full disk
        except Exception as error:  # noqa: BLE001  # one fact of an unforeseen kind must not stop the others
            # Only the kind and the place: an error's text may repeat what the fact says of a person.
            text = f"a fault of Sésame's own: {fault(error)}; report it, then replay"
            self._reject(connection, record, "internal_error", text, message)

    def _reject(
        self, connection: Connection, record: Record, cause: str, text: str, message: Message | None = None
    ) -> None:
        letter = DeadLetter(
            id=event_id("dead-letter", self.name, record.topic, record.partition, record.offset),
            consumer=self.name,
            student_number=message.event.student_number if message is not None else None,
            version=None,
            cause=cause,
            message=text,
            attempts=1,
            recorded_at=self._database.now(connection),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_id=message.id if message is not None else None,
        )
        bury(connection, self._database, letter)
        self._observer.trouble(
            self.name, f"{record.topic}/{record.partition}@{record.offset}: {cause}: {text}"
        )

    def _report(self, state: str, reason: str) -> None:
        now = self._clock()
        if now >= self._next_report:
            self._next_report = now + REPORT_EVERY_S
            self._observer.state(self.name, state, reason)
            self._observer.lag(self.name, self._consumer.lag())
