"""Dead letters: failed work and its cause, replayed on request; rows are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    RowMapping,
    Select,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata, partial_index
from pipeline.db.persons import rows_of
from schemas.account import CANARY

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("consumer", String(64), nullable=False),
    Column("student_number", String(32)),
    Column("version", Integer),
    Column("cause", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("topic", String(64)),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("timestamp_ms", BigInteger),  # when the record was appended
    Column("event_id", String(64)),
    Column("recorded_at", Float, nullable=False),
    Column("resolved_at", Float),
    Column("resolution", String(32)),
    Index("ix_dead_letters_consumer_student_number", "consumer", "student_number"),
    Index("ix_dead_letters_resolved_at", "resolved_at"),
    partial_index("ix_dead_letters_unresolved", "resolved_at IS NULL", "recorded_at", "id"),
    partial_index("ix_dead_letters_cause", "resolved_at IS NULL", "consumer", "cause"),
    info=rows_of("student_number", named_in=("message",)),
)


_IDS_PER_QUERY = 500
_ROWS_PER_PAGE = 500
_COUNTED: Final = dead_letters.c.student_number.is_distinct_from(CANARY)

# Made once: making a statement for each outcome costs more than the database does.
_OPEN: Final = select(dead_letters.c.student_number).where(
    dead_letters.c.consumer == bindparam("of_consumer"), dead_letters.c.resolved_at.is_(None)
)


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter; `message`: fault and remedy, without personal data or secrets."""

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
    """Record a dead letter. False: the same one is recorded already (a redelivery)."""
    statement = (
        database.insert(dead_letters)
        .values(**letter.__dict__)
        .on_conflict_do_nothing(index_elements=[dead_letters.c.id])
    )
    return bool(connection.execute(statement).rowcount)


def standing(
    connection: Connection, consumer: str, numbers: Sequence[str]
) -> dict[tuple[str, str], DeadLetter]:
    """Return these students' newest unresolved letters, by student and cause."""
    which = (
        dead_letters.c.consumer == consumer,
        dead_letters.c.resolved_at.is_(None),
        dead_letters.c.student_number.in_(numbers),
    )
    rows = connection.execute(
        select(dead_letters).where(*which).order_by(dead_letters.c.recorded_at, dead_letters.c.id)
    ).mappings()
    return {(row["student_number"], row["cause"]): _letter(row) for row in rows}


def repeat(connection: Connection, before: DeadLetter, again: DeadLetter) -> DeadLetter:
    """Update a letter after the same failure: latest message, summed attempts."""
    letter = replace(again, id=before.id, attempts=before.attempts + again.attempts)
    connection.execute(update(dead_letters).where(dead_letters.c.id == before.id).values(**letter.__dict__))
    return letter


@dataclass(frozen=True)
class Which:
    """A filter of unresolved dead letters; times in epoch seconds."""

    consumer: str | None = None
    student_number: str | None = None
    cause: str | None = None
    since: float = 0.0
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions."""
        found: list[ColumnElement[bool]] = [dead_letters.c.resolved_at.is_(None)]
        found += [dead_letters.c.recorded_at >= self.since] if self.since else []
        found += [dead_letters.c.recorded_at < self.until] if self.until is not None else []
        equal = (
            (dead_letters.c.consumer, self.consumer),
            (dead_letters.c.student_number, self.student_number),
        )
        return found + [
            one == wanted
            for one, wanted in (*equal, (dead_letters.c.cause, self.cause))
            if wanted is not None
        ]


def unresolved(
    connection: Connection,
    *,
    consumer: str | None = None,
    student_number: str | None = None,
    cause: str | None = None,
) -> list[DeadLetter]:
    """Return the unresolved letters that match, oldest first."""
    query = _oldest_first(select(dead_letters), Which(consumer, student_number, cause))
    return [_letter(row) for row in connection.execute(query).mappings()]


def students(connection: Connection, which: Which) -> list[str]:
    """Return the students of the letters that match, oldest first, each once."""
    found = connection.execute(_oldest_first(select(dead_letters.c.student_number), which)).scalars().all()
    return list(dict.fromkeys(number for number in found if number is not None))


def _oldest_first(query: Select[Any], which: Which) -> Select[Any]:
    return query.where(*which.conditions()).order_by(dead_letters.c.recorded_at, dead_letters.c.id)


def each(
    connection: Connection, which: Which, after: DeadLetter | None = None, limit: int | None = None
) -> Iterator[DeadLetter]:
    """Iterate over at most `limit` letters after `after`, oldest first. One page is in memory."""
    query = _oldest_first(select(dead_letters), which)
    place, left, full = tuple_(dead_letters.c.recorded_at, dead_letters.c.id), limit, True
    while full and (left is None or left > 0):
        wanted = _ROWS_PER_PAGE if left is None else min(_ROWS_PER_PAGE, left)
        rest = query if after is None else query.where(place > (after.recorded_at, after.id))
        page = connection.execute(rest.limit(wanted)).mappings().all()
        for row in page:
            after = _letter(row)
            yield after
        left, full = None if left is None else left - len(page), len(page) == wanted


def of_student(connection: Connection, student_number: str, consumers: Sequence[str]) -> list[DeadLetter]:
    """Return these consumers' letters about a student, resolved or not."""
    query = select(dead_letters).where(
        dead_letters.c.consumer.in_(consumers), dead_letters.c.student_number == student_number
    )
    return [_letter(row) for row in connection.execute(query).mappings()]


def students_with_some(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> set[str]:
    """Return those of these students who have unresolved letters of this consumer."""
    if not student_numbers:
        return set()
    found = rows_among(
        connection, _OPEN, dead_letters.c.student_number, student_numbers, of_consumer=consumer
    )
    return set(found.scalars())


def of_events(connection: Connection, consumer: str, event_ids: Collection[str]) -> dict[str, DeadLetter]:
    """Return the unresolved dead letters caused by these events, by event id."""
    found: dict[str, DeadLetter] = {}
    identities = sorted(event_ids)
    for start in range(0, len(identities), _IDS_PER_QUERY):
        page = identities[start : start + _IDS_PER_QUERY]
        query = select(dead_letters).where(
            dead_letters.c.consumer == consumer,
            dead_letters.c.resolved_at.is_(None),
            dead_letters.c.event_id.in_(page),
        )
        found |= {str(row["event_id"]): _letter(row) for row in connection.execute(query).mappings()}
    return found


def newest_versions(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> dict[str, int]:
    """Return the newest account version in each student's unresolved letters."""
    rows = connection.execute(
        select(dead_letters.c.student_number, func.max(func.coalesce(dead_letters.c.version, 0)))
        .where(
            dead_letters.c.consumer == consumer,
            dead_letters.c.resolved_at.is_(None),
            dead_letters.c.student_number.in_(student_numbers),
        )
        .group_by(dead_letters.c.student_number)
    )
    return {str(row[0]): int(row[1]) for row in rows}


def prune(connection: Connection, *, resolved_before: float) -> int:
    """Remove letters resolved before that moment; return how many."""
    return connection.execute(
        delete(dead_letters).where(dead_letters.c.resolved_at < resolved_before)
    ).rowcount


def by_id(connection: Connection, prefix: str) -> list[DeadLetter]:
    """Return the letters whose id starts with `prefix`, resolved ones included."""
    rows = connection.execute(
        select(dead_letters).where(dead_letters.c.id.startswith(prefix, autoescape=True)).limit(10)
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
    """Resolve a student's letters up to this version, of `cause` if given. Return their ids."""
    here = (
        dead_letters.c.consumer == consumer,
        dead_letters.c.student_number == student_number,
        dead_letters.c.resolved_at.is_(None),
        func.coalesce(dead_letters.c.version, 0) <= up_to_version,
        *([dead_letters.c.cause == cause] if cause is not None else []),
    )
    ids = [row.id for row in connection.execute(select(dead_letters.c.id).where(*here))]
    if ids:
        connection.execute(
            update(dead_letters).where(dead_letters.c.id.in_(ids)).values(resolved_at=now, resolution=how)
        )
    return ids


def mark_dismissed(
    connection: Connection, letters: Sequence[DeadLetter], *, how: str, now: float
) -> list[DeadLetter]:
    """Resolve these letters; return them without those resolved meanwhile."""
    done: set[str] = set()
    for start in range(0, len(letters), _IDS_PER_QUERY):
        page = [letter.id for letter in letters[start : start + _IDS_PER_QUERY]]
        here = update(dead_letters).where(dead_letters.c.id.in_(page), dead_letters.c.resolved_at.is_(None))
        done.update(
            connection.execute(
                here.values(resolved_at=now, resolution=how).returning(dead_letters.c.id)
            ).scalars()
        )
    return [letter for letter in letters if letter.id in done]


def counts(connection: Connection, which: Which | None = None) -> dict[tuple[str, str], int]:
    """Count the unresolved letters that match, by consumer and cause."""
    rows = connection.execute(
        select(dead_letters.c.consumer, dead_letters.c.cause, func.count())
        .where(*(which or Which()).conditions(), _COUNTED)
        .group_by(dead_letters.c.consumer, dead_letters.c.cause)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def recorded(connection: Connection, begins: float, ends: float) -> dict[tuple[str, str], int]:
    """Count letters, resolved or not, by consumer and cause. Recorded in (`begins`, `ends`]."""
    rows = connection.execute(
        select(dead_letters.c.consumer, dead_letters.c.cause, func.count())
        .where(dead_letters.c.recorded_at > begins, dead_letters.c.recorded_at <= ends, _COUNTED)
        .group_by(dead_letters.c.consumer, dead_letters.c.cause)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**row)
