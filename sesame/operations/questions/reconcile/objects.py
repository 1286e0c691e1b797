"""A target's objects by student, on disk, for one comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from consumers.kit.connector import Held, TargetObject
from pipeline.db.scratch import ScratchDatabase

_PAGE: Final = 400
_SCHEMA: Final = """
CREATE TABLE objects (
    ref TEXT NOT NULL, key TEXT NOT NULL, claimed INTEGER NOT NULL DEFAULT 0, document TEXT NOT NULL
);
CREATE TABLE shown_mails (mail TEXT NOT NULL, ref TEXT NOT NULL);
CREATE TABLE owned_mails (mail TEXT NOT NULL, key TEXT NOT NULL);
"""
_INDEXES: Final = """
CREATE INDEX objects_key ON objects (key);
CREATE INDEX objects_ref ON objects (ref);
CREATE INDEX shown_mails_mail ON shown_mails (mail);
"""


class ObjectSpool(ScratchDatabase):
    """The objects of one target.

    Args:
        key: what identifies an object's student; empty: nothing.
    """

    schema = _SCHEMA

    def __init__(self, key: Callable[[TargetObject], str]) -> None:
        super().__init__()
        self._key = key

    def fill(self, found: Iterable[TargetObject], progress: Callable[[], None] = lambda: None) -> int:
        """Store all objects, once, before any look-up; return how many.

        Args:
            progress: called for some hundreds at a time.
        """
        objects, written = iter(found), 0
        self._db.execute("BEGIN")
        while page := list(islice(objects, _PAGE)):
            rows = [(each.ref, self._key(each), _document(each)) for each in page]
            self._db.executemany("INSERT INTO objects (ref, key, document) VALUES (?, ?, ?)", rows)
            mails = [(mail, each.ref) for each in page if not self._key(each) for mail in _mails(each)]
            self._db.executemany("INSERT INTO shown_mails (mail, ref) VALUES (?, ?)", mails)
            written += len(page)
            progress()
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)
        return written

    def claim(self, keys: Collection[str], refs: Collection[str]) -> list[tuple[str, TargetObject]]:
        """Claim the objects with one of these keys or refs; return them with their keys."""
        found = {}
        for column, values in (("key", keys), ("ref", refs)):
            for value in values:
                query = f"SELECT rowid, key, document FROM objects WHERE {column} = ?"  # noqa: S608 (one of two)
                found.update(
                    {row: (key, _object(text)) for row, key, text in self._db.execute(query, (value,))}
                )
        self._db.executemany("UPDATE objects SET claimed = 1 WHERE rowid = ?", [(each,) for each in found])
        return list(found.values())

    def left(self) -> Iterator[list[tuple[str, str]]]:
        """Key and `ref` of unclaimed objects with a key, by key, in pages."""
        query = "SELECT key, ref FROM objects WHERE claimed = 0 AND key != '' ORDER BY key, ref"
        rows = self._db.execute(query)
        while page := rows.fetchmany(_PAGE):
            yield page

    def own(self, mails: Iterable[tuple[str, str]]) -> None:
        """Record the owners of addresses: (address, student number)."""
        rows = [(mail.lower(), number) for mail, number in mails]
        self._db.executemany("INSERT INTO owned_mails (mail, key) VALUES (?, ?)", rows)

    def borrowed(self) -> list[tuple[str, str]]:
        """Unclaimed objects without key that have a student's address.

        As `ref` and that student's number.
        """
        query = (
            "SELECT DISTINCT o.ref, m.key FROM owned_mails m JOIN shown_mails s ON s.mail = m.mail"
            " JOIN objects o ON o.ref = s.ref WHERE o.claimed = 0 AND o.key = '' ORDER BY o.ref, m.key"
        )
        return self._db.execute(query).fetchall()

    def unclaimed(self) -> int:
        """Count unclaimed objects, with or without a key."""
        count: int = self._db.execute("SELECT count(*) FROM objects WHERE claimed = 0").fetchone()[0]
        return count


def _mails(found: TargetObject) -> set[str]:
    return {value.lower() for kind, value in found.names if kind == "mail"}


def _document(found: TargetObject) -> str:
    held = None if found.held is None else [found.held.reason, found.held.pending, found.held.fields]
    return json.dumps(
        [
            *(found.ref, found.student_number, dict(found.fields), found.open, held),
            *(found.out_of_reach, found.out_of_place, found.password_at),
        ],
        separators=(",", ":"),
    )


def _object(text: str) -> TargetObject:
    ref, number, fields, open_, held, out_of_reach, out_of_place, password_at = json.loads(text)
    return TargetObject(
        ref,
        number,
        {name: tuple(values) for name, values in fields.items()},
        open_,
        held=None if held is None else _held(*held),
        out_of_reach=out_of_reach,
        out_of_place=out_of_place,
        password_at=password_at,
    )


def _held(reason: str, pending: Iterable[Any], fields: Iterable[Any]) -> Held:
    return Held(reason, tuple(pending), fields=tuple(fields))
