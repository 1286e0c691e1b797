"""Keys of persons: each person's rows in a backup are sealed under a separate key.

A backup that has left the machine is out of reach; the key is not. Destroying it takes the person out of
every backup (docs/adr/0040). The keys are in a separate file next to the store, which no backup contains; its
copies live for some days only.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import SesameError
from schemas.language import gettext

SITE: Final = ""
"""In a student number's place: the key of what is no student's, and may name persons all the same (staff
logins in the ledger). It is never destroyed."""

PSEUDONYM: Final = "erased-"
"""The prefix of pseudonyms, and of no student number: rows under one are of no known person."""

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D, 8.2: 96 bits, here drawn for each value
_APPLICATION_ID: Final = 0x53C3A96B
_COPY: Final = "person-keys-{at:%Y%m%dT%H%M%S.%fZ}.db"
_COPIES: Final = "person-keys-*.db"
_PARTIAL: Final = ".person-keys.partial"
_IDS_MAX: Final = 500
_BUSY_S: Final = 30.0

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT, student_number TEXT NOT NULL UNIQUE, key BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS destroyed (
    id TEXT PRIMARY KEY, key_id INTEGER, pseudonym TEXT NOT NULL, kept TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS destroyed_key_id ON destroyed (key_id);
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""

_T = TypeVar("_T")

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by table: a value by each column's name."""


class PersonKeysError(SesameError):
    """The keys that open a backup are missing, damaged, or are others. Name a copy of the keys that was made
    with the backup, or after it: `--keys FILE`. Nobody in the backup can be restored without them."""


class PersonKeysUnusable(PersonKeysError):
    """The file of the persons' keys cannot be read or written. Look at its rights, its folder and the disk;
    if it is damaged, put a copy of it back (docs/how-to/back-up-restore-upgrade.md)."""


class SealRefused(PersonKeysError):
    """A sealed value is not what was sealed, or not under this key: it was changed, or moved. Use another
    backup."""

    exit_code = 6


@dataclass(frozen=True)
class PersonKey:
    """A person's key (32 bytes), and its number in backups: it reveals no person."""

    id: int
    key: bytes


@dataclass(frozen=True)
class Destroyed:
    """A person whose key was destroyed.

    Attributes:
        id: of the destruction.
        key_id: of the key; None: no backup contains the person.
        pseudonym: replaces the number ever since.
        kept: rows that a restore of an older backup puts back: names that are never reused.
    """

    id: str
    key_id: int | None
    pseudonym: str
    kept: Rows


def seal(keys: Sequence[PersonKey], content: bytes, about: bytes) -> bytes:
    """Seal a value under the keys of all its persons (AES-256-GCM). Destroying any key loses it.

    `about`: where it belongs; it opens nowhere else.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(_joint(keys)).encrypt(nonce, content, about)


def unseal(keys: Sequence[PersonKey], sealed: bytes, about: bytes) -> bytes:
    """Return a sealed value's content. Raises `SealRefused` for another seal, key or place."""
    try:
        return AESGCM(_joint(keys)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except (InvalidTag, ValueError) as error:
        raise SealRefused from error


def _joint(keys: Sequence[PersonKey]) -> bytes:
    if len(keys) == 1:
        return keys[0].key
    joined = b"".join(each.key for each in sorted(keys, key=lambda each: each.id))
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"sesame/persons").derive(joined)


class PersonKeys:
    """The file of keys (SQLite, mode 0600). Several processes may use it at once.

    Args:
        path: made when it is first written to.
        copies: the folder of its copies: a key destroyed here is destroyed in them too, as far as they can be
            reached. None: there are none.

    Raises:
        PersonKeysUnusable: by any method: the file cannot be read or written; try again.
        PersonKeysError: by `opening`, `read_name` and `destroyed`: there is no file.
    """

    def __init__(self, path: Path, *, copies: Path | None = None) -> None:
        self.path = path
        self.copies = copies

    def name(self) -> str:
        """Return these keys' name, unique to the site; make the file if there is none."""
        with self._writing() as db:
            return _name(db)

    def of(self, numbers: Collection[str]) -> dict[str, PersonKey]:
        """Return these persons' keys, by student number; make missing ones."""
        found: dict[str, PersonKey] = {}
        with self._writing() as db:
            for page in _pages(numbers):
                fresh = [(number, secrets.token_bytes(KEY_BYTES)) for number in page]
                db.executemany("INSERT OR IGNORE INTO keys (student_number, key) VALUES (?, ?)", fresh)
                query = f"SELECT student_number, id, key FROM keys WHERE student_number IN ({_marks(page)})"  # noqa: S608
                rows = db.execute(query, page)
                found |= {number: PersonKey(id_, key) for number, id_, key in rows}
        return found

    def opening(self, ids: Collection[int]) -> dict[int, PersonKey]:
        """Return the keys with these ids; missing ones are left out."""
        found: dict[int, PersonKey] = {}
        with self._reading() as db:
            for page in _pages(ids):
                rows = db.execute(f"SELECT id, key FROM keys WHERE id IN ({_marks(page)})", page)  # noqa: S608 (marks)
                found |= {id_: PersonKey(id_, key) for id_, key in rows}
        return found

    def read_name(self) -> str:
        """Return the keys' name, without making the file."""
        with self._reading() as db:
            return _name(db)

    def destroyed(self) -> list[Destroyed]:
        """Return all persons whose keys were destroyed."""
        with self._reading() as db:
            rows = db.execute("SELECT id, key_id, pseudonym, kept FROM destroyed ORDER BY rowid").fetchall()
        return [Destroyed(id_, key_id, name, json.loads(kept)) for id_, key_id, name, kept in rows]

    def destructions(self) -> frozenset[str]:
        """Return the ids of all destructions; make the file if there is none."""
        with self._writing() as db:
            return frozenset(id_ for (id_,) in db.execute("SELECT id FROM destroyed"))

    def destroy(self, student_number: str, *, pseudonym: str, kept: Rows) -> bool:
        """Destroy a person's key, here and in the copies: no backup restores the person any more.

        Repeating is harmless, and needed after an error. Nothing is left of the number once the files were
        rewritten (`rewrite`); `pseudonym` replaces it. `kept`: rows that a restore of an older backup puts
        back, without anything personal. Returns whether there was a key, or this is new otherwise.
        """
        id_, new = self._destroy(student_number, pseudonym, kept, secrets.token_hex(16))
        for copy in self._copies():
            PersonKeys(copy)._destroy(student_number, pseudonym, kept, id_)  # noqa: SLF001 (its own kind)
        return new

    def rewrite(self) -> None:
        """Rewrite the file and its copies, to leave no destroyed key or number on disk.

        Overwriting (`secure_delete`) leaves copies that were made when pages were balanced.
        """
        for path in (self.path, *self._copies()):
            if path.exists():
                with self._explained(), closing(PersonKeys(path)._connect("rw")) as db:  # noqa: SLF001 (its own kind)
                    db.execute("VACUUM")

    def _destroy(self, number: str, pseudonym: str, kept: Rows, id_: str) -> tuple[str, bool]:
        """Destroy under this id, unless done before; return the id, and whether new."""
        document = json.dumps(kept, sort_keys=True)
        with self._writing() as db:
            self._remove_partial()
            key = db.execute("SELECT id FROM keys WHERE student_number = ?", (number,)).fetchone()
            same = "SELECT id FROM destroyed WHERE pseudonym = ? AND kept = ?"
            done = db.execute(same, (pseudonym, document)).fetchone()
            if key is None and done is not None:
                return str(done[0]), False
            db.execute("DELETE FROM keys WHERE student_number = ?", (number,))
            db.execute(
                "INSERT INTO destroyed (id, key_id, pseudonym, kept) VALUES (?, ?, ?, ?)",
                (id_, None if key is None else key[0], pseudonym, document),
            )
        return id_, True

    def copy(self, at: datetime, *, days: int) -> Path:
        """Copy the keys into the folder of copies; remove copies older than `days`."""
        if self.copies is None:
            raise PersonKeysUnusable(gettext("no folder is named for copies of the keys"))
        made = self.copies / _COPY.format(at=at)
        self.name()
        with self._writing():  # a concurrent destruction waits until this copy is there
            self._remove_partial()
            self._copy(self.copies / _PARTIAL)
            (self.copies / _PARTIAL).rename(made)
            for old in self._copies():
                if old.name < _COPY.format(at=at - timedelta(days=days)):
                    old.unlink()
        return made

    def _copy(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(self._connect("ro")) as here, closing(sqlite3.connect(path)) as there:
            here.backup(there)

    def _remove_partial(self) -> None:
        """Remove the remains of an interrupted copy."""
        if self.copies is not None:
            (self.copies / _PARTIAL).unlink(missing_ok=True)

    def take_over(self, copy: Path) -> None:
        """Make a copy the file of keys, where there is none."""
        with self._explained():
            if self.path.exists():
                return
            partial = self.path.with_name(f".{self.path.name}.partial")
            partial.unlink(missing_ok=True)
            PersonKeys(copy)._copy(partial)  # noqa: SLF001 (its own kind)
            partial.replace(self.path)

    def _copies(self) -> list[Path]:
        with self._explained():
            return sorted(self.copies.glob(_COPIES)) if self.copies is not None else []

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise PersonKeysError(gettext("there is no file of persons' keys at {path}", path=self.path))
        with self._explained(), closing(self._connect("ro")) as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(self._connect("rw")) as db:
                if not db.execute("PRAGMA application_id").fetchone()[0]:
                    db.executescript(_SCHEMA)
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT OR IGNORE INTO about VALUES (1, ?)", (secrets.token_hex(16),))
                yield db
                db.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        if self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PersonKeysUnusable(
                gettext("{path} is open to others", path=self.path), remedy=f"chmod 600 {self.path}"
            )
        db = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}", uri=True, timeout=_BUSY_S, isolation_level=None
        )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")  # what is destroyed is overwritten
        return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise PersonKeysUnusable(gettext("{path}: {why}", path=self.path, why=error)) from error


def _name(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT name FROM about").fetchone()
    return "" if row is None else str(row[0])


def _pages(values: Iterable[_T]) -> Iterator[tuple[_T, ...]]:
    rest = iter(values)
    while page := tuple(islice(rest, _IDS_MAX)):
        yield page


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
