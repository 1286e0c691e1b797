"""'Où en est mon compte ?': what a student is shown of each service. Tokens here, words in the templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.store import cas_logins
from pipeline.store.people import People
from pipeline.target import OBSERVED_ONLY
from schemas.account import Account, Stage
from sesame.diagnosis.person import TargetStatus, person_status
from sesame.web.desk import Desk
from sesame.web.expecting import Expected

TO_TRY = "to_try"
READY, UNDER_WAY, WAITING, DOWN, FAILED, NOT_YET, NOT_OURS = (
    "ready",
    "under_way",
    "waiting",
    "down",
    "failed",
    "not_yet",
    "not_ours",
)
_SHOWN: Final = {
    "provisioned": READY,
    "waiting": WAITING,
    "retrying": UNDER_WAY,
    "failed": FAILED,
    "after": UNDER_WAY,
    "down": DOWN,
    "queued": UNDER_WAY,
    "not_opened": NOT_YET,
}
DIRECTORY, CAS = "directory", "cas"
NO_PASSWORD = "credential_needed"  # noqa: S105 - a reason, not a password


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
        state: ready, to_try, under_way, waiting, down, failed, not_yet, or not_ours: of a target that is only
            observed nothing is promised, and nothing is awaited.
        since: when that began, if it is known.
        reason: a token of what it waits for, or of what went wrong.
        can_retry: whether the student may ask for it again.
    """

    name: str
    state: str
    since: datetime | None = None
    reason: str | None = None
    courses: tuple[Course, ...] = ()
    expected: Expected | None = None
    can_retry: bool = False


@dataclass(frozen=True)
class Standing:
    """A student's account as its owner sees it. `complete`: every service that is ours is ready."""

    student_number: str
    login: str
    mail: str
    stage: str
    shut: bool
    mail_redirect: str | None
    services: tuple[Service, ...]

    @property
    def complete(self) -> bool:
        """Whether all is ready."""
        done, everything = self.counted
        return done == everything

    @property
    def counted(self) -> tuple[int, int]:
        """How many services are ready, of how many; those that are not ours apart."""
        ours = [service.state for service in self.services if service.state != NOT_OURS]
        return ours.count(READY), len(ours)


def standing_of(desk: Desk, student_number: str, expected: Mapping[str, Expected]) -> Standing | None:
    """Where a student stands; None if there is no account under this number (yet)."""
    status = person_status(desk.database, student_number, targets=desk.settings.targets, follows=desk.follows)
    with desk.database.read() as connection:
        account = People(desk.database).account(connection, student_number)
    if status is None or account is None:
        return None
    asked = desk.choices.situation(student_number)
    shown = dict(_SHOWN)
    if asked is not None and asked.activated:  # the registry has not read it yet
        shown["not_opened"] = UNDER_WAY
    services = [_service(target, account, shown, expected) for target in status.targets]
    return Standing(
        student_number=student_number,
        login=account.login,
        mail=account.mail,
        stage=account.stage,
        shut=bool(account.holds) or account.stage in (Stage.EXPIRED, Stage.ERASED),
        mail_redirect=account.mail_redirect,
        services=(*_login(desk, student_number, services), *services),
    )


def _login(desk: Desk, student_number: str, services: list[Service]) -> tuple[Service, ...]:
    """CAS logs people in by the directory: it can be tried once the directory has the password, and is ready
    once this very student was seen to log in."""
    directory = next((service for service in services if service.name == DIRECTORY), None)
    if directory is None:
        return ()
    if directory.reason == NO_PASSWORD:
        return (Service(CAS, WAITING, directory.since, NO_PASSWORD),)
    state, since = directory.state, directory.since
    if desk.cas is not None and state == READY:
        with desk.database.read() as connection:
            seen = cas_logins.of(connection, student_number)
        state, since = TO_TRY, None
        if seen is not None and seen.seen_at is not None:
            state, since = READY, datetime.fromtimestamp(seen.seen_at, UTC)
    return (Service(CAS, state, since, expected=directory.expected),)


def _service(
    target: TargetStatus, account: Account, shown: Mapping[str, str], expected: Mapping[str, Expected]
) -> Service:
    state = shown.get(target.state, UNDER_WAY)
    if target.reason == OBSERVED_ONLY:
        return Service(target.target, NOT_OURS)
    pending = set(target.pending)
    courses: tuple[Course, ...] = ()
    if target.target == "moodle":
        courses = tuple(
            Course(cohort.name, open=state in (READY, WAITING) and cohort.met and cohort.name not in pending)
            for cohort in account.cohorts
        )
    return Service(
        name=target.target,
        state=state,
        since=target.since,
        reason=target.reason,
        courses=courses,
        expected=expected.get(target.target) if state == UNDER_WAY else None,
        can_retry=target.state in ("failed", "retrying"),
    )
