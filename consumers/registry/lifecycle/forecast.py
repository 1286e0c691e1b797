"""Forecast of what the guard will hold, from today's accounts; writes nothing.

It steps through the days as the guard will (`closings.may_close`). Future enrolments and operators' releases
are unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from consumers.registry.lifecycle import closings as guard
from consumers.registry.lifecycle.closings import Scope, closings, held
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Closing, Milestone
from consumers.registry.people import cohorts_of, members_at
from pipeline import accounts
from schemas.account import Stage

_OPEN: Final = (Stage.ACTIVE, Stage.GRACE)
_GRACE: Final = (Stage.GRACE,)
_EPOCH: Final = date(1970, 1, 1)


class ForecastHold(NamedTuple):
    """A scope that the guard will hold from a day on, and how many students."""

    day: date
    scope: Scope
    students: int


def forecast(
    connection: Connection, coming: Mapping[str, Sequence[Milestone]], rules: LifecycleSettings, today: date
) -> list[ForecastHold]:
    """What the guard will hold of these steps, by student number; the earliest first."""
    return _Forecast(connection, coming, rules).run(coming, today)


class _Forecast:
    """The days to come, one after the other.

    Cohorts are counted only when they matter: when a whole year ends, the classes need no count.
    """

    def __init__(self, connection: Connection, students: Iterable[str], rules: LifecycleSettings) -> None:
        self._connection = connection
        self._rules = rules
        plans = held(connection)
        self._held_now = {plan.scope for plan in plans}
        self._stuck = {number for plan in plans for number in plan.students}  # nothing later comes for them
        self._holding: dict[Scope, tuple[date, int]] = {}
        self._cohorts = cohorts_of(connection, list(students))
        self._counted: dict[tuple[str, tuple[Stage, ...]], int] = {}
        self._moved: dict[tuple[Stage, ...], Counter[str]] = {_OPEN: Counter(), _GRACE: Counter()}
        self._closed: dict[Scope, Counter[date]] = {}
        for row in connection.execute(select(closings)):
            day = _EPOCH + timedelta(row.day)
            self._closed.setdefault(Scope.of(row.closing), Counter())[day] += row.students

    def run(self, coming: Mapping[str, Sequence[Milestone]], today: date) -> list[ForecastHold]:
        by_day: dict[date, list[tuple[str, Milestone]]] = {}
        for number, milestones in coming.items():
            for step in milestones:
                by_day.setdefault(max(step.day, today), []).append((number, step))
        for day, steps in sorted(by_day.items()):
            self._pass(day, [(number, step) for number, step in steps if number not in self._stuck])
        found = [ForecastHold(day, scope, students) for scope, (day, students) in self._holding.items()]
        return sorted(found, key=lambda hold: (hold.day, hold.scope.key))

    def _pass(self, day: date, steps: Sequence[tuple[str, Milestone]]) -> None:
        self._move(_GRACE, [number for number, step in steps if step.stage is Stage.GRACE], 1)
        for number, step in steps:
            if step.stage is Stage.EXPIRED and step.target is not None:
                self._close(number, day, [Scope(Closing.SHUT, target=step.target)], 1)
        ending = [number for number, step in steps if step.stage is Stage.EXPIRED and step.target is None]
        ended = [number for number in ending if self._close(number, day, self._scopes(number), 0)]
        for stages in self._moved:
            self._move(stages, ended, -1)
        due = sorted({number for number, step in steps if step.stage is Stage.ERASED})
        for number in due:
            self._close(number, day, [Scope(Closing.ERASE)], len(due))

    def _scopes(self, number: str) -> list[Scope]:
        cohort = self._cohorts.get(number)
        return [Scope(Closing.EXPIRE), *([Scope(Closing.EXPIRE, cohort=cohort)] if cohort else ())]

    def _close(self, number: str, day: date, scopes: Sequence[Scope], together: int) -> bool:
        """Close, or hold in the first scope that is over. `together`: see `_over`."""
        over = next(
            (
                scope
                for scope in scopes
                if scope in self._held_now or scope in self._holding or self._over(scope, day, together)
            ),
            None,
        )
        if over is None:
            for scope in scopes:
                self._closed.setdefault(scope, Counter())[day] += 1
            return True
        since, several = self._holding.get(over, (day, 0))
        self._holding[over] = (since, several + 1)
        if over.closing is not Closing.SHUT:
            self._stuck.add(number)
        return False

    def _over(self, scope: Scope, day: date, together: int) -> bool:
        """As `closings._over`: what the window has closed, and what comes with this one.

        Args:
            day: the day of these steps.
            together: how many are erased or shut with it, itself included; of expiries: all then in grace.
        """
        closed = self._closed.get(scope, Counter())
        since = day - timedelta(days=guard.GUARD_DAYS)
        before = sum(count for at, count in closed.items() if since < at < day)
        if scope.closing is Closing.SHUT:
            students = before + closed[day] + together
        else:
            students = before + (together or self._count(scope.cohort, _GRACE))
        population = self._count(scope.cohort, _OPEN)
        if not scope.cohort:
            return self._rules.threshold.passed(affected=students, losing=students, in_all=population)
        members = population + before
        return members >= guard.CLASS_MIN and self._rules.cohort_threshold.passed(
            affected=students, losing=students, in_all=members
        )

    def _count(self, cohort: str, stages: tuple[Stage, ...]) -> int:
        """The number of accounts at these stages then; of one cohort, or (empty) of all."""
        if (cohort, stages) not in self._counted:
            by_stage = accounts.by_stage(self._connection)
            self._counted[cohort, stages] = (
                members_at(self._connection, cohort, stages)
                if cohort
                else sum(by_stage.get(stage, 0) for stage in stages)
            )
        return self._counted[cohort, stages] + self._moved[stages][cohort]

    def _move(self, stages: tuple[Stage, ...], students: Iterable[str], by: int) -> None:
        for number in students:
            for cohort in {"", self._cohorts.get(number, "")}:
                self._moved[stages][cohort] += by
