"""Results of attempts at targets: one row each, written with the new state.

Attempts and age bound the retries. A look at a student who still waits for the same thing adds no row, nor
does a call to a target that was down.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)

from pipeline.db.bulk_sql import given, rows_given
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # as they ended
    Column("student_number", String(32), nullable=False),
    Column("target", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # at this version, from 1
    Column("ended", String(16), nullable=False),
    Column("reason", String(64)),
    Column("event_id", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_attempts_student_number", "student_number", "id"),
    info=rows_of("student_number"),
)
_a = attempts.c


class AttemptEnd(StrEnum):
    """An attempt's end."""

    WRITTEN = "written"  # and read back
    UNCHANGED = "unchanged"  # read back: there was nothing to write
    CLOSED = "closed"  # access was shut, and nothing else done
    WAITING = "waiting"
    RETRY = "retry"
    FAILED = "failed"


class Attempt(NamedTuple):
    """One attempt.

    Attributes:
        attempt: its number at this version, from 1.
        reason: a token: why the student waits, or the cause of the failure.
        event_id: of the event that caused it, preferably a replay's; its first 32 digits are its trace.
        at: when it ended: database time, epoch seconds.
    """

    student_number: str
    target: str
    version: int
    attempt: int
    ended: AttemptEnd
    reason: str | None
    event_id: str
    at: float


def record(connection: Connection, ended: Sequence[Attempt]) -> None:
    """Insert these attempts, in the transaction that records their results."""
    if ended:
        connection.execute(_recording(connection.dialect.name == "sqlite"), rows_given(ended))


_COLUMNS: Final = {name: _a[name].type for name in Attempt._fields}


@cache
def _recording(is_sqlite: bool) -> Any:  # noqa: FBT001  # by its position, for the cache
    return insert(attempts).from_select(list(_COLUMNS), select(*given(_COLUMNS, is_sqlite=is_sqlite).c))


_OF_STUDENT: Final = (
    select(*(_a[name] for name in _COLUMNS))
    .where(_a.student_number == bindparam("number"))
    .order_by(_a.id.desc())
    .limit(bindparam("limit"))
)


def of_student(connection: Connection, student_number: str, *, limit: int) -> list[Attempt]:
    """A student's attempts at all targets, the newest first."""
    rows = connection.execute(_OF_STUDENT, {"number": student_number, "limit": limit}).mappings()
    return [Attempt(**{**row, "ended": AttemptEnd(row["ended"])}) for row in rows]


def forget_old(connection: Connection, *, before: float, limit: int) -> int:
    """Remove attempts that ended before this moment, of the `limit` oldest rows. Return how many."""
    oldest = select(_a.id).order_by(_a.id).limit(limit)
    return connection.execute(delete(attempts).where(_a.id.in_(oldest), _a.at < before)).rowcount
