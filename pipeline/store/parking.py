"""The parking lot: students whose turn comes again at a later time. One row per consumer and student.

A row carries the highest version that rang and a counter that every bell raises. Success deletes it only if
neither has moved since the turn began: a bell that rang meanwhile is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, case, delete, func, select, update

from pipeline.store.database import Database
from pipeline.store.tables import parked as p
from schemas.account import Lane


class Kind(StrEnum):
    """Why a student is parked."""

    RETRY = "retry"  # a transient failure; attempts and age are counted
    WAITING = "waiting"  # a business precondition is missing; nothing is counted
    LEASED = "leased"  # somebody else may be writing; nothing is counted


@dataclass(frozen=True)
class Parked:
    """A parked student.

    Attributes:
        due_at: when to look again (database time, epoch seconds); None: only an event wakes it.
        attempts, age_s: failures so far, and for how long, counted only while the target was up.
        lane, event_id, replay: of the bell to ring when it is due.
    """

    student_number: str
    kind: Kind
    version: int
    bells: int
    due_at: float | None
    attempts: int
    first_at: float
    age_s: float
    counted_at: float
    cause: str
    message: str
    lane: Lane
    event_id: str
    replay: bool


def parked_of(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> dict[str, Parked]:
    """The parked ones among these students."""
    rows = connection.execute(
        select(p).where(p.c.consumer == consumer, p.c.student_number.in_(student_numbers))
    ).mappings()
    return {row["student_number"]: _parked(row) for row in rows}


def all_parked_of(connection: Connection, student_number: str) -> dict[str, Parked]:
    """One student's parked work, by consumer."""
    rows = connection.execute(select(p).where(p.c.student_number == student_number)).mappings()
    return {row["consumer"]: _parked(row) for row in rows}


def due(connection: Connection, consumer: str, now: float, *, limit: int) -> list[Parked]:
    """The rows that are due, the longest due first, a bounded page."""
    rows = connection.execute(
        select(p).where(p.c.consumer == consumer, p.c.due_at <= now).order_by(p.c.due_at).limit(limit)
    ).mappings()
    return [_parked(row) for row in rows]


def park(connection: Connection, database: Database, consumer: str, row: Parked) -> None:
    """Park a student, in place of what was parked before."""
    values = {
        "kind": row.kind,
        "version": row.version,
        "bells": row.bells,
        "due_at": row.due_at,
        "attempts": row.attempts,
        "first_at": row.first_at,
        "age_s": row.age_s,
        "counted_at": row.counted_at,
        "cause": row.cause,
        "message": row.message,
        "lane": row.lane,
        "event_id": row.event_id,
        "replay": row.replay,
    }
    statement = database.insert(p).values(consumer=consumer, student_number=row.student_number, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[p.c.consumer, p.c.student_number], set_=values)
    )


def ring(connection: Connection, consumer: str, student_number: str, *, version: int, bells: int) -> None:
    """Bells of the log rang for a parked student."""
    connection.execute(
        update(p)
        .where(p.c.consumer == consumer, p.c.student_number == student_number)
        .values(
            bells=p.c.bells + bells,
            version=case((p.c.version < version, version), else_=p.c.version),
        )
    )


def unpark(connection: Connection, consumer: str, student_number: str, *, version: int, bells: int) -> bool:
    """Take the row away if neither its version nor its bells moved; otherwise make it due at once."""
    here = and_(p.c.consumer == consumer, p.c.student_number == student_number)
    gone = connection.execute(delete(p).where(here, p.c.version == version, p.c.bells == bells))
    if gone.rowcount:
        return True
    connection.execute(update(p).where(here).values(due_at=0.0, kind=Kind.RETRY))
    return False


def postpone(connection: Connection, consumer: str, student_number: str, due_at: float | None) -> None:
    """Move the time at which a parked student is looked at."""
    connection.execute(
        update(p).where(p.c.consumer == consumer, p.c.student_number == student_number).values(due_at=due_at)
    )


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many are parked, by consumer and kind."""
    rows = connection.execute(select(p.c.consumer, p.c.kind, func.count()).group_by(p.c.consumer, p.c.kind))
    return {(row[0], row[1]): row[2] for row in rows}


def _parked(row: RowMapping) -> Parked:
    fields: dict[str, Any] = dict(row)
    del fields["consumer"]
    fields["kind"] = Kind(fields["kind"])
    fields["lane"] = Lane(fields["lane"])
    return Parked(**fields)
