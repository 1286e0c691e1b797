"""'Où en est mon compte ?': each service's state. Tokens here, words in the templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from consumers.directory import NAME as DIRECTORY
from consumers.kit.passwords import LACKING
from consumers.moodle import NAME as MOODLE
from consumers.registry.lifecycle.stages import OPEN, Lifecycle
from consumers.registry.people import People
from pipeline import accounts
from pipeline.dead_letters import rows as dead_letters
from pipeline.target import ADMINISTRATIVE_PENDING, OBSERVED_ONLY
from pipeline.vault import handed_over
from schemas.account import Account, Stage
from sesame.acts.acts import utc
from sesame.login import cas_logins
from sesame.operations.people.diagnosis.person import TargetStatus, person_status
from sesame.operations.people.diagnosis.reasons import explain
from sesame.web.students.estimates import Expected
from sesame.web.students.portal_context import PortalContext

READY, TO_TRY, UNDER_WAY, WAITING, AFTER, DOWN, FAILED, NOT_YET, NOT_OURS, NOT_ENTITLED, SHUT = (
    "ready",
    "to_try",
    "under_way",
    "waiting",
    "after",
    "down",
    "failed",
    "not_yet",
    "not_ours",
    "not_entitled",
    "shut",
)
_SHOWN: Final = {
    "provisioned": READY,
    "waiting": WAITING,
    "retrying": UNDER_WAY,
    "failed": FAILED,
    "down": DOWN,
    "queued": UNDER_WAY,
    "not_opened": NOT_YET,
    "not_entitled": NOT_ENTITLED,
}
CAS, REGISTRY, ACCOUNT = "cas", "registry", "account"
PASSWORD_UNTOLD: Final = "password_untold"  # noqa: S105 (a token)
"""Reason of to_try: the directory does not show whether it still has the student's own password."""

_UNCOUNTED: Final = frozenset({NOT_OURS, NOT_ENTITLED, SHUT})

_ENTRY_WORKS: Final = frozenset({"group_not_ours"})
"""Reasons for which the directory may wait while students can log in."""


@dataclass(frozen=True)
class Course:
    """A group of courses in Moodle (a cohort), and whether it is open."""

    name: str
    open: bool


@dataclass(frozen=True)
class Service:
    """One service, as the student sees it.

    Attributes:
        name: `cas`, or a target's.
        state: ready, to_try, under_way, waiting, after (another service, which is not on its way), down,
            failed, not_yet, not_entitled, shut, or not_ours: a target that is only observed, of which nothing
            is promised or awaited.
        since: when that began, if it is known.
        reason: a token of what it waits for, or of what went wrong; of `after`: that other service.
        expected: how long it takes; None: unknown, or something is in the way.
        can_retry: whether the student may retry it.
    """

    name: str
    state: str
    since: datetime | None = None
    reason: str | None = None
    courses: tuple[Course, ...] = ()
    expected: Expected | None = None
    can_retry: bool = False


@dataclass(frozen=True)
class AccountView:
    """A student's account as its owner sees it.

    Attributes:
        called: what the page calls the student, a given name.
        last_day: of access, without a new enrolment.
        prolongations_left: how often a student in grace may still prolong it.
    """

    student_number: str
    called: str
    login: str
    mail: str
    stage: str
    shut: bool
    mail_redirect: str | None
    services: tuple[Service, ...]
    short_login: str | None = None
    last_day: date | None = None
    prolongations_left: int = 0

    @property
    def complete(self) -> bool:
        """Whether all is ready."""
        done, everything = self.counted
        return done == everything > 0

    @property
    def usable(self) -> bool:
        """Whether the student can begin: the login works, and something behind it."""
        states = {service.name: service.state for service in self.services}
        behind = [state for name, state in states.items() if name not in (CAS, DIRECTORY)]
        return not self.shut and states.get(CAS) in (READY, TO_TRY) and READY in behind

    @property
    def counted(self) -> tuple[int, int]:
        """The numbers of ready services and of all that are ours and the student's."""
        ours = [service.state for service in self.services if service.state not in _UNCOUNTED]
        return ours.count(READY), len(ours)

    def tells(self, service: str) -> bool:
        """Whether to show the findings about a service.

        Not those of one that is not ours; of a shut account only the account's.
        """
        if self.shut:
            return service == ACCOUNT
        return all(each.state != NOT_OURS for each in self.services if each.name == service)


def standing_of(
    context: PortalContext, student_number: str, expected_of: Callable[[Account], Mapping[str, Expected]]
) -> AccountView | None:
    """A student's account for the page; None if this number has none (yet)."""
    database, targets = context.database, context.settings.targets
    with database.read() as connection:
        status = person_status(connection, database, student_number, targets=targets, follows=context.follows)
        account = accounts.find(connection, student_number)
        person = People(database).known(connection, student_number)
    if status is None or account is None:
        return None
    lifecycle = Lifecycle(context.settings.registry, context.settings.lifecycle)
    times = len(person.prolongations) if person is not None else 0
    left = lifecycle.rules.prolongations_left(times) if account.stage is Stage.GRACE else 0
    shut = bool(account.holds) or account.stage in (Stage.EXPIRED, Stage.ERASED)
    services: dict[str, Service] = {}
    expected = expected_of(account)
    unopened = _unopened(context, account)
    for target in sorted(status.targets, key=lambda each: each.target in context.follows):  # leaders first
        service = _service(target, account, services, expected)
        if target.state == "not_opened":
            state, reason = unopened
            service = replace(service, state=state, reason=reason)
        if target.state == "provisioned" and not account.at(target.target).access_open:
            service = replace(service, state=SHUT)
        if target.target in context.settings.observed:
            service = Service(target.target, NOT_OURS)
        services[target.target] = service
    shown = [services[target.target] for target in status.targets]
    everything = [*_login(context, account, services.get(DIRECTORY)), *shown]
    if shut:
        everything = [each if each.state == NOT_OURS else Service(each.name, SHUT) for each in everything]
    return AccountView(
        student_number=student_number,
        called=account.person.called_name,
        login=account.login,
        short_login=account.short_login,
        mail=account.mail,
        stage=account.stage,
        shut=shut,
        mail_redirect=account.mail_redirect,
        services=tuple(everything),
        last_day=_last_day(lifecycle, account),
        prolongations_left=left,
    )


def _last_day(lifecycle: Lifecycle, account: Account) -> date | None:
    """The last day of access without another enrolment; None: unknown, or past."""
    steps = lifecycle.timeline(account)
    ends = next((step.day for step in steps if step.stage is Stage.EXPIRED and not step.target), None)
    return None if ends is None else ends - timedelta(days=1)


def _unopened(context: PortalContext, account: Account) -> tuple[str, str | None]:
    """The state of an account that is not activated, and its reason. An activation may wait."""
    asked = context.choices.situation(account.student_number)
    if asked is None or not asked.activated:
        return NOT_YET, None
    if not account.enrolled:
        return WAITING, ADMINISTRATIVE_PENDING
    with context.database.read() as connection:
        letters = dead_letters.unresolved(connection, student_number=account.student_number)
    stuck = any(letter.consumer == REGISTRY for letter in letters)
    return NOT_YET if stuck else UNDER_WAY, None  # the registry will read it any moment


def _login(context: PortalContext, account: Account, directory: Service | None) -> tuple[Service, ...]:
    """The service CAS, which logs students in by the directory.

    It can be tried once the directory has the password, and is ready once this very student was seen to log
    in, and no later login failed.

    Without CAS it is ready where the directory reports when passwords are set, which shows those set by
    another party.
    """
    if directory is None:
        return ()
    works = directory.state == READY or directory.reason in _ENTRY_WORKS
    if works and context.cas is not None:
        with context.database.read() as connection:
            seen = cas_logins.of(connection, account.student_number)
        if seen is None or seen.last_at is None or seen.seen_at is None:
            return (Service(CAS, TO_TRY),)
        if seen.failed_at is not None and seen.failed_at > seen.last_at:
            return (Service(CAS, TO_TRY, reason=seen.failure),)
        return (Service(CAS, READY, utc(seen.seen_at)),)
    if works:
        if _password_untold(context, account):
            return (Service(CAS, TO_TRY, reason=PASSWORD_UNTOLD),)
        return (Service(CAS, READY, directory.since),)
    if directory.state in (FAILED, DOWN) or (
        directory.state == WAITING and directory.reason not in {*LACKING, ADMINISTRATIVE_PENDING}
    ):
        return (Service(CAS, AFTER, directory.since, DIRECTORY),)
    return (replace(directory, name=CAS, can_retry=False),)


def _password_untold(context: PortalContext, account: Account) -> bool:
    with context.database.read() as connection:
        given = handed_over(connection, [account.credential_ref] if account.credential_ref else [])
    return any(one.shown_at is None for one in given.values())


def _service(
    target: TargetStatus,
    account: Account,
    before: Mapping[str, Service],
    expected: Mapping[str, Expected],
) -> Service:
    """One target. `before`: the services that this one may follow."""
    if target.reason == OBSERVED_ONLY:
        return Service(target.target, NOT_OURS)
    state, reason = _SHOWN.get(target.state, UNDER_WAY), target.reason
    leader = before.get(target.reason or "") if target.state == "after" else None
    if leader is not None and leader.state == NOT_OURS:
        return Service(target.target, NOT_OURS)
    if leader is not None and leader.state != UNDER_WAY:
        state, reason = AFTER, leader.name
    hopeful = target.state == "queued" or (leader is not None and leader.expected is not None)
    return Service(
        name=target.target,
        state=state,
        since=target.since,
        reason=reason,
        courses=_courses(target, account, open_too=state == READY or _partly_done(target)),
        expected=expected.get(target.target) if hopeful and state == UNDER_WAY else None,
        can_retry=target.state in ("failed", "retrying"),
    )


def _partly_done(target: TargetStatus) -> bool:
    """Whether it waits, and all else is done there."""
    return target.state == "waiting" and not explain(target.reason).held_back


def _courses(target: TargetStatus, account: Account, *, open_too: bool) -> tuple[Course, ...]:
    if target.target != MOODLE:
        return ()
    pending, open_too = set(target.pending), open_too and account.at(MOODLE).stage in OPEN
    return tuple(
        Course(cohort.name, open=open_too and cohort.met and cohort.name not in pending)
        for cohort in account.cohorts
    )
