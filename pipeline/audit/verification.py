"""Verification of the audit: follows the hash chain and names each break."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from pipeline.audit import chain
from pipeline.audit.chain import Named
from pipeline.audit.trail import HEAD, REMOVED, Mark, audit, audit_persons, mark
from pipeline.db.database import Database

ENTRIES_PER_STEP = 1_000
BREAKS_MAX = 100  # that are named one by one

CHANGED, REPLACED, GONE, PUT_IN, CUT, PERSON_CHANGED, PERSON_GONE, HEAD_GONE = (
    "changed",
    "replaced",
    "gone",
    "put_in",
    "cut",
    "person_changed",
    "person_gone",
    "head_gone",
)
"""The kinds of breaks. `changed`: an entry does not match its hash. `replaced`: it does, but the next one was
chained to another. `gone`: entries before this one are missing. `put_in`: this one was inserted later. `cut`:
the end is missing, up to the named entry. `person_changed`, `person_gone`: an entry names another person than
was noted, or none. `head_gone`: the entry that was noted outside the store is missing."""


@dataclass(frozen=True)
class Break:
    """A break of the chain: its entry and its kind."""

    entry_id: int
    kind: str


@dataclass
class Verified:
    """The result; `forgotten`: erased persons, whose digests are beyond proof."""

    entries: int = 0
    first_id: int | None = None
    head: Mark = field(default_factory=Mark)
    removed: Mark = field(default_factory=Mark)
    forgotten: int = 0
    breaks: list[Break] = field(default_factory=list)
    beyond: int = 0  # breaks that are not in `breaks`

    def found(self, entry_id: int, kind: str) -> None:
        """Keep a break; of very many the first ones."""
        if len(self.breaks) < BREAKS_MAX:
            self.breaks.append(Break(entry_id, kind))
        else:
            self.beyond += 1


def verify(database: Database, *, head: str | None = None) -> Verified:
    """Follow the chain from the first entry to the last, in one consistent view.

    `head`: the hash of an entry noted outside the store, e.g. by a receiver of the audit; None: none.
    """
    found = Verified()
    with database.read() as connection:
        found.removed, noted = mark(connection, REMOVED), mark(connection, HEAD)
        found.head = found.removed
        wanted = head is None or head == found.removed.hash
        last: deque[Row[Any]] = deque(maxlen=2)
        for row, persons in _rows(connection):
            wanted = wanted or row.hash == head
            _check(row, persons, last, found)
            last.append(row)
    if noted != found.head:
        found.found(noted.entry_id, CUT)
    if not wanted:
        found.found(found.head.entry_id, HEAD_GONE)
    return found


def _check(row: Row[Any], persons: list[Named], last: deque[Row[Any]], found: Verified) -> None:
    if found.first_id is None:
        found.first_id = row.id
    if row.previous != found.head.hash:
        if len(last) > 1 and row.previous == last[0].hash:
            found.found(last[1].id, PUT_IN)
        elif row.id == found.head.entry_id + 1 and last:
            found.found(last[-1].id, REPLACED)
        else:
            found.found(row.id, GONE)
    detail = _read(row.detail)
    own = chain.hash_of(
        entry_id=row.id, at=row.at, actor=row.actor, action=row.action, detail=detail, previous=row.previous
    )
    if own != row.hash:
        found.found(row.id, CHANGED)
    if not all(person.holds for person in persons):
        found.found(row.id, PERSON_CHANGED)
    if {person.digest for person in persons} != chain.digests_in(detail):
        found.found(row.id, PERSON_GONE)
    found.forgotten += sum(person.salt is None for person in persons)
    found.entries += 1
    found.head = Mark(row.id, row.hash, row.at)


def _rows(connection: Connection) -> Iterator[tuple[Row[Any], list[Named]]]:
    after = -1
    while True:
        query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(ENTRIES_PER_STEP)
        rows = connection.execute(query).all()
        if not rows:
            return
        p = audit_persons.c
        named: dict[int, list[Named]] = defaultdict(list)
        for row in connection.execute(
            select(audit_persons).where(p.entry_id.between(rows[0].id, rows[-1].id))
        ):
            named[row.entry_id].append(Named(row.digest, row.student_number, row.salt))
        for row in rows:
            yield row, named[row.id]
        after = rows[-1].id


def _read(detail: str) -> object:
    try:
        return json.loads(detail)
    except ValueError:
        return detail
