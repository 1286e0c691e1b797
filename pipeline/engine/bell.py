"""Bells: a bell requests a look at a student.

Several bells of one student make an item, several items a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
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
        lane: who is waiting for it.
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

    Attributes:
        suspect: it was in a failed call, and the target has not answered for it since.
    """

    bells: tuple[Bell, ...]
    suspect: bool = False
    student_number: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Cached: read about twelve times for each item."""
        object.__setattr__(self, "student_number", self.bells[0].student_number)

    @property
    def bell(self) -> Bell:
        """Return the bell that causes the outcome.

        A replay first, then the highest version, then the last one.
        """
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
        """How many bells of the log are in it; parked ones do not count."""
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

    A consumer that follows another target gets that target's outcomes as bells, and of the accounts those
    that shut access.
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
