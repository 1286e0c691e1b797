"""Seal a copy: take out the persons' rows and keep them encrypted in the file.

The tables declare their rows' owners (`Owned`). All rows of one person are gathered, compressed and sealed
under that person's key; rows of two persons, or whose text names another, under the keys of all; rows
without a known owner that may still name persons, under the site's. For a row that outlives the erasure of
its person, its remains are stored in clear.
"""

from __future__ import annotations

import heapq
import json
import re
import sqlite3
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

from pipeline.person_keys import PSEUDONYM, SITE, PersonKeys, PersonKeysError, SealRefused, seal, unseal
from schemas.language import gettext

TABLE: Final = "backup_sealed"
_SCHEMA: Final = f"CREATE TABLE {TABLE} (position INTEGER PRIMARY KEY, keys TEXT, body BLOB, left BLOB)"
_NAMES: Final = "backup_names"
_WORD: Final = re.compile(r"[\w@.'-]+")
_ROWS_MAX: Final = 500  # in one sealed value
_WORDS_MAX: Final = 10_000
_ROWS_PER_STEP: Final = 5_000
_VALUES_PER_STEP: Final = 500

About = Callable[[int, str], bytes]
"""The context bound to a sealed value, by its position and the ids of its keys."""
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class Owned:
    """A table whose rows belong to persons.

    Attributes:
        name: of the table.
        owners: the columns that name a row's owner; none: no known owner.
        left: of rows that stay when their person is erased: what these columns hold then, with the pseudonym
            in the owner's; None: such a row is removed.
        named_in: columns whose text may name persons other than the owners.
        in_backups: whether a backup has its rows.
    """

    name: str
    owners: tuple[str, ...]
    left: Mapping[str, Any] | None = None
    named_in: tuple[str, ...] = ()
    in_backups: bool = True


@dataclass(frozen=True)
class Identifier:
    """A column whose values may name a person in texts, and the column of its owner."""

    table: str
    column: str
    owner: str


@dataclass
class _Part:
    """Rows of the same persons that go into one sealed value: each with its table."""

    owners: tuple[str, ...]
    rows: MutableMapping[str, list[_Row]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0


def leave_out(path: Path, tables: Sequence[Owned]) -> None:
    """Delete from a private copy the tables that no backup holds."""
    with closing(sqlite3.connect(path)) as db, db:
        for each in tables:
            if not each.in_backups and _columns(db, each.name):
                db.execute(f'DELETE FROM "{each.name}"')  # noqa: S608 (a table's name)


def seal_file(
    path: Path,
    sealed: Path,
    tables: Sequence[Owned],
    keys: PersonKeys,
    about: About,
    identifiers: Sequence[Identifier] = (),
    beside: Path | None = None,
) -> int:
    """Seal an SQLite file; return the number of sealed values.

    Args:
        path: a private copy; nothing usable is left of it.
        sealed: the new file, which never had a person in clear in it.
        tables: those that the file lacks are skipped.
        keys: missing ones are made.
        identifiers: by which texts name persons.
        beside: another copy, with tables of identifiers; it is only read.

    Raises:
        sqlite3.Error: it cannot be written.
        PersonKeysUnusable: likewise.
    """
    position = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        there = [each for each in tables if _columns(db, each.name)]
        kept = {each.name: (each, _columns(db, each.name)) for each in there if each.left is not None}
        triggers = _take_triggers(db)
        db.execute(_SCHEMA)
        _note_names(db, identifiers, beside)
        db.execute("BEGIN")
        parts = _parts(db, there)
        while step := list(_step(parts)):
            found = keys.of({owner for part in step for owner in part.owners})
            values = []
            for part in step:
                mine = sorted((found[owner] for owner in part.owners), key=lambda each: each.id)
                ids = " ".join(str(each.id) for each in mine)
                body = seal(mine, zlib.compress(_dump(part.rows)), about(position, ids))
                values.append((position, ids, body, _left(part, kept)))
                position += 1
            db.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)", values)  # noqa: S608 (our own name)
        for each in there:
            db.execute(f'DELETE FROM "{each.name}"')  # noqa: S608 (a table's name)
        db.execute(f"DROP TABLE {_NAMES}")
        db.execute("COMMIT")
        for statement in triggers:
            db.execute(statement)
        db.execute("VACUUM INTO ?", (str(sealed),))
    return position


def unseal_file(path: Path, keys: PersonKeys, about: About, *, values: int) -> set[int]:
    """Put the rows back into a sealed file; return the ids of destroyed keys.

    Args:
        path: a private copy.
        keys: those of the time of sealing.
        values: how many are sealed in it.

    Raises:
        PersonKeysError: a key is missing that was not destroyed, or does not open its value.
        sqlite3.Error: the file is damaged, or cannot be written.
    """
    pseudonyms = {each.key_id: each.pseudonym for each in keys.destroyed() if each.key_id is not None}
    erased: set[int] = set()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        triggers = _take_triggers(db)
        db.execute("BEGIN")
        query = f"SELECT position, keys, body, left FROM {TABLE} ORDER BY position"  # noqa: S608 (our own name)
        rows, seen = db.execute(query), 0
        while step := rows.fetchmany(_VALUES_PER_STEP):
            ids = {int(id_) for _, named, _, _ in step for id_ in named.split()}
            found = keys.opening(ids)
            if unknown := sorted(ids - found.keys() - pseudonyms.keys()):
                raise PersonKeysError(
                    gettext("{n} keys of persons are not in {path}", n=len(unknown), path=keys.path)
                )
            opened: dict[str, list[_Row]] = defaultdict(list)
            for position, named, body, left in step:
                mine = [int(id_) for id_ in named.split()]
                gone = [id_ for id_ in mine if id_ not in found]
                if gone:
                    erased.update(gone)
                    _collect(opened, _under(left, pseudonyms[gone[0]]))
                else:
                    inside = unseal([found[id_] for id_ in mine], body, about(position, named))
                    _collect(opened, _load(zlib.decompress(inside)))
            for table, lines in opened.items():
                marks = ", ".join("?" * len(lines[0]))
                db.executemany(f'INSERT INTO "{table}" VALUES ({marks})', lines)  # noqa: S608 (a table's name)
            seen += len(step)
        if seen != values:
            raise SealRefused(gettext("{file}: sealed values are missing", file=path.name))
        db.execute(f"DROP TABLE {TABLE}")
        db.execute("COMMIT")
        for statement in triggers:
            db.execute(statement)
        db.execute("VACUUM")
    return erased


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]


def _take_triggers(db: sqlite3.Connection) -> list[str]:
    """Drop all triggers, some of which refuse this work; return their SQL."""
    found = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in found:
        db.execute(f'DROP TRIGGER "{name}"')
    return [statement for _, statement in found]


def _parts(db: sqlite3.Connection, tables: Iterable[Owned]) -> Iterator[_Part]:
    """All rows by their owners, in parts of a bounded size."""
    merged = heapq.merge(*(_rows(db, each) for each in tables), key=lambda row: row[0])
    texts = {each.name: [_columns(db, each.name).index(name) for name in each.named_in] for each in tables}
    named = _naming(db)
    for owners, rows in groupby(merged, key=lambda row: row[0]):
        own = {owner for owner in owners if owner != SITE}
        while page := list(islice(rows, _ROWS_MAX)):
            part = _Part(tuple(sorted(own)) or (SITE,))
            for _, table, row in page:
                others = named([row[place] for place in texts[table]]) - own
                if others:
                    yield _Part(tuple(sorted(own | others)), {table: [row]}, 1)
                else:
                    part.rows[table].append(row)
                    part.count += 1
            if part.count:
                yield part


def _note_names(db: sqlite3.Connection, identifiers: Iterable[Identifier], beside: Path | None) -> None:
    if beside is not None:
        db.execute("ATTACH ? AS beside", (str(beside),))
    db.execute(f"CREATE TABLE {_NAMES} (name TEXT, number TEXT, PRIMARY KEY (name, number)) WITHOUT ROWID")
    for each in identifiers:
        name, number = f'"{each.column}"', f'"{each.owner}"'
        known = f"{name} IS NOT NULL AND {number} IS NOT NULL AND {number} NOT LIKE '{PSEUDONYM}%'"
        rows = f'SELECT lower({name}), {number} FROM "{each.table}" WHERE {known}'  # noqa: S608 (the schema's names)
        db.execute(f"INSERT OR IGNORE INTO {_NAMES} {rows}")
    if beside is not None:
        db.execute("DETACH beside")


def _naming(db: sqlite3.Connection) -> Callable[[Iterable[object]], set[str]]:
    """Make the function that finds the persons named in texts, word by word."""
    query = f"SELECT number FROM {_NAMES} WHERE name = ?"  # noqa: S608 (our own name)

    @lru_cache(maxsize=_WORDS_MAX)  # most words are those of every document
    def whom(word: str) -> tuple[str, ...]:
        return tuple(number for (number,) in db.execute(query, (word,)))

    def named(texts: Iterable[object]) -> set[str]:
        found: set[str] = set()
        for text in texts:
            words = _WORD.findall(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
            found.update(number for word in words for number in whom(word.strip(".-'").lower()))
        return found

    return named


def _rows(db: sqlite3.Connection, table: Owned) -> Iterator[tuple[tuple[str, ...], str, _Row]]:
    owner = 'CASE WHEN "{0}" IS NULL OR "{0}" LIKE \'' + PSEUDONYM + "%' THEN '' ELSE \"{0}\" END"
    owners = [owner.format(column) for column in table.owners] or ["''"]
    places = ", ".join(str(n + 1) for n in range(len(owners)))
    query = f'SELECT {", ".join(owners)}, * FROM "{table.name}" ORDER BY {places}'  # noqa: S608 (names of the schema)
    for row in db.execute(query):
        yield row[: len(owners)], table.name, row[len(owners) :]


def _step(parts: Iterator[_Part]) -> Iterator[_Part]:
    rows = 0
    while rows < _ROWS_PER_STEP and (part := next(parts, None)) is not None:
        rows += part.count
        yield part


# --- what is inside ---


def _left(part: _Part, kept: Mapping[str, tuple[Owned, Sequence[str]]]) -> bytes | None:
    """The remains of these rows once an owner is erased; None marks the pseudonym."""
    found = {}
    for name, (table, columns) in kept.items():
        if name in part.rows and part.owners != (SITE,):
            blank = dict.fromkeys(table.owners) | dict(table.left or {})
            rows = [dict(zip(columns, row, strict=True)) | blank for row in part.rows[name]]
            places = [columns.index(owner) for owner in table.owners]
            found[name] = [places, *(list(row.values()) for row in rows)]
    return zlib.compress(_dump(found)) if found else None


def _under(left: bytes | None, pseudonym: str) -> dict[str, list[_Row]]:
    if left is None:
        return {}
    found = {}
    for name, [places, *rows] in _load(zlib.decompress(left)).items():
        found[name] = [tuple(pseudonym if n in places else v for n, v in enumerate(row)) for row in rows]
    return found


def _collect(into: dict[str, list[_Row]], rows: Mapping[str, Sequence[_Row]]) -> None:
    for table, lines in rows.items():
        into[table].extend(lines)


def _dump(rows: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    """Encode rows as JSON; bytes as a list of their text, or of "" and base64."""
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False, default=_bytes).encode()


def _bytes(value: object) -> list[str]:
    if not isinstance(value, bytes):
        raise TypeError(type(value))
    try:
        return [value.decode()]
    except UnicodeDecodeError:
        return ["", b64encode(value).decode()]


def _load(document: bytes) -> dict[str, list[_Row]]:
    return {name: [tuple(map(_value, row)) for row in rows] for name, rows in json.loads(document).items()}


def _value(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return value[0].encode() if len(value) == 1 else b64decode(value[1])
