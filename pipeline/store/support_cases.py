"""Support cases, by the short code that a student reads out. Forgotten when the code expires."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from pipeline.db.tables import support_cases as t


@dataclass(frozen=True)
class SupportCase:
    """One case. Times are seconds since the epoch, UTC.

    Attributes:
        bundle: what was found when it was opened, as JSON.
        desk, sent_at: whom it was sent to, and when; None: it was not sent.
    """

    code: str
    student_number: str
    opened_at: float
    expires_at: float
    bundle: str
    desk: str | None = None
    sent_at: float | None = None


def add(connection: Connection, case: SupportCase) -> None:
    """Keep a new case."""
    connection.execute(insert(t).values(**case.__dict__))


def find(connection: Connection, code: str, *, now: float) -> SupportCase | None:
    """The case of a code that has not expired."""
    row = connection.execute(select(t).where(t.c.code == code, t.c.expires_at > now)).one_or_none()
    return None if row is None else SupportCase(*row)


def newest(connection: Connection, student_number: str, *, opened_after: float) -> SupportCase | None:
    """A student's newest case that was opened after this moment."""
    mine = (t.c.student_number == student_number, t.c.opened_at > opened_after)
    row = connection.execute(select(t).where(*mine).order_by(t.c.opened_at.desc()).limit(1)).one_or_none()
    return None if row is None else SupportCase(*row)


def sent(connection: Connection, code: str, desk: str, *, now: float) -> None:
    """The bundle was handed to a desk's mail server."""
    connection.execute(update(t).where(t.c.code == code).values(desk=desk, sent_at=now))


def forget(connection: Connection, *, expired_before: float) -> int:
    """Delete what has expired; how many there were."""
    return connection.execute(delete(t).where(t.c.expires_at <= expired_before)).rowcount
