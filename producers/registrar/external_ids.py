"""What programs that send persons call them: an id of their own, kept for them and given back."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Table, delete

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

EXTERNAL_ID_CHARACTERS_MAX = 255

external_ids = Table(
    "external_ids",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("external_id", String(EXTERNAL_ID_CHARACTERS_MAX), nullable=False, index=True),
    info=rows_of("student_number"),
)


def keep(connection: Connection, database: Database, student_number: str, external_id: str | None) -> None:
    """Let this be what a person is called; None: nothing."""
    if external_id is None:
        connection.execute(delete(external_ids).where(external_ids.c.student_number == student_number))
        return
    statement = database.upsert(external_ids)
    connection.execute(statement, {"student_number": student_number, "external_id": external_id})
