"""The loop of a target consumer.

One thread owns the log's consumer and the engine; others run the batches (`pipeline.runner.batch_run`).
Reports come back through a queue, so the engine is never touched by two threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from pipeline import pauses
from pipeline.db.database import Database
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.events import record_unreadable
from pipeline.engine.bell import Place, bell_for
from pipeline.engine.core import Engine
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import (
    Consumer,
    LogError,
    LogUnavailable,
    NotAssigned,
    OffsetOutOfRange,
    Record,
    TopicPartition,
    by_time,
    taken_away,
)
from pipeline.parking.parking_lot import ParkingLot
from pipeline.quarantine import Quarantine
from pipeline.runner.batch_run import BatchRun, Observer, Probed, Results, Runner
from pipeline.runner.effects import Effects
from pipeline.status import ENDED_BY_ERROR, HANGING, PAUSED, TOLD_TO_STOP
from pipeline.target import Handler
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import EnvelopeError, from_record

POLL_S = 0.02
IDLE_POLL_S = 0.5  # with nothing under way only the log has news, and it wakes the poll
COMMIT_EVERY_S = 0.2
REPORT_EVERY_S = 2.0
STORE_PAUSE_S = 1.0
LANES = tuple(Lane)  # of an enumeration the class is slow to go through
RECORDS_PER_POLL, RECORDS_PER_POLL_MAX = 500, 2_000
"""As many records as there is room for are read at once: the more of a student's bells are here, the fewer
items they make. The room may be exceeded by the smaller number: polls for a few records cost more."""


class TargetWorker:
    """One target consumer in one process.

    Args:
        handler: closed when the worker ends.
        effects: with an owner's name that no other worker has, nor had.
        consumer: its member of the consumer group; owned by the thread that calls `run`, closed at its end.
        clock: monotonic seconds, for the engine.
        grace_s: how long a stop waits for calls that are under way.
        partitions: how many each topic has, if several workers share the parking lot.
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
        partitions: int = 1,
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
        self._reports: queue.SimpleQueue[BatchRun | Probed] = queue.SimpleQueue()
        self._runner = Runner(handler, effects, observer, self._reports, clock, engine.limits)
        self._results = Results(handler.name, engine, effects, self._runner, observer, clock)
        self._unread: deque[Record] = deque()  # polled, not admitted yet: the store failed in between
        self._owned: Mapping[TopicPartition, int] = {}
        self._quarantine = Quarantine(handler.name, engine, database)
        self._parking_lot = ParkingLot(
            handler.name,
            database,
            partitions=partitions,
            on_trouble=lambda what: observer.trouble(handler.name, what),
        )
        self._next_commit = self._next_report = 0.0

    # --- the loop ---------------------------------------------------------------------------------

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set, then finish what is under way and commit."""
        self._runner.start()
        why = ENDED_BY_ERROR
        try:
            while not stopping.is_set():
                try:
                    try:
                        self._step()
                    except OffsetOutOfRange as lost:
                        self._start_elsewhere(lost)
                except (DependencyDown, LogUnavailable) as error:
                    self._observer.trouble(self.name, str(error))
                    self._observer.state(self.name, "down", str(error))
                    stopping.wait(STORE_PAUSE_S)
            why = TOLD_TO_STOP
        finally:
            try:
                self._drain()
            finally:
                self._runner.close()
                if not self._engine.running:  # a call that outlives the grace still needs its connections
                    self._handler.close()
                self._observer.state(self.name, "stopped", why)

    def _step(self) -> None:
        now = self._clock()
        self._runner.check()
        self._report(now)
        self._collect(wait_s=0.0)
        self._wake_parked(now)
        self._read()
        self._start()
        self._commit(self._clock())

    def _read(self) -> None:
        """Read bells; wait for a result instead, when only a result frees work."""
        rooms = self._pause_full_lanes()
        busy = self._engine.running > 0 and (self._engine.ready > 0 or not rooms)
        due_in = self._engine.due_in(self._clock())
        patience_s = POLL_S if self._engine.running else self._idle_s()
        wait_s = 0.0 if busy else min(patience_s, due_in if due_in is not None else patience_s)
        if self._unread:
            read = self._consumer.poll(0, 0.0)  # nothing more, but the membership is kept
        else:
            room = min(rooms.values(), default=0)
            wanted = max(RECORDS_PER_POLL, min(room, RECORDS_PER_POLL_MAX))
            read = self._consumer.poll(wanted, wait_s)
        self._follow_assignment()
        self._unread.extend(by_time(read))
        while self._unread:
            self._admit(self._unread[0])
            self._unread.popleft()
        if busy:
            self._collect(wait_s=POLL_S)

    def _idle_s(self) -> float:
        """Return how long only the log can bring work; a new record wakes the poll."""
        if not self._engine.circuit.passes:
            return IDLE_POLL_S
        return min(IDLE_POLL_S, self._parking_lot.due_in(self._clock()))

    def _follow_assignment(self) -> None:
        """Revoke partitions that were taken away, even if they have come back since."""
        owned = self._consumer.assignment()
        if owned != self._owned:
            gone = taken_away(self._owned, owned)
            self._engine.revoke((tp.topic, tp.partition) for tp in gone)
            self._unread = deque(record for record in self._unread if record.tp not in gone)
            self._owned = owned

    def _admit(self, record: Record) -> None:
        generation = self._engine.generation(record.topic, record.partition)
        place = Place(record.topic, record.partition, record.offset, generation, record.timestamp_ms)
        if record.is_erased:
            self._engine.skip(place)
            return
        try:
            message = from_record(record.key, record.headers, record.value, topic=record.topic)
        except EnvelopeError as error:
            record_unreadable(self._database, self.name, record, error)
            self._observer.trouble(self.name, dead_letters.unreadable(record, error))
            self._engine.skip(place)
            return
        bell = bell_for(self.name, self._follows, message, place)
        if bell is None:
            self._engine.skip(place)
        else:
            self._engine.offer(bell, self._clock())

    def _pause_full_lanes(self) -> dict[Lane, int]:
        """Pause the topics of full lanes; return the room in the others.

        Repeated for the present assignment each time: a partition may have been lost and won meanwhile.
        """
        owned = self._consumer.assignment()
        rooms = {lane: room for lane in LANES if (room := self._engine.capacity(lane)) > 0}
        pause = set()
        if len(rooms) < len(LANES):
            pause = {tp for tp in owned if catalogue.lane_of(tp.topic) not in rooms}
        self._consumer.pause(pause)
        self._consumer.resume(owned.keys() - pause)
        return rooms

    def _start(self) -> None:
        now = self._clock()
        if self._engine.probe_due(now):
            self._runner.begin_probe()
        while (batch := self._engine.take(now)) is not None:
            self._runner.begin(batch)

    def _wake_parked(self, now: float) -> None:
        if self._engine.circuit.passes:
            for bell in self._parking_lot.woken(now, self._owned):
                self._engine.offer(bell, now)

    def _start_elsewhere(self, lost: OffsetOutOfRange) -> None:
        """Resume behind records that the log lost; park the students they may concern."""
        if lost.tp is None:
            raise lost
        self._parking_lot.make_up_for(lost)
        self._engine.revoke([(lost.tp.topic, lost.tp.partition)])
        self._consumer.seek(lost.tp, lost.first)
        self._consumer.commit({lost.tp: lost.first})  # a restart does not meet the same loss again

    # --- results ----------------------------------------------------------------------------------

    def _collect(self, *, wait_s: float) -> None:
        """Process the reports that have arrived. Raises one's DependencyDown once it is processed."""
        while True:
            try:
                report = self._reports.get(timeout=wait_s) if wait_s else self._reports.get_nowait()
            except queue.Empty:
                return
            wait_s = 0.0
            self._parking_lot.look_soon(self._clock())
            self._results.tell(report)

    # --- committing and reporting -----------------------------------------------------------------

    def _commit(self, now: float, *, force: bool = False) -> None:
        if now < self._next_commit and not force:
            return
        self._next_commit = now + COMMIT_EVERY_S
        owned = self._consumer.assignment()
        moved = {
            tp: offset for tp, offset in self._engine.to_commit().items() if TopicPartition(*tp) in owned
        }
        if moved:
            try:
                self._consumer.commit({TopicPartition(*tp): offset for tp, offset in moved.items()})
            except NotAssigned as error:  # the new owner repeats that, or we do, if it comes back to us
                self._observer.trouble(self.name, str(error))
            else:
                self._engine.committed(moved)

    def _report(self, now: float) -> None:
        if now < self._next_report:
            return
        self._next_report = now + REPORT_EVERY_S
        self._quarantine.agree(now)
        circuit = self._engine.circuit
        pauses.agree(circuit, self.name, self._database)
        state, reason = "running" if circuit.passes else circuit.state, circuit.reason
        if circuit.paused:
            self._runner.stop_calling(self._engine.last)
            state, reason = "paused", PAUSED
        if hanging := self._runner.hanging():
            slots, promised_s = self._engine.limits.slots, self._handler.call_s_max
            state = "hanging" if hanging >= slots else state
            reason = HANGING.format(calls=hanging, slots=slots, seconds=f"{promised_s:g}")
        self._observer.lag(self.name, self._consumer.lag())
        self._observer.state(self.name, state, reason)

    def _drain(self) -> None:
        """Finish what is under way within the grace, commit, and leave the group."""
        give_up_at = self._clock() + self._grace_s
        self._runner.stop_calling(self._engine.last)
        try:
            while self._engine.running and self._clock() < give_up_at:
                try:
                    self._collect(wait_s=POLL_S)
                except DependencyDown as error:  # that batch repeats; the others may still end well
                    self._observer.trouble(self.name, f"while stopping: {error}")
            self._commit(self._clock(), force=True)
        except (DependencyDown, LogError) as error:
            self._observer.trouble(self.name, f"while stopping: {error}")
        finally:
            self._consumer.close()
