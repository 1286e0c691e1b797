"""The engine proper: lanes, batches, offsets and the circuit, joined."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.engine.bell import Batch, Bell, Place, Turn
from pipeline.engine.blame import Blame
from pipeline.engine.circuit import Circuit, CircuitState
from pipeline.engine.limits import Limits
from pipeline.engine.offsets import OffsetTracker
from schemas.account import Lane
from schemas.catalogue import lane_of

Partition = tuple[str, int]


@dataclass
class _Student:
    """A student's one place: bells that wait, and whether a turn is running."""

    waiting: list[Bell] = field(default_factory=list)
    running: bool = False
    ready_at: float = 0.0
    queued_in: Lane | None = None


class Engine:
    """Decides what may run and what may be committed, for one target consumer in one process.

    A bell whose partition was revoked keeps running under its lease; only its offset is not committed here.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.circuit = Circuit(limits)
        self._students: dict[str, _Student] = {}
        self._queues: dict[Lane, deque[str]] = {Lane.PERSONAL: deque(), Lane.BULK: deque()}
        self._offsets: dict[Partition, OffsetTracker] = {}
        self._in_hand = {Lane.PERSONAL: 0, Lane.BULK: 0}
        self._running: dict[int, Batch] = {}
        self._batches = 0
        self._since_bulk = 0
        self._blame = Blame()

    # --- reading ----------------------------------------------------------------------------------

    def offer(self, bell: Bell, now: float) -> None:
        """A bell was read from the log, or came out of the parking lot."""
        if bell.place is not None:
            if not self._tracker(bell.place).read(bell.place.offset):
                return
            self._in_hand[bell.place.lane] += 1
        student = self._students.setdefault(bell.student_number, _Student())
        if bell.place is None and (student.running or student.waiting):
            return  # it is about to be looked at anyway: one place each
        student.waiting.append(bell)
        self._queue(bell.student_number, student, now)

    def skip(self, place: Place) -> None:
        """A record was read that asks for nothing here (or was dead-lettered already)."""
        tracker = self._tracker(place)
        if tracker.read(place.offset):
            tracker.settle(place.offset)

    def capacity(self, lane: Lane) -> int:
        """How many more records of this lane may be read. 0: pause its topics."""
        if not self.circuit.passes:
            return 0
        for (topic, _), tracker in self._offsets.items():
            if tracker.gap >= self.limits.gap_max and lane_of(topic) is lane:
                return 0
        return max(0, self.limits.in_hand_max - self._in_hand[lane])

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """These partitions belong to another member now: their offsets are no longer ours to commit."""
        for partition in partitions:
            self._offsets.pop(partition, None)

    # --- working ----------------------------------------------------------------------------------

    def take(self, now: float) -> Batch | None:
        """The next batch that may start now, or None."""
        self.circuit.tick(now)
        if not self.circuit.passes or len(self._running) >= self.limits.slots:
            return None
        if self.circuit.state is CircuitState.HALF_OPEN and any(map(self._blame.fresh, self._running)):
            return None  # one at a time until a student's work succeeded
        for lane in self._order():
            turns = self._gather(lane, now)
            if turns:
                return self._start(lane, turns)
        return None

    def settled(self, batch: Batch, now: float, *, answered: bool) -> None:
        """Every student of the batch has an outcome that is recorded durably.

        `answered`: the target was called and answered, which is evidence that it is well.
        """
        del self._running[batch.number]
        for turn in batch.turns:
            self._finish(turn, now)
        if answered:
            self._blame.answered(batch)
        if answered and self.circuit.state is CircuitState.HALF_OPEN:
            self.circuit.close()

    def repeat(self, batch: Batch, now: float, *, alone: bool) -> None:
        """Nothing is known to have happened (the store or the log failed): the same bells ring again."""
        self._give_back(batch, now, alone=alone)

    def tripped(self, batch: Batch, now: float, reason: str) -> None:
        """The target as a whole failed during this batch: nobody is charged, and each comes again alone."""
        self._give_back(batch, now, alone=True)
        if self._blame.fresh(batch.number):
            self._blame.failed(batch)
            self.circuit.down(now, reason)

    def throttled(self, batch: Batch, now: float, reason: str, retry_after_s: float) -> None:
        """The target asked for a pause during this batch: nobody is charged."""
        self._give_back(batch, now)
        self.circuit.throttled(now, reason, retry_after_s)

    def misconfigured(self, batch: Batch, now: float, reason: str) -> None:
        """The target refused the consumer during this batch: nobody is charged, and each comes again alone,
        others first."""
        self._give_back(batch, now, alone=True, front=False)
        if not self._blame.fresh(batch.number):
            return
        if self._blame.refused(batch):
            self.circuit.down(now, reason)  # the target is well for others: a quick probe is enough
        else:
            self.circuit.misconfigured(now, reason)

    def probed(self, now: float, *, ok: bool, reason: str = "") -> Batch | None:
        """A probe ended. If a student's work failed alone and the target is well, that student is to be
        charged with an attempt: it is returned as a batch that only needs an outcome."""
        self.circuit.probed(now, ok=ok, reason=reason)
        accused = self._blame.probed(ok=ok, batches=self._batches)
        student = self._students.get(accused) if accused is not None else None
        if accused is None or student is None or student.running or not student.waiting:
            return None
        self._unqueue(accused, student)
        turn = Turn(tuple(student.waiting), alone=True)
        student.waiting = []
        return self._start(turn.lane, [turn])

    # --- committing -------------------------------------------------------------------------------

    def to_commit(self) -> dict[Partition, int]:
        """Per partition, the next offset to read, where it moved."""
        moved = ((partition, tracker.to_commit()) for partition, tracker in self._offsets.items())
        return {partition: offset for partition, offset in moved if offset is not None}

    def committed(self, offsets: dict[Partition, int]) -> None:
        """The log acknowledged these."""
        for partition, offset in offsets.items():
            if partition in self._offsets:
                self._offsets[partition].committed(offset)

    # --- looking ----------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Batches that are being worked on."""
        return len(self._running)

    @property
    def ready(self) -> int:
        """Students that wait for a slot."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand at all."""
        return not self._students and not self._running

    def due_in(self, now: float) -> float | None:
        """Seconds until something can happen without a record or a result; None: nothing can."""
        moments = [
            self._students[queue[0]].ready_at + self.limits.linger_s
            for queue in self._queues.values()
            if queue and self.circuit.passes
        ]
        probe_at = self.circuit.next_at()
        if probe_at is not None:
            moments.append(probe_at)
        return max(0.0, min(moments) - now) if moments else None

    # --- inside -----------------------------------------------------------------------------------

    def _tracker(self, place: Place) -> OffsetTracker:
        return self._offsets.setdefault((place.topic, place.partition), OffsetTracker())

    def _order(self) -> tuple[Lane, ...]:
        bulk_running = sum(batch.lane is Lane.BULK for batch in self._running.values())
        if bulk_running >= self.limits.slots - self.limits.slots_personal:
            return (Lane.PERSONAL,)
        if self._since_bulk + 1 >= self.limits.bulk_every:
            return (Lane.BULK, Lane.PERSONAL)
        return (Lane.PERSONAL, Lane.BULK)

    def _gather(self, lane: Lane, now: float) -> list[Turn]:
        queue = self._queues[lane]
        if not queue:
            return []
        full = len(queue) >= self.limits.batch_size
        if not full and now - self._students[queue[0]].ready_at < self.limits.linger_s:
            return []
        size = 1 if self.circuit.state is CircuitState.HALF_OPEN else self.limits.batch_size
        turns: list[Turn] = []
        while queue and len(turns) < size:
            number = queue[0]
            alone = self._blame.alone(number)
            if alone and turns:
                break
            queue.popleft()
            student = self._students[number]
            student.queued_in = None
            turns.append(Turn(tuple(student.waiting), alone=alone))
            student.waiting = []
            if alone:
                break
        return turns

    def _start(self, lane: Lane, turns: list[Turn]) -> Batch:
        self._batches += 1
        batch = Batch(self._batches, lane, tuple(turns))
        self._running[batch.number] = batch
        for turn in turns:
            self._students[turn.student_number].running = True
        self._since_bulk = 0 if lane is Lane.BULK else self._since_bulk + 1
        return batch

    def _finish(self, turn: Turn, now: float) -> None:
        for place in turn.places:
            tracker = self._offsets.get((place.topic, place.partition))
            if tracker is not None:
                tracker.settle(place.offset)
        self._release(turn)
        student = self._students[turn.student_number]
        student.running = False
        if student.waiting:
            self._queue(turn.student_number, student, now)
        else:
            del self._students[turn.student_number]

    def _release(self, turn: Turn) -> None:
        for place in turn.places:
            self._in_hand[place.lane] -= 1

    def _give_back(self, batch: Batch, now: float, *, alone: bool = False, front: bool = True) -> None:
        del self._running[batch.number]
        if alone:
            self._blame.isolate(batch)
        for turn in reversed(batch.turns) if front else batch.turns:
            student = self._students[turn.student_number]
            student.waiting = [*turn.bells, *student.waiting]
            student.running = False
            self._queue(turn.student_number, student, now, front=front)

    def _queue(self, number: str, student: _Student, now: float, *, front: bool = False) -> None:
        lane = Turn(tuple(student.waiting)).lane
        if student.running or student.queued_in is lane:
            return
        self._unqueue(number, student)
        student.queued_in = lane
        student.ready_at = now
        if front:
            self._queues[lane].appendleft(number)
        else:
            self._queues[lane].append(number)

    def _unqueue(self, number: str, student: _Student) -> None:
        if student.queued_in is not None:
            self._queues[student.queued_in].remove(number)
            student.queued_in = None
