"""Sessions of the students' pages, kept here so that they can be ended: by a new password, or by a click.

A session's id is random and known to one browser; here stands its digest.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, String, Table, delete, select, update

from pipeline.store.tables import metadata

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("id_digest", String(64), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("means", String(16), nullable=False),  # mail | link
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("ended_at", Float),
)

s = web_sessions


@dataclass(frozen=True)
class WebSession:
    """One session: whose, by which means it was opened (mail or link), and until when (epoch seconds)."""

    student_number: str
    means: str
    created_at: float
    expires_at: float


def open_session(
    connection: Connection, student_number: str, means: str, *, now: float, lasts_s: float
) -> str:
    """Open a session; return the id that the browser keeps."""
    session_id = secrets.token_urlsafe(32)
    connection.execute(
        s.insert().values(
            id_digest=_digest(session_id),
            student_number=student_number,
            means=means,
            created_at=now,
            expires_at=now + lasts_s,
        )
    )
    return session_id


def find(connection: Connection, session_id: str, now: float) -> WebSession | None:
    """The session of this id, if it is still open."""
    row = connection.execute(
        select(s.c.student_number, s.c.means, s.c.created_at, s.c.expires_at).where(
            s.c.id_digest == _digest(session_id), s.c.ended_at.is_(None), s.c.expires_at > now
        )
    ).one_or_none()
    return None if row is None else WebSession(*row)


def end(connection: Connection, session_id: str, now: float) -> None:
    """End one session."""
    connection.execute(update(s).where(s.c.id_digest == _digest(session_id)).values(ended_at=now))


def end_all(connection: Connection, student_number: str, now: float) -> None:
    """End every session of a student."""
    still_open = (s.c.student_number == student_number, s.c.ended_at.is_(None))
    connection.execute(update(s).where(*still_open).values(ended_at=now))


def forget(connection: Connection, *, expired_before: float) -> int:
    """Delete what expired long ago; return how many there were."""
    return connection.execute(delete(s).where(s.c.expires_at < expired_before)).rowcount


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
