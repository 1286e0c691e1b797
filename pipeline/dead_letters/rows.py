"""The dead letters: work that is not tried again by itself, with its cause. Resolved rows are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, delete, func, select, tuple_, update

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.tables import dead_letters as d

NEWER_SUCCESS = "newer_success"
_IDS_PER_QUERY = 500
_ROWS_PER_PAGE = 500

# Made once: making a statement for each outcome costs more than the database does.
_OPEN: Final = select(d.c.student_number).where(
    d.c.consumer == bindparam("of_consumer"), d.c.resolved_at.is_(None)
)


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter. `message` says what happened and what to do, without personal data or secrets."""

    id: str
    consumer: str
    student_number: str | None
    version: int | None
    cause: str
    message: str
    attempts: int
    recorded_at: float
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    event_id: str | None = None
    resolved_at: float | None = None
    resolution: str | None = None


def add(connection: Connection, database: Database, letter: DeadLetter) -> bool:
    """Record a dead letter. False if this very one was recorded before (a redelivery)."""
    statement = database.insert(d).values(**letter.__dict__).on_conflict_do_nothing(index_elements=[d.c.id])
    return bool(connection.execute(statement).rowcount)


def standing(
    connection: Connection, consumer: str, numbers: Sequence[str]
) -> dict[tuple[str, str], DeadLetter]:
    """The unresolved dead letters of these students, by student and cause; of several the newest."""
    which = (d.c.consumer == consumer, d.c.resolved_at.is_(None), d.c.student_number.in_(numbers))
    rows = connection.execute(select(d).where(*which).order_by(d.c.recorded_at, d.c.id)).mappings()
    return {(row["student_number"], row["cause"]): _letter(row) for row in rows}


def repeat(connection: Connection, before: DeadLetter, again: DeadLetter) -> DeadLetter:
    """The same happened again: the letter that stands says what happened last, and counts all attempts."""
    letter = replace(again, id=before.id, attempts=before.attempts + again.attempts)
    connection.execute(update(d).where(d.c.id == before.id).values(**letter.__dict__))
    return letter


@dataclass(frozen=True)
class Which:
    """Unresolved dead letters, narrowed by what is given; times in epoch seconds."""

    consumer: str | None = None
    student_number: str | None = None
    cause: str | None = None
    since: float = 0.0
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL has it."""
        found: list[ColumnElement[bool]] = [d.c.resolved_at.is_(None)]
        found += [d.c.recorded_at >= self.since] if self.since else []
        found += [d.c.recorded_at < self.until] if self.until is not None else []
        equal = ((d.c.consumer, self.consumer), (d.c.student_number, self.student_number))
        return found + [
            one == wanted for one, wanted in (*equal, (d.c.cause, self.cause)) if wanted is not None
        ]


def unresolved(
    connection: Connection,
    *,
    consumer: str | None = None,
    student_number: str | None = None,
    cause: str | None = None,
    since: float = 0.0,
    until: float | None = None,
) -> list[DeadLetter]:
    """Dead letters that need somebody, oldest first, filtered by what is given; times in epoch seconds."""
    which = Which(consumer, student_number, cause, since, until)
    query = select(d).where(*which.conditions()).order_by(d.c.recorded_at, d.c.id)
    return [_letter(row) for row in connection.execute(query).mappings()]


def each(
    connection: Connection, which: Which, after: DeadLetter | None = None, limit: int | None = None
) -> Iterator[DeadLetter]:
    """At most `limit` of them, or all, oldest first: from the first on, or from the one that follows `after`.
    No more than a page is in memory."""
    query = select(d).where(*which.conditions()).order_by(d.c.recorded_at, d.c.id)
    place, left, full = tuple_(d.c.recorded_at, d.c.id), limit, True
    while full and (left is None or left > 0):
        wanted = _ROWS_PER_PAGE if left is None else min(_ROWS_PER_PAGE, left)
        rest = query if after is None else query.where(place > (after.recorded_at, after.id))
        page = connection.execute(rest.limit(wanted)).mappings().all()
        for row in page:
            after = _letter(row)
            yield after
        left, full = None if left is None else left - len(page), len(page) == wanted


def students_with_some(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> set[str]:
    """Which of these students have dead letters of this consumer that need somebody."""
    if not student_numbers:
        return set()
    found = rows_among(connection, _OPEN, d.c.student_number, student_numbers, of_consumer=consumer)
    return set(found.scalars())


def of_events(connection: Connection, consumer: str, event_ids: Collection[str]) -> dict[str, DeadLetter]:
    """The unresolved dead letters that these events led to, by event id."""
    found: dict[str, DeadLetter] = {}
    identities = sorted(event_ids)
    for start in range(0, len(identities), _IDS_PER_QUERY):
        page = identities[start : start + _IDS_PER_QUERY]
        query = select(d).where(d.c.consumer == consumer, d.c.resolved_at.is_(None), d.c.event_id.in_(page))
        found |= {str(row["event_id"]): _letter(row) for row in connection.execute(query).mappings()}
    return found


def newest_versions(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> dict[str, int]:
    """Of these students, the newest account version that an unresolved dead letter is about."""
    rows = connection.execute(
        select(d.c.student_number, func.max(func.coalesce(d.c.version, 0)))
        .where(d.c.consumer == consumer, d.c.resolved_at.is_(None), d.c.student_number.in_(student_numbers))
        .group_by(d.c.student_number)
    )
    return {str(row[0]): int(row[1]) for row in rows}


def prune(connection: Connection, *, resolved_before: float) -> int:
    """Remove those that were resolved before that moment; return how many. What is unresolved stays."""
    return connection.execute(delete(d).where(d.c.resolved_at < resolved_before)).rowcount


def by_id(connection: Connection, prefix: str) -> list[DeadLetter]:
    """The dead letters whose id starts with `prefix`, resolved ones included."""
    rows = connection.execute(
        select(d).where(d.c.id.startswith(prefix, autoescape=True)).limit(10)
    ).mappings()
    return [_letter(row) for row in rows]


def mark_resolved(
    connection: Connection,
    consumer: str,
    student_number: str,
    *,
    up_to_version: int,
    how: str,
    now: float,
    cause: str | None = None,
) -> list[str]:
    """Resolve a student's dead letters of versions up to this one, of one cause if given; return the ids."""
    here = (
        d.c.consumer == consumer,
        d.c.student_number == student_number,
        d.c.resolved_at.is_(None),
        func.coalesce(d.c.version, 0) <= up_to_version,
        *([d.c.cause == cause] if cause is not None else []),
    )
    ids = [row.id for row in connection.execute(select(d.c.id).where(*here))]
    if ids:
        connection.execute(update(d).where(d.c.id.in_(ids)).values(resolved_at=now, resolution=how))
    return ids


def mark_dismissed(
    connection: Connection, letters: Sequence[DeadLetter], *, how: str, now: float
) -> list[DeadLetter]:
    """Resolve these; return those that nobody had resolved meanwhile."""
    done: set[str] = set()
    for start in range(0, len(letters), _IDS_PER_QUERY):
        page = [letter.id for letter in letters[start : start + _IDS_PER_QUERY]]
        here = update(d).where(d.c.id.in_(page), d.c.resolved_at.is_(None))
        done.update(
            connection.execute(here.values(resolved_at=now, resolution=how).returning(d.c.id)).scalars()
        )
    return [letter for letter in letters if letter.id in done]


def counts(connection: Connection, which: Which | None = None) -> dict[tuple[str, str], int]:
    """How many of these are unresolved, by consumer and cause; None: of all."""
    rows = connection.execute(
        select(d.c.consumer, d.c.cause, func.count())
        .where(*(which or Which()).conditions())
        .group_by(d.c.consumer, d.c.cause)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**row)
