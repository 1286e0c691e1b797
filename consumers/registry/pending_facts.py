"""Facts that wait for a first enrolment or for an operator's decision.

An enrolment of an unknown student number is awaited for a limited time; a decision is about a number's
holder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
)

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

if TYPE_CHECKING:
    from pipeline.eventlog.port import Record
    from schemas.envelope import Headers, Message

PENDING_AGE_S_MAX: Final = 14 * 86_400.0
"""How long a fact waits for the enrolment: a registrar's file that fails is mended within two weeks."""

pending_facts = Table(
    "pending_facts",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("received_at", Float, nullable=False, index=True),
    Column("topic", String(64), nullable=False),
    Column("headers", Text, nullable=False),  # JSON list of [name, text]
    Column("value", LargeBinary, nullable=False),
    Column("waits_for", String(16), nullable=False, server_default="enrolment"),  # or: decision
    info=rows_of("student_number"),
)


FACTS_PER_PAGE = 500
_TICK_S = 1e-5
ENROLMENT, DECISION = "enrolment", "decision"
"""What a fact waits for."""

# Built once: building a statement for each fact costs more than the database does.
_LAST: Final = select(func.max(pending_facts.c.received_at)).where(
    pending_facts.c.student_number == bindparam("number")
)
_HELD: Final = (
    select(pending_facts)
    .where(
        pending_facts.c.student_number == bindparam("number"),
        pending_facts.c.waits_for == bindparam("for_what"),
    )
    .order_by(pending_facts.c.received_at, pending_facts.c.event_id)
)
_PAGE: Final = _HELD.limit(FACTS_PER_PAGE)
_OLDER: Final = (
    select(pending_facts)
    .where(pending_facts.c.received_at < bindparam("before"), pending_facts.c.waits_for == ENROLMENT)
    .order_by(pending_facts.c.received_at, pending_facts.c.event_id)
    .limit(FACTS_PER_PAGE)
)
_DROP: Final = delete(pending_facts).where(pending_facts.c.event_id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True)
class PendingFact:
    """A record as read. `received_at`: seconds since the epoch, UTC. `waits_for`: ENROLMENT or DECISION."""

    event_id: str
    student_number: str
    received_at: float
    topic: str
    headers: Headers
    value: bytes
    waits_for: str


def keep(
    connection: Connection,
    database: Database,
    message: Message,
    record: Record,
    *,
    waits_for: str = ENROLMENT,
) -> None:
    """Keep a fact after the student's others, whatever the clock says. May be repeated."""
    number, now = message.event.student_number, database.now(connection)
    last = connection.execute(_LAST, {"number": number}).scalar_one()
    row = {
        "event_id": message.id,
        "student_number": number,
        "received_at": now if last is None else max(now, last + _TICK_S),
        "topic": record.topic,
        "headers": json.dumps([[name, text.decode()] for name, text in record.headers]),
        "value": record.value,
        "waits_for": waits_for,
    }
    connection.execute(database.insert_new(pending_facts), row)


def take(connection: Connection, student_number: str, *, waits_for: str = ENROLMENT) -> list[PendingFact]:
    """Take out a student's facts that wait for this, oldest first."""
    return _take(connection, _PAGE, number=student_number, for_what=waits_for)


def held(connection: Connection, student_number: str) -> list[PendingFact]:
    """A student's facts that wait for a decision, oldest first; they stay."""
    rows = connection.execute(_HELD, {"number": student_number, "for_what": DECISION})
    return [_fact(row) for row in rows]


def drop(connection: Connection, event_id: str) -> None:
    """Delete this fact."""
    connection.execute(delete(pending_facts).where(pending_facts.c.event_id == event_id))


def take_older(connection: Connection, received_before: float) -> list[PendingFact]:
    """Take out a page of facts that await an enrolment since before, oldest first."""
    return _take(connection, _OLDER, before=received_before)


def waiting(connection: Connection, student_numbers: list[str]) -> dict[str, list[PendingFact]]:
    """The facts that wait for these students' enrolment, oldest first."""
    found: dict[str, list[PendingFact]] = {}
    query = select(pending_facts).where(
        pending_facts.c.student_number.in_(student_numbers), pending_facts.c.waits_for == ENROLMENT
    )
    for row in connection.execute(query.order_by(pending_facts.c.received_at, pending_facts.c.event_id)):
        found.setdefault(row.student_number, []).append(_fact(row))
    return found


def _take(connection: Connection, page: Select[Any], **these: object) -> list[PendingFact]:
    facts = [_fact(row) for row in connection.execute(page, these)]
    if facts:
        connection.execute(_DROP, {"ids": [fact.event_id for fact in facts]})
    return facts


def _fact(row: Row[Any]) -> PendingFact:
    headers = tuple((name, text.encode()) for name, text in json.loads(row.headers))
    return PendingFact(**row._asdict() | {"headers": headers})
