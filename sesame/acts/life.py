"""The store's name and growing count, which reveal a store gone back in time.

Processes that run consumers count, and note the name and the count outside the store too
(`sesame.acts.admission`). A restored backup counts less than what was noted.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    Row,
    String,
    Table,
    Text,
    select,
    text,
    update,
)

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

store_life = Table(
    "store_life",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row: 1
    Column("name", String(32), nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("shut_why", Text),  # why no target may be written to until `sesame restored check`; None: it may
    Column("shut_at", Float),
    Column("checked_at", Float),
    info=of_nobody("the store's own name"),
)
_t = store_life.c
_ROW = 1


@dataclass(frozen=True)
class Life:
    """The store's name and count, and whether it is shut. Times in epoch seconds.

    `name`: drawn once, for this store; `beats`: how often was counted; `shut_why`: why no target may be
    written, empty: they may.
    """

    name: str
    beats: int
    shut_why: str
    shut_at: float | None
    checked_at: float | None


def of(connection: Connection, database: Database) -> Life:
    """The store's life, begun if there is none; needs a writing transaction."""
    statement = database.insert(store_life).values(id=_ROW, name=secrets.token_hex(8), beats=0)
    connection.execute(statement.on_conflict_do_nothing(index_elements=[_t.id]))
    connection.execute(database.locking(select(_t.id)))
    return _life(connection.execute(select(store_life)).one())


def look(connection: Connection) -> Life | None:
    """The store's life; None if it has not begun."""
    row = connection.execute(select(store_life)).one_or_none()
    return None if row is None else _life(row)


def _life(row: Row[Any]) -> Life:
    return Life(row.name, row.beats, row.shut_why or "", row.shut_at, row.checked_at)


def table_number(connection: Connection) -> int:
    """PostgreSQL's OID of the table: restoring a dump makes another one."""
    return int(connection.execute(text("SELECT CAST(CAST('store_life' AS regclass) AS oid)")).scalar_one())


def beat(connection: Connection) -> int:
    """Increase the count; return it."""
    done = connection.execute(update(store_life).values(beats=_t.beats + 1).returning(_t.beats))
    return int(done.scalar_one())


def shut(connection: Connection, why: str, now: float) -> None:
    """Forbid writing to targets until an operator has checked; the first reason stays."""
    connection.execute(update(store_life).where(_t.shut_why.is_(None)).values(shut_why=why, shut_at=now))


def reopen(connection: Connection, now: float, *, above: int) -> int:
    """Reopen a checked store; return its count, which continues from `above` at least."""
    beats = max(above, int(connection.execute(select(_t.beats)).scalar_one())) + 1
    connection.execute(update(store_life).values(beats=beats, shut_why=None, shut_at=None, checked_at=now))
    return beats
