"""Persons of programs that got their answer, with the program's id if any."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Float, String, Table, delete, exists, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

EXTERNAL_ID_CHARACTERS_MAX = 255

external_ids = Table(
    "external_ids",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("external_id", String(EXTERNAL_ID_CHARACTERS_MAX), index=True),
    Column("changed_at", Float),  # None: by an older release
    info=rows_of("student_number"),
)


def keep(
    connection: Connection, database: Database, student_number: str, external_id: str | None
) -> float | None:
    """Record the program's id of a person, or None, before answering. Return since when, if known."""
    mine = select(external_ids).where(external_ids.c.student_number == student_number)
    before = connection.execute(mine).one_or_none()
    if before is not None and before.external_id == external_id:
        return float(before.changed_at) if before.changed_at is not None else None
    values = {"student_number": student_number, "external_id": external_id}
    now = database.now(connection)
    connection.execute(database.upsert(external_ids), {**values, "changed_at": now})
    return now


def forget(connection: Connection, student_number: str) -> None:
    """Forget a person ended by a program: a new request gets a new answer."""
    connection.execute(delete(external_ids).where(external_ids.c.student_number == student_number))


def is_kept(connection: Connection, student_number: str) -> bool:
    """True if a program got its answer about this person."""
    return bool(connection.scalar(select(exists().where(external_ids.c.student_number == student_number))))
