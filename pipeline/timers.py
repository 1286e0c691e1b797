"""Durable timers: something is looked at again at its time, whatever happened to processes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, delete, func, select

from pipeline.store.database import Database
from pipeline.store.tables import timers

OnDue = Callable[[Connection, str, float], None]
"""What a kind of timer does: (connection of the transaction, student number, now)."""

TIMERS_PER_TRANSACTION = 200


def arm(connection: Connection, database: Database, kind: str, student_number: str, due_at: float) -> None:
    """Set the one timer of this kind and student to `due_at` (seconds since the epoch)."""
    statement = database.insert(timers).values(kind=kind, student_number=student_number, due_at=due_at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[timers.c.kind, timers.c.student_number], set_={"due_at": due_at}
        )
    )


def disarm(connection: Connection, kinds: tuple[str, ...], student_number: str) -> None:
    """Take these timers of a student away."""
    connection.execute(
        delete(timers).where(timers.c.kind.in_(kinds), timers.c.student_number == student_number)
    )


def run_due(database: Database, on_due: Mapping[str, OnDue]) -> int:
    """Run the timers that are due, each with its deletion in one transaction; return how many ran.

    An action may arm its timer again. Timers of a kind that is not handled here are left alone.

    Raises:
        StoreUnavailable: nothing of the unfinished transaction happened; call again.
    """
    with database.read() as connection:
        soonest = connection.execute(
            select(func.min(timers.c.due_at)).where(timers.c.kind.in_(list(on_due)))
        ).scalar_one()
        if soonest is None or soonest > database.now(connection):
            return 0
    ran = 0
    with database.write() as connection:
        now = database.now(connection)
        due = connection.execute(
            database.locking(
                select(timers)
                .where(timers.c.due_at <= now, timers.c.kind.in_(list(on_due)))
                .order_by(timers.c.due_at)
                .limit(TIMERS_PER_TRANSACTION)
            )
        ).all()
        for row in due:
            connection.execute(delete(timers).where(timers.c.id == row.id))
            on_due[row.kind](connection, row.student_number, now)
            ran += 1
    return ran


def armed(database: Database) -> dict[str, int]:
    """How many timers of each kind are set."""
    with database.read() as connection:
        rows = connection.execute(select(timers.c.kind, func.count()).group_by(timers.c.kind)).all()
    return {row[0]: row[1] for row in rows}
