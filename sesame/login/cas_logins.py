"""Observed CAS logins: the first one shows that CAS works for this student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Float, String, Table, bindparam, func, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

cas_logins = Table(
    "cas_logins",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("seen_at", Float),  # the first login by CAS that was seen to work; None: none yet
    Column("last_at", Float),
    Column("failed_at", Float),  # the last one that came back and was of no use
    Column("failure", String(32)),
    info=rows_of("student_number"),
)


_LOGINS: Final = select(cas_logins).where(cas_logins.c.student_number == bindparam("number"))


@dataclass(frozen=True)
class CasLogin:
    """A student's observed logins. Times are seconds since the epoch, UTC.

    Attributes:
        seen_at, last_at: the first and the last one that worked; None: none was seen.
        failed_at, failure: the last one that came back and was of no use, and why: a token.
    """

    student_number: str
    seen_at: float | None
    last_at: float | None
    failed_at: float | None
    failure: str | None


def of(connection: Connection, student_number: str) -> CasLogin | None:
    """One student's login; None: no return from CAS was seen."""
    row = connection.execute(_LOGINS, {"number": student_number}).one_or_none()
    return None if row is None else CasLogin(*row)


def seen(connection: Connection, database: Database, student_number: str) -> None:
    """Record that a ticket of this very student was validated."""
    now = database.now(connection)
    statement = database.insert(cas_logins).values(student_number=student_number, seen_at=now, last_at=now)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[cas_logins.c.student_number],
            set_={"seen_at": func.coalesce(cas_logins.c.seen_at, now), "last_at": now},
        )
    )


def failed(connection: Connection, database: Database, student_number: str, failure: str) -> None:
    """Record that this student's return from CAS failed, and showed no login."""
    values = {"failed_at": database.now(connection), "failure": failure}
    statement = database.insert(cas_logins).values(student_number=student_number, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[cas_logins.c.student_number], set_=values)
    )
