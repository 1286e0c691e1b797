"""Repair of impossible parked rows (edited by hand, or the clock went back): none is lost."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Float, bindparam, case, func, not_, or_, select, update

from pipeline.parking import Kind
from pipeline.parking.rows import parked as p
from schemas.account import Lane

_CLOCK_S = 5.0  # clocks of several machines differ by less
_NUMBER_MAX = 1_000_000
_DUE_S_MAX = 40 * 86_400.0  # longer than any delay or recheck that the settings allow

# Made once: making a statement for each look costs more than the database does.
_NOW: Final = bindparam("now", type_=Float())
_MINE: Final = p.c.consumer == bindparam("of_consumer")
_KNOWN_LANE: Final = p.c.lane.in_([lane.value for lane in Lane])
_STRANGE: Final = or_(
    not_(p.c.kind.in_([kind.value for kind in Kind])),
    not_(_KNOWN_LANE),
    *(
        or_(column < 0, column > _NUMBER_MAX)
        for column in (p.c.attempts, p.c.bells, p.c.version, p.c.attempts_version)
    ),
    or_(p.c.age_s < 0.0, p.c.age_s > _DUE_S_MAX),
    p.c.due_at > _NOW + _DUE_S_MAX,
)
_MEND: Final = (
    update(p)
    .where(_MINE, _STRANGE)
    .values(
        kind=Kind.RESYNC.value,
        lane=case((_KNOWN_LANE, p.c.lane), else_=Lane.PERSONAL.value),
        due_at=_NOW,
        counted_at=_NOW,
        attempts=0,
        attempts_version=0,
        bells=1,
        version=0,
        age_s=0.0,
        cause="mended",
        message="this row was not as Sésame writes it: it is looked at again",
    )
)
_FUTURE: Final = (_MINE, p.c.counted_at > _NOW + _CLOCK_S)
_LATEST: Final = select(func.max(p.c.counted_at)).where(*_FUTURE)
_DELAY_S: Final = case((p.c.due_at > p.c.counted_at, p.c.due_at - p.c.counted_at), else_=0.0)
_MOVE: Final = (
    update(p)
    .where(*_FUTURE)
    .values(due_at=case((p.c.due_at.is_(None), None), else_=_NOW + _DELAY_S), counted_at=_NOW)
)


def mend(connection: Connection, consumer: str, now: float) -> int:
    """Make rows with impossible values due at once and uncounted; return how many.

    SQLite allows a text in a column of numbers, and orders it above all of them.
    """
    mended = connection.execute(_MEND, {"of_consumer": consumer, "now": now})
    return mended.rowcount


def clock_went_back(connection: Connection, consumer: str, now: float) -> tuple[int, float]:
    """Shift rows of the future back, with their delays. Return how many, and by how many seconds at most."""
    these = {"of_consumer": consumer, "now": now}
    latest = connection.execute(_LATEST, these).scalar()
    if latest is None:
        return 0, 0.0
    moved = connection.execute(_MOVE, these)
    return moved.rowcount, float(latest) - now
