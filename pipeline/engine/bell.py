"""A bell says: look at this student. Several bells of one student make one turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.account import Lane
from schemas.catalogue import lane_of


class Place(NamedTuple):
    """Where a bell was read."""

    topic: str
    partition: int
    offset: int

    @property
    def lane(self) -> Lane:
        """The lane whose topics this place is in."""
        return lane_of(self.topic)


@dataclass(frozen=True)
class Bell:
    """One reason to look at one student.

    Attributes:
        student_number: whom.
        version: the account version that the event named; 0 for a replay, which names none.
        lane: who is waiting for it.
        event_id: the event's id: recognises a redelivery, and causes the outcome.
        replay: whether an operator asked for a comparison with the target.
        place: where it was read; None when it comes from the parking lot.
    """

    student_number: str
    version: int
    lane: Lane
    event_id: str
    replay: bool = False
    place: Place | None = None


@dataclass(frozen=True)
class Turn:
    """A student's turn: all bells that had rung when it started, as one.

    Attributes:
        bell: the one that counts: a replay before others, then the highest version.
        version: the highest version that rang.
        lane: personal as soon as one bell is.
        places: every record that is settled with this turn.
        rang: how many bells of the log are in it (parked ones do not count).
        alone: it tripped the circuit before, and runs in a batch of its own.
    """

    student_number: str
    bell: Bell
    version: int
    lane: Lane
    places: tuple[Place, ...] = field(default=())
    rang: int = 0
    alone: bool = False


def merge(bells: Sequence[Bell], *, alone: bool = False) -> Turn:
    """The turn that answers all of these bells of one student. Needs at least one."""
    first = max(bells, key=lambda bell: (bell.replay, bell.version))
    places = tuple(bell.place for bell in bells if bell.place is not None)
    personal = any(bell.lane is Lane.PERSONAL for bell in bells)
    return Turn(
        student_number=first.student_number,
        bell=first,
        version=max(bell.version for bell in bells),
        lane=Lane.PERSONAL if personal else Lane.BULK,
        places=places,
        rang=len(places),
        alone=alone,
    )
