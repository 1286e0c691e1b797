"""The engine proper: lanes, batches, offsets and the circuit, joined.

Effects of a batch's end (`circuit.TRANSITIONS` gives the state after each event of the circuit):

| How it ended | Its students | The circuit |
|---|---|---|
| `settled`, answered | are done, and suspects no more | answered; given up, if too many were |
| `settled`, not answered | are done | – |
| `repeat` | are retried, first; halved: as suspects | – |
| `tripped` | are retried as suspects, first | down, unless the batch began before the last good probe, or \
it is one answer (`answered`) among others that are good |
| `throttled` | are retried, first | pause |
| `misconfigured` | are retried as suspects, last | refused; down, if a student of the batch is the cause |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeVar

from pipeline.engine.bell import Batch, Bell, Place, QueuedStudent, Queues, WorkItem
from pipeline.engine.circuit import REFUSED_AGAIN, Circuit, CircuitState, FailureRate
from pipeline.engine.limits import Limits
from pipeline.engine.offsets import Offsets, Partition
from schemas.account import Lane

NOTES_MAX = 10_000
T = TypeVar("T")


class Culprit:
    """Find the student whose work makes calls fail, by halves; clear the others.

    The students of a failed call are suspects until the target has answered for them, even through the
    parking lot and back. A suspect's next call has half as many students as the one that failed, and suspects
    only. A call that began before the last good probe is no news when it fails.
    """

    def __init__(self) -> None:
        self._suspects: dict[str, int] = {}  # and how many students their next call may have
        self._refused: dict[str, int] = {}  # when there had been so many answers
        self._accused: WorkItem | None = None
        self._answers = 0
        self._stale_through = 0  # batches up to this number began before the last good probe

    def seats(self, number: str) -> int | None:
        """Return the most students of this suspect's next call; None: no suspect."""
        return self._suspects.get(number)

    def halve(self, batch: Batch) -> None:
        """Make a failed batch's students suspects; their next calls have half its size."""
        half = (len(batch.items) + 1) // 2
        for item in batch.items:
            _note(self._suspects, item.student_number, half)

    def fresh(self, number: int) -> bool:
        """Whether the batch of this number began after the last good probe."""
        return number > self._stale_through

    def answered(self, batch: Batch, uncalled: Collection[str] = ()) -> None:
        """Clear the students of an answered batch, except those it was not called for."""
        self._answers += 1
        for item in batch.items:
            if item.student_number not in uncalled:
                self._suspects.pop(item.student_number, None)
                self._refused.pop(item.student_number, None)

    def failed(self, batch: Batch, *, first: bool) -> None:
        """Accuse a failed call's only student until the next probe. No student, if others failed before."""
        self._accused = _only(batch) if first else None

    def refused(self, batch: Batch) -> bool:
        """Return whether a student of this batch is why the target refused the consumer.

        A probe may not need what is refused, so that its success alone accuses no student. A batch whose
        students were all refused before, while others' work was answered since, contains the cause; a student
        who is alone in it by then is accused.
        """
        before = [self._refused.get(item.student_number) for item in batch.items]
        for item in batch.items:
            _note(self._refused, item.student_number, self._answers)
        if any(answers is None or answers == self._answers for answers in before):
            return False
        self._accused = _only(batch)
        return True

    def probed(self, *, ok: bool, batches: int) -> str | None:
        """End a probe, after `batches` batches; return the culprit, if known now."""
        accused, self._accused = self._accused, None
        if not ok:
            return None
        self._stale_through = batches
        return accused.student_number if accused is not None else None


def _only(batch: Batch) -> WorkItem | None:
    """Return the item of a call of one suspect alone; None: there were others."""
    return batch.items[0] if len(batch.items) == 1 and batch.items[0].suspect else None


def _note(notes: dict[str, T], number: str, value: T) -> None:
    """Note a value of a student; when there are too many notes, drop the oldest."""
    notes[number] = value
    if len(notes) > NOTES_MAX:
        del notes[next(iter(notes))]


_ENDS_KEPT: Final = 10
_TRIPS_MIN: Final = 3
_TRIPS_SHARE: Final = 0.5
"""An answered failure opens the circuit once this share of the last calls failed."""
LOOK_AFTER_S: Final = 20.0
"""Probe a target idle for so long, to notice an outage before work arrives."""


class Engine:
    """Decide what may run and be committed, for one target consumer in a process.

    A bell whose partition was revoked keeps running under its lease; only its offset is not committed here.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.circuit = Circuit(limits)
        self._students: dict[str, QueuedStudent] = {}
        self._queues = Queues()
        self._offsets = Offsets()
        self._in_hand = dict.fromkeys(Lane, 0)
        self._running: set[int] = set()  # batches, by number
        self._running_of = dict.fromkeys(Lane, 0)
        self._batches = 0
        self._culprit = Culprit()
        self._failure_rate = FailureRate(limits)
        self._ends: deque[bool] = deque(maxlen=_ENDS_KEPT)  # of the latest calls: whether they were answered
        self._idle_since: float | None = None

    # --- reading ----------------------------------------------------------------------------------

    def offer(self, bell: Bell, now: float) -> None:
        """Queue a bell that was read from the log, or came out of the parking lot."""
        if bell.place is not None:
            if not self._offsets.read(bell.place):
                return
            self._in_hand[bell.place.lane] += 1
        student = self._students.get(bell.student_number)
        if student is None:
            student = self._students[bell.student_number] = QueuedStudent()
        if bell.place is None and (student.running or student.waiting):
            return  # it is about to be looked at anyway: one place each
        student.waiting.append(bell)
        self._queues.put(bell.student_number, student, now)

    def skip(self, place: Place) -> None:
        """Settle a record that needs no work here (or was dead-lettered already)."""
        if self._offsets.read(place):
            self._offsets.settle(place)

    def capacity(self, lane: Lane) -> int:
        """Return how many more records of this lane may be read. 0: pause its topics."""
        if not self.circuit.passes:
            return 0
        if self._offsets.gap_reached(lane, self.limits.gap_max):
            return 0
        return max(0, self.limits.in_hand_max - self._in_hand[lane])

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Give up partitions that another member owns now, or that are re-read elsewhere.

        Their offsets are not committed here any more. Work not begun is dropped: the next reader does it.
        """
        self._offsets.revoke(partitions)
        for number, student in list(self._students.items()):
            kept = [
                bell for bell in student.waiting if bell.place is None or self._offsets.current(bell.place)
            ]
            for bell in student.waiting:
                if bell.place is not None and bell not in kept:
                    self._in_hand[bell.place.lane] -= 1
            student.waiting = kept
            if not kept:
                self._queues.drop(number, student)
                if not student.running:
                    del self._students[number]

    def generation(self, topic: str, partition: int) -> int:
        """Return the generation for places of this partition that are read now."""
        return self._offsets.generation((topic, partition))

    # --- working ----------------------------------------------------------------------------------

    def take(self, now: float) -> Batch | None:
        """Return the next batch that may start now, or None. A free slot's lane is chosen when it is free."""
        self.circuit.tick(now)
        if not self.circuit.passes:
            return None
        if self.circuit.state is CircuitState.HALF_OPEN and any(map(self._culprit.fresh, self._running)):
            return None  # one batch at a time until one was answered
        for lane, running in self._running_of.items():
            full = running >= self.limits.slots_of(lane) + self.limits.ahead
            items = [] if full else self._gather(lane, now)
            if items:
                return self._start(lane, items)
        return None

    def settled(
        self,
        batch: Batch,
        now: float,
        *,
        answered: bool,
        uncalled: Collection[str] = (),
        given_up: Sequence[str] = (),
    ) -> None:
        """End a batch: every student has a durably recorded outcome.

        Args:
            answered: the target was called and answered, which is evidence that it is well.
            uncalled: students of the batch for whom it was not called all the same.
            given_up: the causes of those who went to the dead letters.
        """
        self._ended(batch)
        for item in batch.items:
            self._finish(item, now)
        if not answered:
            return
        self._culprit.answered(batch, uncalled)
        self._ends.append(True)
        if self.circuit.quarantined:
            self._tried(batch, now, given_up)
            return
        self.circuit.answered()
        self._failure_rate.note(now, len(batch.items), given_up)
        if why := self._failure_rate.too_many():
            self.quarantine(now, why)

    def quarantine(self, now: float, why: str) -> None:
        """Stop all but trials of one student: too much work is given up, here or in another process."""
        self._failure_rate.forget()
        self.circuit.quarantine(now, why)

    def lift(self) -> None:
        """Lift the quarantine, as an operator or another process's trial did."""
        self._failure_rate.forget()
        self.circuit.lift()

    def repeat(self, batch: Batch, now: float, *, halved: bool) -> None:
        """Put back the bells: store or log failed, no effect is known; `halved`: a student is the cause."""
        self._give_back(batch, now, halved=halved)

    def tripped(self, batch: Batch, now: float, reason: str, *, answered: bool = False) -> None:
        """Retry the batch by halves: the target failed as a whole. Charges no attempt.

        `answered`: the target answered so at once. One server of several may be away: the circuit opens only
        at a share of such answers, or at one for a student who was called alone because of an earlier one.
        """
        alone = len(batch.items) == 1 and batch.items[0].suspect
        self._ends.append(False)
        self._give_back(batch, now, halved=True)
        few = self._ends.count(False) < max(_TRIPS_MIN, len(self._ends) * _TRIPS_SHARE)
        if answered and few and not alone and self.circuit.state is CircuitState.CLOSED:
            return
        if self._culprit.fresh(batch.number):
            self._culprit.failed(batch, first=self.circuit.down(now, reason))

    def throttled(self, batch: Batch, now: float, reason: str, retry_after_s: float) -> None:
        """Retry the batch after a pause that the target asked for. Charges no attempt."""
        self._give_back(batch, now)
        self.circuit.throttled(now, reason, retry_after_s)

    def misconfigured(self, batch: Batch, now: float, reason: str) -> None:
        """Retry the batch by halves, others first: the target refused the consumer. Charges no attempt."""
        self._give_back(batch, now, halved=True, front=False)
        if not self._culprit.fresh(batch.number):
            return
        if self._culprit.refused(batch):
            self.circuit.down(now, reason)  # the target is well for others: a quick probe is enough
        else:
            self.circuit.misconfigured(now, reason)

    def probe_due(self, now: float) -> bool:
        """Return whether to probe a target that is down or had no work lately. True counts as its start."""
        if not self.idle or self._idle_since is None:
            self._idle_since = now
        if self.circuit.probe_due(now):
            return True
        if now < self._idle_since + LOOK_AFTER_S or not self.circuit.look():
            return False
        self._idle_since = now
        return True

    def probed(self, now: float, *, ok: bool, reason: str = "") -> Batch | None:
        """End a probe; return the student to charge with an attempt, if one is known.

        It is one whose work failed alone while the target is well, as a batch that only needs an outcome.
        """
        self.circuit.probed(now, ok=ok, reason=reason)
        accused = self._culprit.probed(ok=ok, batches=self._batches)
        student = self._students.get(accused) if accused is not None else None
        if accused is None or student is None or student.running or not student.waiting:
            return None
        self._queues.drop(accused, student)
        item = WorkItem(tuple(student.waiting), suspect=True)
        student.waiting = []
        return self._start(item.lane, [item])

    # --- committing -------------------------------------------------------------------------------

    def to_commit(self) -> dict[Partition, int]:
        """Per partition, the next offset to read, where it moved."""
        return self._offsets.to_commit()

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note the offsets that the log has committed."""
        self._offsets.committed(offsets)

    # --- looking ----------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Batches that are being worked on."""
        return len(self._running)

    @property
    def last(self) -> int:
        """The number of the batch that was taken last; 0: none was."""
        return self._batches

    @property
    def ready(self) -> int:
        """Students that wait for a slot."""
        return self._queues.ready

    @property
    def idle(self) -> bool:
        """Whether the engine has no work at all."""
        return not self._students and not self._running

    def due_in(self, now: float) -> float | None:
        """Return the seconds until a step is due without a record or result, or None."""
        moments = [
            self._students[number].ready_at + self.limits.linger_s
            for number in self._queues.heads()
            if self.circuit.passes
        ]
        probe_at = self.circuit.next_at()
        if probe_at is not None:
            moments.append(probe_at)
        return max(0.0, min(moments) - now) if moments else None

    # --- inside -----------------------------------------------------------------------------------

    def _gather(self, lane: Lane, now: float) -> list[WorkItem]:
        queue = self._queues[lane]
        if not queue:
            return []
        size = self._size(queue[0])
        full = len(queue) >= size
        if not full and self._running_of[lane] >= self.limits.slots_of(lane):
            return []  # until a slot is free it may still become full; the other lane's batches do not count
        if not full and now - self._students[queue[0]].ready_at < self.limits.linger_s:
            return []
        items: list[WorkItem] = []
        for number in self._queues.take(lane, size, self._culprit.seats):
            student = self._students[number]
            student.queued_in = None
            items.append(WorkItem(tuple(student.waiting), suspect=self._culprit.seats(number) is not None))
            student.waiting = []
        return items

    def _size(self, first: str) -> int:
        """Return the batch's maximum size, given its first student."""
        if self.circuit.quarantined:
            return 1  # nearly all were refused: one is tried
        return min(self._culprit.seats(first) or self.limits.batch_size, self.limits.batch_size)

    def _start(self, lane: Lane, items: list[WorkItem]) -> Batch:
        self._batches += 1
        batch = Batch(self._batches, lane, tuple(items))
        self._running.add(batch.number)
        self._running_of[lane] += 1
        for item in items:
            self._students[item.student_number].running = True
        return batch

    def _ended(self, batch: Batch) -> None:
        self._running.remove(batch.number)
        self._running_of[batch.lane] -= 1

    def _finish(self, item: WorkItem, now: float) -> None:
        for place in item.places:
            self._offsets.settle(place)
            self._in_hand[place.lane] -= 1
        student = self._students[item.student_number]
        student.running = False
        if student.waiting:
            self._queues.put(item.student_number, student, now)
        else:
            del self._students[item.student_number]

    def _tried(self, batch: Batch, now: float, given_up: Sequence[str]) -> None:
        """End a trial in quarantine; a batch that began before it is no evidence."""
        if self.circuit.state is not CircuitState.HALF_OPEN or not self._culprit.fresh(batch.number):
            return
        if given_up:
            self.circuit.quarantine(now, REFUSED_AGAIN.format(cause=given_up[0]))
        else:
            self.circuit.lift()

    def _give_back(self, batch: Batch, now: float, *, halved: bool = False, front: bool = True) -> None:
        self._ended(batch)
        if halved:
            self._culprit.halve(batch)
        for item in reversed(batch.items) if front else batch.items:
            student = self._students[item.student_number]
            student.waiting = [*item.bells, *student.waiting]
            student.running = False
            self._queues.put(item.student_number, student, now, front=front)
