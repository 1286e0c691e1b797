"""Durable timers: look at something at its time, even after process restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    select,
)

from pipeline.db.database import Database, insert_for, stores_fault
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

timers = Table(
    "timers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("student_number", String(32), nullable=False),
    Column("due_at", Float, nullable=False, index=True),
    UniqueConstraint("kind", "student_number"),
    info=rows_of("student_number"),
)


OnDue = Callable[[Connection, str, float], None]
"""A kind's action: (connection of the transaction, student number, now)."""

OnFailure = Callable[[Connection, str, str, Exception], None]
"""Receives an action's failure: (connection of the transaction, kind, student number, error)."""

TIMERS_PER_TRANSACTION = 200
RETRY_AFTER_S = 3600.0

# Made once: making a statement for each timer costs more than the database does.
_OF_KINDS: Final = timers.c.kind.in_(bindparam("kinds", expanding=True))
_DISARM: Final = delete(timers).where(_OF_KINDS, timers.c.student_number == bindparam("number"))
_SOONEST: Final = select(func.min(timers.c.due_at)).where(_OF_KINDS)


def arm(connection: Connection, database: Database, kind: str, student_number: str, due_at: float) -> None:
    """Set the one timer of this kind and student to `due_at` (epoch seconds)."""
    row = {"kind": kind, "student_number": student_number, "due_at": due_at}
    connection.execute(_arming(database.is_sqlite), row)


@cache
def _arming(is_sqlite: bool) -> Any:  # noqa: FBT001  # by its position, for the cache
    statement = insert_for(timers, is_sqlite=is_sqlite)
    return statement.on_conflict_do_update(
        index_elements=[timers.c.kind, timers.c.student_number], set_={"due_at": statement.excluded.due_at}
    )


def disarm(connection: Connection, kinds: tuple[str, ...], student_number: str) -> None:
    """Delete a student's timers of these kinds."""
    connection.execute(_DISARM, {"kinds": kinds, "number": student_number})


def _let_pass(_connection: Connection, _kind: str, _student_number: str, error: Exception) -> None:
    raise error


def run_due(database: Database, on_due: Mapping[str, OnDue], on_failure: OnFailure = _let_pass) -> int:
    """Run the due timers, each with its deletion in one transaction; return how many.

    0: none is due, or another process runs these kinds. An action may arm its timer again, for later. It
    checks whether it is still wanted: a fact may have disarmed it at the same moment. One that fails is
    undone, and due again after `RETRY_AFTER_S`, so that it does not block the others; `on_failure` receives
    the error (the default lets it pass, and nothing ran). Timers of a kind that is not handled here are left
    alone.

    Raises:
        StoreUnavailable: nothing of the unfinished transaction happened; call again.
    """
    with database.read() as connection:
        soonest = connection.execute(_SOONEST, {"kinds": list(on_due)}).scalar_one()
        if soonest is None or soonest > database.now(connection):
            return 0
    # With concurrent writers, no transaction may hold one student's rows and wait for another's.
    page = TIMERS_PER_TRANSACTION if database.is_sqlite else 1
    ran = 0
    while ran < TIMERS_PER_TRANSACTION and (some := _run_page(database, on_due, on_failure, page)):
        ran += some
    return ran


def _run_page(database: Database, on_due: Mapping[str, OnDue], on_failure: OnFailure, page: int) -> int:
    kinds = sorted(on_due)

    def run(connection: Connection) -> int:
        if not database.alone_at_once(connection, "timers", *kinds):
            return 0
        now = database.now(connection)
        due = connection.execute(
            select(timers)
            .where(timers.c.due_at <= now, timers.c.kind.in_(kinds))
            .order_by(timers.c.due_at)
            .limit(page)
        ).all()
        for row in due:
            try:
                with connection.begin_nested():
                    on_due[row.kind](connection, row.student_number, now)
            except Exception as error:
                if stores_fault(error):
                    raise
                arm(connection, database, row.kind, row.student_number, now + RETRY_AFTER_S)
                on_failure(connection, row.kind, row.student_number, error)
            # Last: a fact locks the student's own rows first, then disarms. One that was armed again stays.
            connection.execute(delete(timers).where(timers.c.id == row.id, timers.c.due_at == row.due_at))
        return len(due)

    return database.transact(run)


def armed(database: Database) -> dict[str, int]:
    """Count the set timers of each kind."""
    with database.read() as connection:
        rows = connection.execute(select(timers.c.kind, func.count()).group_by(timers.c.kind)).all()
    return {row[0]: row[1] for row in rows}
