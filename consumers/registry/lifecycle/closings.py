"""The guard over closings by time: beyond a threshold they wait for an operator.

Closings are counted by day: in all, for each target that is shut before the others, and for each step of a
year, because a whole class that loses access is few of all. Once the days of the window add up to an unusual
number, the next student is held, with all after them, until an operator has released exactly those: a sliding
window lets no slow leak through. Of expiries all students in grace count, and of erasures all that are due:
no part of a crowd is closed first. A student who is enrolled again meanwhile is no longer held.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
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
from consumers.registry.people import members_at
from pipeline import accounts
from pipeline.db.database import Database, insert_for
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody, rows_of
from pipeline.timers import timers
from schemas.account import Stage

DAY_S: Final = 86_400
GUARD_DAYS: Final = 30
"""The days that are added up: a slow leak is one too, and a month's leavers are seen together."""
CLASS_MIN: Final = 10
"""Smaller steps are not counted separately: most of a few leave in any year."""
ERASURE_DUE: Final = "erasure_due"
"""The kind of timer for expired students: an erasure is due."""

_OPEN: Final = (Stage.ACTIVE, Stage.GRACE)
ID_CHARACTERS: Final = 12

closings = Table(
    "closings",
    metadata,
    Column("closing", String(96), primary_key=True),  # Scope.key
    Column("day", Integer, primary_key=True),  # since the epoch
    Column("students", Integer, nullable=False),
    Column(
        "population", Integer, nullable=False
    ),  # open accounts of the scope, when the day's first one closed
    info=of_nobody("counts by day"),
)

held_closings = Table(
    "held_closings",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("closing", String(96), nullable=False, index=True),  # Scope.key
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
_HELD: Final = select(held_closings.c.closing, held_closings.c.released).where(_MINE)
_DUE: Final = (
    select(func.count())
    .select_from(timers)
    .where(timers.c.kind == ERASURE_DUE, timers.c.due_at <= bindparam("now"))
)
_DUE_OF: Final = select(timers.c.id).where(
    timers.c.kind == ERASURE_DUE,
    timers.c.student_number == bindparam("number"),
    timers.c.due_at <= bindparam("now"),
)
_FORGET: Final = delete(held_closings).where(_MINE)


_KEY: Final = re.compile(r"([a-z]+)(?:([@=])(.+))?", re.DOTALL)


class Scope(NamedTuple):
    """What is counted together: all closings, one target's, or one step and year's."""

    closing: Closing
    target: str = ""
    cohort: str = ""

    @property
    def key(self) -> str:
        """Its key in the store: `expire`, `shut@moodle`, `expire=M2INFO-2026`."""
        return self.closing.value + (
            f"@{self.target}" if self.target else f"={self.cohort}" if self.cohort else ""
        )

    @classmethod
    def of(cls, key: str) -> Scope:
        """The scope of a key."""
        found = _KEY.fullmatch(key)
        assert found is not None  # noqa: S101  (for the type checker)
        closing, sign, name = found.groups()
        return cls(
            Closing(closing), **({} if name is None else {"target" if sign == "@" else "cohort": name})
        )


def scopes_of(closing: Closing, cohort: str | None) -> tuple[Scope, ...]:
    """The scopes that a closing counts in, the widest first. `cohort`: the student's newest step."""
    whole = Scope(closing)
    return (whole, Scope(closing, cohort=cohort)) if closing is Closing.EXPIRE and cohort else (whole,)


class Plan(NamedTuple):
    """What the guard holds.

    Attributes:
        id: identifies exactly this closing of exactly these students.
        since: since when the first of them is held, epoch seconds.
        approved_by: the first of two operators who release it.
    """

    id: str
    scope: Scope
    students: tuple[str, ...]
    since: float
    approved_by: str | None


def may_close(
    connection: Connection,
    database: Database,
    student_number: str,
    scopes: Sequence[Scope],
    rules: LifecycleSettings,
    now: float,
    *,
    asks: bool = False,
) -> bool:
    """True if a closing of these scopes may be carried out now; count it then.

    Otherwise hold it from now on, in the first scope over its threshold; in the first one of all if it `asks`
    for a release. An erasure happens only by its timer, with all that are due: a replay after a change of the
    rules sees one student after the other.
    """
    mine = {"number": student_number}
    if scopes[0].closing is Closing.ERASE and not connection.execute(_DUE_OF, {**mine, "now": now}).first():
        return False
    held = connection.execute(_HELD, mine).one_or_none()
    if held is not None and held.closing in {scope.key for scope in scopes}:
        if held.released:
            connection.execute(_FORGET, mine)
        return bool(held.released)
    over = next((scope for scope in scopes if asks or _over(connection, scope, rules, now)), None)
    if over is None:
        for scope in scopes:
            _count(connection, scope, now)
        return True
    row = {"student_number": student_number, "closing": over.key, "held_at": now, "released": False}
    statement = insert_for(held_closings, is_sqlite=database.is_sqlite)
    connection.execute(statement.on_conflict_do_update(index_elements=["student_number"], set_=row), row)
    return False


def forget(connection: Connection, student_number: str) -> None:
    """Drop a student's held closing: none is due any more."""
    connection.execute(_FORGET, {"number": student_number})


def held(connection: Connection) -> list[Plan]:
    """The guard's plans, by scope."""
    rows = connection.execute(
        select(held_closings).where(_WAITING).order_by(held_closings.c.student_number)
    ).all()
    by_key = {
        key: [row for row in rows if row.closing == key] for key in sorted({row.closing for row in rows})
    }
    return [_plan(Scope.of(key), some) for key, some in by_key.items()]


def plan_id(scope: Scope, students: Sequence[str]) -> str:
    """See `Plan.id`."""
    text = "\x1f".join((scope.key, *students))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]


def _plan(scope: Scope, rows: Sequence[Any]) -> Plan:
    students = tuple(row.student_number for row in rows)
    this = plan_id(scope, students)
    approved = all(row.approved_plan == this for row in rows)
    since = min(row.held_at for row in rows)
    return Plan(this, scope, students, since, rows[0].approved_by if approved else None)


def counts(connection: Connection) -> dict[str, int]:
    """How many students the guard holds, by kind of closing; 0 of the others."""
    rows = connection.execute(
        select(held_closings.c.closing, func.count()).where(_WAITING).group_by(held_closings.c.closing)
    )
    counted = Counter[str](dict.fromkeys(Closing, 0))
    for key, students in rows:
        counted[Scope.of(key).closing] += students
    return dict(counted)


def approve(connection: Connection, plan: Plan, actor: str) -> None:
    """Record the approval of a plan by the first of two operators."""
    _change(connection, plan.students, approved_by=actor, approved_plan=plan.id)


def release(connection: Connection, plan: Plan) -> None:
    """Release the held closings of a plan."""
    _change(connection, plan.students, released=True)


def _change(connection: Connection, students: Sequence[str], **values: object) -> None:
    statement = update(held_closings).where(_MINE).values(**values)
    connection.execute(statement, [{"number": number} for number in students])


def _over(connection: Connection, scope: Scope, rules: LifecycleSettings, now: float) -> bool:
    """True if one more closing would be an unusual number.

    Students in grace will expire, and those whose day has come are erased next: they count from the first one
    on, so that of a crowd none is closed before an operator has looked. An erasure cannot be undone.
    """
    if connection.execute(_ANY, {"closing": scope.key}).scalar_one_or_none() is not None:
        return True
    today = int(now // DAY_S)
    since = closings.c.day > today - GUARD_DAYS
    rows = connection.execute(
        select(closings.c.day, closings.c.students, closings.c.population).where(
            closings.c.closing == scope.key, since
        )
    ).all()
    population = next((row.population for row in rows if row.day == today), None)
    if population is None:
        population = _accounts_at(connection, scope, *_OPEN)
    students = _coming(connection, scope, now) + sum(row.students for row in rows)
    if not scope.cohort:
        return rules.threshold.passed(affected=students, losing=students, in_all=population)
    gone = sum(row.students for row in rows if row.day != today)  # of a class that may be most
    members = population + gone
    return members >= CLASS_MIN and rules.cohort_threshold.passed(
        affected=students, losing=students, in_all=members
    )


def _coming(connection: Connection, scope: Scope, now: float) -> int:
    """How many close together with this one, itself included."""
    if scope.closing is Closing.EXPIRE:
        return _accounts_at(connection, scope, Stage.GRACE)
    if scope.closing is Closing.ERASE:
        return max(1, connection.execute(_DUE, {"now": now}).scalar_one())
    return 1


def _count(connection: Connection, scope: Scope, now: float) -> None:
    key = {"closing": scope.key, "day": int(now // DAY_S)}
    done = connection.execute(
        update(closings)
        .where(closings.c.closing == key["closing"], closings.c.day == key["day"])
        .values(students=closings.c.students + 1)
    )
    if not done.rowcount:
        population = _accounts_at(connection, scope, *_OPEN)
        connection.execute(insert(closings), {**key, "students": 1, "population": population})


def _accounts_at(connection: Connection, scope: Scope, *stages: Stage) -> int:
    if scope.cohort:
        return members_at(connection, scope.cohort, stages)
    by_stage = accounts.by_stage(connection)
    return sum(by_stage.get(stage, 0) for stage in stages)
