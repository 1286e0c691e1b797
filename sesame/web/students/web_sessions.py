"""Sessions of the students' pages, stored so that a password or click ends them.

A session's id is random and known to one browser; its digest is stored here. An **offer** is a link that the
support desk gives: followed once, it becomes a session that only shows (a *view*).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, Float, String, Table, delete, select, update

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

MAIL, CAS, VIEW, OFFER = "mail", "cas", "view", "offer"

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("id_digest", String(64), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("means", String(16), nullable=False),  # mail | view; offer: not a session yet
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("ended_at", Float),
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class WebSession:
    """One session. `means`: of its opening (mail, cas, view); times are Unix times, in seconds."""

    student_number: str
    means: str
    created_at: float
    expires_at: float

    @property
    def acts(self) -> bool:
        """Whether it may change data: only its owner reads the mail or has the password."""
        return self.means in (MAIL, CAS)


def open_session(
    connection: Connection, student_number: str, means: str, *, now: float, lasts_s: float
) -> str:
    """Open a session; return the id that the browser keeps."""
    session_id = secrets.token_urlsafe(32)
    connection.execute(
        web_sessions.insert().values(
            id_digest=_digest(session_id),
            student_number=student_number,
            means=means,
            created_at=now,
            expires_at=now + lasts_s,
        )
    )
    return session_id


def find(connection: Connection, session_id: str, now: float) -> WebSession | None:
    """The session of this id, if it is still open. An offer is none."""
    return _open(connection, session_id, now, web_sessions.c.means != OFFER)


def find_offer(connection: Connection, offer_id: str, now: float) -> WebSession | None:
    """The offer of this id, if it is untaken. Looking does not use it up."""
    return _open(connection, offer_id, now, web_sessions.c.means == OFFER)


def take_offer(connection: Connection, offer_id: str, *, now: float, lasts_s: float) -> str | None:
    """Turn an offer into a view; return the id that the browser keeps. Of several takers one succeeds."""
    offered = find_offer(connection, offer_id, now)
    still_open = (web_sessions.c.id_digest == _digest(offer_id), web_sessions.c.ended_at.is_(None))
    if (
        offered is None
        or not connection.execute(update(web_sessions).where(*still_open).values(ended_at=now)).rowcount
    ):
        return None
    return open_session(connection, offered.student_number, VIEW, now=now, lasts_s=lasts_s)


def end(connection: Connection, session_id: str, now: float) -> None:
    """End one session."""
    connection.execute(
        update(web_sessions).where(web_sessions.c.id_digest == _digest(session_id)).values(ended_at=now)
    )


def end_all(connection: Connection, student_number: str, now: float) -> None:
    """End every session of a student."""
    still_open = (web_sessions.c.student_number == student_number, web_sessions.c.ended_at.is_(None))
    connection.execute(update(web_sessions).where(*still_open).values(ended_at=now))


def forget(connection: Connection, *, expired_before: float) -> int:
    """Delete what expired long ago; return how many there were."""
    return connection.execute(delete(web_sessions).where(web_sessions.c.expires_at < expired_before)).rowcount


def _open(
    connection: Connection, session_id: str, now: float, means: ColumnElement[bool]
) -> WebSession | None:
    row = connection.execute(
        select(
            web_sessions.c.student_number,
            web_sessions.c.means,
            web_sessions.c.created_at,
            web_sessions.c.expires_at,
        ).where(
            web_sessions.c.id_digest == _digest(session_id),
            web_sessions.c.ended_at.is_(None),
            web_sessions.c.expires_at > now,
            means,
        )
    ).one_or_none()
    return None if row is None else WebSession(*row)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
