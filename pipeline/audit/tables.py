"""The tables of the audit trail and of the operators' notes."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from pipeline.db.metadata import metadata
from pipeline.db.persons import OnErasure, of_nobody, rows_of

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON; a person is named by a digest, see `audit_persons`
    Column("previous", String(64), nullable=False, unique=True),  # the hash of the entry before: no fork
    Column("hash", String(64), nullable=False),  # of this one: see `chain`
    sqlite_autoincrement=True,
    info=of_nobody("what was done; persons are named by digests: `audit_persons`"),
)

audit_persons = Table(
    "audit_persons",
    metadata,
    Column("entry_id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), primary_key=True),  # of salt and number: the entry's detail has it
    Column("student_number", String(64), nullable=False),  # a pseudonym, once the person is erased
    Column("salt", String(32)),  # None: erased, so that the number cannot be guessed
    Index("ix_audit_persons_student_number", "student_number", "entry_id"),
    info=rows_of("student_number", on_erasure=OnErasure.OWN),
)

audit_marks = Table(
    "audit_marks",
    metadata,
    Column("name", String(64), primary_key=True),  # `head`, `removed`, or a receiver's
    Column("entry_id", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("at", Float, nullable=False),
    info=of_nobody("places in the audit"),
)


remarks = Table(
    "remarks",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("action", String(64), nullable=False),
    Column("about", String(64), nullable=False),
    Column("student_number", String(32), index=True),  # None: one remark about many
    Column("actor", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("words", Text, nullable=False),  # an operator's own: they may be personal
    info=rows_of("student_number", named_in=("about", "words")),
)
