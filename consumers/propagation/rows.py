"""Propagation's rows in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
)

from consumers.propagation.window import PropagationProgress, PropagationState, SeenOutcome
from pipeline.accounts import accounts, pages
from pipeline.db.database import Database
from pipeline.db.metadata import metadata, partial_index
from pipeline.db.persons import rows_of
from schemas.account import Lane

propagation = Table(
    "propagation",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # in_progress | waiting | completed | failed
    Column("paused_since", Float),  # the window is paused while a business precondition is missing
    Column("waited_s", Float, nullable=False, default=0.0),
    Column("completed_version", Integer, nullable=False, default=0),
    Column("completed_at", Float),
    Column("elapsed_s", Float),
    Column("late_at", Float),
    Column("breached_at", Float),
    Index("ix_propagation_newest", "student_number", "version", "state"),
    Index("ix_propagation_completed", "state", "completed_at", "lane", "elapsed_s"),
    info=rows_of("student_number"),
)


propagation_targets = Table(
    "propagation_targets",
    metadata,
    Column("student_number", String(32), ForeignKey("propagation.student_number"), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("lease_epoch", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # provisioned | waiting | failed
    Column("reason", String(64)),
    Column("pending", Text),
    Column("finished_at", Float, nullable=False),
    Index("ix_propagation_targets_state", "target", "state"),
    partial_index(
        "ix_propagation_targets_reason", "reason IS NOT NULL", "reason", "target", "student_number"
    ),
    info=rows_of("student_number"),
)


# Built once: building a statement for each outcome costs more than the database does.
_PROGRESS: Final = select(propagation).where(propagation.c.student_number == bindparam("number"))
_AT_REST: Final = select(propagation.c.version, propagation.c.state, propagation.c.completed_version).where(
    propagation.c.student_number == bindparam("number")
)
_SEEN: Final = select(
    *(column for column in propagation_targets.c if column.name not in ("student_number", "pending"))
).where(propagation_targets.c.student_number == bindparam("number"))


def progress_of(
    connection: Connection, database: Database, student_number: str
) -> PropagationProgress | None:
    """One student's propagation, locked until the transaction ends.

    Facts and timers both change it, and so may another process, which may be about to write the first row.
    """
    query, whose = database.locking(_PROGRESS), {"number": student_number}
    row = connection.execute(query, whose).mappings().one_or_none()
    if row is None and not database.is_sqlite:
        database.alone(connection, "propagation", student_number)
        row = connection.execute(query, whose).mappings().one_or_none()
    if row is None:
        return None
    fields: dict[str, Any] = dict(row)
    fields["lane"], fields["state"] = Lane(fields["lane"]), PropagationState(fields["state"])
    return PropagationProgress(**fields)


def save(connection: Connection, database: Database, progress: PropagationProgress) -> None:
    """Write one student's propagation."""
    connection.execute(database.upsert(propagation), progress.__dict__)


def seen_of(connection: Connection, student_number: str) -> dict[str, SeenOutcome]:
    """The newest outcome of each target for one student."""
    rows = connection.execute(_SEEN, {"number": student_number}).mappings()
    return {row["target"]: SeenOutcome(**row) for row in rows}


def save_seen(
    connection: Connection,
    database: Database,
    student_number: str,
    seen: SeenOutcome,
    pending: tuple[str, ...],
) -> None:
    """Write a target's newest outcome."""
    values = {
        **seen.__dict__,
        "student_number": student_number,
        "pending": json.dumps(list(pending), ensure_ascii=False),
    }
    connection.execute(database.upsert(propagation_targets), values)


def at_rest(connection: Connection, student_number: str, version: int) -> bool:
    """True if this version is recorded as completed or waiting."""
    row = connection.execute(_AT_REST, {"number": student_number}).one_or_none()
    if row is None:
        return False
    waiting = row.state == PropagationState.WAITING and row.version >= version
    return bool(waiting or row.completed_version >= version)


def completed(connection: Connection, student_number: str, version: int) -> bool:
    """True if every target was seen to have this version, or a later one."""
    row = connection.execute(_AT_REST, {"number": student_number}).one_or_none()
    return row is not None and bool(row.completed_version >= version)


def unfinished(connection: Connection) -> Iterator[list[tuple[str, int]]]:
    """Pages of (number, newest version) of activated students not yet complete."""
    opened = propagation.c.student_number == accounts.c.student_number
    return pages(
        connection,
        select(accounts.c.student_number, accounts.c.version)
        .outerjoin(propagation, opened)
        .where(func.coalesce(propagation.c.completed_version, 0) < accounts.c.version),
    )
