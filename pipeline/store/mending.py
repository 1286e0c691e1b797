"""Parked rows that cannot be as they are: somebody edited them, or the clock went back. They are looked at
again rather than lost."""

from __future__ import annotations

from sqlalchemy import Connection, case, func, not_, or_, update

from pipeline.store.parking import Kind
from pipeline.store.tables import parked as p
from schemas.account import Lane

_CLOCK_S = 5.0  # clocks of several machines differ by less
_NUMBER_MAX = 1_000_000
_DUE_S_MAX = 40 * 86_400.0  # longer than any delay or recheck that the settings allow


def mend(connection: Connection, consumer: str, now: float) -> int:
    """Make rows that nobody can have written, due at once and uncounted. Return how many there were.

    SQLite lets a text stand in a column of numbers, and orders it above all of them.
    """
    counted = (p.c.attempts, p.c.bells, p.c.version, p.c.attempts_version)
    strange = or_(
        not_(p.c.kind.in_([kind.value for kind in Kind])),
        not_(p.c.lane.in_([lane.value for lane in Lane])),
        *(or_(column < 0, column > _NUMBER_MAX) for column in counted),
        or_(p.c.age_s < 0.0, p.c.age_s > _DUE_S_MAX),
        p.c.due_at > now + _DUE_S_MAX,
    )
    known_lane = p.c.lane.in_([lane.value for lane in Lane])
    mended = connection.execute(
        update(p)
        .where(p.c.consumer == consumer, strange)
        .values(
            kind=Kind.RESYNC.value,
            lane=case((known_lane, p.c.lane), else_=Lane.PERSONAL.value),
            due_at=now,
            counted_at=now,
            attempts=0,
            attempts_version=0,
            bells=1,
            version=0,
            age_s=0.0,
            cause="mended",
            message="this row was not as Sésame writes it: it is looked at again",
        )
    )
    return mended.rowcount


def clock_went_back(connection: Connection, consumer: str, now: float) -> tuple[int, float]:
    """Rows that were written in what is the future now are due after the delay that they had left.

    Returns:
        How many, and by how many seconds at most.
    """
    future = (p.c.consumer == consumer, p.c.counted_at > now + _CLOCK_S)
    latest = connection.execute(func.max(p.c.counted_at).select().where(*future)).scalar()
    if latest is None:
        return 0, 0.0
    delay_s = case((p.c.due_at > p.c.counted_at, p.c.due_at - p.c.counted_at), else_=0.0)
    moved = connection.execute(
        update(p)
        .where(*future)
        .values(due_at=case((p.c.due_at.is_(None), None), else_=now + delay_s), counted_at=now)
    )
    return moved.rowcount, float(latest) - now
