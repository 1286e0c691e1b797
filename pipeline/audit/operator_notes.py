"""Operators' reasons for their acts, in their own words, for support only.

Such words may be personal ("phone call with her mother"), whatever the form asks for. So only the store keeps
them: events and the audit carry a reference, and the words can be removed without touching either.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from pipeline import audit
from pipeline.audit.trail import remarks as r
from pipeline.db.database import Database

REFERENCE_BYTES = 12


@dataclass(frozen=True)
class Remark:
    """An operator's remark on an act.

    Attributes:
        ref: names it in events and in the audit.
        action: what was done, e.g. `hold.place`.
        about: its object: a kind of hold, a consumer, another student number; empty: none.
        student_number: the student concerned; None: many.
        at: seconds since the epoch, UTC.
    """

    ref: str
    action: str
    about: str
    student_number: str | None
    actor: str
    at: float
    words: str


def keep(
    connection: Connection,
    database: Database,
    *,
    action: str,
    about: str,
    student_number: str | None,
    actor: str,
    words: str,
) -> str:
    """Keep an operator's words, in the act's transaction; return their reference."""
    ref = secrets.token_urlsafe(REFERENCE_BYTES)
    remark = Remark(ref, action, about, student_number, actor[:64], database.now(connection), words)
    connection.execute(insert(r).values(**remark.__dict__))
    return ref


def keep_and_audit(
    connection: Connection,
    database: Database,
    *,
    action: str,
    about: str,
    student_number: str | None,
    actor: str,
    words: str,
    detail: Mapping[str, object],
) -> str:
    """Keep an operator's words and audit the act. Return the words' reference, added to `detail`."""
    ref = keep(
        connection,
        database,
        action=action,
        about=about,
        student_number=student_number,
        actor=actor,
        words=words,
    )
    audit.note(connection, database, actor=actor, action=action, detail={**detail, "reason_ref": ref})
    return ref


def since(connection: Connection, actions: Collection[str], at: float) -> list[Remark]:
    """Return the remarks on these acts from this time (epoch seconds) on."""
    query = select(r).where(r.c.at >= at, r.c.action.in_(actions))
    return [Remark(**row) for row in connection.execute(query).mappings()]


def of_student(connection: Connection, student_number: str) -> list[Remark]:
    """Return the remarks about this student, the oldest first."""
    query = select(r).where(r.c.student_number == student_number).order_by(r.c.at, r.c.ref)
    return [Remark(**row) for row in connection.execute(query).mappings()]
