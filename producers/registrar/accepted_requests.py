"""Accepted requests of programs, answered once the registry has applied them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Boolean, Column, Connection, Float, String, Table, Text, delete, exists, insert, select

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from producers.registrar.feed import StepKey

accepted_requests = Table(
    "accepted_requests",
    metadata,
    Column("txn", String(32), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("method", String(8), nullable=False),
    Column("steps", Text, nullable=False),  # JSON: the enrolments that were published
    Column("changes_hold", Boolean, nullable=False),
    Column("accepted_at", Float, nullable=False),
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class AcceptedRequest:
    """A program's request, all of it in the log, and what its answer waits for.

    Attributes:
        txn: identifies its answer.
        method: POST, PUT, PATCH or DELETE.
        steps: the enrolments that were published for it.
        changes_hold: it requests an administrative hold, or its end.
        accepted_at: seconds since the epoch, UTC.
    """

    txn: str
    student_number: str
    method: str
    steps: Collection[StepKey]
    changes_hold: bool
    accepted_at: float


def add(connection: Connection, request: AcceptedRequest) -> None:
    """Store a request to be answered."""
    steps = json.dumps([key[1:] for key in request.steps])
    connection.execute(insert(accepted_requests), {**request.__dict__, "steps": steps})


def page(connection: Connection, *, after: str, limit: int) -> list[AcceptedRequest]:
    """A page of unanswered requests, by name, after this one."""
    query = select(accepted_requests).where(accepted_requests.c.txn > after).order_by(accepted_requests.c.txn)
    return [
        AcceptedRequest(
            **row._asdict() | {"steps": [(row.student_number, *key) for key in json.loads(row.steps)]}
        )
        for row in connection.execute(query.limit(limit))
    ]


def any_of(connection: Connection, student_number: str) -> bool:
    """True if a request about this person is unanswered."""
    mine = accepted_requests.c.student_number == student_number
    return bool(connection.scalar(select(exists().where(mine))))


def end(connection: Connection, txn: str) -> bool:
    """Mark a request as answered. False: another process has done so."""
    return bool(connection.execute(delete(accepted_requests).where(accepted_requests.c.txn == txn)).rowcount)
