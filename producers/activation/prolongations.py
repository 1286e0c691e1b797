"""Request a later end of access: for the student, by a link, or for an operator."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import Connection

from pipeline import outbox
from producers.activation.activation_requests import NAME
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import ProlongationRequested


def ask(
    connection: Connection,
    student_number: str,
    *,
    ends_on: date,
    until: date,
    now: float,
    reason_ref: str | None = None,
) -> None:
    """Publish `prolongation.requested` with the caller's transaction.

    Args:
        connection: the caller's transaction.
        student_number: whose access.
        ends_on: its last day as known now. Once it is another one, the registry does nothing.
        until: the last day that is wanted.
        now: epoch seconds.
        reason_ref: where an operator's words are kept.
    """
    event = ProlongationRequested(
        student_number=student_number, ends_on=ends_on, until=until, reason_ref=reason_ref
    )
    identity = event_id(event.type, NAME, student_number, ends_on.isoformat(), until.isoformat())
    message = Message(identity, SOURCE_PREFIX + NAME, datetime.fromtimestamp(now, UTC), event)
    topic = catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL)
    outbox.enqueue(connection, message, topic, Lane.PERSONAL)
