"""The embedded log's SQLite file: open, lay out, migrate; explain its errors.

One file in WAL mode: readers never wait, writers take turns. `synchronous=FULL` makes each commit durable
before it returns. Sources: SQLite's documentation on WAL, PRAGMA statements and result codes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from pipeline.eventlog.port import LogError, LogUnavailable

Clock = Callable[[], float]
"""Epoch seconds, UTC; all processes of the machine share the clock."""

APPLICATION_ID = 0x53C3A96D  # tells our file from any other SQLite file (PRAGMA application_id)
OFFSET_BITS = 40

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # A topic is its partitions. Offsets in [first_offset, next_offset) are in the log.
        """CREATE TABLE partitions (
            id INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            partition INTEGER NOT NULL,
            first_offset INTEGER NOT NULL DEFAULT 0,
            next_offset INTEGER NOT NULL DEFAULT 0,
            UNIQUE (topic, partition))""",
        # `id` holds partition and offset (see `record_id`): one B-tree, clustered in the order of reading.
        # `timestamp_ms` precedes the long columns, so that pruning need not read those.
        """CREATE TABLE records (
            id INTEGER PRIMARY KEY,
            timestamp_ms INTEGER NOT NULL,
            key TEXT NOT NULL,
            headers TEXT NOT NULL,
            value BLOB NOT NULL)""",
        # `epoch` grows whenever the owner changes: what a former owner still commits is recognised by it.
        """CREATE TABLE consumer_groups (
            name TEXT PRIMARY KEY,
            member TEXT,
            epoch INTEGER NOT NULL,
            heartbeat_ms INTEGER NOT NULL,
            session_ms INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE committed_offsets (
            group_name TEXT NOT NULL,
            partition_id INTEGER NOT NULL REFERENCES partitions (id),
            next_offset INTEGER NOT NULL,
            PRIMARY KEY (group_name, partition_id)) WITHOUT ROWID""",
    ),
)
"""The statements that lead from each version of the file to the next. Only ever appended to."""

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another process kept the file locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "the file cannot be written: look at its owner, its rights and its folder's",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look at its folder, its owner and its rights",
    sqlite3.SQLITE_PERM: "the file cannot be opened: look at its owner and its rights",
    sqlite3.SQLITE_IOERR: "the disk refuses: look at the kernel's messages (dmesg) and the free space",
}


class DamagedLog(LogError):
    """The log's file is damaged, or is no SQLite file. Stop every process, keep a copy of the file and its
    `-wal`, then start with an empty log and resynchronise the targets from the store."""


class LostFile(DamagedLog):
    """The log's file was deleted, moved or replaced while this process had it open. Stop every process of
    Sésame before the next one writes; put the file back, or start without one and resynchronise the targets
    from the store (docs/how-to/back-up-restore-upgrade.md, "Without the log")."""


class ForeignFile(LogError):
    """The log's path leads to another program's SQLite file. Mend the setting that names the path."""


class NewerFile(LogError):
    """The log's file was written by a newer version of Sésame. Start that version or a later one."""


def record_id(partition_id: int, offset: int) -> int:
    """Return a record's row id: 23 bits of partition, then 40 bits of offset."""
    return (partition_id << OFFSET_BITS) + offset


def offset_of(identifier: int) -> int:
    """Return the offset within its partition of the record with this row id."""
    return identifier & ((1 << OFFSET_BITS) - 1)


class LogFile:
    """One log file: opens connections to it and explains its errors.

    Args:
        path: the file; made with mode 0600 (it holds personal data) if there is none. Its folder must exist.
        busy_timeout_s: how long a writer waits for its turn.
        migrations: as `MIGRATIONS`.
    """

    def __init__(
        self, path: Path, *, busy_timeout_s: float, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
    ) -> None:
        self._path = path.absolute()
        self._busy_timeout_s = busy_timeout_s
        self._damage = ""
        with self.explained():
            self._create()
            self._opened = self._identity()
            connection = self.connect()
            try:
                self._make_wal(connection)
                self._migrate(connection, migrations)
            finally:
                connection.close()

    def connect(self) -> sqlite3.Connection:
        """Open a connection for one user at a time, in any thread. Never creates the file."""
        with self.explained():
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=rw",
                uri=True,
                timeout=self._busy_timeout_s,
                isolation_level=None,  # transactions are begun and ended here, and nowhere else
                check_same_thread=False,
            )
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA secure_delete = ON")  # pruned personal data is overwritten
                connection.execute("PRAGMA journal_size_limit = 67108864")
            except BaseException:
                connection.close()
                raise
            return connection

    def examine(self) -> None:
        """Check that the file is whole, reading all of it. Raises `DamagedLog`, also if it was replaced."""
        self.check()
        connection = self.connect()
        try:
            with self.explained():
                [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
        if found != "ok":
            raise self._damaged(f"{self._path} is damaged: {' '.join(found.split())}")

    def check(self) -> None:
        """Raise `DamagedLog` if damage was met or the file replaced: SQLite writes on to a deleted one."""
        if self._damage:
            raise DamagedLog(self._damage)
        with self.explained():
            if self._identity() != self._opened:
                raise LostFile(f"{self._path} is not the file any more that this process has opened")

    def _damaged(self, what: str) -> DamagedLog:
        self._damage = what
        return DamagedLog(what)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's and the system's errors into the log's.

        Raises:
            DamagedLog: the file cannot be read.
            LogUnavailable: anything else; with its cause, and what to look at.
        """
        try:
            yield
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(f"{self._path}: {error}") from error
            raise self._unavailable(str(error), _REMEDIES.get(code, "")) from error
        except OSError as error:
            raise self._unavailable(error.strerror or str(error), "") from error

    @contextmanager
    def writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One durable transaction, exclusive: waits for its turn first."""
        with self._transaction(connection, "BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def reading(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One read transaction: a view of the file as of the first statement."""
        with self._transaction(connection, "BEGIN"):
            yield

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        self.check()
        with self.explained():
            connection.execute(begin)
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the first error is the one to tell
                    connection.execute("ROLLBACK")
                raise

    def _unavailable(self, what: str, remedy: str) -> LogUnavailable:
        said = f"{self._path}: {what}" + (f": {remedy}" if remedy else "")
        return LogUnavailable(said, remedy=remedy)

    def _create(self) -> None:
        # Never open and close a file that SQLite may have open in this process: the system would drop its
        # locks (a property of POSIX advisory locks). O_EXCL: only a new file is opened here.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _make_wal(self, connection: sqlite3.Connection) -> None:
        """Set the journal mode, once per file; retried, as SQLite does not wait for it."""
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise self._unavailable(f"write-ahead log refused (mode {mode})", "use a local file system")
            return

    def _migrate(self, connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...]) -> None:
        with self.writing(connection):
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
            tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if owner != APPLICATION_ID and (owner or version or tables):
                raise ForeignFile(f"{self._path} is not an event log: mend the setting that names it")
            if version > len(migrations):
                raise NewerFile(
                    f"{self._path} has version {version}, this program knows versions up to"
                    f" {len(migrations)}: start the version of Sésame that wrote it, or a later one"
                )
            for statements in migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version < len(migrations):
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {len(migrations)}")
