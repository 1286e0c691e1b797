"""Replays and how far each has come: whom it is for, and who was asked already, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, Integer, String, Table, func, insert, select, update

from pipeline.store.database import Database
from pipeline.store.tables import metadata

replays = Table(
    "replays",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("consumer", String(64), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason_ref", String(64), nullable=False),
    Column("begun_at", Float, nullable=False, index=True),
    Column("students", Integer, nullable=False),
)
replay_students = Table(
    "replay_students",
    metadata,
    Column("replay_id", String(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("student_number", String(32), nullable=False),
    Column("asked_at", Float),  # acknowledged by the log; None: not asked yet, or nobody knows
)
_s = replay_students.c


@dataclass(frozen=True)
class Replay:
    """One replay. `students`: for how many it is; `begun_at`: epoch seconds."""

    id: str
    consumer: str
    lane: str
    actor: str
    reason_ref: str
    begun_at: float
    students: int


def begin(connection: Connection, replay: Replay, students: Sequence[str]) -> None:
    """Write down whom a replay is for, before anybody is asked."""
    connection.execute(insert(replays).values(**replay.__dict__))
    rows = [
        {"replay_id": replay.id, "position": position, "student_number": number}
        for position, number in enumerate(students)
    ]
    if rows:
        connection.execute(insert(replay_students), rows)


def by_id(connection: Connection, replay_id: str) -> Replay | None:
    """The replay of this id, if there is one."""
    row = connection.execute(select(replays).where(replays.c.id == replay_id)).mappings().one_or_none()
    return Replay(**row) if row is not None else None


def latest(connection: Connection, *, limit: int) -> list[tuple[Replay, int]]:
    """The newest replays, and how many students of each have been asked."""
    asked = (
        select(func.count(_s.asked_at))
        .where(_s.replay_id == replays.c.id)
        .correlate(replays)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(replays, asked.label("asked")).order_by(replays.c.begun_at.desc()).limit(limit)
    ).mappings()
    return [(Replay(**{k: v for k, v in row.items() if k != "asked"}), int(row["asked"])) for row in rows]


def open_students(connection: Connection, replay_id: str, *, limit: int) -> list[str]:
    """Who is to be asked next, in order."""
    query = select(_s.student_number).where(_s.replay_id == replay_id, _s.asked_at.is_(None))
    return list(connection.execute(query.order_by(_s.position).limit(limit)).scalars())


def asked_students(connection: Connection, replay_id: str) -> dict[str, float]:
    """Who has been asked, in order, and when (database time, epoch seconds)."""
    query = select(_s.student_number, _s.asked_at).where(_s.replay_id == replay_id, _s.asked_at.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query.order_by(_s.position))}


def mark_asked(connection: Connection, database: Database, replay_id: str, students: Sequence[str]) -> None:
    """The log has acknowledged these."""
    connection.execute(
        update(replay_students)
        .where(_s.replay_id == replay_id, _s.student_number.in_(students))
        .values(asked_at=database.now(connection))
    )
