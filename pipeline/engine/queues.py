"""Students with work to do, by lane: each has one place, for any number of bells."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.engine.bell import Bell, lane_together
from schemas.account import Lane


@dataclass
class QueuedStudent:
    """A student's one place: waiting bells, and whether an item is running."""

    waiting: list[Bell] = field(default_factory=list)
    running: bool = False
    ready_at: float = 0.0
    queued_in: Lane | None = None


class Queues:
    """A queue per lane; a student is in one of them, once.

    In none while an item is running.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[str]] = {Lane.PERSONAL: deque(), Lane.BULK: deque()}

    def __getitem__(self, lane: Lane) -> deque[str]:
        return self._lanes[lane]

    @property
    def ready(self) -> int:
        """Students that wait for a slot."""
        return sum(len(queue) for queue in self._lanes.values())

    def heads(self) -> list[str]:
        """Return the first student of each lane that is not empty."""
        return [queue[0] for queue in self._lanes.values() if queue]

    def put(self, number: str, student: QueuedStudent, now: float, *, front: bool = False) -> None:
        """Queue a student in the lane of the waiting bells, last unless already there."""
        if student.running or student.queued_in is Lane.PERSONAL:
            return
        lane = lane_together(student.waiting)
        if student.queued_in is lane:
            return
        self.drop(number, student)
        student.queued_in = lane
        student.ready_at = now
        if front:
            self._lanes[lane].appendleft(number)
        else:
            self._lanes[lane].append(number)

    def take(self, lane: Lane, size: int, seats: Callable[[str], int | None]) -> list[str]:
        """Take a lane's first student, and those behind who may share the call.

        Args:
            size: the most students to take.
            seats: how many students the call of a suspect may have; None: no suspect.
                Suspects and others share no call.
        """
        queue = self._lanes[lane]
        suspected = seats(queue[0]) is not None
        taken: list[str] = []
        passed: list[str] = []
        most = size
        while queue and len(taken) < size and len(passed) < most:
            number = queue.popleft()
            room = seats(number)
            if (room is not None) is suspected and len(taken) < (room or size):
                taken.append(number)
                size = min(size, room or size)
            else:
                passed.append(number)
        queue.extendleft(reversed(passed))
        return taken

    def drop(self, number: str, student: QueuedStudent) -> None:
        """Remove a student from the queue."""
        if student.queued_in is not None:
            self._lanes[student.queued_in].remove(number)
            student.queued_in = None
