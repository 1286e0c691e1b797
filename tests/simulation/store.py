"""The simulated database: the shipped repositories on an SQLite in memory.

It outlives the processes of the world; each reaches it through its own port.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from pipeline.db import migrate
from pipeline.db.database import Database, StoreUnavailable, stores_fault
from tests.simulation.statements import Statements

PLAIN = True
"""Whether statements are executed without the library's ceremony."""

STATEMENTS = 1000
"""More than the pipeline has."""

_WATCHED = """
CREATE TEMP TRIGGER lease_ended AFTER UPDATE OF lease_owner ON main.target_states
WHEN OLD.lease_owner IS NOT NULL AND NEW.lease_owner IS NULL
BEGIN SELECT seen('lease ended', NEW.target, NEW.student_number, NULL, NULL, NULL); END;
CREATE TEMP TRIGGER to_send AFTER INSERT ON main.outbox
BEGIN SELECT seen('to send', NULL, NULL, NULL, NULL, NULL); END;
CREATE TEMP TRIGGER account_made AFTER INSERT ON main.accounts
BEGIN SELECT seen('minted', NEW.student_number, NEW.document, NULL, NULL, NULL); END;
CREATE TEMP TRIGGER account_changed AFTER UPDATE ON main.accounts
BEGIN SELECT seen('minted', NEW.student_number, NEW.document, OLD.document,
  (SELECT CASE WHEN state = 'waiting' THEN version END FROM main.propagation p
   WHERE p.student_number = NEW.student_number),
  (SELECT completed_version FROM main.propagation p WHERE p.student_number = NEW.student_number)); END;
"""
"""The checker's triggers, for any writer: leases that end, account versions."""


class Minted(NamedTuple):
    """One version of an account, as it was stored.

    Attributes:
        document, before: the account, and the replaced one, as JSON.
        waiting: the version that was waiting for a business precondition then, if any.
        completed: the version that was complete then.
    """

    student_number: str
    document: str
    before: str | None
    waiting: int | None
    completed: int | None


class Faults(Protocol):
    """The possible fates of a process at its database."""

    def before(self) -> None:
        """Before a transaction begins."""

    def at_commit(self) -> None:
        """Everything was written, and nothing is committed."""

    def after(self) -> None:
        """It is committed, and the process does not know it yet."""


@dataclass
class Disk:
    """The database's contents.

    Attributes:
        to_send: called when something is in the outbox.
        lease_ended: called with target and student.
        minted: every version of every account, in the order of their commits.
    """

    lease_ended: Callable[[str, str], None]
    to_send: Callable[[], None]
    minted: list[Minted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.raw, self.engine = _drive()
        self._seen: list[tuple[object, ...]] = []
        self._moments = 0
        self.raw.create_function("seen", 6, lambda *what: self._seen.append(what))
        self.library = self.engine.connect()
        self.connection: Any = Statements(self.raw, self.library) if PLAIN else self.library

    def committed(self) -> None:
        """Report the findings of the transaction that is committed now."""
        seen, self._seen = self._seen, []
        for kind, *what in seen:
            if kind == "lease ended":
                self.lease_ended(str(what[0]), str(what[1]))
            elif kind == "to send":
                self.to_send()
            else:
                self.minted.append(Minted._make(what))

    def keep(self) -> None:
        if self.library.in_transaction():
            self.library.commit()
        if self.raw.in_transaction:  # the library ran nothing, and then commits nothing
            self.raw.execute("COMMIT")

    def moment(self) -> float:
        """A little time, in seconds: no two moments are the same on a real clock."""
        self._moments += 1
        return self._moments * 1e-6

    def undo(self) -> None:
        """Undo the open transaction and its findings."""
        self.library.rollback()
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")
        self._seen = []

    def close(self) -> None:
        self.library.close()
        self.raw.rollback()


class SimulatedDatabase(Database):
    """One process's way to the database.

    Transactions run one after the other, as SQLite's do, so that within one nothing else happens; around
    each, everything may.

    Args:
        clock: the database's time.
        faults: possible ones; None: none.
    """

    def __init__(self, disk: Disk, clock: Callable[[], float], faults: Faults | None = None) -> None:
        self._disk = disk
        self._faults = faults
        super().__init__("sqlite://", clock=lambda: clock() + disk.moment())

    def _connect(self) -> Engine:
        return self._disk.engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        disk, faults = self._disk, self._faults
        if faults is not None:
            faults.before()
        disk.raw.execute("BEGIN IMMEDIATE")
        try:
            yield disk.connection
            if faults is not None:
                faults.at_commit()
            disk.keep()
        except BaseException as error:
            disk.undo()
            _explain(error)
            raise
        disk.committed()
        if faults is not None:
            faults.after()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`. Within a transaction of the same actor, it sees its writes."""
        disk = self._disk
        inside = disk.raw.in_transaction
        if self._faults is not None and not inside:
            self._faults.before()
        try:
            yield disk.connection
        except DBAPIError as error:
            _explain(error)
            raise
        finally:
            if not inside and disk.library.in_transaction():
                disk.library.rollback()

    def close(self) -> None:
        """Keep the disk."""


def _explain(error: BaseException) -> None:
    """Raise `Database`'s error, if the store failed."""
    if isinstance(error, DBAPIError) and stores_fault(error):
        raise StoreUnavailable(str(error.orig)) from error


def _drive() -> tuple[sqlite3.Connection, Engine]:
    """A connection with an empty database, for one history of this process at a time.

    Statements that one of them has compiled are compiled for those that follow.
    """
    raw, engine = _made_drive()
    _template().backup(raw)
    return raw, engine


@cache
def _made_drive() -> tuple[sqlite3.Connection, Engine]:
    raw = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )
    _template().backup(raw)
    raw.execute("PRAGMA foreign_keys=ON")
    raw.execute("PRAGMA secure_delete=OFF")  # what is deleted need not be overwritten in memory
    raw.create_function("seen", 6, lambda *_what: None)
    raw.executescript(_WATCHED)
    engine = create_engine(
        "sqlite://",
        creator=lambda: raw,
        poolclass=StaticPool,
        hide_parameters=True,
        query_cache_size=STATEMENTS,
        execution_options={"preserve_rowcount": True},
    )
    return raw, engine


@cache
def _template() -> sqlite3.Connection:
    """An empty database in this version's form, made once by the shipped migrations."""
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="sesame-simulation-") as folder:
        path = Path(folder) / "template.db"
        database = Database(f"sqlite:///{path}")
        migrate.upgrade(database)
        database.close()
        with sqlite3.connect(path) as made:
            made.backup(kept)
        made.close()
    return kept
