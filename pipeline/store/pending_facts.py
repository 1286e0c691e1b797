"""Facts about a student number that is not known yet: they wait for its enrolment, and not for ever."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select

from pipeline.store.database import Database
from pipeline.store.tables import pending_facts as p
from schemas.envelope import Headers

FACTS_PER_PAGE = 500


@dataclass(frozen=True)
class PendingFact:
    """A record as it was read. `received_at`: seconds since the epoch, UTC."""

    event_id: str
    student_number: str
    received_at: float
    topic: str
    headers: Headers
    value: bytes


def keep(connection: Connection, database: Database, fact: PendingFact) -> None:
    """Keep a fact; keeping it twice is harmless."""
    statement = database.insert(p).values(
        event_id=fact.event_id,
        student_number=fact.student_number,
        received_at=fact.received_at,
        topic=fact.topic,
        headers=json.dumps([[name, text.decode()] for name, text in fact.headers]),
        value=fact.value,
    )
    connection.execute(statement.on_conflict_do_nothing(index_elements=[p.c.event_id]))


def take(connection: Connection, student_number: str) -> list[PendingFact]:
    """A student's facts, oldest first; they are no longer kept."""
    return _take(connection, p.c.student_number == student_number)


def take_older(connection: Connection, received_before: float) -> list[PendingFact]:
    """A page of the facts that came before this moment, oldest first; they are no longer kept."""
    return _take(connection, p.c.received_at < received_before)


def waiting(connection: Connection, student_numbers: list[str]) -> dict[str, list[PendingFact]]:
    """What is kept for each of these students, oldest first."""
    found: dict[str, list[PendingFact]] = {}
    query = select(p).where(p.c.student_number.in_(student_numbers)).order_by(p.c.received_at, p.c.event_id)
    for row in connection.execute(query):
        found.setdefault(row.student_number, []).append(_fact(row))
    return found


def _take(connection: Connection, these: ColumnElement[bool]) -> list[PendingFact]:
    query = select(p).where(these).order_by(p.c.received_at, p.c.event_id).limit(FACTS_PER_PAGE)
    facts = [_fact(row) for row in connection.execute(query)]
    if facts:
        connection.execute(delete(p).where(p.c.event_id.in_([fact.event_id for fact in facts])))
    return facts


def _fact(row: Row[Any]) -> PendingFact:
    return PendingFact(
        event_id=row.event_id,
        student_number=row.student_number,
        received_at=row.received_at,
        topic=row.topic,
        headers=tuple((name, text.encode()) for name, text in json.loads(row.headers)),
        value=row.value,
    )
