"""Events to be sent: a row for each event and receiver, until it has been taken."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from consumers.webhooks.settings import ASYNC_ANSWER
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, event_id

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # the order of each student's
    Column("receiver", String(32), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("lane", Integer, nullable=False),  # 0 personal, 1 bulk: personal ones are sent first
    Column("topic", String(64), nullable=False),
    Column("student_number", String(32), nullable=False),
    Column("type", String(80), nullable=False),
    Column("happened_at", Float, nullable=False),
    Column("data", Text, nullable=False),  # JSON, as /completions has it
    Column("attempts", Integer, nullable=False, default=0),
    Column("failed_at", Float),  # the first time
    Column("due_at", Float),  # None: given up, and a dead letter
    Column("replay_id", String(64)),  # the event that asked for it again
    Index("ix_webhook_events_receiver_lane_id", "receiver", "lane", "id"),
    Index("ix_webhook_events_receiver_student_number_id", "receiver", "student_number", "id"),
    Index("uq_webhook_events_receiver_event_id", "receiver", "event_id", unique=True),
    sqlite_autoincrement=True,
    info=rows_of("student_number"),
)

_LANE: Final = {Lane.PERSONAL: 0, Lane.BULK: 1}
_w = webhook_events.c
_earlier = webhook_events.alias("earlier")

_MINE: Final = and_(_w.receiver == bindparam("of"), _w.student_number == bindparam("number"))
_DUE: Final = (
    select(webhook_events)
    .where(
        _w.receiver == bindparam("of"),
        _w.due_at <= bindparam("now"),
        ~exists().where(
            _earlier.c.receiver == _w.receiver,
            _earlier.c.student_number == _w.student_number,
            _earlier.c.id < _w.id,
            _earlier.c.due_at.is_not(None),
            or_(_w.type != ASYNC_ANSWER, _earlier.c.type == ASYNC_ANSWER),
        ),
    )
    .order_by(_w.lane, _w.id)
    .limit(bindparam("rows"))
)


@dataclass(frozen=True)
class WebhookEvent:
    """One event for one receiver. Times are seconds since the epoch, UTC; `data` is JSON."""

    id: int
    receiver: str
    event_id: str
    lane: int
    topic: str
    student_number: str
    type: str
    happened_at: float
    data: str
    attempts: int
    failed_at: float | None
    due_at: float | None
    replay_id: str | None


def add(
    connection: Connection,
    database: Database,
    receivers: Sequence[str],
    message: Message,
    *,
    topic: str,
    lane: Lane,
) -> None:
    """Store an event for these receivers; one that already waits stays as it is."""
    event = message.event
    row = {
        "event_id": message.id,
        "lane": _LANE[lane],
        "topic": topic,
        "student_number": event.student_number,
        "type": event.type,
        "happened_at": message.time.timestamp(),
        "data": event.model_dump_json(exclude_none=True),
    }
    _add(connection, database, receivers, row)


def add_answer(
    connection: Connection,
    database: Database,
    receivers: Sequence[str],
    student_number: str,
    answer: Mapping[str, Any],
    now: float,
) -> None:
    """Store the answer to the request `txn` for the program that made it. The log has no event of it."""
    row = {
        "event_id": event_id(ASYNC_ANSWER, answer["txn"]),
        "lane": _LANE[Lane.PERSONAL],
        "topic": catalogue.ENROLMENTS,
        "student_number": student_number,
        "type": ASYNC_ANSWER,
        "happened_at": now,
        "data": json.dumps(answer),
    }
    _add(connection, database, receivers, row)


def _add(
    connection: Connection, database: Database, receivers: Sequence[str], row: Mapping[str, Any]
) -> None:
    statement = database.insert(webhook_events).on_conflict_do_nothing(
        index_elements=[_w.receiver, _w.event_id]
    )
    for receiver in receivers:
        connection.execute(statement, {**row, "attempts": 0, "due_at": 0.0, "receiver": receiver})


def due(connection: Connection, receiver: str, now: float, *, limit: int) -> list[WebhookEvent]:
    """The events to send to this receiver now, personal ones first.

    Only the oldest of each student, so that no later one overtakes it. Answers to requests, whose clients
    wait, pass other events.
    """
    rows = connection.execute(_DUE, {"of": receiver, "now": now, "rows": limit}).mappings()
    return [WebhookEvent(**row) for row in rows]


def named(connection: Connection, receiver: str, event_ids: Collection[str]) -> list[WebhookEvent]:
    """Those of these events that wait for this receiver."""
    query = select(webhook_events).where(
        _w.receiver == receiver, _w.event_id.in_(event_ids), _w.due_at.is_not(None)
    )
    return [WebhookEvent(**row) for row in connection.execute(query).mappings()]


def taken(connection: Connection, event: WebhookEvent) -> bool:
    """Delete a taken event. True: no event of this student is abandoned, or replayed and unsent."""
    connection.execute(delete(webhook_events).where(_w.id == event.id))
    rest = select(_w.id).where(_MINE, or_(_w.due_at.is_(None), _w.replay_id.is_not(None))).limit(1)
    whose = {"of": event.receiver, "number": event.student_number}
    return connection.execute(rest, whose).one_or_none() is None


def put_off(connection: Connection, event: WebhookEvent, *, now: float, due_at: float | None) -> None:
    """Postpone an event that the receiver did not take; None: until it is replayed."""
    values = {"attempts": event.attempts + 1, "failed_at": event.failed_at or now, "due_at": due_at}
    connection.execute(update(webhook_events).where(_w.id == event.id).values(**values))


def again(connection: Connection, receiver: str, student_number: str, replay_id: str) -> int:
    """Send a student's abandoned events to this receiver again; return how many."""
    given_up = update(webhook_events).where(_MINE, _w.due_at.is_(None))
    values = {"attempts": 0, "failed_at": None, "due_at": 0.0, "replay_id": replay_id}
    return connection.execute(given_up.values(**values), {"of": receiver, "number": student_number}).rowcount


def waiting(connection: Connection, receiver: str) -> Mapping[str, int]:
    """How many events wait for this receiver, by topic."""
    query = (
        select(_w.topic, func.count())
        .where(_w.receiver == receiver, _w.due_at.is_not(None))
        .group_by(_w.topic)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def forget_old(connection: Connection, *, before: float, limit: int) -> int:
    """Delete at most `limit` events from before this moment that were never taken. Return how many."""
    old = select(_w.id).where(_w.happened_at < before).limit(limit)
    return connection.execute(delete(webhook_events).where(_w.id.in_(old))).rowcount
