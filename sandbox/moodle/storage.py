"""The site's database: one SQLite file, with MariaDB's visible habits.

A committed call survives `kill -9` of the process (write-ahead log; `synchronous=NORMAL` gives up only what a
power cut could take). Readers see a snapshot and never wait; there is one writer at a time. Text is compared
by the keys of `collation`, kept in separate columns for an index.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.moodle.collation import equality_key
from sandbox.moodle.errors import write_error

GUEST_ID: Final = 1
ADMIN_ID: Final = 2
SERVICE_USER_ID: Final = 3

USER_TEXT_COLUMNS: Final[Mapping[str, int]] = {
    "username": 100, "auth": 20, "firstname": 100, "lastname": 100, "email": 100, "idnumber": 255,
    "department": 255, "institution": 255, "city": 120, "country": 2, "address": 255, "phone1": 20,
    "phone2": 20, "lang": 30, "calendartype": 30, "theme": 50, "timezone": 100, "firstnamephonetic": 255,
    "lastnamephonetic": 255, "middlename": 255, "alternatename": 255, "description": 2**31,
    "password": 255,
}  # fmt: skip
"""Text columns of the user table with their lengths in characters."""

USER_NUMBER_COLUMNS: Final = (
    "mailformat", "maildisplay", "trackforums", "suspended", "confirmed", "deleted", "firstaccess",
    "lastaccess", "timecreated", "timemodified",
)  # fmt: skip

COHORT_TEXT_COLUMNS: Final[Mapping[str, int]] = {
    "name": 254,
    "idnumber": 100,
    "description": 2**31,
    "theme": 50,
}

_KEYED: Final = ("username", "email", "idnumber", "auth")
"""User columns that the service looks up by equality."""

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    {", ".join(f"{name} TEXT NOT NULL DEFAULT ''" for name in USER_TEXT_COLUMNS)},
    {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in USER_NUMBER_COLUMNS)},
    {", ".join(f"{name}_key TEXT NOT NULL" for name in _KEYED)}
);
CREATE UNIQUE INDEX IF NOT EXISTS users_username ON users (username_key);
CREATE INDEX IF NOT EXISTS users_email ON users (email_key);
CREATE INDEX IF NOT EXISTS users_idnumber ON users (idnumber_key);
CREATE TABLE IF NOT EXISTS cohorts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, contextid INTEGER NOT NULL, name TEXT NOT NULL,
    idnumber TEXT NOT NULL, idnumber_key TEXT NOT NULL, description TEXT NOT NULL,
    descriptionformat INTEGER NOT NULL, visible INTEGER NOT NULL, theme TEXT NOT NULL,
    timecreated INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS cohorts_idnumber ON cohorts (idnumber_key);
CREATE TABLE IF NOT EXISTS cohort_members (
    cohortid INTEGER NOT NULL, userid INTEGER NOT NULL, timeadded INTEGER NOT NULL,
    PRIMARY KEY (cohortid, userid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cohort_members_user ON cohort_members (userid);
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, userid INTEGER NOT NULL, validuntil REAL, iprestriction TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (eventname TEXT NOT NULL, userid INTEGER NOT NULL, other TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS config (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_BUSY_TIMEOUT_S = 50.0  # InnoDB's default lock wait


class Storage:
    """A pool of connections to one file: one for each of the site's workers.

    `open` creates the tables of a new site, with its guest, its administrator and its service user.
    """

    def __init__(self, file: Path, connections: int) -> None:
        self._file = file
        self._count = connections
        self._pool: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer = threading.Lock()

    def open(self, *, service_username: str, token: str) -> None:
        """Connect, and make the site if the file is new. `token`: the service user's."""
        for _ in range(self._count):
            self._pool.put(self._connect())
        with self.lease() as db, self.write(db):
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            if db.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None:
                _seed(db, service_username)
            known = db.execute("SELECT value FROM config WHERE name = 'seeded_token'").fetchone()
            if known is None or known[0] != token_digest(token):
                grant_token(db, token)

    def close(self) -> None:
        """Close every connection. A call still running keeps its own until the process ends."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._pool.get_nowait().close()

    @contextlib.contextmanager
    def lease(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection, waiting while all are in use."""
        db = self._pool.get()
        try:
            yield db
        finally:
            self._pool.put(db)

    @contextlib.contextmanager
    def read(self, db: sqlite3.Connection) -> Iterator[None]:
        """Read one snapshot, without later commits of others."""
        db.execute("BEGIN")
        try:
            yield
        finally:
            db.execute("COMMIT")

    @contextlib.contextmanager
    def write(self, db: sqlite3.Connection) -> Iterator[None]:
        """Commit everything or nothing. A broken unique index is Moodle's `dmlwriteexception`."""
        with self._writer:  # cheaper than SQLite's own polling between threads
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:  # another process has the file
                raise write_error(f"Lock wait timeout exceeded: {error}") from error
            try:
                yield
                db.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                db.execute("ROLLBACK")
                raise write_error(f"Duplicate entry: {error}") from error
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._file, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        return db


def token_digest(token: str) -> str:
    """The stored part of a token: enough to recognise it, not to use it."""
    return hashlib.sha256(token.encode()).hexdigest()


def grant_token(db: sqlite3.Connection, token: str) -> None:
    """Make the token valid for the service user, without limits of time and address."""
    digest = token_digest(token)
    db.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, NULL, NULL)", (digest, SERVICE_USER_ID))
    db.execute("INSERT OR REPLACE INTO config VALUES ('seeded_token', ?)", (digest,))


def insert_user(db: sqlite3.Connection, user: Mapping[str, Any]) -> int:
    """Insert a complete user row and return its id."""
    values = with_keys(user)
    columns = ", ".join(values)
    marks = ", ".join("?" * len(values))
    query = f"INSERT INTO users ({columns}) VALUES ({marks})"  # noqa: S608  (columns are ours)
    return int(db.execute(query, tuple(values.values())).lastrowid or 0)


def update_user(db: sqlite3.Connection, user_id: int, changes: Mapping[str, Any]) -> None:
    """Write some columns of one user. Raises sqlite3.IntegrityError when the username is taken."""
    values = with_keys(changes)
    assignments = ", ".join(f"{name} = ?" for name in values)
    query = f"UPDATE users SET {assignments} WHERE id = ?"  # noqa: S608  (columns are ours)
    db.execute(query, (*values.values(), user_id))


def with_keys(user: Mapping[str, Any]) -> dict[str, Any]:
    """The columns with their comparison keys."""
    keys = {f"{name}_key": equality_key(user[name]) for name in _KEYED if name in user}
    return {**user, **keys}


def new_user(**columns: Any) -> dict[str, Any]:
    """A user row with Moodle's defaults."""
    now = int(time.time())
    return {
        "auth": "manual", "idnumber": "", "lang": "en", "calendartype": "gregorian", "timezone": "99",
        "mailformat": 1, "maildisplay": 2, "confirmed": 1, "timecreated": now, "timemodified": now, **columns,
    }  # fmt: skip


def _seed(db: sqlite3.Connection, service_username: str) -> None:
    people = (
        new_user(username="guest", firstname="Guest user", lastname=" ", email="root@localhost"),
        new_user(username="admin", firstname="Admin", lastname="User", email="admin@univ.example"),
        new_user(
            username=service_username,
            firstname="WS",
            lastname="Provisioning",
            email=f"{service_username}@univ.example",
        ),
    )
    for person in people:
        insert_user(db, person)
    db.execute("INSERT INTO config VALUES ('userprivateaccesskey', ?)", (uuid.uuid4().hex,))
