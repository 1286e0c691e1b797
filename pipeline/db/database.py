"""Connections and transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    extract,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity import wait_random_exponential as wait_random

from pipeline.db import embedded
from pipeline.db import postgresql as server
from pipeline.errors import DependencyDown, of_extra

BUSY_TIMEOUT_S = 30.0
CONNECTIONS_MAX = 32
CONNECTION_WAIT_S = 30.0
CONFLICTS_MAX = 8
CONFLICTS_S_MAX = 30.0
_CLOCK = extract("epoch", func.clock_timestamp())
_NOW = select(_CLOCK)  # built once: building it costs more than it does
_COUNTED = {"preserve_rowcount": True}
"""Keep INSERTs' row counts (0: the row was there): with psycopg SQLAlchemy says -1 otherwise."""

_T = TypeVar("_T")
_ADVISORY = 7_371_617  # the first half of every advisory lock's key: no other program of the database has it


_SQLITE_REMEDIES = {
    sqlite3.SQLITE_FULL: "Make room on the disk of `data_dir`; work goes on by itself, nothing is lost.",
    sqlite3.SQLITE_READONLY: "Look at the owner and the rights of the database's file, and of its folder.",
}
_SQLITE_CONFLICTS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class StoreUnavailable(DependencyDown):
    """The database cannot be read or written just now (away, locked, read-only or full). Work stops until it
    can; nothing is lost."""


class StoreDamaged(StoreUnavailable):
    """The database is damaged, or its file is not the one any more that this process has opened. Whoever runs
    consumers stops: restore the last backup."""

    remedy = embedded.REMEDY


class StoreConflict(StoreUnavailable):
    """Another transaction was in the way of this one (a deadlock, a serialization failure, a lock that came
    too late): nothing of this one was done. Give the command again; a consumer's work comes again without."""


class Database:
    """A database, by URL: `write` and `transact` change it, `read` reads it.

    Args:
        url: an SQLAlchemy URL, e.g. `sqlite:////var/lib/sesame/sesame.db` or `postgresql://…`.
        password: returns PostgreSQL's password, called at each connection: it can change. None: the URL's.
        clock: the database's time, in seconds since the epoch, UTC; None: this machine's on SQLite, the
            server's on PostgreSQL.

    Raises:
        AddressRefused: PostgreSQL would not be verified; see `pipeline.db.postgresql`.
    """

    def __init__(
        self, url: str, *, password: Callable[[], str] | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        given = make_url(url)
        self.is_sqlite = given.get_backend_name() == "sqlite"
        self._url = given if self.is_sqlite else server.address(given)
        self._clock = clock or (time.time if self.is_sqlite else None)
        self._file = embedded.file_of(given.database) if self.is_sqlite else None
        self._damage = ""
        self._turn = threading.Lock()  # SQLite: threads take turns here rather than by its busy waiting
        self.engine = self._connect()
        if password is not None and not self.is_sqlite:
            event.listen(self.engine, "do_connect", partial(_renew, password))

    def _connect(self) -> Engine:
        if not self.is_sqlite:
            with of_extra("postgres"):
                import psycopg  # noqa: F401  (SQLAlchemy's driver for it)
            engine = create_engine(
                self._url,
                pool_pre_ping=True,
                pool_size=CONNECTIONS_MAX,
                max_overflow=0,
                pool_timeout=CONNECTION_WAIT_S,
                connect_args=server.connect_args(self._url),
                hide_parameters=True,  # an error's text is shown, and rows have people in them
                execution_options=_COUNTED,
            )
            event.listen(engine, "checkin", _let_the_server_say)
            return engine
        engine = create_engine(
            self._url,
            hide_parameters=True,
            execution_options=_COUNTED,
            poolclass=QueuePool,
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=CONNECTION_WAIT_S,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        )

        @event.listens_for(engine, "do_connect")
        def make_private(*_connecting: Any) -> None:
            if self._file is not None:
                self._file.make()

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver begins no transaction; `write` does
            connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
            _make_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a power cut too
            connection.execute("PRAGMA foreign_keys=ON")
            if self._file is not None:
                self._file.opened()

        return engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction. Commits at the end, rolls back on an exception.

        Where other transactions may hold the same rows, use `transact`, which survives a deadlock.

        Raises:
            StoreConflict: nothing happened.
            StoreUnavailable: the outcome is unknown if it happened at the commit; every caller repeats.
        """
        with self._guard(), self._in_turn(), self.engine.connect() as connection:
            if self.is_sqlite:
                self._take_lock(connection)
            try:
                yield connection
            except BaseException:
                connection.rollback()
                if self.is_sqlite:
                    _end_sqlite(connection, "ROLLBACK")
                raise
            if self.is_sqlite:
                _end_sqlite(connection, "COMMIT")
            connection.commit()

    def _take_lock(self, connection: Connection) -> None:
        """Begin with SQLite's write lock: two readers that both want to write deadlock.

        SQLite sleeps longer and longer while it waits: a process that writes all the time would starve the
        others. So processes queue (`File.queue`), and the first of the queue looks often.
        """
        raw: Any = connection.connection.driver_connection
        ends_at = time.monotonic() + BUSY_TIMEOUT_S
        with self._file.queue(BUSY_TIMEOUT_S) if self._file is not None else nullcontext():
            raw.execute("PRAGMA busy_timeout=0")
            try:
                while not self._began(connection, last=time.monotonic() >= ends_at):
                    time.sleep(embedded.LOOKS_S)
            finally:
                raw.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")

    @staticmethod
    def _began(connection: Connection, *, last: bool) -> bool:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if last or not _in_the_way(error.orig):
                raise
            return False
        return True

    def others_wait(self) -> bool:
        """Return whether another process waits for our write lock; SQLite only."""
        return self._file is not None and self._file.is_queued_for()

    def transact(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a transaction; repeat it a bounded number of times on a conflict.

        PostgreSQL reports a deadlock to have the transaction repeated; it is no outage. `work` must have no
        effect except through its connection, or effects that a second run overwrites.

        Raises:
            StoreUnavailable: as `write`.
        """
        try:
            return self._once(work)  # nearly always that is all, and what repeats takes longer than it does
        except StoreConflict:
            done: _T = _REPEATING.copy()(self._once, work)
            return done

    def _once(self, work: Callable[[Connection], _T]) -> _T:
        with self.write() as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent view, without a lock that blocks writers.

        Raises:
            StoreUnavailable: try again.
        """
        with self._guard(), self.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection if self.is_sqlite else None
            if raw is not None:
                raw.execute("BEGIN")  # takes no lock yet, so it cannot fail; by the driver, which costs less
            else:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                yield connection
            finally:
                if raw is not None and raw.in_transaction:
                    raw.execute("ROLLBACK")
                connection.rollback()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Admit one writing thread of this process at a time: SQLite has one writer."""
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_S):
            raise StoreUnavailable("another thread of this process kept the database for too long")
        try:
            yield
        finally:
            self._turn.release()

    def now(self, connection: Connection) -> float:
        """Return the database's time, the clock that all workers share (epoch seconds)."""
        if self._clock is not None:
            return self._clock()
        return float(connection.execute(_NOW).scalar_one())

    def rows_at(
        self, connection: Connection, query: Select[Any], parameters: dict[str, object]
    ) -> tuple[float, Sequence[Sequence[Any]]]:
        """Return `now` and the rows of `query`, at least one, by one statement. The query is built once."""
        if self._clock is not None:
            return self._clock(), connection.execute(query, parameters).all()
        rows = connection.execute(_with_now(query), parameters).all()
        return float(rows[0][-1]), rows

    def insert(self, table: Any) -> Any:
        """Return this dialect's INSERT, which supports ON CONFLICT."""
        return insert_for(table, is_sqlite=self.is_sqlite)

    def upsert(self, table: Table) -> Any:
        """Return the dialect's cached INSERT that replaces a row of the same primary key."""
        return _upsert(table, is_sqlite=self.is_sqlite)

    def insert_new(self, table: Table) -> Any:
        """Return the dialect's cached INSERT that keeps a row of the same primary key."""
        return _insert_new(table, is_sqlite=self.is_sqlite)

    def locking(self, query: Select[Any]) -> Select[Any]:
        """Lock the rows of `query` until the transaction ends. No-op on SQLite, which has one writer."""
        return query if self.is_sqlite else query.with_for_update()

    def alone(self, connection: Connection, *subject: str) -> None:
        """Take the exclusive lock of this subject until the transaction ends; waits.

        It separates what row locks cannot: there may be no row yet. On SQLite a writer is alone anyway.
        """
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY, _hashed(subject))))

    def beside(self, connection: Connection, *subject: str) -> None:
        """Take the subject's shared lock until the transaction ends. Waits for those `alone` with it."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock_shared(_ADVISORY, _hashed(subject))))

    def alone_at_once(self, connection: Connection, *subject: str) -> bool:
        """Take the lock of `alone` without waiting; False: another transaction has it."""
        if self.is_sqlite:
            return True
        mine = select(func.pg_try_advisory_xact_lock(_ADVISORY, _hashed(subject)))
        return bool(connection.execute(mine).scalar_one())

    def examine(self) -> None:
        """Check that the embedded file is whole; reads all of it.

        PostgreSQL checks itself: it reports damage when it reads it (with `data_checksums`, any damage).

        Raises:
            StoreDamaged: it is not; nothing is read or written any more.
            StoreUnavailable: it cannot be read just now.
        """
        with self._guard():
            if self._file is None:
                return
            try:
                found = self._file.broken()
            except sqlite3.Error as error:
                raise StoreUnavailable(str(error), remedy=_remedy(error)) from error
            if found:
                raise self._damaged(found)

    def rewrite(self) -> None:
        """Rewrite the embedded file, to leave no removed or replaced data on disk.

        The -wal file is emptied too. Readers continue meanwhile, writers wait. PostgreSQL: nothing is done;
        the server manages its own files.

        Raises:
            StoreUnavailable: other connections used it for too long; try again.
        """
        if not self.is_sqlite:
            return
        with self._guard(), self._in_turn(), self.engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
            [busy, *_pages] = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if busy:
            raise StoreUnavailable("the database is being read: its -wal file could not be emptied")

    def check_writing(self) -> None:
        """Check that a transaction can be written: there is room, and the lock is free.

        Raises:
            StoreUnavailable: it cannot.
        """
        with self.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")

    def check_file(self) -> None:
        """Check that no damage was met and the embedded file was not replaced.

        Raises:
            StoreDamaged: it was; nothing is read or written any more.
        """
        with self._guard():
            pass

    def _damaged(self, what: str, remedy: str = "") -> StoreDamaged:
        self._damage = what
        return StoreDamaged(what, remedy=remedy)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        if found := self._damage or (self._file.moved() if self._file is not None else ""):
            raise self._damaged(found)
        try:
            yield
        except PoolTimeout as error:
            raise StoreUnavailable("every connection to the database has been busy for too long") from error
        except DBAPIError as error:
            if not stores_fault(error):
                raise
            if _is_damage(error.orig):
                what = server.in_words(error.orig)
                if self._file is not None:
                    what = f"{self._file.path} is damaged: {what}"
                raise self._damaged(what, _remedy(error.orig)) from error
            lost = "the connection was lost" if error.connection_invalidated else "the database refused"
            text = f"{lost}: {server.in_words(error.orig)}"
            kind = StoreConflict if _in_the_way(error.orig) else StoreUnavailable
            raise kind(text, remedy=_remedy(error.orig)) from error

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


_REPEATING = Retrying(
    retry=retry_if_exception_type(StoreConflict),
    stop=stop_after_attempt(CONFLICTS_MAX - 1) | stop_before_delay(CONFLICTS_S_MAX),
    wait=wait_random(multiplier=0.02, max=1.0),  # by chance, so that the same two do not meet again
    reraise=True,
)


def insert_for(table: Any, *, is_sqlite: bool) -> Any:
    """Return a dialect's INSERT, which supports ON CONFLICT."""
    if is_sqlite:
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # it brings a driver's library along

    return postgresql.insert(table)


@cache
def _with_now(query: Select[Any]) -> Select[Any]:
    return query.add_columns(_CLOCK)


@cache
def _upsert(table: Table, *, is_sqlite: bool) -> Any:
    statement = insert_for(table, is_sqlite=is_sqlite)
    others = [column.name for column in table.c if not column.primary_key]
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in others},
    )


@cache
def _insert_new(table: Table, *, is_sqlite: bool) -> Any:
    keys = list(table.primary_key.columns)
    return insert_for(table, is_sqlite=is_sqlite).on_conflict_do_nothing(index_elements=keys)


def stores_fault(error: BaseException) -> bool:
    """Return whether the store failed, not the request: a lost connection, a deadlock, a full disk."""
    if isinstance(error, DependencyDown | OperationalError | PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _is_damage(error.orig) or server.is_servers_fault(error.orig)


def _is_damage(error: BaseException | None) -> bool:
    return embedded.is_damage(error) or server.is_damage(error)


def _in_the_way(error: BaseException | None) -> bool:
    """Return whether another transaction's conflict undid this one."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _SQLITE_CONFLICTS
    return server.is_conflict(error)


def _remedy(error: BaseException | None) -> str:
    if isinstance(error, sqlite3.Error):
        return _SQLITE_REMEDIES.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "")
    return server.remedy(error)


def _hashed(subject: tuple[str, ...]) -> int:
    """Hash a subject to an advisory lock's 32 bits; a collision only costs time."""
    return int.from_bytes(hashlib.sha256("\x1f".join(subject).encode()).digest()[:4], signed=True)


def _let_the_server_say(connection: Any, _record: Any) -> None:
    """Unset `read_only`, so that the server decides if a transaction may write.

    After a read SQLAlchemy leaves a connection with `read_only = False`, by which the next transaction begins
    READ WRITE: on a server that was set read-only it would write all the same, and a standby refuses it as an
    unsupported feature (0A000), which looks like a fault of the request.
    """
    if connection is not None and connection.read_only is not None:
        connection.read_only = None


def _renew(
    password: Callable[[], str], _dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]
) -> None:
    """Connect with the password of now: `do_connect` of SQLAlchemy."""
    parameters["password"] = password()


def _end_sqlite(connection: Connection, how: str) -> None:
    raw = connection.connection.driver_connection
    if raw is not None and raw.in_transaction:
        connection.exec_driver_sql(how)


def _make_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; retried here, as SQLite does not wait for it."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
