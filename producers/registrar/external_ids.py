"""Persons whom a program sent, and was told of: with the id of its own that it gave them, if it did."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Table, delete, exists, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

EXTERNAL_ID_CHARACTERS_MAX = 255

external_ids = Table(
    "external_ids",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("external_id", String(EXTERNAL_ID_CHARACTERS_MAX), index=True),
    info=rows_of("student_number"),
)


def keep(connection: Connection, database: Database, student_number: str, external_id: str | None) -> None:
    """Let this be what a person is called; None: nothing. The program is about to be told."""
    statement = database.upsert(external_ids)
    connection.execute(statement, {"student_number": student_number, "external_id": external_id})


def forget(connection: Connection, student_number: str) -> None:
    """A program has ended this person: whoever sends them again is to be told again."""
    connection.execute(delete(external_ids).where(external_ids.c.student_number == student_number))


def is_kept(connection: Connection, student_number: str) -> bool:
    """Whether a program was told of this person."""
    return bool(connection.scalar(select(exists().where(external_ids.c.student_number == student_number))))
