"""Which charter each student has accepted, and when."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Float, String, Table

from pipeline.db.database import Database
from pipeline.db.metadata import metadata

charter_acceptances = Table(
    "charter_acceptances",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("charter", String(32), primary_key=True),  # its edition, as the settings name it
    Column("accepted_at", Float, nullable=False),
)


def accept(connection: Connection, database: Database, student_number: str, charter: str, now: float) -> None:
    """Note that a student has accepted this edition; the first time counts."""
    statement = database.insert(charter_acceptances).values(
        student_number=student_number, charter=charter, accepted_at=now
    )
    connection.execute(statement.on_conflict_do_nothing())
