"""The loop of consumers that apply facts in order to the store only.

The registry and propagation use it. Many facts share one transaction; the offsets are committed after it, so
a crash repeats facts, and handlers recognise what they have seen. When the store is down the loop stops and
waits. A handler gets a page of facts at a time. If one of them cannot be applied, the transaction is undone
and begun again with each fact alone: that one goes to the dead letters, the others are applied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from pipeline import lost_records
from pipeline.db.database import Database, stores_fault
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.eventlog.port import (
    Consumer,
    LogUnavailable,
    NotAssigned,
    OffsetOutOfRange,
    Record,
    TopicPartition,
    by_time,
    taken_away,
)
from pipeline.status import TOLD_TO_STOP
from schemas.account import Lane
from schemas.catalogue import lane_of
from schemas.envelope import EnvelopeError, Message, event_id, from_record

POLL_S = 0.5  # a new record wakes the poll
RECORDS_PER_TRANSACTION = 200
FACTS_PER_PAGE = 25  # that a handler gets at once, and reads for together; others wait for so many to write
TRANSACTION_S = 0.12  # then another process that waits has its turn: SQLite has one writer
BULK_SHARE = 20  # records of bulk topics that are read after each full page of personal ones
PAUSE_S = 1.0
REPORT_EVERY_S = 2.0


class Rejected(SesameError):
    """A fact cannot be applied. It goes to the dead letters under its cause; the others go on."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Fact(NamedTuple):
    """An event, and the record that it was read from."""

    record: Record
    message: Message


class FactHandler(Protocol):
    """Applies facts to the store."""

    name: str
    topics: tuple[str, ...]

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Apply these facts in order, within this transaction. Applying them again changes nothing.

        Raises:
            Rejected: one cannot be applied. The caller undoes all, and gives each alone.
        """

    def make_up_for_lost(self, connection: Connection) -> str:
        """Make up, from the store, for facts that the log lost unread. Return what was done, in words.

        Empty: the store cannot know them; an operator must resubmit them.
        """


class FactObserver(Protocol):
    """Receives the loop's events, for metrics and logs. Must not raise."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """Report the consumer's state."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Report the records that are not committed yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """Report a problem that will be retried, or went to the dead letters."""


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
        self._pending: list[Record] = []  # read, not applied yet
        self._owned: Mapping[TopicPartition, int] = {}
        self._applied: dict[TopicPartition, int] = {}  # applied, not committed yet
        self._next_report = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Apply facts until `stopping` is set.

        Lost facts that the store cannot make up for stop it, until an operator accepts the loss.
        """
        try:
            while not stopping.is_set():
                try:
                    if self._step_or_recover():
                        self._report("running", "")
                    else:
                        stopping.wait(PAUSE_S)
                except (DependencyDown, LogUnavailable) as error:
                    self._observer.trouble(self.name, str(error))
                    self._observer.state(self.name, "down", str(error))
                    stopping.wait(PAUSE_S)
        finally:
            self._consumer.close()
            self._observer.state(self.name, "stopped", TOLD_TO_STOP)

    def _step_or_recover(self) -> bool:
        """Take one step. False: records are lost, and no operator has accepted that yet."""
        try:
            self._step()
        except OffsetOutOfRange as lost:
            if lost.tp is None:
                raise
            return self._recover(lost, lost.tp)
        return True

    def _recover(self, lost: OffsetOutOfRange, tp: TopicPartition) -> bool:
        with self._database.write() as connection:
            done = self._handler.make_up_for_lost(connection)
            accepted = bool(done) or lost_records.notice(
                connection,
                self._database,
                self.name,
                tp.topic,
                tp.partition,
                offset=lost.offset,
                first=lost.first,
            )
        if not accepted:
            why = (
                f"{lost}. These facts were not read and are not in the store: bring them again, e.g. by "
                "importing the registrar's file, then `sesame lost-records accept`"
            )
            self._observer.state(self.name, "records lost", why)
            return False
        self._observer.trouble(self.name, f"{lost}; {done or 'an operator accepted the loss'}")
        self._consumer.seek(tp, lost.first)
        self._applied[tp] = lost.first  # committed with the next step: a restart does not meet it again
        return True

    def _step(self) -> None:
        self._commit()
        if self._pending:
            self._poll(0, 0.0)  # the store was away, or wanted: nothing more, but the membership is kept
        else:
            self._read()
        if not self._pending:
            return
        applied = self._apply(self._pending)
        for record in self._pending[:applied]:
            self._applied[record.tp] = record.offset + 1
        self._pending = self._pending[applied:]
        self._after()
        self._commit()

    def _read(self) -> None:
        """Read personal facts first; bulk ones keep a minimum share.

        What was read is kept at once: the consumer's position has moved past it, whatever happens next.
        """
        owned = self._consumer.assignment()
        bulk = {tp for tp in owned if lane_of(tp.topic) is Lane.BULK}
        self._read_without(bulk, RECORDS_PER_TRANSACTION)
        if self._pending:
            self._read_without(owned.keys() - bulk, BULK_SHARE)
        else:
            self._poll(RECORDS_PER_TRANSACTION, POLL_S)

    def _read_without(self, paused: Collection[TopicPartition], records: int) -> None:
        self._consumer.pause(paused)
        try:
            self._poll(records, 0.0)
        finally:
            self._consumer.resume(paused)

    def _poll(self, records: int, timeout_s: float) -> None:
        """Poll. Drop the pending records of partitions that were taken away, even if they came back."""
        read = by_time(self._consumer.poll(records, timeout_s))
        owned = self._consumer.assignment()
        gone = taken_away(self._owned, owned)
        self._pending = [record for record in self._pending if record.tp not in gone] + read
        self._owned = owned

    def _commit(self) -> None:
        if not self._applied:
            return
        try:
            self._consumer.commit(self._applied)
        except NotAssigned as error:  # the new owner applies these again: handlers recognise them
            self._observer.trouble(self.name, str(error))
        self._applied = {}

    def _apply(self, records: list[Record]) -> int:
        """Apply the first of these records, in one transaction; return how many."""
        try:
            said = self._database.transact(partial(self._apply_in_time, records, FACTS_PER_PAGE))
        except Exception as error:
            if stores_fault(error):
                raise
            said = self._database.transact(partial(self._apply_in_time, records, 1))
        for text in filter(None, said):
            self._observer.trouble(self.name, text)
        return len(said)

    def _apply_in_time(self, records: list[Record], page: int, connection: Connection) -> list[str | None]:
        """Apply a page at least, more until another process waits. Return each one's report, or None."""
        said: list[str | None] = []
        ends_at = self._clock() + TRANSACTION_S
        apply = self._apply_alone if page == 1 else self._apply_together
        for start in range(0, len(records), page):
            said += apply(connection, records[start : start + page])
            if self._clock() >= ends_at and self._database.others_wait():
                break
        return said

    def _apply_together(self, connection: Connection, records: Sequence[Record]) -> list[str | None]:
        """Apply a page of facts. Raises what the handler raises: nothing of the transaction may stay."""
        read = [self._read_fact(connection, record) for record in records]
        self._handler.handle(connection, [each for each in read if isinstance(each, Fact)])
        return [None if isinstance(each, Fact) else each for each in read]

    def _apply_alone(self, connection: Connection, records: Sequence[Record]) -> list[str | None]:
        """Apply one fact, or put it into the dead letters."""
        [record] = records
        fact = self._read_fact(connection, record)
        if not isinstance(fact, Fact):
            return [fact]
        try:
            with connection.begin_nested():
                self._handler.handle(connection, [fact])
        except Rejected as error:
            return [self._reject(connection, record, error.cause, str(error), fact.message)]
        except Exception as error:
            if stores_fault(error):
                raise
            # One unforeseen fact must not stop the others.
            # Only the kind and the place: an error's text may repeat what the fact says of a person.
            text = f"a fault of Sésame's own: {fault(error)}; report it, then replay"
            return [self._reject(connection, record, "internal_error", text, fact.message)]
        return [None]

    def _read_fact(self, connection: Connection, record: Record) -> Fact | str | None:
        """The fact of a record; None: it was erased; a text: it is unreadable, and among the dead letters."""
        if record.is_erased:
            return None
        try:
            return Fact(record, from_record(record.key, record.headers, record.value, topic=record.topic))
        except EnvelopeError as error:
            return self._reject(connection, record, error.cause, dead_letters.unreadable(record, error))

    def _reject(
        self, connection: Connection, record: Record, cause: str, text: str, message: Message | None = None
    ) -> str:
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
            timestamp_ms=record.timestamp_ms,
            event_id=message.id if message is not None else None,
        )
        dead_letters.record(connection, self._database, letter)
        place = f"{record.topic}/{record.partition}@{record.offset}: {cause}: "
        return text if message is None else place + text

    def _report(self, state: str, reason: str) -> None:
        now = self._clock()
        if now >= self._next_report:
            self._next_report = now + REPORT_EVERY_S
            self._observer.lag(self.name, self._consumer.lag())
            self._observer.state(self.name, state, reason)
