"""Publishes `replay.requested`, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection

from pipeline import outbox
from pipeline.eventlog.port import NewRecord, Producer
from pipeline.store import audit, remarks
from pipeline.store.database import Database
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import ReplayRequested

EMITTER = "replay"
RECORDS_PER_APPEND = 500


@dataclass(frozen=True)
class ReplayReport:
    """What was asked for. `replay_id` is in every event and in the audit."""

    replay_id: str
    consumer: str
    students: int


def replay(
    students: Sequence[str],
    *,
    consumer: str,
    reason: str,
    actor: str,
    lane: Lane,
    producer: Producer,
    database: Database,
    clock: Callable[[], datetime],
) -> ReplayReport:
    """Ask `consumer` to compare these students with its target and write the difference.

    Raises:
        LogUnavailable: some may have been asked for already; replaying again is harmless.
    """
    replay_id = secrets.token_urlsafe(9)
    with database.write() as connection:
        ref = remarks.keep(
            connection,
            database,
            action="replay",
            about=consumer,
            student_number=students[0] if len(students) == 1 else None,
            actor=actor,
            words=reason,
        )
        detail = {"consumer": consumer, "reason_ref": ref, "replay_id": replay_id, "students": len(students)}
        audit.note(connection, database, actor=actor, action="replay", detail=detail)
    topic = catalogue.by_lane(catalogue.ACTIVATIONS, lane)
    numbers = iter(students)
    while page := list(islice(numbers, RECORDS_PER_APPEND)):
        producer.append([_record(number, topic, consumer, replay_id, ref, clock()) for number in page])
    return ReplayReport(replay_id, consumer, len(students))


def ask_again(
    connection: Connection,
    database: Database,
    student_number: str,
    *,
    consumer: str,
    actor: str,
    at: datetime,
) -> None:
    """A student asks one consumer to try again: said by the outbox, in the caller's transaction."""
    replay_id = secrets.token_urlsafe(9)
    detail = {"consumer": consumer, "replay_id": replay_id, "student_number": student_number}
    audit.note(connection, database, actor=actor, action="retry", detail=detail)
    event = ReplayRequested(student_number=student_number, consumer=consumer, replay_id=replay_id)
    identity = event_id(event.type, EMITTER, consumer, replay_id, student_number)
    message = Message(identity, SOURCE_PREFIX + EMITTER, at, event)
    outbox.enqueue(
        connection, message, catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL), Lane.PERSONAL
    )


def _record(number: str, topic: str, consumer: str, replay_id: str, ref: str, time: datetime) -> NewRecord:
    event = ReplayRequested(student_number=number, consumer=consumer, replay_id=replay_id, reason_ref=ref)
    identity = event_id(event.type, EMITTER, consumer, replay_id, number)
    headers, value = to_record(Message(identity, SOURCE_PREFIX + EMITTER, time, event))
    return NewRecord(topic, number, value, headers)
