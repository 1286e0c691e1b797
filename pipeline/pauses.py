"""Pauses: targets whose consumers an operator stopped, by a row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Float, String, Table, Text, bindparam, delete, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from pipeline.engine.circuit import Circuit

pauses = Table(
    "pauses",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Float, nullable=False),
    info=of_nobody("who paused a consumer, and why", named_in=("reason",)),
)

# Made once: each worker looks at every step.
_OF: Final = select(pauses).where(pauses.c.consumer == bindparam("of_consumer"))


@dataclass(frozen=True)
class PauseRow:
    """A paused consumer: actor, reason, and start (epoch seconds)."""

    consumer: str
    actor: str
    reason: str
    since: float


def of(connection: Connection, consumer: str) -> PauseRow | None:
    """The consumer's pause, if it has one."""
    found = connection.execute(_OF, {"of_consumer": consumer}).mappings().one_or_none()
    return PauseRow(**found) if found is not None else None


def every(connection: Connection) -> dict[str, PauseRow]:
    """Return all pauses, by consumer."""
    return {row["consumer"]: PauseRow(**row) for row in connection.execute(select(pauses)).mappings()}


def place(connection: Connection, database: Database, consumer: str, *, actor: str, reason: str) -> bool:
    """Pause a consumer. False: it is paused already; the first actor and reason stay."""
    values = {"consumer": consumer, "actor": actor, "reason": reason, "since": database.now(connection)}
    statement = database.insert(pauses).values(**values)
    placed = connection.execute(statement.on_conflict_do_nothing(index_elements=[pauses.c.consumer]))
    return bool(placed.rowcount)


def lift(connection: Connection, consumer: str) -> bool:
    """End a consumer's pause. False: it was not paused."""
    return bool(connection.execute(delete(pauses).where(pauses.c.consumer == consumer)).rowcount)


def agree(circuit: Circuit, consumer: str, database: Database) -> None:
    """Pause or resume the circuit as the row says; raises `StoreUnavailable`: call again."""
    with database.read() as connection:
        circuit.paused = of(connection, consumer) is not None
