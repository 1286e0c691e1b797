"""Endings of an event: taken, or abandoned."""

from __future__ import annotations

from sqlalchemy import Connection

from consumers.webhooks import rows, sender_of
from consumers.webhooks.rows import WebhookEvent
from pipeline import replays
from pipeline.db.database import Database
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from schemas.envelope import event_id

REFUSED = "receiver_refused"
"""The cause of the dead letters."""


def take(connection: Connection, event: WebhookEvent, now: float) -> None:
    """Record that the receiver has the event; resolve the dead letter of a replay."""
    made_up = rows.taken(connection, event)
    if event.replay_id is not None and made_up:
        consumer, number = sender_of(event.receiver), event.student_number
        replays.end(connection, consumer, {number: (event.replay_id,)}, failed=())
        dead_letters.resolve(connection, consumer, number, up_to_version=0, how="replayed", now=now)


def give_up(
    connection: Connection, database: Database, event: WebhookEvent, refusal: str, now: float
) -> None:
    """Turn an event that the receiver refuses into a dead letter. `refusal`: without personal data."""
    consumer, number = sender_of(event.receiver), event.student_number
    rows.put_off(connection, event, now=now, due_at=None)
    if event.replay_id is not None:
        replays.end(connection, consumer, {number: (event.replay_id,)}, failed=(number,))
    letter = DeadLetter(
        id=event_id("dead-letter", consumer, event.event_id, event.replay_id),
        consumer=consumer,
        student_number=number,
        version=None,
        cause=REFUSED,
        message=f"{refusal} to {event.type}; mend it, then replay",
        attempts=event.attempts + 1,
        recorded_at=now,
        topic=event.topic,
        event_id=event.replay_id or event.event_id,
    )
    dead_letters.record_work(connection, database, letter, number)
