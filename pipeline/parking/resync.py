"""Make up from the store for lost log records: look again at affected students."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, func, or_, select

from pipeline import accounts
from pipeline.accounts import accounts as a
from pipeline.db.database import Database
from pipeline.parking import Kind, key_hash
from pipeline.parking.rows import parked as p
from pipeline.target_states import target_states as t
from schemas.account import Lane


def behind(connection: Connection, database: Database, consumer: str, *, event_id: str) -> int:
    """Park the students whose newest version this target may lack: due now, bulk; return how many.

    One who is parked and waits for an event only is looked at now: the event may be lost. `event_id` is the
    cause of the outcomes that follow.
    """
    known = and_(t.c.target == consumer, t.c.student_number == a.c.student_number)
    missed = or_(func.coalesce(t.c.applied_version, 0) < a.c.version, t.c.suspect)
    now = database.now(connection)
    count = 0
    query = select(a.c.student_number, a.c.version).outerjoin(t, known).where(missed)
    for page in accounts.pages(connection, query):
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


def compare(
    connection: Connection,
    database: Database,
    targets: Sequence[str],
    students: Iterable[Sequence[tuple[str, int]]],
    *,
    event_id: str,
) -> int:
    """Make every target compare these students, and announce the results. Return how many.

    `students`: pages of numbers and newest versions. `event_id`: of the replay that this is.
    """
    now = database.now(connection)
    count = 0
    for page in students:
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
