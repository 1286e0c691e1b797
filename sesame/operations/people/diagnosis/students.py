"""Students by state and cause, a page at a time: the persons behind the overview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, exists, func, or_, select, union

from consumers.propagation.rows import propagation as p
from consumers.propagation.rows import propagation_targets as pt
from consumers.registry.people import enrolments as e
from pipeline.accounts import accounts as a
from pipeline.accounts import numbers_after
from pipeline.db.bulk_sql import rows_among
from pipeline.errors import SesameError
from pipeline.parking import Kind
from pipeline.parking.rows import parked
from pipeline.target_states import State
from schemas.language import gettext
from sesame.acts.acts import DESK, Actor, ActPath, Report, act, shown, utc
from sesame.acts.ports import Following, Stored
from sesame.operations.people.diagnosis.overview import ACTIVATED, people
from sesame.operations.people.diagnosis.reasons import explanations

LIMIT_MAX: Final = 1000
_CANDIDATES: Final = 500
_YEAR_DIGITS: Final = 4
_BETWEEN: Final = ","
_RETRIES: Final = select(parked).where(parked.c.kind == Kind.RETRY).order_by(parked.c.consumer)


class ListedState(StrEnum):
    """The states by which students can be asked for. Those who are tried again are in progress, or were
    complete before a replay was requested."""

    COMPLETED = "completed"
    WAITING = "waiting"
    RETRYING = "retrying"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"


_CAUSED: Final = (ListedState.WAITING, ListedState.RETRYING, ListedState.FAILED)


class UnknownState(SesameError):
    """Students are completed, waiting, retrying, failed or in_progress."""

    exit_code = 2


class UnknownCause(SesameError):
    """Nobody is in this state for this cause, and no consumer ever says it. `sesame overview` shows the
    causes that there are."""

    exit_code = 2


class UnknownCohort(SesameError):
    """A cohort is a step of a year: M2INFO-2026."""

    exit_code = 2


@dataclass(frozen=True)
class ListedRetry:
    """A student is tried again at a target; `since`: the first failure."""

    cause: str
    attempts: int
    since: datetime


class ListedStudent(Report):
    """One activated student: see `PersonTargets`; `retrying`: by target."""

    student_number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]
    retrying: Mapping[str, ListedRetry]


class Page(Report):
    """Some students by number, and where the next page begins; None: that was all."""

    students: Sequence[ListedStudent]
    next: str | None


class StudentsRequest(BaseModel):
    """Filter of students.

    Attributes:
        state: one of `ListedState`; None: any.
        cause: of waiting, retries or giving up; None: any.
        cohort: enrolled in this step of this year, like `M2INFO-2026`; None: any.
        after: the last number of the page before; empty: the first page.
        limit: at most so many, up to `LIMIT_MAX`.
    """

    state: str | None = None
    cause: str | None = None
    cohort: str | None = None
    after: str = ""
    limit: int = 100


@act(
    "students.list",
    DESK,
    shows=lambda page, request: shown(
        (each.student_number for each in page.students),
        **request.model_dump(include={"state", "cause", "cohort"}, exclude_none=True),
    ),
)
def listed(site: Following, _actor: Actor, request: StudentsRequest) -> Page:
    """A page of the activated students in this state, for this cause.

    Raises:
        UnknownState, UnknownCause: there is none like that.
    """
    state, cause = request.state, request.cause
    if state is not None and state not in list(ListedState):
        raise UnknownState(
            gettext("no state is called {state!r}", state=state),
            remedy=gettext("There are: {names}.", names=", ".join(ListedState)),
        )
    chosen = None if state is None else ListedState(state)
    limit = max(1, min(request.limit, LIMIT_MAX))
    with site.database.read() as connection:
        if cause is not None:
            _check(connection, chosen, cause)
        which = (ACTIVATED, *_conditions(chosen, cause), *_in_cohort(request.cohort))
        if cause is None:
            numbers = numbers_after(connection, *which, after=request.after, limit=limit + 1)
        else:
            numbers = _among_candidates(connection, which, cause, after=request.after, limit=limit + 1)
        more, numbers = len(numbers) > limit, numbers[:limit]
        found = people(connection, numbers, site.settings.targets, site.follows)
        retries = _retries(connection, numbers)
    return Page(
        students=[
            ListedStudent(**asdict(one), retrying=retries.get(one.student_number, {})) for one in found
        ],
        next=numbers[-1] if more else None,
    )


class CohortWaiting(Report):
    """A cohort's waiting students.

    Attributes:
        cohort: a step of a year, like `M2INFO-2026`: of each student the newest year's.
        reasons: waiting students by reason; one may wait for several things.
    """

    cohort: str
    students: int
    reasons: Mapping[str, int]


@act("students.cohorts", DESK, path=ActPath("list_cohorts", "GET", "/cohorts"))
def waiting_by_cohort(site: Stored, _actor: Actor) -> list[CohortWaiting]:
    """Cohorts with waiting students, those with the most first."""
    other = e.alias("other")
    newest = (
        select(func.max(other.c.year))
        .where(other.c.student_number == e.c.student_number, other.c.cancelled.is_(False))
        .scalar_subquery()
    )
    wait = pt.alias("wait")
    waiting = (
        select(wait.c.student_number, func.aggregate_strings(wait.c.reason, _BETWEEN).label("reasons"))
        .join(a, a.c.student_number == wait.c.student_number)
        .where(wait.c.reason.is_not(None), wait.c.state == State.WAITING, wait.c.version >= a.c.version)
        .where(ACTIVATED, *_conditions(ListedState.WAITING, None))
        .group_by(wait.c.student_number)
        .subquery("waiting")
    )
    of = (e.c.step, e.c.year, waiting.c.reasons)
    rows = (
        select(*of, func.count(waiting.c.student_number.distinct()).label("n"))
        .join(waiting, waiting.c.student_number == e.c.student_number)
        .where(e.c.cancelled.is_(False), e.c.year == newest)
        .group_by(*of)
    )
    students: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    with site.database.read() as connection:
        for row in connection.execute(rows):
            cohort = f"{row.step}-{row.year}"
            students[cohort] += row.n
            waits = dict.fromkeys(row.reasons.split(_BETWEEN), row.n)  # for one reason at two targets: once
            reasons.setdefault(cohort, Counter()).update(waits)
    found = [
        CohortWaiting(cohort=cohort, students=n, reasons=reasons[cohort]) for cohort, n in students.items()
    ]
    return sorted(found, key=lambda one: (-one.students, one.cohort))


def _in_cohort(cohort: str | None) -> list[ColumnElement[bool]]:
    if cohort is None:
        return []
    step, _, year = cohort.rpartition("-")
    if not step or not year.isascii() or not year.isdecimal() or len(year) > _YEAR_DIGITS:
        raise UnknownCohort(gettext("{cohort!r} is no step of a year", cohort=cohort))
    whose = e.c.student_number == a.c.student_number, e.c.cancelled.is_(False)
    return [exists().where(*whose, e.c.step == step, e.c.year == int(year))]


def _check(connection: Connection, state: ListedState | None, cause: str) -> None:
    """Refuse a cause that cannot be: a typing error would look like good news."""
    if state is not None and state not in _CAUSED:
        others = gettext("Those have: {names}.", names=", ".join(_CAUSED))
        raise UnknownCause(gettext("{state} has no cause", state=state), remedy=others)
    present = causes(connection, state)
    if cause not in present and cause not in explanations():
        names = ", ".join(present)
        here = (
            gettext("There are: {names}.", names=names) if present else gettext("There is none at present.")
        )
        states = state or gettext("waiting, retrying or failed")
        what = gettext("nobody is {state} for {cause!r}", state=states, cause=cause)
        raise UnknownCause(what, remedy=here)


def causes(connection: Connection, state: ListedState | None) -> list[str]:
    """Causes for which students are in this state at a target; None: in any state."""
    found: set[str] = set()
    for each in _CAUSED if state is None else (state,):
        query = select(pt.c.reason).where(pt.c.reason.is_not(None), pt.c.state == each).distinct()
        if each is ListedState.RETRYING:
            query = select(parked.c.cause).where(parked.c.kind == Kind.RETRY).distinct()
        found.update(connection.execute(query).scalars())
    return sorted(found)


def _conditions(state: ListedState | None, cause: str | None) -> list[ColumnElement[bool]]:
    """SQL conditions on a row of `accounts`; see `population` for the states."""
    if state is None:
        if cause is None:
            return []
        return [or_(_at_a_target(State.WAITING, cause), _at_a_target(State.FAILED, cause), _retried(cause))]
    given_up = _at_a_target(State.FAILED, None)
    if state is ListedState.RETRYING:
        return [_retried(cause)]
    if state is ListedState.FAILED:
        found = [_newest(), or_(_newest(state), given_up)]
        return found if cause is None else [*found, _at_a_target(State.FAILED, cause)]
    if state is ListedState.WAITING:
        return [
            _newest(state),
            ~given_up,
            *([_at_a_target(State.WAITING, cause)] if cause is not None else []),
        ]
    here = _newest(state) & ~given_up
    return [or_(~_newest(), here) if state is ListedState.IN_PROGRESS else here]


def _among_candidates(
    connection: Connection, which: Sequence[ColumnElement[bool]], cause: str, *, after: str, limit: int
) -> list[str]:
    """As `numbers_after`, for a cause: go by its index and stop at `limit`."""
    seen = select(pt.c.student_number).where(pt.c.reason == cause)
    retried = select(parked.c.student_number).where(parked.c.cause == cause)
    number = union(seen, retried).subquery("candidates").c.student_number
    found: list[str] = []
    while len(found) < limit:
        more = select(number).where(number > after).order_by(number).limit(_CANDIDATES)
        some = list(connection.scalars(more))
        if not some:
            break
        found += numbers_after(
            connection, a.c.student_number.in_(some), *which, after=after, limit=limit - len(found)
        )
        after = some[-1]
    return found


def _newest(state: ListedState | None = None) -> ColumnElement[bool]:
    """Condition: propagation opened the newest version and has it in this state."""
    in_state = () if state is None else (p.c.state == state,)
    return exists().where(p.c.student_number == a.c.student_number, p.c.version >= a.c.version, *in_state)


def _at_a_target(state: State, cause: str | None) -> ColumnElement[bool]:
    whose = (pt.c.student_number == a.c.student_number, pt.c.version >= a.c.version)
    why = pt.c.reason.is_not(None) if cause is None else pt.c.reason == cause
    return exists().where(*whose, pt.c.state == state, why)


def _retried(cause: str | None) -> ColumnElement[bool]:
    why = () if cause is None else (parked.c.cause == cause,)
    return exists().where(parked.c.student_number == a.c.student_number, parked.c.kind == Kind.RETRY, *why)


def _retries(connection: Connection, numbers: Sequence[str]) -> dict[str, dict[str, ListedRetry]]:
    found: dict[str, dict[str, ListedRetry]] = {}
    for row in rows_among(connection, _RETRIES, parked.c.student_number, numbers):
        retry = ListedRetry(row.cause, row.attempts, utc(row.first_at))
        found.setdefault(row.student_number, {})[row.consumer] = retry
    return found
