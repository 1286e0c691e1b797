"""Every operator action, for ever: who, when, what. Without personal data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from pipeline.audit.tables import audit, remarks
from pipeline.db.database import Database


@dataclass(frozen=True)
class Entry:
    """One act.

    Attributes:
        id: grows with time.
        at: seconds since the epoch, UTC.
        actor: the user who did it; a login, for what students do on their pages.
        action: what was done, e.g. `hold.place`.
        detail: what it was done to.
        reason: the operator's own words; None: none were asked for, or they were removed since.
    """

    id: int
    at: float
    actor: str
    action: str
    detail: Mapping[str, Any]
    reason: str | None


def note(
    connection: Connection, database: Database, *, actor: str, action: str, detail: Mapping[str, object]
) -> None:
    """Note an action in the transaction that it is done in.

    Args:
        actor: the operating system's or the console's user name.
        action: what was done, e.g. `replay`.
        detail: what is needed to understand it later.
    """
    connection.execute(
        insert(audit).values(
            at=database.now(connection),
            actor=actor[:64],
            action=action,
            detail=json.dumps(dict(detail), ensure_ascii=False, sort_keys=True),
        )
    )


def entries(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    about: str | None = None,
    since: float = 0.0,
) -> list[Entry]:
    """What was done, the newest first.

    Args:
        connection: to read by.
        limit: no more than so many.
        before: of ids below this one: the next page.
        actor: by whom: the user, or who became another one (`camille` finds `camille as sesame`).
        action: this one, or those of a kind (`hold` finds `hold.place` and `hold.lift`).
        about: a value that the detail has: a student number, a consumer, a replay.
        since: seconds since the epoch, UTC.
    """
    a = audit.c
    wanted = [a.at >= since]
    if before is not None:
        wanted.append(a.id < before)
    if actor is not None:
        wanted.append((a.actor == actor) | a.actor.startswith(f"{actor} as ", autoescape=True))
    if action is not None:
        wanted.append((a.action == action) | a.action.startswith(f"{action}.", autoescape=True))
    if about is not None:
        wanted.append(a.detail.contains(json.dumps(about, ensure_ascii=False), autoescape=True))
    rows = connection.execute(select(audit).where(*wanted).order_by(a.id.desc()).limit(limit)).all()
    details = [json.loads(row.detail) for row in rows]
    refs = [detail["reason_ref"] for detail in details if "reason_ref" in detail]
    said = connection.execute(select(remarks.c.ref, remarks.c.words).where(remarks.c.ref.in_(refs)))
    words = {row.ref: row.words for row in said}
    return [
        Entry(row.id, row.at, row.actor, row.action, detail, words.get(detail.get("reason_ref", "")))
        for row, detail in zip(rows, details, strict=True)
    ]


def oldest(connection: Connection, *, before: float, limit: int) -> list[Entry]:
    """Entries of before this moment (seconds since the epoch, UTC), the oldest first, without reasons."""
    query = select(audit).where(audit.c.at < before).order_by(audit.c.at, audit.c.id).limit(limit)
    return [
        Entry(row.id, row.at, row.actor, row.action, json.loads(row.detail), None)
        for row in connection.execute(query)
    ]


def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Remove these: they are in the archive."""
    connection.execute(delete(audit).where(audit.c.id.in_(ids)))
