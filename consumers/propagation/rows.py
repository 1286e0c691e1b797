"""Propagation's rows in the store."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from consumers.propagation.window import Progress, Seen, State
from pipeline.db.database import Database
from pipeline.db.tables import propagation as p
from pipeline.db.tables import propagation_targets as pt
from schemas.account import Lane

# Made once: making a statement for each outcome costs more than the database does.
_PROGRESS: Final = select(p).where(p.c.student_number == bindparam("number"))
_SEEN: Final = select(*(column for column in pt.c if column.name not in ("student_number", "pending"))).where(
    pt.c.student_number == bindparam("number")
)


def progress_of(connection: Connection, database: Database, student_number: str) -> Progress | None:
    """One student's propagation, locked until the transaction ends: facts and timers both change it, and so
    may the facts of another process, which may be about to write the first row."""
    query, whose = database.locking(_PROGRESS), {"number": student_number}
    row = connection.execute(query, whose).mappings().one_or_none()
    if row is None and not database.is_sqlite:
        database.alone(connection, "propagation", student_number)
        row = connection.execute(query, whose).mappings().one_or_none()
    if row is None:
        return None
    fields: dict[str, Any] = dict(row)
    fields["lane"], fields["state"] = Lane(fields["lane"]), State(fields["state"])
    return Progress(**fields)


def save(connection: Connection, database: Database, progress: Progress) -> None:
    """Write one student's propagation."""
    connection.execute(database.upsert(p), progress.__dict__)


def seen_of(connection: Connection, student_number: str) -> dict[str, Seen]:
    """The newest outcome of each target for one student."""
    rows = connection.execute(_SEEN, {"number": student_number}).mappings()
    return {row["target"]: Seen(**row) for row in rows}


def save_seen(
    connection: Connection, database: Database, student_number: str, seen: Seen, pending: tuple[str, ...]
) -> None:
    """Write a target's newest outcome."""
    values = {
        **seen.__dict__,
        "student_number": student_number,
        "pending": json.dumps(list(pending), ensure_ascii=False),
    }
    connection.execute(database.upsert(pt), values)
