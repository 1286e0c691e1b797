"""What operators say of what they do, in their own words: for support, and for nobody else.

Such words may be personal ("phone call with her mother"), whatever was asked for. So they are kept in the
store alone: events carry a reference to them, the audit too, and they can be removed without touching either.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from pipeline import audit
from pipeline.audit.tables import remarks as r
from pipeline.db.database import Database

REFERENCE_BYTES = 12


@dataclass(frozen=True)
class Remark:
    """One remark.

    Attributes:
        ref: names it in events and in the audit.
        action: what was done, e.g. `hold.place`.
        about: what it was done to: a kind of hold, a consumer, another student number; empty: nothing more.
        student_number: whom it concerns; None: many.
        actor: the operator's user name.
        at: seconds since the epoch, UTC.
        words: one line.
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
    """Keep what an operator says, in the transaction that audits the act; returns the reference to it."""
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
    """Keep what an operator says of an act and note the act in the audit; returns the reference.

    Args:
        detail: what is needed to understand the act later; `reason_ref` is added to it.
        connection, database, action, about, student_number, actor, words: see `Remark`.
    """
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


def of_student(connection: Connection, student_number: str) -> list[Remark]:
    """What was said of this student, the oldest first."""
    query = select(r).where(r.c.student_number == student_number).order_by(r.c.at, r.c.ref)
    return [Remark(**row) for row in connection.execute(query).mappings()]
