"""End of accounts: preview what time will change; release what the guard holds."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import ERASURE_DUE, Plan, Scope
from consumers.registry.lifecycle.forecast import forecast
from consumers.registry.lifecycle.stages import Closing, Lifecycle, Milestone
from consumers.registry.lifecycle.warnings import WRITTEN_AT
from consumers.registry.minter import GRACE_ENDS
from consumers.registry.people import People
from pipeline import accounts, timers
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from producers.activation import choices
from schemas.account import Account, Stage, is_guests
from schemas.language import gettext, local_day
from schemas.scalars import Text
from sesame.acts import acts
from sesame.acts.acts import OPERATORS, STAFF, Actor, ActPath, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Following, Stored
from sesame.operations.access import guests
from sesame.operations.people.diagnosis.words import word

_PAGE = 500
_DAYS_MAX = 3650
"""The longest prolongation, in days; a guest's is `guests.DAYS_MAX`."""
_TIMERS = {Closing.EXPIRE: GRACE_ENDS, Closing.SHUT: GRACE_ENDS, Closing.ERASE: ERASURE_DUE}

Why = Literal["year_ends", "not_enrolled", "expired"]
_WHY: dict[Stage, Why] = {
    Stage.ACTIVE: "year_ends",
    Stage.GRACE: "not_enrolled",
    Stage.EXPIRED: "expired",
}


class NoSuchPlan(SesameError):
    """The guard holds nothing under this ID: look again, somebody was enrolled or held meanwhile."""

    exit_code = 2


class NotProlonged(SesameError):
    """Access is not prolonged: it does not end by time, or not before that day. `sesame status STUDENT` shows
    where the account stands."""

    exit_code = 2


class ProlongRequest(ActRequest):
    """A student's longer access, and why: until a day (included), or by so many days."""

    student_number: str
    reason: Text
    until: date | None = None
    days: Annotated[int, Field(ge=1, le=_DAYS_MAX)] | None = None


class ProlongReport(Report):
    """A granted prolongation.

    `before`: the last day of access until then. `times`: prolongations since the last enrolment, with this
    one.
    """

    student_number: str
    before: date
    until: date
    times: int


class LifecyclePreviewRequest(BaseModel):
    """Days to look ahead; `erase`: as if `lifecycle.erase` were on."""

    days: int = 400
    erase: bool = False


class ComingStep(Report):
    """A change from `day` on, of one target or (None) of the account."""

    day: date
    stage: Stage
    target: str | None


class StepCount(ComingStep):
    """A step, and how many students it concerns."""

    students: int


class StudentLife(Report):
    """One student's coming steps.

    `why`: the cause of the next step. `warnings`: the days of the messages that warn the student.
    """

    student_number: str
    stage: Stage
    valid_until: date | None
    why: Why
    steps: list[ComingStep]
    warnings: list[date]


class WarningCount(Report):
    """Students with a message on this day that access ends."""

    day: date
    students: int


class HeldPlan(Report):
    """A plan that the guard holds, released by `id`. `approved_by`: the first of two operators.

    `target`: shut there alone; `cohort`: one step of one year, like `M2INFO-2026`.
    """

    id: str
    closing: Closing
    target: str | None
    cohort: str | None
    students: list[str]
    since: datetime
    approved_by: str | None


class ComingHold(Report):
    """A plan that the guard will hold from `day` on, with its number of students.

    `students` counts until the horizon. Other fields as in `HeldPlan`.
    """

    day: date
    closing: Closing
    target: str | None
    cohort: str | None
    students: int


class LifecyclePreview(Report):
    """What time will change by `until`, if no student enrols again. `erases`: whether this site erases."""

    until: date
    erases: bool
    students: int
    steps: list[StepCount]
    warnings: list[WarningCount]
    lives: list[StudentLife]
    held: list[HeldPlan]
    will_hold: list[ComingHold]


class ReleaseReport(Report):
    """Result of a release. Not `released`: a second operator has to release it."""

    plan: HeldPlan
    released: bool


@act(
    "lifecycle.preview",
    OPERATORS,
    shows=lambda report, _request: shown(life.student_number for life in report.lives),
)
def preview(site: Following, _actor: Actor, request: LifecyclePreviewRequest) -> LifecyclePreview:
    """Preview who would be shut or erased, when and why; write nothing.

    It judges today's accounts.
    """
    settings = site.settings
    rules = settings.lifecycle
    if request.erase:
        rules = rules.model_copy(update={"erase": True})
    lifecycle = Lifecycle(settings.registry, rules, services_of(site))
    with site.database.read() as connection:
        now = utc(site.database.now(connection))
        plans = closings.held(connection)
    today = now.date()
    until = today + timedelta(days=request.days)
    warns = settings.has_portal
    told_from = today + timedelta(days=now.time() >= WRITTEN_AT)  # today's are written
    warned = Counter[date]()
    counted: Counter[tuple[date, Stage, str | None]] = Counter()
    lives = []
    for account in _activated(site):
        steps = [step for step in lifecycle.timeline(account) if step.day <= until]
        counted.update(steps)
        days = [day for day in lifecycle.warnings(account, told_from) if warns and day <= until]
        warned.update(days)
        if steps:
            lives.append(
                StudentLife(
                    student_number=account.student_number,
                    stage=account.stage,
                    valid_until=account.valid_until,
                    why=_WHY[account.stage],
                    steps=[ComingStep(**step._asdict()) for step in steps],
                    warnings=days,
                )
            )
    with site.database.read() as connection:
        coming = {life.student_number: [Milestone(**vars(step)) for step in life.steps] for life in lives}
        holds = forecast(connection, coming, rules, today)
    ordered = sorted(counted.items(), key=lambda each: (each[0][0], each[0][1], each[0][2] or ""))
    return LifecyclePreview(
        until=until,
        erases=settings.lifecycle.erase,
        students=len(lives),
        steps=[
            StepCount(day=day, stage=stage, target=target, students=students)
            for (day, stage, target), students in ordered
        ],
        warnings=[WarningCount(day=day, students=students) for day, students in sorted(warned.items())],
        lives=lives,
        held=list(map(_shown, plans)),
        will_hold=[ComingHold(day=each.day, students=each.students, **_of(each.scope)) for each in holds],
    )


@act(
    "lifecycle.held",
    STAFF,
    path=ActPath("list_plans", "GET", "/plans"),
    shows=lambda plans: shown(number for plan in plans for number in plan.students),
)
def held(site: Stored, _actor: Actor) -> list[HeldPlan]:
    """List the plans that the guard holds."""
    with site.database.read() as connection:
        return list(map(_shown, closings.held(connection)))


@act("lifecycle.release", OPERATORS, path=ActPath("release_plan", "POST", "/plans/{plan_id}/release"))
def release(site: Following, actor: Actor, plan_id: str) -> ReleaseReport:
    """Release exactly this plan to be carried out.

    Where the settings require two operators, the first call approves and the second releases.

    Raises:
        NoSuchPlan: nothing was done.
        StoreUnavailable: repeat the release.
    """
    two = site.settings.lifecycle.release_by_two

    def let_go(connection: Connection) -> ReleaseReport:
        plan = next((p for p in closings.held(connection) if hmac.compare_digest(p.id, plan_id)), None)
        if plan is None:
            raise NoSuchPlan(gettext("the guard holds no plan {plan!r}", plan=plan_id))
        if two and plan.approved_by in (None, actor.name):
            closings.approve(connection, plan, actor.name)
            return ReleaseReport(plan=_shown(plan._replace(approved_by=actor.name)), released=False)
        closings.release(connection, plan)
        now = site.database.now(connection)
        for number in plan.students:
            timers.arm(connection, site.database, _TIMERS[plan.scope.closing], number, now)
        return ReleaseReport(plan=_shown(plan), released=True)

    acts.note(site.database, actor, "lifecycle.release", plan=plan_id)
    return site.database.transact(let_go)


@act("lifecycle.prolong", OPERATORS, path=ActPath("prolong_access", "POST", "/prolongations"))
def prolong(site: Stored, actor: Actor, request: ProlongRequest) -> ProlongReport:
    """Let a student without an enrolment, or a guest, keep access until a later day.

    It does not depend on what students may do themselves. One who has expired already has access back;
    what was erased is made again.

    Raises:
        NotProlonged: nothing was done.
        StoreUnavailable: retry.
    """
    people = People(site.database)

    def ask(connection: Connection) -> ProlongReport:
        now = site.database.now(connection)
        contact = people.contact(connection, request.student_number)
        number = contact.student_number if contact is not None else request.student_number
        person, account = people.known(connection, number), accounts.find(connection, number)
        if person is None or account is None or account.valid_until is None:
            raise NotProlonged(gettext("{number} has no access that ends", number=number))
        if account.stage not in (Stage.GRACE, Stage.EXPIRED) and not is_guests(number):
            stage = word("stages", account.stage)
            raise NotProlonged(gettext("{number} is {stage}", number=number, stage=stage))
        before, today = account.valid_until, utc(now).date()
        until = request.until or max(before, today) + timedelta(days=request.days or 0)
        if until <= before or until < today:
            days = {"day": local_day(until), "before": local_day(before)}
            raise NotProlonged(gettext("{day} is not after {before}, or is past", **days))
        latest = today + timedelta(days=guests.DAYS_MAX if is_guests(number) else _DAYS_MAX)
        if until > latest:
            raise NotProlonged(
                gettext(
                    "{day} is too far ahead: until {latest} at most",
                    day=local_day(until),
                    latest=local_day(latest),
                )
            )
        ref = operator_notes.keep_and_audit(
            connection,
            site.database,
            action="lifecycle.prolong",
            about=until.isoformat(),
            student_number=number,
            actor=actor.name,
            words=request.reason,
            detail={"student_number": number, "until": until.isoformat()},
        )
        choices.ask(connection, number, ends_on=before, until=until, now=now, reason_ref=ref)
        times = len(person.prolongations) + 1
        return ProlongReport(student_number=number, before=before, until=until, times=times)

    return site.database.transact(ask)


def services_of(site: Following) -> tuple[str, ...]:
    """See `Lifecycle.services`."""
    made = {name: site.settings.connector_of(name).connector for name in site.settings.targets}
    reads = {name for name, each in made.items() if each is not None and "apply" not in each.verbs()}
    return tuple(name for name in made if name not in reads and name not in site.follows.values())


def _shown(plan: Plan) -> HeldPlan:
    return HeldPlan(
        id=plan.id,
        **_of(plan.scope),
        students=list(plan.students),
        since=utc(plan.since),
        approved_by=plan.approved_by,
    )


def _of(scope: Scope) -> dict[str, Any]:
    return {"closing": scope.closing, "target": scope.target or None, "cohort": scope.cohort or None}


def _activated(site: Stored) -> Iterator[Account]:
    for page in accounts.number_pages(site.database, *accounts.LIVE, size=_PAGE):
        with site.database.read() as connection:
            found = accounts.newest(connection, page)
        yield from (found[number] for number in page if number in found)
