"""The guard over what time takes away: so many in so many days, and then nobody until an operator has looked.

What closes is counted by day. Once the days of the window add up to unusually much, whoever would come next
is held, with everybody after them, until an operator has released exactly those: no window that slides on
lets a slow leak through. Whoever is enrolled again meanwhile is held no longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Closing
from pipeline import accounts
from pipeline.db.database import Database, insert_for
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody, rows_of
from schemas.account import Stage

DAY_S: Final = 86_400
ID_CHARACTERS: Final = 12

closings = Table(
    "closings",
    metadata,
    Column("closing", String(16), primary_key=True),  # Closing
    Column("day", Integer, primary_key=True),  # since the epoch
    Column("students", Integer, nullable=False),
    Column("population", Integer, nullable=False),  # open accounts, when the day's first one closed
    info=of_nobody("counts by day"),
)

held_closings = Table(
    "held_closings",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("closing", String(16), nullable=False, index=True),
    Column("held_at", Float, nullable=False),
    Column("approved_by", String(64)),  # the first of two operators, of this plan:
    Column("approved_plan", String(16)),
    Column("released", Boolean, nullable=False, default=False),
    info=rows_of("student_number"),
)

_MINE: Final = held_closings.c.student_number == bindparam("number")
_OF_KIND: Final = held_closings.c.closing == bindparam("closing")
_WAITING: Final = held_closings.c.released.is_(False)
_ANY: Final = select(held_closings.c.student_number).where(_OF_KIND, _WAITING).limit(1)
_IS_RELEASED: Final = select(held_closings.c.released).where(_MINE, _OF_KIND)
_FORGET: Final = delete(held_closings).where(_MINE)


class Plan(NamedTuple):
    """What the guard holds.

    Attributes:
        id: names exactly this closing of exactly these students.
        since: since when the first of them is held, epoch seconds.
        approved_by: the first of two operators who release it.
    """

    id: str
    closing: Closing
    students: tuple[str, ...]
    since: float
    approved_by: str | None


def may_close(
    connection: Connection,
    database: Database,
    student_number: str,
    closing: Closing,
    rules: LifecycleSettings,
    now: float,
) -> bool:
    """Whether this closing may be carried out now, which is counted; otherwise it is held from now on."""
    here = {"number": student_number, "closing": closing.value}
    released = connection.execute(_IS_RELEASED, here).scalar_one_or_none()
    if released:
        connection.execute(_FORGET, here)
        return True
    if released is None and not _over(connection, closing, rules, now):
        _count(connection, closing, now)
        return True
    if released is None:
        row = {"student_number": student_number, "closing": closing.value, "held_at": now, "released": False}
        statement = insert_for(held_closings, is_sqlite=database.is_sqlite)
        connection.execute(statement.on_conflict_do_update(index_elements=["student_number"], set_=row), row)
    return False


def forget(connection: Connection, student_number: str) -> None:
    """Nothing of this student's is to be closed any more."""
    connection.execute(_FORGET, {"number": student_number})


def held(connection: Connection) -> list[Plan]:
    """What the guard holds now, by kind."""
    rows = connection.execute(
        select(held_closings).where(_WAITING).order_by(held_closings.c.student_number)
    ).all()
    by_kind = {closing: [row for row in rows if row.closing == closing] for closing in Closing}
    return [_plan(closing, some) for closing, some in by_kind.items() if some]


def plan_id(closing: Closing, students: Sequence[str]) -> str:
    """See `Plan.id`."""
    text = "\x1f".join((closing.value, *students))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]


def _plan(closing: Closing, rows: Sequence[Any]) -> Plan:
    students = tuple(row.student_number for row in rows)
    this = plan_id(closing, students)
    approved = all(row.approved_plan == this for row in rows)
    since = min(row.held_at for row in rows)
    return Plan(this, closing, students, since, rows[0].approved_by if approved else None)


def counts(connection: Connection) -> dict[str, int]:
    """How many students the guard holds, by kind of closing; 0 of the others."""
    rows = connection.execute(
        select(held_closings.c.closing, func.count()).where(_WAITING).group_by(held_closings.c.closing)
    )
    return dict.fromkeys(Closing, 0) | {row[0]: row[1] for row in rows}


def approve(connection: Connection, plan: Plan, actor: str) -> None:
    """The first of two operators approves of this plan."""
    _change(connection, plan.students, approved_by=actor, approved_plan=plan.id)


def release(connection: Connection, plan: Plan) -> None:
    """These may be closed."""
    _change(connection, plan.students, released=True)


def _change(connection: Connection, students: Sequence[str], **values: object) -> None:
    statement = update(held_closings).where(_MINE).values(**values)
    connection.execute(statement, [{"number": number} for number in students])


def _over(connection: Connection, closing: Closing, rules: LifecycleSettings, now: float) -> bool:
    """Whether one more would be unusually much."""
    if connection.execute(_ANY, {"closing": closing.value}).scalar_one_or_none() is not None:
        return True
    today = int(now // DAY_S)
    since = closings.c.day > today - rules.guard_days
    rows = connection.execute(
        select(closings.c.day, closings.c.students, closings.c.population).where(
            closings.c.closing == closing.value, since
        )
    ).all()
    population = next((row.population for row in rows if row.day == today), None)
    if population is None:
        population = _open_accounts(connection)
    students = 1 + sum(row.students for row in rows)
    return rules.threshold.passed(affected=students, losing=students, in_all=population)


def _count(connection: Connection, closing: Closing, now: float) -> None:
    key = {"closing": closing.value, "day": int(now // DAY_S)}
    done = connection.execute(
        update(closings)
        .where(closings.c.closing == key["closing"], closings.c.day == key["day"])
        .values(students=closings.c.students + 1)
    )
    if not done.rowcount:
        connection.execute(insert(closings), {**key, "students": 1, "population": _open_accounts(connection)})


def _open_accounts(connection: Connection) -> int:
    by_stage = accounts.by_stage(connection)
    return by_stage.get(Stage.ACTIVE, 0) + by_stage.get(Stage.GRACE, 0)
