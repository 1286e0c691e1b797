"""Publish `replay.requested`, and nothing else."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from pipeline import audit, outbox, replays, target_states
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import SesameError
from pipeline.eventlog.port import NewRecord, Producer
from pipeline.replays import Replay
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import SOURCE_PREFIX, Message, to_record
from schemas.events import ReplayRequested

RECORDS_PER_APPEND = 500
CLAIM_S = 60.0  # beyond its pause: longer than an append takes, and soon over after a kill


class ReplayUnderWay(SesameError):
    """Another run is asking for this replay at this moment: let it, and look at `sesame replays`. If it was
    killed, try again a minute later."""


@dataclass(frozen=True)
class ReplayReport:
    """A requested replay. `replay_id` is in every event and in the audit."""

    replay_id: str
    consumer: str
    students: int


@dataclass(frozen=True)
class Progress:
    """A replay's progress: students selected, published, done, and failed."""

    students: int
    asked: int
    done: int
    failed: int

    @property
    def under_way(self) -> int:
        """Students whose requests are published, and whose turn has not ended."""
        return self.asked - self.done - self.failed


def plan(
    students: Sequence[str],
    *,
    consumer: str,
    reason: str,
    actor: str,
    lane: Lane,
    database: Database,
    per_s: int | None = None,
    incident: str | None = None,
) -> Replay:
    """Record a replay, its reason, pace and audit; publish nothing yet: see `go_on`."""
    replay_id = secrets.token_urlsafe(9)
    with database.write() as connection:
        ref = operator_notes.keep_and_audit(
            connection,
            database,
            action="replay",
            about=consumer,
            student_number=students[0] if len(students) == 1 else None,
            actor=actor,
            words=reason,
            detail={"consumer": consumer, "replay_id": replay_id, "students": len(students)},
        )
        now, count = database.now(connection), len(students)
        planned = Replay(replay_id, consumer, lane, actor[:64], ref, now, count, per_s, incident)
        replays.begin(connection, planned, students)
    return planned


def go_on(
    planned: Replay,
    *,
    producer: Producer,
    database: Database,
    clock: Callable[[], datetime],
    first: int | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> int:
    """Publish the remaining requests at the replay's pace, until it is stopped. Return how many.

    Args:
        database: keeps its progress: an interrupted run resumes from there.
        clock: the time of the events.
        first: no more than so many; None: all of them.
        wait: waits so many seconds.

    Raises:
        ReplayUnderWay: another run publishes it; this one has stopped.
        LogUnavailable: resume later; a repeated request is recognised by the event's id.
    """
    run = secrets.token_urlsafe(9)
    try:
        return _ask(planned, run, producer, database, clock, first, wait)
    finally:
        with database.write() as connection:
            replays.release(connection, planned.id, by=run)


def _ask(
    planned: Replay,
    run: str,
    producer: Producer,
    database: Database,
    clock: Callable[[], datetime],
    first: int | None,
    wait: Callable[[float], object],
) -> int:
    topic = catalogue.by_lane(catalogue.ACTIVATIONS, Lane(planned.lane))
    page_max = min(RECORDS_PER_APPEND, planned.per_s or RECORDS_PER_APPEND)
    pause_s = page_max / planned.per_s if planned.per_s is not None else 0.0
    asked = 0
    while first is None or asked < first:
        limit = page_max if first is None else min(page_max, first - asked)
        with database.write() as connection:
            if not replays.claim(connection, database, planned.id, by=run, ttl_s=pause_s + CLAIM_S):
                if replays.is_stopped(connection, planned.id):
                    break
                raise ReplayUnderWay(f"replay {planned.id} is being asked for by another run")
            page = replays.open_students(connection, planned.id, limit=limit)
        if not page:
            break
        if asked and pause_s:
            wait(pause_s)
        producer.append([_record(number, topic, planned, clock()) for number in page])
        with database.write() as connection:
            replays.mark_asked(connection, database, planned.id, page)
        asked += len(page)
    return asked


def progress_of(database: Database, planned: Replay) -> Progress:
    """The progress of a replay."""
    with database.read() as connection:
        asked = replays.asked_students(connection, planned.id)
        ended = replays.outcomes(connection, planned.id)
        # Without a recorded outcome, or with a later replay, only the newest state shows the end.
        left = {
            number: replays.identity(number, planned.consumer, planned.id) for number in asked.keys() - ended
        }
        done = target_states.replayed(connection, planned.consumer, left, asked)
        failed = dead_letters.of_events(connection, planned.consumer, set(left.values()))
    noted = Counter(ended.values())
    return Progress(
        planned.students,
        len(asked.keys() | ended.keys()),
        noted[replays.DONE] + len(done - failed.keys()),
        noted[replays.FAILED] + len(failed),
    )


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
    """Ask `consumer` to compare students and write differences. Raises LogUnavailable: may be repeated."""
    planned = plan(students, consumer=consumer, reason=reason, actor=actor, lane=lane, database=database)
    go_on(planned, producer=producer, database=database, clock=clock)
    return ReplayReport(planned.id, consumer, len(students))


def ask_again(
    connection: Connection,
    database: Database,
    student_number: str,
    *,
    consumer: str,
    actor: str,
    at: datetime,
) -> None:
    """Publish a student's retry at one consumer, by the caller's transaction's outbox."""
    replay_id = secrets.token_urlsafe(9)
    detail = {"consumer": consumer, "replay_id": replay_id, "student_number": student_number}
    audit.note(connection, database, actor=actor, action="retry", detail=detail)
    event = ReplayRequested(student_number=student_number, consumer=consumer, replay_id=replay_id)
    identity = replays.identity(student_number, consumer, replay_id)
    message = Message(identity, SOURCE_PREFIX + replays.EMITTER, at, event)
    outbox.enqueue(
        connection, message, catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL), Lane.PERSONAL
    )


def _record(number: str, topic: str, planned: Replay, at: datetime) -> NewRecord:
    event = ReplayRequested(
        student_number=number, consumer=planned.consumer, replay_id=planned.id, reason_ref=planned.reason_ref
    )
    identity = replays.identity(number, planned.consumer, planned.id)
    headers, value = to_record(Message(identity, SOURCE_PREFIX + replays.EMITTER, at, event))
    return NewRecord(topic, number, value, headers)
