"""Forecasts of rushes, one an hour, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Column, Connection, Float, Integer, String, Table, delete, func, insert, select, update

from consumers.propagation.rows import propagation as p
from pipeline import parking
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from sesame.acts.acts import Report, utc, utc_or_none

STUDENTS_MIN: Final = 100
"""Fewer are done before anybody looks."""
EVERY_S: Final = 3600.0
SHOWN: Final = 10

forecasts = Table(
    "forecasts",
    metadata,
    Column("made_at", Float, primary_key=True),
    Column("students", Integer, nullable=False),
    Column("done_at", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("brake", String(64), nullable=False),
    Column("happened_at", Float),  # all who were under way then were done
    info=of_nobody("what was forecast, and what happened"),
)

_C = forecasts.c


class Promise(Report):
    """One forecast. `happened_at` None: not all are done who were under way when it was made."""

    made_at: datetime
    students: int
    done_at: datetime
    low: datetime
    high: datetime
    brake: str
    happened_at: datetime | None


def latest(connection: Connection) -> list[Promise]:
    """The newest ones first."""
    rows = connection.execute(select(forecasts).order_by(_C.made_at.desc()).limit(SHOWN))
    return [
        Promise(
            made_at=utc(row.made_at),
            students=row.students,
            done_at=utc(row.done_at),
            low=utc(row.low),
            high=utc(row.high),
            brake=row.brake,
            happened_at=utc_or_none(row.happened_at),
        )
        for row in rows
    ]


def is_due(connection: Connection, now: float) -> bool:
    """Whether many are under way, and no forecast of the last hour is open."""
    under_way = select(func.count()).where(p.c.state == "in_progress")
    recent = select(func.count()).where(_C.made_at > now - EVERY_S, _C.happened_at.is_(None))
    many = connection.execute(under_way).scalar_one() >= STUDENTS_MIN
    return many and not connection.execute(recent).scalar_one()


def keep(connection: Connection, promise: Promise) -> None:
    """Keep a forecast as it was made."""
    times = {name: getattr(promise, name).timestamp() for name in ("made_at", "done_at", "low", "high")}
    connection.execute(insert(forecasts).values(**times, students=promise.students, brake=promise.brake))


def settle(connection: Connection, now: float) -> None:
    """Note of each forecast that everybody is done who was under way then.

    Students who are retried alone are not waited for: a forecast is of the queue.
    """
    retried = sum(each.students for each in parking.retries(connection))
    open_ones = select(_C.made_at).where(_C.happened_at.is_(None))
    for made_at in connection.execute(open_ones).scalars().all():
        mine = p.c.opened_at <= made_at
        left = connection.execute(select(func.count()).where(mine, p.c.state == "in_progress")).scalar_one()
        if left > retried:
            continue
        last = select(func.max(p.c.completed_at)).where(mine, p.c.completed_at > made_at)
        happened_at = connection.execute(last).scalar_one() or now
        connection.execute(update(forecasts).where(_C.made_at == made_at).values(happened_at=happened_at))


def prune(connection: Connection, before: float) -> int:
    """Remove those made before; return how many."""
    return connection.execute(delete(forecasts).where(_C.made_at < before)).rowcount
