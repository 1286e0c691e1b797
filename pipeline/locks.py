"""Locks that hold for the whole site, e.g. while a Moodle cohort is created."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Column, Float, String, Table, delete

from pipeline.db.database import Database, StoreUnavailable
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

site_locks = Table(
    "site_locks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("until", Float, nullable=False),
    info=of_nobody("names of locks"),
)


class LockHeld(StoreUnavailable):
    """Another process, or thread, has a lock of the whole site for longer than it was waited for. It is tried
    again by itself."""


class SiteLocks:
    """Named locks in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._here: dict[str, threading.Lock] = {}  # threads of one process do not queue in the database
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, name: str, *, ttl_s: float, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the lock `name`. Not reentrant.

        Args:
            ttl_s: a holder that dies loses it after so many seconds: longer than the protected work.
            wait_s: how long to wait for it.

        Raises:
            LockHeld: another holder kept it for that time.
            StoreUnavailable: the store cannot be used.
        """
        with self._guard:
            here = self._here.setdefault(name, threading.Lock())
        give_up_at = time.monotonic() + wait_s
        if not here.acquire(timeout=wait_s):
            raise LockHeld(f"the site-wide lock {name!r} is held by another thread")
        try:
            owner = secrets.token_hex(8)
            self._acquire(name, owner, ttl_s, give_up_at)
            try:
                yield
            finally:
                with self._database.write() as connection:
                    connection.execute(
                        delete(site_locks).where(site_locks.c.name == name, site_locks.c.owner == owner)
                    )
        finally:
            here.release()

    def _acquire(self, name: str, owner: str, ttl_s: float, give_up_at: float) -> None:
        while True:
            with self._database.write() as connection:
                now = self._database.now(connection)
                connection.execute(
                    delete(site_locks).where(site_locks.c.name == name, site_locks.c.until < now)
                )
                statement = self._database.insert(site_locks).values(
                    name=name, owner=owner, until=now + ttl_s
                )
                if connection.execute(
                    statement.on_conflict_do_nothing(index_elements=[site_locks.c.name])
                ).rowcount:
                    return
            if time.monotonic() > give_up_at:
                raise LockHeld(f"the site-wide lock {name!r} is held by another process")
            time.sleep(0.05)
