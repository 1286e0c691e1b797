"""Rate limits that survive a restart: a burst, then one per interval, per name.

A row keeps until when a name's past requests have used up time (the generic cell rate algorithm of ATM Forum
TM 4.0, 4.4.2). A name is a kind and a digest, never an address or a number.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, String, Table, delete, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

throttles = Table(
    "throttles",
    metadata,
    Column("name", String(96), primary_key=True),
    Column("until", Float, nullable=False, index=True),
    info=of_nobody("digests, and addresses of networks, for minutes", named_in=("name",)),
)


@dataclass(frozen=True)
class Rate:
    """`burst` at once, then one every `every_s` seconds."""

    burst: int
    every_s: float


def take(connection: Connection, database: Database, name: str, rate: Rate, now: float) -> float:
    """Take one slot. 0.0: it was free; else seconds to wait, which insisting does not lengthen."""
    query = select(throttles.c.until).where(throttles.c.name == name)
    until = connection.execute(database.locking(query)).scalar_one_or_none()
    start = max(now, until if until is not None else now)
    excess_s = start - now - (rate.burst - 1) * rate.every_s
    if excess_s > 0:
        return excess_s
    connection.execute(database.upsert(throttles), {"name": name, "until": start + rate.every_s})
    return 0.0


def forget(connection: Connection, now: float) -> int:
    """Delete rows that no longer limit anyone; return how many there were."""
    return connection.execute(delete(throttles).where(throttles.c.until < now)).rowcount
