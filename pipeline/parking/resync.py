"""Making up, from the store, for what the log lost: whoever may have been missed is looked at again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from pipeline.db.database import Database
from pipeline.db.tables import accounts as a
from pipeline.db.tables import parked as p
from pipeline.db.tables import propagation as w
from pipeline.db.tables import target_states as t
from pipeline.parking import Kind, key_hash
from schemas.account import Lane

_ROWS_PER_PAGE = 1000


def behind(connection: Connection, database: Database, consumer: str, *, event_id: str) -> int:
    """Park everybody whose newest version this target is not known to have, due at once, in bulk.

    Whoever is parked already and waits for an event only is looked at now: the event may be lost.

    Args:
        connection: the caller's transaction.
        database: whose time is used.
        consumer: the target.
        event_id: the cause, for the outcomes that follow.

    Returns:
        How many are looked at again.
    """
    known = and_(t.c.target == consumer, t.c.student_number == a.c.student_number)
    missed = or_(func.coalesce(t.c.applied_version, 0) < a.c.version, t.c.suspect)
    now = database.now(connection)
    count = 0
    for page in _pages(connection, select(a.c.student_number, a.c.version).outerjoin(t, known), missed):
        rows = [_row(consumer, number, version, now, event_id, replay=False) for number, version in page]
        statement = database.insert(p)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[p.c.consumer, p.c.student_number],
                set_={"due_at": now, "bells": p.c.bells + 1},
                where=p.c.due_at.is_(None),
            ),
            rows,
        )
        count += len(rows)
    return count


def unfinished(connection: Connection, database: Database, targets: Sequence[str], *, event_id: str) -> int:
    """Let every target compare whoever is not complete at the newest version, and say so again.

    Args:
        connection: the caller's transaction.
        database: whose time is used.
        targets: all of them.
        event_id: of the replay that this is.

    Returns:
        How many students that concerns.
    """
    opened = w.c.student_number == a.c.student_number
    open_still = func.coalesce(w.c.completed_version, 0) < a.c.version
    now = database.now(connection)
    count = 0
    for page in _pages(connection, select(a.c.student_number, a.c.version).outerjoin(w, opened), open_still):
        count += len(page)
        for target in targets:
            rows = [_row(target, number, version, now, event_id, replay=True) for number, version in page]
            asked = {"due_at": now, "bells": p.c.bells + 1, "replay": True, "event_id": event_id}
            connection.execute(
                database.insert(p).on_conflict_do_update(
                    index_elements=[p.c.consumer, p.c.student_number], set_=asked
                ),
                rows,
            )
    return count


def _pages(
    connection: Connection, query: Any, chosen: ColumnElement[bool]
) -> Iterator[list[tuple[str, int]]]:
    """Number and version of those who have activated and are chosen, a page at a time."""
    last = ""
    query = query.where(a.c.activated_at.is_not(None), chosen).order_by(a.c.student_number)
    while True:
        found = connection.execute(query.where(a.c.student_number > last).limit(_ROWS_PER_PAGE))
        page = [(str(row[0]), int(row[1])) for row in found]
        if not page:
            return
        yield page
        last = page[-1][0]


def _row(
    consumer: str, number: str, version: int, now: float, event_id: str, *, replay: bool
) -> dict[str, object]:
    return {
        "consumer": consumer,
        "student_number": number,
        "key_hash": key_hash(number),
        "kind": Kind.RESYNC,
        "version": 0,  # says nothing of what a leader has
        "bells": 1,
        "due_at": now,
        "attempts": 0,
        "attempts_version": version,
        "first_at": now,
        "age_s": 0.0,
        "counted_at": now,
        "cause": "resync",
        "message": "the log lost records: compared with the store",
        "lane": Lane.BULK,
        "event_id": event_id,
        "replay": replay,
    }
