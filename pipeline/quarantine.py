"""Consumers in quarantine: too much of their work is given up for good. The row is what stops them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Float, String, Table, Text, bindparam, delete, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata

quarantines = Table(
    "quarantines",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Float, nullable=False),
)

# Made once: each worker looks at every step.
_OF: Final = select(quarantines).where(quarantines.c.consumer == bindparam("of_consumer"))


@dataclass(frozen=True)
class Row:
    """One consumer in quarantine: why, and since when (epoch seconds)."""

    consumer: str
    reason: str
    since: float


def of(connection: Connection, consumer: str) -> Row | None:
    """The consumer's quarantine, if it is in one."""
    found = connection.execute(_OF, {"of_consumer": consumer}).mappings().one_or_none()
    return Row(**found) if found is not None else None


def every(connection: Connection) -> list[Row]:
    """All of them, by consumer."""
    rows = connection.execute(select(quarantines).order_by(quarantines.c.consumer)).mappings()
    return [Row(**row) for row in rows]


def place(connection: Connection, database: Database, consumer: str, reason: str) -> None:
    """Put a consumer into quarantine; one that is in it already stays in it, for its first reason."""
    values = {"consumer": consumer, "reason": reason, "since": database.now(connection)}
    connection.execute(
        database.insert(quarantines)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[quarantines.c.consumer])
    )


def lift(connection: Connection, consumer: str) -> bool:
    """Let a consumer go on. False if it was not in quarantine."""
    gone = connection.execute(delete(quarantines).where(quarantines.c.consumer == consumer))
    return bool(gone.rowcount)
