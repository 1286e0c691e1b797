"""Count students by state, over all targets and at each, in the database.

Fetches grow with the number of states, reasons and targets, never with that of students.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import CTE, Connection, and_, case, exists, func, literal, null, select, union_all

from consumers.propagation.rows import propagation as p
from consumers.propagation.rows import propagation_targets as pt
from pipeline.accounts import COUNTED
from pipeline.accounts import accounts as a
from pipeline.target_states import State

COMPLETED, IN_PROGRESS = "completed", "in_progress"
OUTSTANDING, AFTER = "outstanding", "after"
MEASURED_MAX = 5_000
"""Measure durations over so many of the newest propagations; more would not change the quantiles."""
QUANTILES: Final = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
_STEPS_S: Final = (1, 2, 4, 8, 15, 30, 60, 120, 300, 900, 1800)


@dataclass(frozen=True)
class Population:
    """All activated students.

    Attributes:
        accounts: how many the registry has made, activated or not.
        states: students by the state of their newest version: completed, waiting, failed, in_progress.
        waiting_by_reason: waiting students by reason; one may wait for several things.
        targets: students by their state at each target: provisioned, waiting, failed, outstanding, or after:
            nothing is due, since the target that it follows waits or has given up.
    """

    accounts: int
    students: int
    states: Mapping[str, int]
    waiting_by_reason: Mapping[str, int]
    targets: Mapping[str, Mapping[str, int]]


def population(connection: Connection, targets: Sequence[str], follows: Mapping[str, str]) -> Population:
    """Count all activated students by state, in one consistent view.

    `follows`: targets that act only after another one, by name.
    """
    made, students = connection.execute(
        select(func.count(), func.count(a.c.activated_at)).select_from(a).where(COUNTED)
    ).one()
    found: dict[str, dict[tuple[str | None, str | None], int]] = {}
    for what, name, state, count in connection.execute(_unfinished_counts(follows)):
        found.setdefault(what, {})[name, state] = count
    states: dict[str, int] = {}
    for (_, state), count in found.get("students", {}).items():  # without a state: not opened yet
        states[state or IN_PROGRESS] = states.get(state or IN_PROGRESS, 0) + count
    given_up = connection.execute(_GIVEN_UP_SINCE).scalar_one()
    states[COMPLETED] = students - sum(states.values()) - given_up
    states[State.FAILED] = states.get(State.FAILED, 0) + given_up
    reasons = {name: count for (name, _), count in found.get("reasons", {}).items() if name is not None}
    counted = _by_target(connection)
    for (name, state), count in found.get("older", {}).items():
        if name is not None and state is not None:  # a student without a row at a target has no older one
            counted[name][state] -= count
    return Population(
        accounts=made,
        students=students,
        states=states,
        waiting_by_reason={name: reasons[name] for name in sorted(reasons)},
        targets={
            name: _settled(counted.get(name, {}), students, found.get("after", {}).get((name, None), 0))
            for name in targets
        },
    )


def _settled(counts: Mapping[str, int], students: int, after: int) -> dict[str, int]:
    """A target's counts, with those who have no row of their newest version."""
    known = {state: count for state, count in counts.items() if count}
    left = students - sum(known.values()) - after
    return known | {state: count for state, count in ((AFTER, after), (OUTSTANDING, left)) if count}


def _by_target(connection: Connection) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = select(pt.c.target, pt.c.state, func.count()).group_by(pt.c.target, pt.c.state)
    for target, state, count in connection.execute(rows):
        counts.setdefault(target, {})[state] = count
    return counts


def _unfinished() -> CTE:
    """Students not complete at the newest version.

    `state` is None while propagation has not opened that version. The query begins at the accounts and goes
    by covering indexes. SQLite keeps the order of outer joins, and turns them into inner ones, in an order it
    chooses, where a condition could not hold for NULL.
    """
    opened = and_(p.c.student_number == a.c.student_number, p.c.version >= a.c.version)
    return (
        select(a.c.student_number, a.c.version, p.c.state)
        .select_from(a.outerjoin(p, opened))
        .where(a.c.activated_at.is_not(None), COUNTED, p.c.state.is_distinct_from(COMPLETED))
        .cte("unfinished")
    )


def _unfinished_counts(follows: Mapping[str, str]) -> Any:
    """Rows (what is counted, name, state, count).

    Students by state, who waits for what, rows of older versions by target and state, and followers that have
    nothing to do yet.
    """
    u = _unfinished()
    students = select(literal("students"), null(), u.c.state, func.count()).group_by(u.c.state)
    theirs = pt.c.student_number == u.c.student_number
    newest = and_(theirs, pt.c.version >= u.c.version, pt.c.state == State.WAITING)
    waiting = (
        select(u.c.student_number, pt.c.reason)
        .select_from(u.outerjoin(pt, newest))
        .where(u.c.state == State.WAITING)
        .distinct()
        .subquery("waiting")
    )
    reasons = select(literal("reasons"), waiting.c.reason, null(), func.count()).group_by(waiting.c.reason)
    older = (
        select(literal("older"), pt.c.target, pt.c.state, func.count(pt.c.target))
        .select_from(u.outerjoin(pt, and_(theirs, pt.c.version < u.c.version)))
        .group_by(pt.c.target, pt.c.state)
    )
    return union_all(students, reasons, older, *(_after(u, *pair) for pair in follows.items()))


def _after(u: CTE, follower: str, leader: str) -> Any:
    """Condition: the follower has no row because its leader waits or has given up."""

    def there(target: str, *states: str) -> Any:
        of_whom = (pt.c.student_number == u.c.student_number, pt.c.target == target)
        how = (pt.c.version >= u.c.version, *([pt.c.state.in_(states)] if states else []))
        return exists().where(*of_whom, *how).correlate(u)

    held = there(leader, State.WAITING, State.FAILED)
    query = select(literal("after"), literal(follower), null(), func.count()).select_from(u)
    return query.where(held, ~there(follower))


_GIVEN_UP_SINCE: Final = (
    select(func.count(pt.c.student_number.distinct()))
    .select_from(
        pt.outerjoin(p, p.c.student_number == pt.c.student_number).outerjoin(
            a, a.c.student_number == pt.c.student_number
        )
    )
    .where(
        pt.c.reason.is_not(None),
        pt.c.state == State.FAILED,
        func.coalesce(p.c.state, "") == COMPLETED,
        pt.c.version >= func.coalesce(a.c.version, 0),
        func.coalesce(p.c.version, 0) >= func.coalesce(a.c.version, 0),
    )
)
"""Students once complete whose target then gave up: a replay failed."""


def windows(connection: Connection, late_s: float, breach_s: float) -> tuple[int, int, int]:
    """Count completed personal propagations: within the two edges, and beyond."""
    elapsed_s = func.coalesce(p.c.elapsed_s, 0.0)
    edge = case((elapsed_s <= late_s, 0), (elapsed_s <= breach_s, 1), else_=2)
    query = select(edge, func.count()).where(p.c.state == COMPLETED, p.c.lane == "personal").group_by(edge)
    counts = {row[0]: row[1] for row in connection.execute(query)}
    return counts.get(0, 0), counts.get(1, 0), counts.get(2, 0)


def overdue(connection: Connection) -> tuple[int, int]:
    """Count propagations under way that passed their window's first and second edge."""
    query = select(func.count(p.c.late_at), func.count(p.c.breached_at)).where(p.c.state == IN_PROGRESS)
    late, breached = connection.execute(query).one()
    return late, breached


def edges(late_s: float, breach_s: float) -> tuple[float, ...]:
    """Upper ends of a histogram's bars, in seconds, with both edges of the window."""
    steps = {float(step) for step in _STEPS_S if step < breach_s}
    return tuple(sorted({*steps, late_s, breach_s}))


def histogram(connection: Connection, ends: Sequence[float]) -> list[int]:
    """Count personal propagations per bar; the last bar holds those beyond all ends.

    A bar includes its upper end. Only the `MEASURED_MAX` completed last are counted.
    """
    newest = (
        select(func.coalesce(p.c.elapsed_s, 0.0).label("elapsed_s"))
        .where(p.c.state == COMPLETED, p.c.lane == "personal")
        .order_by(p.c.completed_at.desc())
        .limit(MEASURED_MAX)
        .subquery("newest")
    )
    bar = case(*((newest.c.elapsed_s <= end, place) for place, end in enumerate(ends)), else_=len(ends))
    counts = {row[0]: row[1] for row in connection.execute(select(bar, func.count()).group_by(bar))}
    return [counts.get(place, 0) for place in range(len(ends) + 1)]


def seconds(connection: Connection, targets: Sequence[str]) -> dict[str, dict[str, float]]:
    """Nearest-rank quantiles of the time since the window opened: `all`, each target.

    Of the `MEASURED_MAX` propagations that were completed last.
    """
    newest = (
        select(p.c.student_number, p.c.opened_at, func.coalesce(p.c.elapsed_s, 0.0).label("elapsed_s"))
        .where(p.c.state == COMPLETED)
        .order_by(p.c.completed_at.desc())
        .limit(MEASURED_MAX)
        .cte("newest")
    )
    at_each = [
        select(
            literal(target).label("name"),
            newest.c.elapsed_s,
            (_finished_at(newest, target) - newest.c.opened_at).label("whole_s"),
        )
        for target in targets
    ]
    every = union_all(
        select(literal("all").label("name"), newest.c.elapsed_s, newest.c.elapsed_s.label("whole_s")),
        *at_each,
    )
    each = every.subquery("each").c
    took = case((each.whole_s < 0, 0.0), (each.whole_s > each.elapsed_s, each.elapsed_s), else_=each.whole_s)
    measured = select(each.name, took.label("took_s")).where(each.whole_s.is_not(None)).subquery("measured")
    rank = func.row_number().over(partition_by=measured.c.name, order_by=measured.c.took_s)
    of = func.count().over(partition_by=measured.c.name)
    ranked = select(measured.c.name, measured.c.took_s, rank.label("rank"), of.label("of")).subquery("ranked")
    quantiles = [
        func.max(case((ranked.c.rank * 100 < percent * ranked.c["of"] + 100, ranked.c.took_s)))
        for percent in QUANTILES.values()
    ]
    rows = connection.execute(select(ranked.c.name, *quantiles).group_by(ranked.c.name))
    return {
        name: {quantile: round(value, 3) for quantile, value in zip(QUANTILES, values, strict=True)}
        for name, *values in rows
    }


def _finished_at(newest: CTE, target: str) -> Any:
    """When the target was completed. A subquery: for a join PostgreSQL would read all students' rows."""
    theirs = (pt.c.student_number == newest.c.student_number, pt.c.target == target)
    return select(pt.c.finished_at).where(*theirs).correlate(newest).scalar_subquery()
