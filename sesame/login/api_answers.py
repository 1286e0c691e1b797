"""Answers to programs, kept for a day: a repeat under a key gets the same answer.

An answer may be about persons. It is sealed with what only the program has, its token and the key that it
chose; neither is stored. So it cannot be read here, nor in a backup. The request's digest is keyed likewise.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, Float, String, Table, Text, delete, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from pipeline.errors import SesameError

DAY_S: Final = 86_400.0
UNDER_WAY_S_MAX: Final = 900.0
"""After this the answering process counts as dead: a repeat is answered as new."""

api_answers = Table(
    "api_answers",
    metadata,
    Column("name", String(64), primary_key=True),  # of token and key, keyed
    Column("request", String(64), nullable=False),  # a digest, keyed
    Column("begun_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("sealed", Text),  # the answer; None: under way
    info=of_nobody("digests, and answers that only the programs can open"),
)


class KeyOfAnother(SesameError):
    """This idempotency key was used for another request in the last 24 hours. Choose a new one for each."""

    exit_code = 2


class StillUnderWay(SesameError):
    """The request of this idempotency key is being answered. Ask again in a moment."""


def begin(connection: Connection, database: Database, name: str, request: str, now: float) -> str | None:
    """Begin to answer, or return the sealed answer; None: it is to be answered now.

    `name`: of token and key. `request`: the request's digest.

    Raises:
        KeyOfAnother, StillUnderWay: neither.
    """
    this = api_answers.c.name == name
    connection.execute(delete(api_answers).where(this, api_answers.c.expires_at <= now))
    values = {"name": name, "request": request, "begun_at": now, "expires_at": now + DAY_S}
    first = database.insert(api_answers).values(**values)
    if connection.execute(first.on_conflict_do_nothing(index_elements=[api_answers.c.name])).rowcount:
        return None
    row = connection.execute(database.locking(select(api_answers).where(this))).one()
    if row.request != request:
        raise KeyOfAnother
    if row.sealed is None:
        if now - row.begun_at < UNDER_WAY_S_MAX:
            raise StillUnderWay
        connection.execute(update(api_answers).where(this).values(begun_at=now))
        return None
    sealed: str = row.sealed
    return sealed


def keep(connection: Connection, name: str, sealed: str) -> None:
    """Keep what was answered."""
    connection.execute(update(api_answers).where(api_answers.c.name == name).values(sealed=sealed))


def give_up(connection: Connection, name: str) -> None:
    """Forget a begun request: a repeat is answered as new."""
    connection.execute(delete(api_answers).where(api_answers.c.name == name, api_answers.c.sealed.is_(None)))


def forget_over(connection: Connection, *, now: float) -> int:
    """Forget answers whose day is over; return how many."""
    return connection.execute(delete(api_answers).where(api_answers.c.expires_at <= now)).rowcount
