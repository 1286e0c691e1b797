"""A filled store of commit 97ccacd, migrated to the first form, by which every later form is judged.

That commit's program filled it, with real servers (slapd, Dovecot, the Moodle stand-in, CAS): an import of
21 invented students and their groups, activations by lists and by the students' pages, a login by CAS, holds,
an adoption and its question, dead letters and one that was mended, doubts about four numbers, replays of
which one is not finished, cases for support, what an operator did (audit and remarks); then, while nothing
ran, activations that no consumer has read. What only trouble brings was written by that commit's functions:
a quarantine, lost records, students who are tried again, a lock that nobody gave back, an outbox that nobody
sent, a process that died, questions of another adoption. PostgreSQL has the same rows, put there through that
commit's tables. Commit b527fd79 migrated both; it knew each form in between. The dumps are
`sqlite3.Connection.iterdump` and `pg_dump --column-inserts`; PostgreSQL's only check stands as the migration
wrote it, not as the server rewords it.

Nothing of the product is used here: the databases' own drivers put the rows and read them.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

COMMIT, FORM = "97ccacd", "0048"
"""Whose store it is, and its form."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""By table."""

_DUMPS = Path(__file__).with_name("filled")
_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_POSTGRESQL_TABLES = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
_SEQUENCES = "SELECT sequencename AS name, last_value FROM pg_sequences"


def put(url: str) -> None:
    """Put the store of then into a database without tables."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(_file(url))) as connection:
            connection.executescript(_dump("sqlite"))
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_dump("postgresql").encode())


def rows(url: str) -> Rows:
    """Every row of every table, and where the numbers stand that a database gives by itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(_file(url))) as connection:
            connection.row_factory = sqlite3.Row
            names = [row["name"] for row in connection.execute(_SQLITE_TABLES)]
            return {name: [dict(row) for row in connection.execute(_all_of(name))] for name in names}
    with psycopg.connect(url, row_factory=dict_row) as server:
        names = [row["name"] for row in server.execute(_POSTGRESQL_TABLES)]
        found = {name: server.execute(_all_of(name).encode()).fetchall() for name in names}
        return found | {"pg_sequences": server.execute(_SEQUENCES).fetchall()}


def _all_of(table: str) -> str:
    return f'SELECT * FROM "{table}"'  # noqa: S608 (a table of the database's own)


def _dump(kind: str) -> str:
    return gzip.decompress((_DUMPS / f"{COMMIT}.{kind}.sql.gz").read_bytes()).decode("utf-8")


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///")
