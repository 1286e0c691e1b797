"""Quarantines: consumers stopped because too much work is given up, by a row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Float, String, Table, Text, bindparam, delete, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from pipeline.engine.core import Engine

quarantines = Table(
    "quarantines",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Float, nullable=False),
    info=of_nobody("why a consumer stopped", named_in=("reason",)),
)

# Made once: each worker looks at every step.
_OF: Final = select(quarantines).where(quarantines.c.consumer == bindparam("of_consumer"))


@dataclass(frozen=True)
class QuarantineRow:
    """A consumer in quarantine: reason, and start (epoch seconds)."""

    consumer: str
    reason: str
    since: float


def of(connection: Connection, consumer: str) -> QuarantineRow | None:
    """The consumer's quarantine, if it is in one."""
    found = connection.execute(_OF, {"of_consumer": consumer}).mappings().one_or_none()
    return QuarantineRow(**found) if found is not None else None


def every(connection: Connection) -> list[QuarantineRow]:
    """Return all quarantines, by consumer."""
    rows = connection.execute(select(quarantines).order_by(quarantines.c.consumer)).mappings()
    return [QuarantineRow(**row) for row in rows]


def place(connection: Connection, database: Database, consumer: str, reason: str) -> None:
    """Put a consumer into quarantine; if it is in one, the first reason stays."""
    values = {"consumer": consumer, "reason": reason, "since": database.now(connection)}
    connection.execute(
        database.insert(quarantines)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[quarantines.c.consumer])
    )


def lift(connection: Connection, consumer: str) -> bool:
    """End a consumer's quarantine. False: it was not in one."""
    gone = connection.execute(delete(quarantines).where(quarantines.c.consumer == consumer))
    return bool(gone.rowcount)


class Quarantine:
    """Brings the engine and a target consumer's row to agree."""

    def __init__(self, consumer: str, engine: Engine, database: Database) -> None:
        self._consumer = consumer
        self._engine = engine
        self._database = database
        self._known = False  # whether the row was there when this worker looked last

    def agree(self, now: float) -> None:
        """Stop or resume as the row says; write or remove the row if the cause is here.

        Raises:
            StoreUnavailable: call again.
        """
        circuit = self._engine.circuit
        with self._database.read() as connection:
            row = of(connection, self._consumer)
        if circuit.quarantined and row is None and self._known:
            self._engine.lift()  # an operator did it, or another process's trial
        elif circuit.quarantined and row is None:
            with self._database.write() as connection:
                place(connection, self._database, self._consumer, circuit.reason)
            self._known = True
            return
        elif not circuit.quarantined and row is not None and self._known:
            with self._database.write() as connection:
                lift(connection, self._consumer)  # a student who was tried here succeeded
            row = None
        elif not circuit.quarantined and row is not None:
            self._engine.quarantine(now, row.reason)
        self._known = row is not None
