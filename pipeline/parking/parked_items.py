"""Work items and parked rows: what a new row keeps of the previous one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engine.bell import WorkItem
from pipeline.parking.rows import Kind, Parked
from schemas.account import Lane

LEASE_RETRY_MARGIN_S = 1.0
"""How long after a lease's end a student is looked at, so that it has ended by every clock."""


@dataclass(frozen=True)
class Why:
    """The reason and due time of a parked student.

    Attributes:
        due_at: database time, epoch seconds; None: only an event wakes it.
        owed: whether the replays of the item are still to be carried out.
    """

    kind: Kind
    due_at: float | None
    cause: str
    message: str = ""
    owed: bool = True


def parked_item(item: WorkItem, parked: Parked | None, now: float, why: Why) -> Parked:
    """The row that parks this item, in place of `parked`. Waiting for a precondition forgets failures."""
    forget = parked is None or Kind.WAITING in (why.kind, parked.kind)
    owed = replays_of(item, parked) if why.owed else ()
    return Parked(
        student_number=item.student_number,
        kind=why.kind,
        version=max(item.version, parked.version if parked is not None else 0),
        bells=parked.bells if parked is not None else 1,
        due_at=why.due_at,
        attempts=0 if parked is None or forget else parked.attempts,
        first_at=now if parked is None or forget else parked.first_at,
        age_s=0.0 if parked is None or forget else parked.age_s,
        counted_at=now,
        cause=why.cause,
        message=why.message,
        lane=lane_for(item, parked),
        event_id=owed[-1] if owed else item.bell.event_id,
        replay=bool(owed),
        attempts_version=0 if parked is None or forget else parked.attempts_version,
    )


def replays_of(item: WorkItem, parked: Parked | None) -> tuple[str, ...]:
    """Return the ids of the replays to carry out, the parked one first."""
    owed = (parked.event_id,) if parked is not None and parked.replay else ()
    return tuple(dict.fromkeys((*owed, *item.replays)))


def lane_for(item: WorkItem, parked: Parked | None) -> Lane:
    """Return the lane of an item joined with what is parked.

    A row that waits for a business precondition does not make it personal.
    """
    waits = parked is not None and parked.lane is Lane.PERSONAL and parked.kind is not Kind.WAITING
    return Lane.PERSONAL if waits else item.lane
