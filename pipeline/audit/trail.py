"""The audit trail: every operator action, append-only, without names, chained. `chain` defines the hashes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from pipeline.audit import chain
from pipeline.audit.chain import Named
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting, ForgottenRows, OnErasure, forgets, of_nobody, rows_of

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON; a person is named by a digest, see `audit_persons`
    Column("previous", String(64), nullable=False, unique=True),  # the hash of the entry before: no fork
    Column("hash", String(64), nullable=False),  # of this one: see `chain`
    sqlite_autoincrement=True,
    info=of_nobody("what was done; persons are named by digests: `audit_persons`"),
)

audit_persons = Table(
    "audit_persons",
    metadata,
    Column("entry_id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), primary_key=True),  # of salt and number: the entry's detail has it
    Column("student_number", String(64), nullable=False),  # a pseudonym, once the person is erased
    Column("salt", String(32)),  # None: erased, so that the number cannot be guessed
    Index("ix_audit_persons_student_number", "student_number", "entry_id"),
    info=rows_of("student_number", on_erasure=OnErasure.OWN),
)

audit_marks = Table(
    "audit_marks",
    metadata,
    Column("name", String(64), primary_key=True),  # `head`, `removed`, or a receiver's
    Column("entry_id", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("at", Float, nullable=False),
    info=of_nobody("places in the audit"),
)


remarks = Table(
    "remarks",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("action", String(64), nullable=False),
    Column("about", String(64), nullable=False),
    Column("student_number", String(32), index=True),  # None: one remark about many
    Column("actor", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("words", Text, nullable=False),  # an operator's own: they may be personal
    info=rows_of("student_number", named_in=("about", "words")),
)


HEAD, REMOVED = "head", "removed"
"""The marks of the newest entry, and of the last one that the store has no longer."""


# Made once: making a statement costs more than the database does.
_ENTRY = insert(audit)
_PERSON = insert(audit_persons)
_MARK = select(audit_marks.c.entry_id, audit_marks.c.hash, audit_marks.c.at).where(
    audit_marks.c.name == bindparam("of")
)


@dataclass(frozen=True)
class Entry:
    """One audited act.

    Attributes:
        id: one more than the previous entry's.
        at: seconds since the epoch, UTC.
        actor: the user who did it; `student`, for what students do on their pages.
        action: what was done, e.g. `hold.place`.
        detail: the objects of the act, with student numbers.
        reason: the operator's own words; None: none were required, or they were removed since.
    """

    id: int
    at: float
    actor: str
    action: str
    detail: Mapping[str, Any]
    reason: str | None
    hash: str


@dataclass(frozen=True)
class Mark:
    """An entry that was noted or removed, by its id and hash. `at`: seconds since the epoch, UTC."""

    entry_id: int = 0
    hash: str = chain.BEGINNING
    at: float = 0.0


def note(
    connection: Connection, database: Database, *, actor: str, action: str, detail: Mapping[str, object]
) -> None:
    """Note an action, in the transaction that performs it.

    Other writers of the audit wait until it ends, so the chain cannot fork. `detail` is what explains the act
    later, with student numbers; they are stored as in `chain`.
    """
    kept, persons = chain.without_persons(json.loads(json.dumps(dict(detail))))
    database.alone(connection, "audit")
    last, at, actor = mark(connection, HEAD), database.now(connection), actor[:64]
    entry_id, previous = last.entry_id + 1, last.hash
    own = chain.hash_of(entry_id=entry_id, at=at, actor=actor, action=action, detail=kept, previous=previous)
    text = json.dumps(kept, ensure_ascii=False, sort_keys=True)
    row = {"id": entry_id, "at": at, "actor": actor, "action": action, "detail": text}
    connection.execute(_ENTRY, row | {"previous": previous, "hash": own})
    if persons:
        named = [{"entry_id": entry_id, **person.__dict__} for person in persons]
        connection.execute(_PERSON, named)
    set_mark(connection, database, HEAD, Mark(entry_id, own, at))


def mark(connection: Connection, name: str) -> Mark:
    """Return the entry of a mark; before the first one if it is not set."""
    row = connection.execute(_MARK, {"of": name}).one_or_none()
    return Mark() if row is None else Mark(*row)


def set_mark(connection: Connection, database: Database, name: str, where: Mark) -> None:
    """Set a mark."""
    connection.execute(database.upsert(audit_marks), {"name": name, **where.__dict__})


def entries(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    student: str | None = None,
    about: str | None = None,
    since: float = 0.0,
    until: float | None = None,
    without: Collection[str] = (),
) -> list[Entry]:
    """Return the matching entries, the newest first.

    Args:
        before: only ids below this one: the next page.
        actor: the user, or one who acted as another (`camille` finds `camille as sesame`).
        action: this one, or those of a kind (`hold` finds `hold.place` and `hold.lift`).
        student: to this student number, alone or among others.
        about: a value that the detail has: a student number, a consumer, a replay.
        since: seconds since the epoch, UTC.
        until: before this moment, likewise; None: until now.
        without: none of these actions.
    """
    a = audit.c
    wanted = [a.at >= since]
    if before is not None:
        wanted.append(a.id < before)
    if until is not None:
        wanted.append(a.at < until)
    if actor is not None:
        wanted.append((a.actor == actor) | a.actor.startswith(f"{actor} as ", autoescape=True))
    if action is not None:
        wanted.append((a.action == action) | a.action.startswith(f"{action}.", autoescape=True))
    if without:
        wanted.append(a.action.not_in(without))
    if student is not None:
        wanted.append(a.id.in_(_naming(student)))
    if about is not None:
        said = a.detail.contains(json.dumps(about, ensure_ascii=False), autoescape=True)
        wanted.append(said | a.id.in_(_naming(about)))
    rows = connection.execute(select(audit).where(*wanted).order_by(a.id.desc()).limit(limit)).all()
    persons = _persons(connection, rows)
    details = [json.loads(row.detail) for row in rows]
    refs = [detail["reason_ref"] for detail in details if "reason_ref" in detail]
    found = rows_among(connection, _REASONS, remarks.c.ref, refs)
    words = {row.ref: row.words for row in found}
    return [
        Entry(
            row.id,
            row.at,
            row.actor,
            row.action,
            chain.with_persons(detail, persons[row.id]),
            words.get(detail.get("reason_ref", "")),
            row.hash,
        )
        for row, detail in zip(rows, details, strict=True)
    ]


def documents(
    connection: Connection, *, after: int, limit: int, before: float | None = None
) -> list[HandedOn]:
    """Return up to `limit` entries above id `after` as exported, the oldest first.

    Stops at the first entry of the moment `before` (epoch seconds) or later.
    """
    a = audit.c
    wanted = [a.id > after]
    if before is not None:
        first = connection.execute(select(func.min(a.id)).where(a.at >= before)).scalar_one()
        if first is not None:
            wanted.append(a.id < first)
    rows = connection.execute(select(audit).where(*wanted).order_by(a.id).limit(limit)).all()
    persons = _persons(connection, rows)
    return [HandedOn(Mark(row.id, row.hash, row.at), _document(row, persons[row.id])) for row in rows]


@dataclass(frozen=True)
class HandedOn:
    """An exported entry; `hash` is of the document without `hash` and `persons`."""

    mark: Mark
    document: Mapping[str, Any]


def remove(connection: Connection, database: Database, through: Mark) -> None:
    """Remove the archived entries up to this one; verification starts after it."""
    set_mark(connection, database, REMOVED, through)
    p = audit_persons.c
    connection.execute(delete(audit_persons).where(p.entry_id <= through.entry_id))
    connection.execute(delete(audit).where(audit.c.id <= through.entry_id))


@forgets(audit_persons)
def forget(connection: Connection, _database: Database, person: Forgetting) -> ForgottenRows:
    """Put a pseudonym in a person's place, in every entry. The chain still holds."""
    mine = audit_persons.c.student_number == person.student_number
    changed = update(audit_persons).where(mine).values(student_number=person.pseudonym, salt=None)
    return ForgottenRows(kept=connection.execute(changed).rowcount)


_REASONS = select(remarks.c.ref, remarks.c.words)
_NAMED = select(audit_persons)


def _naming(number: str) -> Any:
    return select(audit_persons.c.entry_id).where(audit_persons.c.student_number == number)


def _persons(connection: Connection, rows: Sequence[Row[Any]]) -> Mapping[int, list[Named]]:
    found: dict[int, list[Named]] = defaultdict(list)
    if rows:
        ids = [row.id for row in rows]
        p = audit_persons.c
        query = _NAMED.where(p.entry_id.between(min(ids), max(ids)), p.entry_id.in_(ids))
        for row in connection.execute(query):
            found[row.entry_id].append(Named(row.digest, row.student_number, row.salt))
    return found


def _document(row: Row[Any], persons: Sequence[Named]) -> dict[str, Any]:
    named = {
        each.digest: {"student_number": each.student_number, "salt": each.salt}
        for each in sorted(persons, key=lambda each: each.digest)
    }
    return {
        "id": row.id,
        "at": chain.written(row.at),
        "actor": row.actor,
        "action": row.action,
        "detail": json.loads(row.detail),
        "previous": row.previous,
        "hash": row.hash,
        **({"persons": named} if named else {}),
    }
