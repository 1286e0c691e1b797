"""Record, announce and resolve dead letters: row and event in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection

from pipeline import outbox
from pipeline.db.database import Database
from pipeline.dead_letters import rows
from pipeline.dead_letters.rows import DeadLetter
from pipeline.engine.bell import WorkItem
from pipeline.eventlog.port import Record
from pipeline.target import Dead
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import SOURCE_PREFIX, EnvelopeError, Message, event_id
from schemas.events import DeadLetterRecorded, DeadLetterResolved

Resolution = Literal["newer_success", "replayed", "dismissed"]


def record(connection: Connection, database: Database, letter: DeadLetter) -> None:
    """Record a dead letter and announce it, with the headers of Spring and Connect.

    A letter without a student number (the record could not be read) is a row only: events are keyed by it.
    """
    if rows.add(connection, database, letter) and letter.student_number is not None:
        identity = event_id(DeadLetterRecorded.type, letter.consumer, letter.id)
        _announce(connection, letter, letter.student_number, identity)


def record_work(connection: Connection, database: Database, letter: DeadLetter, number: str) -> str:
    """Record and announce that a target consumer gave a student up. Return the letter's id.

    A student has one letter per cause, for any number of bells: it is about the student's state, and a failed
    replay adds its attempts. (A fact that a consumer rejects has its own letter.)
    """
    before = rows.standing(connection, letter.consumer, [number]).get((number, letter.cause))
    if before is None:
        record(connection, database, letter)
        return letter.id
    if (before.event_id, before.version) != (letter.event_id, letter.version):  # else it is a redelivery
        again = rows.repeat(connection, before, letter)
        identity = event_id(DeadLetterRecorded.type, letter.consumer, again.id, again.attempts)
        _announce(connection, again, number, identity)
    return before.id


def _announce(connection: Connection, letter: DeadLetter, number: str, identity: str) -> None:
    event = DeadLetterRecorded(
        student_number=number,
        dead_letter_id=letter.id,
        consumer=letter.consumer,
        version=letter.version,
        cause=letter.cause,
        attempts=letter.attempts,
    )
    message = Message(
        identity,
        SOURCE_PREFIX + letter.consumer,
        datetime.fromtimestamp(letter.recorded_at, UTC),
        event,
        caused_by=letter.event_id,
    )
    extra = {
        "kafka_dlt-exception-fqcn": letter.cause,
        "kafka_dlt-exception-message": letter.message,
        "__connect.errors.exception.class.name": letter.cause,
        "__connect.errors.exception.message": letter.message,
    }
    if letter.topic is not None:
        extra |= {
            "kafka_dlt-original-topic": letter.topic,
            "kafka_dlt-original-partition": str(letter.partition),
            "kafka_dlt-original-offset": str(letter.offset),
            "kafka_dlt-original-timestamp": str(letter.timestamp_ms),
            "kafka_dlt-original-consumer-group": letter.consumer,
            "__connect.errors.topic": letter.topic,
            "__connect.errors.partition": str(letter.partition),
            "__connect.errors.offset": str(letter.offset),
        }
    headers = tuple((name, text.encode()) for name, text in extra.items())
    # Bulk: no consumer waits for it, and thousands of letters must not delay a person's events.
    outbox.enqueue(connection, message, catalogue.DEAD_LETTERS, Lane.BULK, headers)


def letter_of(
    target: str,
    item: WorkItem,
    dead: Dead,
    *,
    letter_id: str,
    now: float,
    attempts: int = 1,
    version: int | None = None,
) -> DeadLetter:
    """The dead letter that an item leaves."""
    place = item.places[-1] if item.places else None
    return DeadLetter(
        id=letter_id,
        consumer=target,
        student_number=item.student_number,
        version=version,
        cause=dead.cause,
        message=dead.message,
        attempts=attempts,
        recorded_at=now,
        topic=place.topic if place else None,
        partition=place.partition if place else None,
        offset=place.offset if place else None,
        timestamp_ms=place.timestamp_ms if place else None,
        event_id=item.bell.event_id,
    )


def unreadable(record: Record, error: EnvelopeError) -> str:
    """Return a letter's text on an unreadable record: its place, fault and remedy."""
    return f"{record.topic}/{record.partition}@{record.offset}: {error}; {error.remedy}"


def record_unreadable(database: Database, consumer: str, unread: Record, error: EnvelopeError) -> None:
    """Record an unreadable record as a dead letter, with its place.

    Raises:
        StoreUnavailable: nothing was recorded.
    """
    with database.write() as connection:
        letter = DeadLetter(
            id=event_id("poison", consumer, unread.topic, unread.partition, unread.offset),
            consumer=consumer,
            student_number=None,
            version=None,
            cause=error.cause,
            message=unreadable(unread, error),
            attempts=1,
            recorded_at=database.now(connection),
            topic=unread.topic,
            partition=unread.partition,
            offset=unread.offset,
            timestamp_ms=unread.timestamp_ms,
        )
        record(connection, database, letter)


def resolve(
    connection: Connection,
    consumer: str,
    student_number: str,
    *,
    up_to_version: int,
    how: Resolution,
    now: float,
    cause: str | None = None,
) -> None:
    """Resolve and announce a student's letters up to this version. Of `cause` only, if given."""
    for letter in rows.mark_resolved(
        connection, consumer, student_number, up_to_version=up_to_version, how=how, now=now, cause=cause
    ):
        _say_resolved(connection, letter, consumer, student_number, how, now)


def dismiss(connection: Connection, letters: Sequence[DeadLetter], *, now: float) -> int:
    """Resolve and announce letters that an operator dismisses; return how many."""
    dismissed = rows.mark_dismissed(connection, letters, how="dismissed", now=now)
    for letter in dismissed:
        if letter.student_number is not None:  # the others were never announced: see `record`
            _say_resolved(connection, letter.id, letter.consumer, letter.student_number, "dismissed", now)
    return len(dismissed)


def _say_resolved(
    connection: Connection, letter: str, consumer: str, student_number: str, how: Resolution, now: float
) -> None:
    event = DeadLetterResolved(
        student_number=student_number, dead_letter_id=letter, consumer=consumer, resolution=how
    )
    identity = event_id(event.type, consumer, letter)
    message = Message(identity, SOURCE_PREFIX + consumer, datetime.fromtimestamp(now, UTC), event)
    outbox.enqueue(connection, message, catalogue.DEAD_LETTERS, Lane.BULK)
