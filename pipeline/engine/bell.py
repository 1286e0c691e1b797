"""Bells: a bell requests a look at a student. A student's bells make an item, several items a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message
from schemas.events import AccountChanged, ReplayRequested, TargetProvisioned


class Place(NamedTuple):
    """A record's place in the log."""

    topic: str
    partition: int
    offset: int
    generation: int = 0  # of the partition, counted by the engine: see `pipeline.engine.offsets.Offsets`
    timestamp_ms: int = 0  # when it was appended

    @property
    def lane(self) -> Lane:
        """The lane of this place's topic."""
        return catalogue.lane_of(self.topic)


class Bell(NamedTuple):
    """One reason to look at one student.

    Attributes:
        version: the account version that the event named; 0 for a replay, which names none.
        event_id: the event's id: recognises a redelivery, and causes the outcome.
        replay: whether an operator requested a comparison with the target.
        place: where it was read; None when it comes from the parking lot.
    """

    student_number: str
    version: int
    lane: Lane
    event_id: str
    replay: bool = False
    place: Place | None = None


def lane_together(bells: Iterable[Bell]) -> Lane:
    """Return the lane of these bells as one: personal if any of them is."""
    for bell in bells:
        if bell.lane is Lane.PERSONAL:
            return Lane.PERSONAL
    return Lane.BULK


@dataclass(frozen=True)
class WorkItem:
    """A student's item: all bells that had rung when it started, at least one.

    `suspect`: it was in a failed call, and the target has not answered for it since.
    """

    bells: tuple[Bell, ...]
    suspect: bool = False
    student_number: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Cached: read about twelve times for each item."""
        object.__setattr__(self, "student_number", self.bells[0].student_number)

    @property
    def bell(self) -> Bell:
        """The bell that causes the outcome: a replay first, then the highest version, then the last one."""
        return max(reversed(self.bells), key=lambda bell: (bell.replay, bell.version))

    @property
    def version(self) -> int:
        """The highest version that rang."""
        return max(bell.version for bell in self.bells)

    @property
    def lane(self) -> Lane:
        """Personal if any bell is."""
        return lane_together(self.bells)

    @property
    def places(self) -> tuple[Place, ...]:
        """Every record that is settled with this item."""
        return tuple(bell.place for bell in self.bells if bell.place is not None)

    @property
    def rang(self) -> int:
        """The number of the log's bells in it; parked ones do not count."""
        return len(self.places)

    @property
    def replays(self) -> tuple[str, ...]:
        """The ids of all replays in it."""
        return tuple(bell.event_id for bell in self.bells if bell.replay)


@dataclass(frozen=True)
class Batch:
    """Students whose items run in one call to the target."""

    number: int
    lane: Lane
    items: tuple[WorkItem, ...]


def topics_for(follows: str | None) -> tuple[str, ...]:
    """Return a target consumer's topics: its bells, and operators' replays.

    A consumer that follows another target gets its outcomes as bells, and the accounts' that shut access.
    """
    asked = (*catalogue.both_lanes(catalogue.ACCOUNTS), *catalogue.both_lanes(catalogue.ACTIVATIONS))
    return (*catalogue.both_lanes(catalogue.OUTCOMES), *asked) if follows else asked


def bell_for(name: str, follows: str | None, message: Message, place: Place) -> Bell | None:
    """Return the bell of this event for consumer `name`; None: not for this consumer."""
    event = message.event
    if isinstance(event, ReplayRequested):
        mine = event.consumer == name
        return Bell(event.student_number, 0, place.lane, message.id, True, place) if mine else None
    if follows is None and isinstance(event, AccountChanged):
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    if isinstance(event, AccountChanged) and _shuts(event):
        return Bell(
            event.student_number, 0, event.lane, message.id, False, place
        )  # says nothing of the leader
    if follows is not None and isinstance(event, TargetProvisioned) and event.target == follows:
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    return None


def _shuts(event: AccountChanged) -> bool:
    return bool(event.holds) or event.stage in (Stage.EXPIRED, Stage.ERASED)


@dataclass
class QueuedStudent:
    """A student's one place: waiting bells, and whether an item is running."""

    waiting: list[Bell] = field(default_factory=list)
    running: bool = False
    ready_at: float = 0.0
    queued_in: Lane | None = None


class Queues:
    """A queue per lane. A student is in one of them, once, and in none while an item is running."""

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
        """Take a lane's first student, and those behind who may share the call: `size` at most.

        `seats`: how many students the call of a suspect may have; None: no suspect, and no call with
        suspects.
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
