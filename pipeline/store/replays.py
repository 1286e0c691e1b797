"""Replays and how far each has come: whom it is for, and who was asked already, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    RowMapping,
    String,
    Table,
    func,
    insert,
    or_,
    select,
    update,
)

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
    Column("per_s", Integer),  # its pace, in students a second; None: as fast as the log takes them
    Column("asking_by", String(64)),  # the one run that asks now, and until when its word counts
    Column("asking_until", Float),
)
replay_students = Table(
    "replay_students",
    metadata,
    Column("replay_id", String(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("student_number", String(32), nullable=False),
    Column("asked_at", Float),  # acknowledged by the log; None: not asked yet, or nobody knows
)
_r, _s = replays.c, replay_students.c


@dataclass(frozen=True)
class Replay:
    """One replay. `students`: for how many it is; `begun_at`: epoch seconds; `per_s`: students a second."""

    id: str
    consumer: str
    lane: str
    actor: str
    reason_ref: str
    begun_at: float
    students: int
    per_s: int | None = None


_FIELDS = tuple(field.name for field in fields(Replay))


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
    return _replay(row) if row is not None else None


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
    return [(_replay(row), int(row["asked"])) for row in rows]


def claim(connection: Connection, database: Database, replay_id: str, *, by: str, ttl_s: float) -> bool:
    """Be the one run that asks for this replay, for so many seconds from now. False: another one is."""
    now = database.now(connection)
    mine = or_(_r.asking_until.is_(None), _r.asking_until <= now, _r.asking_by == by)
    claimed = update(replays).where(_r.id == replay_id, mine).values(asking_by=by, asking_until=now + ttl_s)
    return bool(connection.execute(claimed).rowcount)


def release(connection: Connection, replay_id: str, *, by: str) -> None:
    """Let another run go on."""
    connection.execute(
        update(replays)
        .where(_r.id == replay_id, _r.asking_by == by)
        .values(asking_by=None, asking_until=None)
    )


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


def _replay(row: RowMapping) -> Replay:
    return Replay(**{name: row[name] for name in _FIELDS})
