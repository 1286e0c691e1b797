"""Each worker's work at its target, in stretches of seconds: a forecast's history."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    delete,
    select,
)

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

BUSY_TURNS_MIN: Final = 20
"""Turns of a stretch without a queue from which it is kept: a single person's says little of a rush."""

_IN_HAND: Final = 8
"""So many calls' students are with a worker that has enough to do; what waits beyond them is a queue."""

_ROWS_MAX: Final = 20_000
"""A day of one worker's rush, and more."""
_ROWS_PER_PRUNE: Final = 10_000

throughput = Table(
    "throughput",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("process", String(64), primary_key=True),
    Column("until", Float, primary_key=True),  # database time at its end
    Column("seconds", Float, nullable=False),
    Column("queued", Boolean, nullable=False),  # work waited all the time
    Column("students", Integer, nullable=False),  # whose turns ended
    Column("calls", Integer, nullable=False),
    Column("called", Integer, nullable=False),  # students in these calls
    Column("call_s", Float, nullable=False),  # of all calls together
    Column("down_s", Float, nullable=False),  # the circuit was open
    Column("throttled_s", Float, nullable=False),  # the target asked for a pause
    Index("ix_throughput_until", "until"),
    info=of_nobody("how fast each target was"),
)


class Stretch(NamedTuple):
    """Some seconds of one worker at one target; see the table. `until`: epoch seconds."""

    target: str
    process: str
    until: float
    seconds: float
    queued: bool
    students: int
    calls: int
    called: int
    call_s: float
    down_s: float
    throttled_s: float

    @property
    def is_busy(self) -> bool:
        """Whether it tells something of a rush."""
        return self.queued or self.students >= BUSY_TURNS_MIN

    @property
    def is_met(self) -> bool:
        """Whether a call ended, or failed. Records that concern nobody wait without any."""
        return self.calls > 0 or self.down_s > 0 or self.throttled_s > 0


def queue_min(called: int, calls: int) -> int:
    """How many must wait for a worker to be busy, after calls with so many students."""
    return max(BUSY_TURNS_MIN, _IN_HAND * called // max(1, calls))


def record(connection: Connection, database: Database, stretch: Stretch) -> None:
    """Keep one stretch."""
    connection.execute(database.insert_new(throughput), stretch._asdict())


def stretches(connection: Connection, target: str) -> list[Stretch]:
    """The newest `_ROWS_MAX` stretches of a target, in the order of time."""
    newest = (
        select(throughput)
        .where(throughput.c.target == target)
        .order_by(throughput.c.until.desc())
        .limit(_ROWS_MAX)
    )
    return [Stretch._make(row) for row in reversed(connection.execute(newest).all())]


def prune(connection: Connection, before: float) -> int:
    """Remove the oldest stretches that ended before; return how many."""
    old = (
        select(throughput.c.until)
        .where(throughput.c.until < before)
        .order_by(throughput.c.until)
        .limit(1)
        .offset(_ROWS_PER_PRUNE)
    )
    upto = connection.execute(old).scalar_one_or_none()
    return connection.execute(
        delete(throughput).where(throughput.c.until < (before if upto is None else upto))
    ).rowcount
