"""The databases that store tests run on: an SQLite file and a real PostgreSQL.

PostgreSQL comes from the first of these: the address in `TEST_POSTGRES_URL` (an administrator's, of a server
made for tests: databases come and go there), a container if `TEST_CONTAINERS=1`, the installed programs, a
container where Docker is.
"""

from __future__ import annotations

import functools
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql
from sqlalchemy import delete, insert, make_url

from pipeline.accounts import accounts
from pipeline.db import migrate
from pipeline.db.database import Database
from sandbox.postgres import Postgres
from sandbox.process import PATIENCE_S, MissingServer
from schemas.account import Account
from sesame.testing.servers import containers

ADDRESS = "TEST_POSTGRES_URL"

_WITH_ROWS = """SELECT relname FROM pg_class WHERE relkind = 'r'
    AND relname NOT IN ('alembic_version', 'store_form')
    AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0"""
_HANG_UP_THE_OTHERS = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"""
_RESTART_SEQUENCES = """SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL"""


class Server(Protocol):
    """A server for new databases, such as the sandbox's."""

    def create(self, database: str, *, template: str = "template0") -> str:
        """Create a database; its address."""

    def drop(self, database: str) -> None:
        """Remove it, even with open connections."""

    def hang_up(self, database: str = "sesame") -> int:
        """End every connection to it."""


class Elsewhere:
    """A server started outside the tests, at an administrator's address."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def create(self, database: str, *, template: str = "template0") -> str:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._run(statement.format(sql.Identifier(database), sql.Identifier(template)))
        return self._url.set(database=database).render_as_string(hide_password=False)

    def drop(self, database: str) -> None:
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def hang_up(self, database: str = "sesame") -> int:
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}"
        return self._run(sql.SQL(ending).format(sql.Literal(database)))

    def _run(self, statement: sql.Composed) -> int:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True, connect_timeout=int(PATIENCE_S)) as connection:
            return connection.execute(statement).rowcount


@contextmanager
def server() -> Iterator[Server]:
    """A PostgreSQL server for as long as the tests run.

    Raises `MissingServer`: there is no address, no program and no Docker.
    """
    if address := os.environ.get(ADDRESS):
        yield Elsewhere(address)
        return
    if containers.asked():
        with containers.postgres() as address:
            yield Elsewhere(address)
        return
    try:
        own = Postgres(fsync=False)
    except MissingServer as missing:
        try:
            with containers.postgres() as address:
                yield Elsewhere(address)
        except containers.NoDocker:
            raise missing from None
        return
    with own:
        yield own


@contextmanager
def empty_database(server: Server) -> Iterator[str]:
    name = f"empty_{secrets.token_hex(4)}"
    yield server.create(name)
    server.drop(name)


class Shelf:
    """A migrated PostgreSQL database, emptied before each test that gets it."""

    def __init__(self, postgres: Server) -> None:
        self._postgres = postgres
        self._name = f"sesame_{secrets.token_hex(4)}"
        self._url = postgres.create(self._name)
        with closing(Database(self._url)) as database:
            migrate.upgrade(database)
        with psycopg.connect(self._url) as connection:
            self._form = connection.execute(
                "SELECT version_num, oldest FROM alembic_version, store_form"
            ).fetchall()

    def empty(self) -> str:
        """Its address, when no connection and no row is left and its schema is current."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(_HANG_UP_THE_OTHERS)
            # Only what a test has used: emptying every table takes longer than most tests.
            if used := [sql.Identifier(name) for (name,) in connection.execute(_WITH_ROWS)]:
                connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(used)))
            connection.execute(_RESTART_SEQUENCES)
            # A test may have declared another schema version.
            [(version, oldest)] = self._form
            connection.execute("UPDATE alembic_version SET version_num = %s", [version])
            connection.execute("UPDATE store_form SET oldest = %s", [oldest])
        return self._url

    def close(self) -> None:
        self._postgres.drop(self._name)


@functools.cache
def _new_sqlite() -> bytes:
    """A migrated SQLite database to copy: migrating takes longer than writing it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        with closing(Database(f"sqlite:///{file}")) as database:
            migrate.upgrade(database)
        return file.read_bytes()


def keep(database: Database, account: Account, *, changed_at: float = 0.0) -> None:
    """Store this as the account's newest version, replacing any other."""
    row = {
        "student_number": account.student_number,
        "version": account.version,
        "stage": account.stage,
        "login": account.login,
        "activated_at": account.activated_at.timestamp() if account.activated_at else None,
        "changed_at": changed_at,
        "document": account.model_dump_json(),
    }
    with database.write() as connection:
        connection.execute(delete(accounts).where(accounts.c.student_number == account.student_number))
        connection.execute(insert(accounts).values(row))


def sqlite_store(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "store.db"
    file.touch(mode=0o600)
    file.write_bytes(_new_sqlite())
    return f"sqlite:///{file}"
