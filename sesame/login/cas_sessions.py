"""Links tickets to sessions for single logout: a cookie alone cannot be revoked.

Neither the token that the browser keeps nor the ticket is here, only their SHA-256: a reader of the database
cannot enter a session.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, String, Table, delete, func, insert, select, update

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

cas_sessions = Table(
    "cas_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256: the browser alone has the token
    Column("ticket_hash", String(64), nullable=False, unique=True),  # what a single logout names
    Column("service", String(255), nullable=False),
    Column("login", String(255), nullable=False),
    Column("student_number", String(32)),  # None: not a student's
    Column("roles", String(255)),  # at the console, blanks between them; None: none
    Column("opened_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("ended_at", Float),
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class CasSession:
    """One session. Times are seconds since the epoch, UTC.

    Attributes:
        service: the address that the ticket was given for.
        student_number: None: the person has no account here.
        roles: what the released attributes gave at this service, at the login.
    """

    service: str
    login: str
    student_number: str | None
    opened_at: float
    expires_at: float
    roles: tuple[str, ...] = ()


def open_(connection: Connection, *, token: str, ticket: str, session: CasSession) -> None:
    """Note a session. A ticket opens one: it is validated once."""
    values = {**session.__dict__, "roles": " ".join(session.roles) or None}
    connection.execute(
        insert(cas_sessions).values(token_hash=_hash(token), ticket_hash=_hash(ticket), **values)
    )


def find(connection: Connection, token: str, *, service: str, now: float) -> CasSession | None:
    """The session that this token enters, if it is neither ended nor over."""
    row = connection.execute(
        select(
            cas_sessions.c.service,
            cas_sessions.c.login,
            cas_sessions.c.student_number,
            cas_sessions.c.opened_at,
            cas_sessions.c.expires_at,
            cas_sessions.c.roles,
        ).where(
            cas_sessions.c.token_hash == _hash(token),
            cas_sessions.c.service == service,
            cas_sessions.c.ended_at.is_(None),
            cas_sessions.c.expires_at > now,
        )
    ).one_or_none()
    return None if row is None else CasSession(*row[:-1], roles=tuple((row.roles or "").split()))


def roles_of_login(connection: Connection, login: str, *, now: float) -> frozenset[str]:
    """The roles at the console of whoever is logged in there by this login now."""
    query = select(cas_sessions.c.roles).where(
        func.lower(cas_sessions.c.login) == login.lower(),
        cas_sessions.c.roles.is_not(None),
        cas_sessions.c.ended_at.is_(None),
        cas_sessions.c.expires_at > now,
    )
    return frozenset(role for found in connection.execute(query).scalars() for role in found.split())


def end(connection: Connection, token: str, *, now: float) -> None:
    """End the session that this token enters."""
    connection.execute(
        update(cas_sessions)
        .where(cas_sessions.c.token_hash == _hash(token), cas_sessions.c.ended_at.is_(None))
        .values(ended_at=now)
    )


def end_by_ticket(connection: Connection, ticket: str, *, now: float) -> bool:
    """End the session that this ticket opened; whether there was one."""
    ended = connection.execute(
        update(cas_sessions)
        .where(cas_sessions.c.ticket_hash == _hash(ticket), cas_sessions.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    return ended.rowcount > 0


def end_all(connection: Connection, student_number: str, *, now: float) -> None:
    """End every session of this student: the password has changed."""
    connection.execute(
        update(cas_sessions)
        .where(cas_sessions.c.student_number == student_number, cas_sessions.c.ended_at.is_(None))
        .values(ended_at=now)
    )


def forget_over(connection: Connection, *, now: float) -> int:
    """Forget expired sessions."""
    return connection.execute(delete(cas_sessions).where(cas_sessions.c.expires_at <= now)).rowcount


def _hash(secret: str) -> str:
    """Hash without a salt, and fast: tokens and tickets are random and long, not chosen by people."""
    return hashlib.sha256(secret.encode()).hexdigest()
