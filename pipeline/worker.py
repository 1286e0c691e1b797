"""The one loop that drives the engine with threads: reads bells, starts turns, commits offsets.

One thread owns the log's consumer and the engine; `slots` threads call the target. Results come back through
a queue, so the engine is never touched by two threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from pipeline.burial import bury
from pipeline.effects import Effects, Entry
from pipeline.engine import Batch, Bell, Engine, Place, Turn
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled, fault
from pipeline.eventlog.port import Consumer, LogError, LogUnavailable, NotAssigned, Record, TopicPartition
from pipeline.store import parking
from pipeline.store.database import Database
from pipeline.store.dead_letters import DeadLetter
from pipeline.target import Handler, HandlerOutcome, Retry
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import EnvelopeError, Message, event_id, from_record
from schemas.events import AccountChanged, ReplayRequested, TargetProvisioned

POLL_S = 0.02
COMMIT_EVERY_S = 0.2
PARKED_LOOK_EVERY_S = 0.25
PARKED_PER_PAGE = 200
STORE_PAUSE_S = 1.0
RECORDS_PER_POLL = 500


class Observer(Protocol):
    """Told what happens, for metrics, logs and the consumer's status. Must not raise."""

    def batch(self, target: str, students: int, seconds: float) -> None:
        """The target was called for so many students, and took so long."""

    def outcome(self, target: str, outcome: HandlerOutcome, lane: Lane) -> None:
        """A student's turn ended, and everything about it is recorded."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """The consumer's state is this now; called from time to time even when it did not change."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Records that were not committed yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """Something went wrong that will be tried again."""


@dataclass(frozen=True)
class _Result:
    """How a batch ended: nothing in `error` means that everything was recorded."""

    batch: Batch | None
    error: Exception | None = None
    answered: bool = False


def topics_for(follows: str | None) -> tuple[str, ...]:
    """What a target consumer reads: its bells, and the replays that operators ask for."""
    bells = catalogue.OUTCOMES if follows else catalogue.ACCOUNTS
    return (*catalogue.both_lanes(bells), *catalogue.both_lanes(catalogue.ACTIVATIONS))


def bell_for(name: str, follows: str | None, message: Message, place: Place) -> Bell | None:
    """The bell that this event is for the consumer `name`; None: it is for somebody else."""
    event = message.event
    if isinstance(event, ReplayRequested):
        mine = event.consumer == name
        return Bell(event.student_number, 0, place.lane, message.id, True, place) if mine else None
    if follows is None and isinstance(event, AccountChanged):
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    if follows is not None and isinstance(event, TargetProvisioned) and event.target == follows:
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    return None


class TargetWorker:
    """One target consumer in one process.

    Args:
        consumer: its member of the consumer group; owned by the thread that calls `run`.
        clock: monotonic seconds, for the engine.
        grace_s: how long a stop waits for calls that are under way.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        engine: Engine,
        effects: Effects,
        consumer: Consumer,
        database: Database,
        observer: Observer,
        follows: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = 20.0,
    ) -> None:
        self.name = handler.name
        self._handler = handler
        self._engine = engine
        self._effects = effects
        self._consumer = consumer
        self._database = database
        self._observer = observer
        self._follows = follows
        self._clock = clock
        self._grace_s = grace_s
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._unread: deque[Record] = deque()  # polled, not admitted yet: the store failed in between
        self._paused: set[TopicPartition] = set()
        self._owned: frozenset[TopicPartition] = frozenset()
        self._next_commit = self._next_parked = self._next_report = 0.0

    # --- the loop ---------------------------------------------------------------------------------

    def run(self, stopping: threading.Event) -> None:
        """Work until told to stop, then finish what is under way and commit.

        Raises:
            OffsetOutOfRange: the log lost records that this consumer has not read: see its docstring.
        """
        pool = ThreadPoolExecutor(self._engine.limits.slots + 1, thread_name_prefix=self.name)
        try:
            while not stopping.is_set():
                try:
                    self._step(pool)
                except (DependencyDown, LogUnavailable) as error:
                    self._observer.trouble(self.name, str(error))
                    stopping.wait(STORE_PAUSE_S)
        finally:
            self._drain()
            pool.shutdown(wait=False, cancel_futures=True)
            self._observer.state(self.name, "stopped", "the process was told to stop")

    def _step(self, pool: ThreadPoolExecutor) -> None:
        now = self._clock()
        self._collect(wait_s=0.0)
        self._wake_parked(now)
        self._read()
        self._start(pool)
        self._commit(self._clock())
        self._report(now)

    def _read(self) -> None:
        """Read bells; when every slot is taken, wait for a result rather than for a record."""
        self._pause_full_lanes()
        busy = self._engine.ready > 0 and self._engine.running > 0
        due_in = self._engine.due_in(self._clock())
        wait_s = 0.0 if busy else min(POLL_S, due_in if due_in is not None else POLL_S)
        self._unread.extend(self._consumer.poll(RECORDS_PER_POLL, 0.0 if self._unread else wait_s))
        while self._unread:
            self._admit(self._unread[0])
            self._unread.popleft()
        if self._consumer.assignment() != self._owned:
            owned = self._consumer.assignment()
            self._engine.revoke((tp.topic, tp.partition) for tp in self._owned - owned)
            self._owned = owned
        if busy:
            self._collect(wait_s=POLL_S)

    def _admit(self, record: Record) -> None:
        place = Place(record.topic, record.partition, record.offset)
        try:
            message = from_record(record.key, record.headers, record.value)
        except EnvelopeError as error:
            self._bury_poison(record, error)
            self._engine.skip(place)
            return
        bell = bell_for(self.name, self._follows, message, place)
        if bell is None:
            self._engine.skip(place)
        else:
            self._engine.offer(bell, self._clock())

    def _pause_full_lanes(self) -> None:
        owned = self._consumer.assignment()
        full = {lane for lane in Lane if self._engine.capacity(lane) == 0}
        pause = {tp for tp in owned if catalogue.lane_of(tp.topic) in full}
        if pause - self._paused:
            self._consumer.pause(pause - self._paused)
        if self._paused - pause:
            self._consumer.resume((self._paused - pause) & owned)
        self._paused = pause

    def _start(self, pool: ThreadPoolExecutor) -> None:
        now = self._clock()
        if self._engine.circuit.probe_due(now):
            pool.submit(self._probe)
        while (batch := self._engine.take(now)) is not None:
            pool.submit(self._work, batch)

    def _wake_parked(self, now: float) -> None:
        if now < self._next_parked or not self._engine.circuit.passes:
            return
        self._next_parked = now + PARKED_LOOK_EVERY_S
        with self._database.read() as connection:
            rows = parking.due(connection, self.name, self._database.now(connection), limit=PARKED_PER_PAGE)
        for row in rows:
            bell = Bell(row.student_number, row.version, row.lane, row.event_id, row.replay)
            self._engine.offer(bell, now)

    # --- results ----------------------------------------------------------------------------------

    def _collect(self, *, wait_s: float) -> None:
        while True:
            try:
                result = self._results.get(timeout=wait_s) if wait_s else self._results.get_nowait()
            except queue.Empty:
                return
            wait_s = 0.0
            self._apply(result)

    def _apply(self, result: _Result) -> None:
        now, error, batch = self._clock(), result.error, result.batch
        if batch is None:
            charged = self._engine.probed(now, ok=error is None, reason=str(error or ""))
            if charged is not None:
                self._charge(charged)
        elif error is None:
            self._engine.settled(batch, now, answered=result.answered)
        elif isinstance(error, TargetDown):
            self._engine.tripped(batch, now, str(error))
        elif isinstance(error, Throttled):
            self._engine.throttled(batch, now, str(error), error.retry_after_s)
        elif isinstance(error, Misconfigured):
            self._engine.misconfigured(batch, now, f"{error} {error.remedy}".strip())
        elif isinstance(error, (DependencyDown, LogError)):
            self._engine.repeat(batch, now, alone=False)
            raise DependencyDown(str(error)) from error
        else:
            self._fault(batch, error)

    def _fault(self, batch: Batch, error: Exception) -> None:
        """Something that nobody foresaw, in our own code or data: it must not hold the others up."""
        self._observer.trouble(self.name, f"unexpected: {fault(error)}")
        if len(batch.turns) == 1 and batch.turns[0].alone:
            self._effects.bury_fault(batch.turns[0], error)
            self._engine.settled(batch, self._clock(), answered=False)
        else:
            self._engine.repeat(batch, self._clock(), alone=True)

    def _charge(self, batch: Batch) -> None:
        """A student's work failed alone while the target is well: that costs an attempt."""
        try:
            entry = self._effects.enter(batch.turns)
            message = "the target fails on this student's work alone, while its probe succeeds"
            self._finish(entry, {number: Retry("fails_alone", message) for number in entry.work})
        except (DependencyDown, LogError):
            self._engine.repeat(batch, self._clock(), alone=True)
            raise
        self._engine.settled(batch, self._clock(), answered=True)

    # --- in the pool's threads --------------------------------------------------------------------

    def _probe(self) -> None:
        try:
            self._handler.probe()
        except Exception as error:  # noqa: BLE001  # whatever a probe raises, the target is not well
            self._results.put(_Result(None, error))
        else:
            self._results.put(_Result(None))

    def _work(self, batch: Batch) -> None:
        try:
            answered = self._turns(batch.turns)
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            self._results.put(_Result(batch, error))
        else:
            self._results.put(_Result(batch, answered=answered))

    def _turns(self, turns: tuple[Turn, ...]) -> bool:
        entry = self._effects.enter(turns)
        outcomes: dict[str, HandlerOutcome] = dict(entry.decided)
        tasks = entry.tasks
        if tasks:
            outcomes |= self._handle(entry)
        self._finish(entry, outcomes)
        for number, outcome in outcomes.items():
            self._observer.outcome(self.name, outcome, entry.work[number].turn.lane)
        return bool(tasks)

    def _handle(self, entry: Entry) -> dict[str, HandlerOutcome]:
        tasks, started = entry.tasks, self._clock()
        try:
            outcomes = dict(self._handler.handle(tasks))
            self._observer.batch(self.name, len(tasks), self._clock() - started)
        except (TargetDown, Throttled, Misconfigured) as error:
            self._effects.give_back(entry, suspect=getattr(error, "unknown", True))
            raise
        except DependencyDown:
            raise
        except Exception as error:  # noqa: BLE001  # a fault of ours must not stop the others
            self._observer.trouble(self.name, f"the handler failed: {fault(error)}")
            outcomes = {}
        for task in tasks:
            message = "the handler gave no outcome; the log has the fault"
            outcomes.setdefault(task.account.student_number, Retry("internal_error", message, unknown=True))
        return outcomes

    def _finish(self, entry: Entry, outcomes: dict[str, HandlerOutcome]) -> None:
        self._effects.publish(entry, outcomes)
        self._effects.record(entry, outcomes)

    def _bury_poison(self, record: Record, error: EnvelopeError) -> None:
        letter = DeadLetter(
            id=event_id("poison", self.name, record.topic, record.partition, record.offset),
            consumer=self.name,
            student_number=None,
            version=None,
            cause=error.cause,
            message=str(error),
            attempts=1,
            recorded_at=time.time(),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )
        with self._database.write() as connection:
            bury(connection, self._database, letter)
        self._observer.trouble(self.name, f"{record.topic}/{record.partition}@{record.offset}: {error}")

    # --- committing and reporting -----------------------------------------------------------------

    def _commit(self, now: float, *, force: bool = False) -> None:
        if now < self._next_commit and not force:
            return
        self._next_commit = now + COMMIT_EVERY_S
        moved = self._engine.to_commit()
        if moved:
            owned = self._consumer.assignment()
            offsets = {TopicPartition(*tp): offset for tp, offset in moved.items()}
            try:
                self._consumer.commit({tp: offset for tp, offset in offsets.items() if tp in owned})
            except NotAssigned as error:  # the new owner repeats what we could not commit: that is harmless
                self._observer.trouble(self.name, str(error))
            self._engine.committed(moved)

    def _report(self, now: float) -> None:
        if now < self._next_report:
            return
        self._next_report = now + 1.0
        circuit = self._engine.circuit
        self._observer.state(self.name, "running" if circuit.passes else circuit.state, circuit.reason)
        self._observer.lag(self.name, self._consumer.lag())

    def _drain(self) -> None:
        """Finish what is under way within the grace, commit, and leave the group."""
        give_up_at = self._clock() + self._grace_s
        try:
            while self._engine.running and self._clock() < give_up_at:
                self._collect(wait_s=POLL_S)
            self._commit(self._clock(), force=True)
        except (DependencyDown, LogError) as error:
            self._observer.trouble(self.name, f"while stopping: {error}")
        finally:
            self._consumer.close()
