"""Support cases by a short code to read out on the telephone; deleted on expiry.

Codes carry nothing of the student, and give no access alone: the reader must also belong to the desk.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, String, Table, Text, delete, insert, select, update

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

support_cases = Table(
    "support_cases",
    metadata,
    Column("code", String(16), primary_key=True),  # read out on the telephone; reveals no student
    Column("student_number", String(32), nullable=False, index=True),
    Column("opened_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("bundle", Text, nullable=False),  # what was found then, in every language (JSON)
    Column("desk", String(64)),  # the desk it was sent to; None: not sent yet
    Column("sent_at", Float),
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class SupportCase:
    """One case. Times are Unix times, in seconds.

    Attributes:
        bundle: what was found when it was opened, as JSON.
        desk, sent_at: where and when it was sent; None: it was not.
    """

    code: str
    student_number: str
    opened_at: float
    expires_at: float
    bundle: str
    desk: str | None = None
    sent_at: float | None = None


def add(connection: Connection, case: SupportCase) -> None:
    """Store a new case."""
    connection.execute(insert(support_cases).values(**case.__dict__))


def find(connection: Connection, code: str, *, now: float) -> SupportCase | None:
    """The case of a code that has not expired."""
    row = connection.execute(
        select(support_cases).where(support_cases.c.code == code, support_cases.c.expires_at > now)
    ).one_or_none()
    return None if row is None else SupportCase(*row)


def newest(connection: Connection, student_number: str, *, opened_after: float) -> SupportCase | None:
    """A student's newest case that was opened after this moment."""
    mine = (support_cases.c.student_number == student_number, support_cases.c.opened_at > opened_after)
    row = connection.execute(
        select(support_cases).where(*mine).order_by(support_cases.c.opened_at.desc()).limit(1)
    ).one_or_none()
    return None if row is None else SupportCase(*row)


def sent(connection: Connection, code: str, desk: str, *, now: float) -> None:
    """Record that the bundle was handed to the desk's mail server."""
    connection.execute(
        update(support_cases).where(support_cases.c.code == code).values(desk=desk, sent_at=now)
    )


def forget(connection: Connection, *, expired_before: float) -> int:
    """Delete expired cases; return how many there were."""
    return connection.execute(
        delete(support_cases).where(support_cases.c.expires_at <= expired_before)
    ).rowcount
