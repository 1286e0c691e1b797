"""Rows of activation requests, made by command or by students."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, String, Table, delete, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

activation_requests = Table(
    "activation_requests",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("credential_ref", String(64)),
    Column("intended_at", Float, nullable=False),  # written down, then appended to the log
    Column("confirmed_at", Float),  # acknowledged by the log; None: unknown, so it is published again
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class ActivationRequest:
    """One request. Times are seconds since the epoch, UTC; `confirmed_at` None: the log may not have it."""

    student_number: str
    event_id: str
    credential_ref: str | None
    intended_at: float
    confirmed_at: float | None = None


def find(connection: Connection, student_numbers: Collection[str]) -> dict[str, ActivationRequest]:
    """The requests of these students (at most some hundreds), by number."""
    rows = connection.execute(
        select(activation_requests).where(activation_requests.c.student_number.in_(sorted(student_numbers)))
    )
    return {row.student_number: ActivationRequest(*row) for row in rows}


def intend(connection: Connection, database: Database, requests: Sequence[ActivationRequest]) -> None:
    """Record requests before they are appended, replacing the student's older one."""
    connection.execute(database.upsert(activation_requests), [request.__dict__ for request in requests])


def confirm(connection: Connection, event_ids: Sequence[str], now: float) -> None:
    """Record that the log has acknowledged these events."""
    connection.execute(
        update(activation_requests)
        .where(activation_requests.c.event_id.in_(event_ids))
        .values(confirmed_at=now)
    )


def forget(connection: Connection, student_number: str) -> None:
    """Remove a student's request."""
    connection.execute(
        delete(activation_requests).where(activation_requests.c.student_number == student_number)
    )
