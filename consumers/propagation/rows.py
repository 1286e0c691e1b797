"""Propagation's rows in the store."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from consumers.propagation.window import Progress, Seen, State
from pipeline.store.database import Database
from pipeline.store.tables import propagation as p
from pipeline.store.tables import propagation_targets as pt
from schemas.account import Lane


def progress_of(connection: Connection, database: Database, student_number: str) -> Progress | None:
    """One student's propagation, locked until the transaction ends: facts and timers both change it."""
    query = database.locking(select(p).where(p.c.student_number == student_number))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    fields: dict[str, Any] = dict(row)
    fields["lane"], fields["state"] = Lane(fields["lane"]), State(fields["state"])
    return Progress(**fields)


def save(connection: Connection, database: Database, progress: Progress) -> None:
    """Write one student's propagation."""
    values = dict(progress.__dict__)
    key = values.pop("student_number")
    statement = database.insert(p).values(student_number=key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[p.c.student_number], set_=values))


def seen_of(connection: Connection, student_number: str) -> dict[str, Seen]:
    """The newest outcome of each target for one student."""
    columns = [column for column in pt.c if column.name not in ("student_number", "pending")]
    rows = connection.execute(select(*columns).where(pt.c.student_number == student_number)).mappings()
    return {row["target"]: Seen(**row) for row in rows}


def save_seen(
    connection: Connection, database: Database, student_number: str, seen: Seen, pending: tuple[str, ...]
) -> None:
    """Write a target's newest outcome."""
    values = dict(seen.__dict__)
    target = values.pop("target")
    values["pending"] = json.dumps(list(pending), ensure_ascii=False)
    statement = database.insert(pt).values(student_number=student_number, target=target, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[pt.c.student_number, pt.c.target], set_=values)
    )
