"""What the audit trail and the operators' notes are kept in."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, String, Table, Text

from pipeline.db.metadata import metadata

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON, without personal data
    sqlite_autoincrement=True,
)


remarks = Table(
    "remarks",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("action", String(64), nullable=False),
    Column("about", String(64), nullable=False),
    Column("student_number", String(32), index=True),  # None: said of many at once
    Column("actor", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("words", Text, nullable=False),  # an operator's own: they may be personal
)
