"""The rows that park students: what is kept of the row before, and how age is counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engine import WorkItem
from pipeline.parking import Kind, Parked
from pipeline.runner.announcement import Admitted, lane_of, replays_of

LEASE_RETRY_MARGIN_S = 1.0
"""How long after a lease's end a student is looked at, so that it has ended by every clock."""


@dataclass(frozen=True)
class Why:
    """Why a student is parked.

    Attributes:
        due_at: database time, epoch seconds; None: only an event wakes it.
        owed: whether the replays of the item are still to be carried out.
    """

    kind: Kind
    due_at: float | None
    cause: str
    message: str = ""
    owed: bool = True


def lot_of(item: WorkItem, lot: Parked | None, now: float, why: Why) -> Parked:
    """The row that parks this item, in place of `lot`. Waiting for a precondition forgets failures."""
    forget = lot is None or Kind.WAITING in (why.kind, lot.kind)
    owed = replays_of(item, lot) if why.owed else ()
    return Parked(
        student_number=item.student_number,
        kind=why.kind,
        version=max(item.version, lot.version if lot is not None else 0),
        bells=lot.bells if lot is not None else 1,
        due_at=why.due_at,
        attempts=0 if lot is None or forget else lot.attempts,
        first_at=now if lot is None or forget else lot.first_at,
        age_s=0.0 if lot is None or forget else lot.age_s,
        counted_at=now,
        cause=why.cause,
        message=why.message,
        lane=lane_of(item, lot),
        event_id=owed[-1] if owed else item.bell.event_id,
        replay=bool(owed),
        attempts_version=0 if lot is None or forget else lot.attempts_version,
    )


def age_s(admitted: Admitted, now: float) -> float:
    """Seconds since the first failure, less the times when the target was down."""
    lot = admitted.parked
    return lot.age_at(now) if lot is not None and admitted.retried else 0.0
