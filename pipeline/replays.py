"""Replays and their progress: students and requests already sent, so that one can be resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    RowMapping,
    String,
    Table,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import OnErasure, of_nobody, rows_of
from schemas.envelope import event_id
from schemas.events import ReplayRequested

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
    Column("incident", String(120)),  # what an operator calls it; None: nothing
    Column("stopped_at", Float),  # no more requests since then; None: not stopped
    info=of_nobody("what was replayed, and how many", named_in=("incident",)),
)
replay_students = Table(
    "replay_students",
    metadata,
    Column("replay_id", String(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("student_number", String(32), nullable=False),
    Column("asked_at", Float),  # acknowledged by the log; None: not requested yet, or unknown
    Column("outcome", String(8)),  # done or failed, as its turn ended; None: it has not
    Index("ix_replay_students_student_number", "student_number"),
    info=rows_of("student_number", on_erasure=OnErasure.PSEUDONYM),
)
_r, _s = replays.c, replay_students.c

EMITTER = "replay"
_NOT_MARKED_YET = 1e12  # epoch seconds: a turn may end before its asking is marked
_END: Final = (
    update(replay_students)
    .where(_s.replay_id == bindparam("of"), _s.position == bindparam("at"))
    .values(outcome=bindparam("as"))
)
_ENDED: Final = (
    select(_s.student_number, _r.begun_at, _s.outcome)
    .join(replays, _r.id == _s.replay_id)
    .where(_r.consumer == bindparam("of"), _s.outcome.is_not(None))
)


@dataclass(frozen=True)
class Replay:
    """One replay.

    Attributes:
        students: how many it is for, `per_s` of them a second.
        incident: the operator's name for it.
        stopped_at: no more requests since then. Times are in epoch seconds.
    """

    id: str
    consumer: str
    lane: str
    actor: str
    reason_ref: str
    begun_at: float
    students: int
    per_s: int | None = None
    incident: str | None = None
    stopped_at: float | None = None


DONE, FAILED = "done", "failed"

_FIELDS = tuple(field.name for field in fields(Replay))


def begin(connection: Connection, replay: Replay, students: Sequence[str]) -> None:
    """Record a replay and its students, before any request is sent."""
    connection.execute(insert(replays).values(**replay.__dict__))
    rows = [
        {"replay_id": replay.id, "position": position, "student_number": number}
        for position, number in enumerate(students)
    ]
    if rows:
        connection.execute(insert(replay_students), rows)


def by_id(connection: Connection, replay_id: str) -> Replay | None:
    """Return the replay of this id; None: there is none."""
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
    """Claim a replay for `ttl_s` seconds: one run sends its requests. False: claimed, or stopped."""
    now = database.now(connection)
    mine = or_(_r.asking_until.is_(None), _r.asking_until <= now, _r.asking_by == by)
    claimed = (
        update(replays)
        .where(_r.id == replay_id, _r.stopped_at.is_(None), mine)
        .values(asking_by=by, asking_until=now + ttl_s)
    )
    return bool(connection.execute(claimed).rowcount)


def release(connection: Connection, replay_id: str, *, by: str) -> None:
    """Release the claim, so that another run can continue."""
    connection.execute(
        update(replays)
        .where(_r.id == replay_id, _r.asking_by == by)
        .values(asking_by=None, asking_until=None)
    )


def stop(connection: Connection, replay_id: str, *, at: float | None) -> None:
    """Stop a replay's requests from this moment on; None: resume them."""
    connection.execute(update(replays).where(_r.id == replay_id).values(stopped_at=at))


def is_stopped(connection: Connection, replay_id: str) -> bool:
    """Return whether the replay is stopped."""
    query = select(_r.stopped_at).where(_r.id == replay_id)
    return connection.execute(query).scalar_one_or_none() is not None


def failed_last(connection: Connection, consumer: str, students: Sequence[str]) -> set[str]:
    """Return those of these students whose last ended replay here has failed."""
    ended: dict[str, tuple[float, str]] = {}
    for row in rows_among(connection, _ENDED, _s.student_number, students, of=consumer):
        last = ended.get(row.student_number, (0.0, ""))
        ended[row.student_number] = max(last, (row.begun_at, row.outcome))
    return {number for number, (_, outcome) in ended.items() if outcome == FAILED}


def open_students(connection: Connection, replay_id: str, *, limit: int) -> list[str]:
    """Return the next students to send requests for, in order."""
    query = select(_s.student_number).where(_s.replay_id == replay_id, _s.asked_at.is_(None))
    return list(connection.execute(query.order_by(_s.position).limit(limit)).scalars())


def asked_students(connection: Connection, replay_id: str) -> dict[str, float]:
    """Map students to the time of their sent requests, in order. Database time, epoch seconds."""
    query = select(_s.student_number, _s.asked_at).where(_s.replay_id == replay_id, _s.asked_at.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query.order_by(_s.position))}


def mark_asked(connection: Connection, database: Database, replay_id: str, students: Sequence[str]) -> None:
    """Record the students whose requests the log has acknowledged."""
    connection.execute(
        update(replay_students)
        .where(_s.replay_id == replay_id, _s.student_number.in_(students))
        .values(asked_at=database.now(connection))
    )


def identity(student_number: str, consumer: str, replay_id: str) -> str:
    """The id of the event that asks for this student."""
    return event_id(ReplayRequested.type, EMITTER, consumer, replay_id, student_number)


def end(
    connection: Connection,
    consumer: str,
    carried_out: Mapping[str, Sequence[str]],
    *,
    failed: Collection[str],
) -> None:
    """Record the ends of these students' replays; later turns do not change them.

    A turn knows the last replay that rang: earlier requests are carried out with it. `carried_out`: by
    student, the ids of the requesting events; students without any are left alone. `failed`: who was given
    up.
    """
    numbers = [number for number, events in carried_out.items() if events]
    if not numbers:
        return
    query = select(_s.replay_id, _s.position, _s.student_number, _s.asked_at).join(
        replays, _r.id == _s.replay_id
    )
    open_ones = connection.execute(
        query.where(_r.consumer == consumer, _s.student_number.in_(numbers), _s.outcome.is_(None))
    ).all()
    until: dict[str, float] = {}  # by student, when the last of those was requested
    for row in open_ones:
        if identity(row.student_number, consumer, row.replay_id) in carried_out[row.student_number]:
            asked_at = row.asked_at if row.asked_at is not None else _NOT_MARKED_YET
            until[row.student_number] = max(asked_at, until.get(row.student_number, 0.0))
    ended = [
        {"of": row.replay_id, "at": row.position, "as": FAILED if row.student_number in failed else DONE}
        for row in open_ones
        if identity(row.student_number, consumer, row.replay_id) in carried_out[row.student_number]
        or (row.asked_at is not None and row.asked_at <= until.get(row.student_number, -1.0))
    ]
    if ended:
        connection.execute(_END, ended)


def outcomes(connection: Connection, replay_id: str) -> dict[str, str]:
    """Return how the students' turns ended, by student."""
    query = select(_s.student_number, _s.outcome).where(_s.replay_id == replay_id, _s.outcome.is_not(None))
    return {row[0]: row[1] for row in connection.execute(query)}


AskedReplay = tuple[Replay, float | None, str | None]
"""A replay that a student is in, when it was asked for (None: not yet), and how that ended."""


def of_student(connection: Connection, student_number: str) -> list[AskedReplay]:
    """The replays that this student is in."""
    query = select(replays, _s.asked_at, _s.outcome).join(replay_students, _s.replay_id == _r.id)
    rows = connection.execute(query.where(_s.student_number == student_number)).mappings()
    return [(_replay(row), row["asked_at"], row["outcome"]) for row in rows]


def _replay(row: RowMapping) -> Replay:
    return Replay(**{name: row[name] for name in _FIELDS})
