"""One run of the canary, step by step, on the way of a student.

It is enrolled, activated, provisioned, logged in, welcomed, looked for in its cohort, and reset. A reset is
no erasure: user and entry stay, access is shut; password, cohorts and messages go.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from consumers.mailbox import NAME as MAILBOX
from consumers.mailbox.mailbox import WELCOME
from consumers.mailbox.welcome_journal import WelcomeMessages
from consumers.moodle.intent import COHORTS
from consumers.registry.people import People
from pipeline import accounts
from pipeline.errors import SesameError
from producers import canary
from producers.activation import request_rows
from schemas.account import CANARY, Account
from schemas.language import gettext
from sesame.acts.acts import utc
from sesame.acts.ports import Following, HasConnectors, Paged
from sesame.login.activation import StudentPages
from sesame.operations.people.diagnosis.person import TargetStatus, person_status
from sesame.operations.people.target_look import look_at
from sesame.operations.work.canary.inbox import Inbox
from sesame.operations.work.canary.runs import CanaryStep

if TYPE_CHECKING:
    from sesame.login.probe import LoginProbe

REGISTRY_S_MAX: Final = 60.0
"""How long the registry may take for a fact."""
TARGETS_S_MAX: Final = 120.0
"""How long all targets together may take."""
_LOOK_EVERY_S: Final = 0.1
_REACHED, _AFTER = "provisioned", "after"


class Canaried(Following, HasConnectors, Paged, Protocol):
    """What a run needs of the site."""

    def login_probe(self, login: str, password: Callable[[], str]) -> LoginProbe | None:
        """Logs this account in through CAS; None: there is no CAS."""


class StepFailed(SesameError):
    """A step of the canary's way did not come to its end. The message says what was seen last."""


class CanaryWalk:
    """One run. `pause`: waits so many seconds; it raises to stop."""

    def __init__(self, site: Canaried, pause: Callable[[float], None] = time.sleep) -> None:
        self._site = site
        self._pause = pause
        self._password = f"Aa1-{secrets.token_urlsafe(24)}"
        self._journal = WelcomeMessages(site.database, clock=time.time, adopted=lambda _numbers: {})
        self._steps: list[CanaryStep] = []
        self._activated_at = 0.0  # on the monotonic clock
        made = {name: site.settings.connector_of(name).connector for name in site.settings.targets}
        self._made = {
            name: each
            for name, each in made.items()
            if each is not None and "apply" in each.verbs() and name not in site.settings.observed
        }

    def run(self) -> list[CanaryStep]:
        """All steps that were tried. A run that was cut off before is reset first."""
        with self._step("enrolment"):
            self._enrol()
        if self._is_ok("enrolment"):
            with self._step("activation"):
                self._activate()
        if self._is_ok("activation"):
            self._provision()
            self._use()
        with self._step("reset"):
            self._reset()
        return self._steps

    # --- steps ------------------------------------------------------------------------------------------

    def _enrol(self) -> None:
        self._reset()
        database = self._site.database
        self._journal.forget(CANARY)
        with database.write() as connection:
            now = database.now(connection)
            today, ends_on = utc(now).date(), self._site.settings.registry.year_ends_on
            year = today.year if ends_on(today.year - 1) < today else today.year - 1
            sequence = canary.enrol(connection, year, now)
        people = People(database)

        def recorded() -> bool:
            with database.read() as connection:
                known = people.newest_sequence(connection, CANARY) >= sequence
            return known and self._account() is not None

        self._wait(recorded, gettext("the registry has not recorded the enrolment"))

    def _activate(self) -> None:
        site = self._site
        with site.database.write() as connection:
            letter, _ = site.portal().desk_letters.print(connection, CANARY, "fr")
        pages = StudentPages(site.settings.portal.origin, site.settings.cas.ca_file)
        pages.activate(letter.code, self._password)
        self._activated_at = time.monotonic()
        self._wait(self._is_activated, gettext("the registry has not recorded the activation"))

    def _provision(self) -> None:
        """A step for each target; one that only waits for a failed one has none."""
        left = set(self._made)
        while left:
            found = [each for each in self._seen() if each.target in left]
            took_s = time.monotonic() - self._activated_at
            over = took_s > TARGETS_S_MAX
            for one in found:
                if one.state == _REACHED or (over and one.state != _AFTER):
                    self._end(one.target, took_s, "" if one.state == _REACHED else _why(one))
                    left.discard(one.target)
            if over:
                return
            self._pause(_LOOK_EVERY_S)

    def _use(self) -> None:
        """What a student does then, of what is there to be used."""
        account = self._known()
        reached = {name: each for name, each in self._made.items() if self._is_ok(name)}
        probe = self._site.login_probe(account.login, lambda: self._password)
        if probe is not None and any(each.credential for each in reached.values()):
            with self._step("login"):
                result = probe.run()
                if not result.outcome.works:
                    raise StepFailed(result.message)
        boxes = [each for each in reached.values() if each.role == MAILBOX]
        if boxes and (inbox := self._inbox(account)) is not None:
            with self._step("welcome"):
                self._read_welcome(inbox, expected=any(WELCOME in each.owns for each in boxes))
        having = [name for name, each in reached.items() if COHORTS in each.owns]
        if having:
            with self._step("cohort"):
                self._find_cohort(having, account)

    def _read_welcome(self, inbox: Inbox, *, expected: bool) -> None:
        sent = self._journal.known([CANARY]).get(CANARY)
        if expected and (sent is None or not inbox.has(sent.message_id)):
            raise StepFailed(gettext("the welcome message is not in the inbox"))
        inbox.empty()

    def _find_cohort(self, targets: list[str], account: Account) -> None:
        wanted = {cohort.key for cohort in account.cohorts if cohort.met}
        for look in look_at(self._site, targets, account):
            if look.unseen:
                raise StepFailed(look.unseen)
            there = {key for one in look.objects for key in one.fields.get(COHORTS, ())}
            if missing := wanted - there:
                names = ", ".join(sorted(missing))
                raise StepFailed(
                    gettext("not a member of {names} in {target}", names=names, target=look.target)
                )

    def _reset(self) -> None:
        """Shut access, and see that each target has. One that failed is not waited for."""
        if not self._is_activated():
            return
        database = self._site.database
        with database.write() as connection:
            request_rows.forget(connection, CANARY)  # the next activation is a first one
            canary.reset(connection, database.now(connection))
        self._wait(lambda: not self._is_activated(), gettext("the registry has not recorded the reset"))
        until = time.monotonic() + TARGETS_S_MAX
        while late := [each for each in self._seen() if each.state != _REACHED and not self._is_lost(each)]:
            if time.monotonic() > until:
                raise StepFailed("; ".join(f"{each.target}: {_why(each)}" for each in late))
            self._pause(_LOOK_EVERY_S)

    def _is_lost(self, one: TargetStatus) -> bool:
        """Whether this target, or the one that it follows, has failed in this run."""
        return one.target in self._failed or (one.state == _AFTER and one.reason in self._failed)

    # --- looks ------------------------------------------------------------------------------------------

    def _inbox(self, account: Account) -> Inbox | None:
        settings = self._site.settings
        if settings.canary.imap_url is None:
            return None
        return Inbox(settings.canary.imap_url, account.mail, self._password, settings.mailbox.ca_file)

    def _account(self) -> Account | None:
        with self._site.database.read() as connection:
            return accounts.find(connection, CANARY)

    def _known(self) -> Account:
        account = self._account()
        assert account is not None  # noqa: S101  (the first step ends with one)
        return account

    def _is_activated(self) -> bool:
        account = self._account()
        return account is not None and account.activated_at is not None

    def _seen(self) -> list[TargetStatus]:
        database, follows = self._site.database, self._site.follows
        with database.read() as connection:
            status = person_status(connection, database, CANARY, targets=tuple(self._made), follows=follows)
        return [] if status is None else list(status.targets)

    def _wait(self, come: Callable[[], bool], why: str) -> None:
        until = time.monotonic() + REGISTRY_S_MAX
        while not come():
            if time.monotonic() > until:
                raise StepFailed(why)
            self._pause(_LOOK_EVERY_S)

    # --- results ----------------------------------------------------------------------------------------

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began, cause = time.monotonic(), ""
        try:
            yield
        except SesameError as error:
            cause = str(error)
        self._end(name, time.monotonic() - began, cause)

    def _end(self, name: str, seconds: float, cause: str) -> None:
        self._steps.append(CanaryStep(name=name, seconds=round(seconds, 3), ok=not cause, cause=cause))

    @property
    def _failed(self) -> set[str]:
        return {each.name for each in self._steps if not each.ok}

    def _is_ok(self, name: str) -> bool:
        return any(each.ok for each in self._steps if each.name == name)


def _why(one: TargetStatus) -> str:
    return " ".join(filter(None, (one.cause, one.message))) or one.state
