"""Provision one student now, target by target, and report every step.

It uses a consumer's effects. The lease decides who may write, so it may run during `sesame run`, or without
it. It commits no offset: the consumer finds the work done when it reads the student's records.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing

from pipeline import accounts, parking, pauses, quarantine, target_states
from pipeline.db.database import Database
from pipeline.engine.bell import Bell, WorkItem
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled
from pipeline.runner import Effects
from pipeline.target import Closed, Dead, Done, Handler, HandlerOutcome, Retry, Waiting
from schemas.account import Account, Lane
from schemas.language import gettext, local
from sesame.acts import acts
from sesame.acts.acts import OPERATORS, Actor, ActPath, ActRequest, Report, act, utc
from sesame.acts.admission import admit
from sesame.acts.ports import Provided, check_target
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.words import word
from sesame.operations.people.known_persons import NoSuchStudent

Say = Callable[[str, str], None]
"""Called with (target, what was done or found) at each step."""


class NotActivated(SesameError):
    """The student has not activated the account: no target is touched before. `sesame activate` does it for
    them."""


class ProvisionRequest(ActRequest):
    """A student, and the targets; none: all of them."""

    student_number: str
    targets: tuple[str, ...] = ()


class Ended(Report):
    """The end at one target, with the reason in words.

    It is done, waiting, retry, dead, elsewhere, quarantined or paused.
    """

    target: str
    state: str
    text: str

    @property
    def well(self) -> bool:
        """Whether no one has to act."""
        return self.state in ("done", "waiting")


class ProvisionReport(Report):
    """The ends, target by target in their order, and the seconds taken."""

    student_number: str
    version: int
    seconds: float
    targets: list[Ended]


@act("provision", OPERATORS, path=ActPath("provision_student", "POST", "/provisions"))
def provision(site: Provided, actor: Actor, request: ProvisionRequest, say: Say) -> ProvisionReport:
    """Bring a student to the newest version at these targets, now.

    Raises:
        UnknownTarget, NoSuchStudent, NotActivated: no target was touched.
        StoreRestored: likewise, until an operator has checked.
        TargetDown, Throttled, Misconfigured: nothing is known of the outcome; no attempt is charged.
        StoreUnavailable, LogError: the same; repeat it.
    """
    for target in request.targets:
        check_target(site, target)
    admit(site, works=False)
    number, chosen = request.student_number, request.targets or site.settings.targets
    acts.note(site.database, actor, "provision", student_number=number, targets=list(chosen))
    began = time.monotonic()
    provisioning = Provisioning(site.database, say)
    account = provisioning.account(number)
    if account is None:
        raise NoSuchStudent(gettext("no account for student number {number!r}", number=number))
    if account.activated_at is None:
        raise NotActivated(gettext("{number} has not activated", number=number))
    told = {"version": account.version, "stage": word("stages", account.stage)}
    say(
        "account",
        gettext("version {version}, {stage}, access open", **told)
        if account.access_open
        else gettext("version {version}, {stage}, access shut", **told),
    )
    ended = []
    for target in site.settings.targets:
        if target not in chosen:
            continue
        with closing(site.handler(target)) as handler:
            ended.append(provisioning.at(number, handler, site.effects(target, handler)))
    seconds = round(time.monotonic() - began, 3)
    return ProvisionReport(student_number=number, version=account.version, seconds=seconds, targets=ended)


class Provisioning:
    """Bring one student to the newest version, target by target."""

    def __init__(self, database: Database, say: Say) -> None:
        self._database = database
        self._say = say

    def account(self, student_number: str) -> Account | None:
        """The newest account, or None."""
        with self._database.read() as connection:
            return accounts.newest(connection, [student_number]).get(student_number)

    def at(self, student_number: str, handler: Handler, effects: Effects) -> Ended:
        """Compare the student with one target and write what differs.

        Raises:
            TargetDown, Throttled, Misconfigured: nothing is known of the outcome; no attempt is charged.
            StoreUnavailable, LogError: the same; repeat it.
        """
        target = handler.name
        with self._database.read() as connection:
            standing, paused = quarantine.of(connection, target), pauses.of(connection, target)
        if paused is not None:
            said = {"actor": paused.actor, "why": paused.reason}
            command = f"sesame targets resume {target}"
            text = gettext("the target is paused by {actor}: {why}. {command}", command=command, **said)
            return Ended(target=target, state="paused", text=text)
        if standing is not None:
            return Ended(
                target=target,
                state="quarantined",
                text=gettext(
                    "the consumer is in quarantine: {why}. {command}",
                    why=standing.reason,
                    command=f"sesame quarantine lift {target}",
                ),
            )
        bell = Bell(student_number, 0, Lane.PERSONAL, f"provision-{secrets.token_hex(12)}", replay=True)
        admitted = effects.admit([WorkItem((bell,))])
        one = admitted.get(student_number)
        if one is None:
            return self._not_admitted(student_number, target)
        until = _time(one.lease_until)
        taken = gettext("lease taken: epoch {epoch}, until {time} at the latest", epoch=one.epoch, time=until)
        self._say(target, taken)
        outcome = one.decided
        if outcome is None:
            try:
                self._tell_difference(handler, one.account)
                outcome = handler.handle([one.task])[student_number]
            except (TargetDown, Throttled, Misconfigured) as error:
                effects.give_back(admitted, unknown=error.unknown)
                self._say(target, gettext("lease given back: nobody is charged"))
                raise
        outcome = effects.finish(admitted, {student_number: outcome})[student_number]
        self._say(target, gettext("announced on the log, recorded in the store, lease given back"))
        state, text = _words(outcome)
        return Ended(target=target, state=state, text=text)

    def _tell_difference(self, handler: Handler, account: Account) -> None:
        found = handler.preview([account])[account.student_number]
        differs = ", ".join(found.differs)
        self._say(
            handler.name,
            gettext("read: differs: {names}", names=differs) if differs else gettext("read: nothing differs"),
        )
        if found.obstacle:
            why = explain(found.obstacle).what
            self._say(handler.name, gettext("in the way: {cause}: {why}", cause=found.obstacle, why=why))

    def _not_admitted(self, student_number: str, target: str) -> Ended:
        """Explain from the store why the effects did not run: done, parked or leased."""
        with self._database.read() as connection:
            row = parking.parked_of(connection, target, [student_number]).get(student_number)
            state = target_states.states_of(connection, target, [student_number]).get(student_number)
        if row is None:
            version = state.applied_version if state is not None else 0
            text = gettext("nothing to do: it has version {version}", version=version)
            return Ended(target=target, state="done", text=text)
        words = row.message or explain(row.cause).what
        text = (
            gettext("{why}, and goes on by itself", why=words)
            if row.due_at is None
            else gettext(
                "{why}; it is looked at again at {time}, and goes on by itself",
                why=words,
                time=_time(row.due_at),
            )
        )
        return Ended(target=target, state="elsewhere", text=text)


def _words(outcome: HandlerOutcome) -> tuple[str, str]:
    match outcome:
        case Done(digest, changed):
            text = (
                gettext("written and read back, digest {digest}…", digest=digest[:19])
                if changed
                else gettext("nothing had to be written; read back, digest {digest}…", digest=digest[:19])
            )
            return "done", text
        case Waiting(reason, pending):
            names = f" ({', '.join(pending)})" if pending else ""
            words = explain(reason)
            text = gettext("{cause}: {why} {next}", cause=f"{reason}{names}", why=words.what, next=words.next)
            return "waiting", text
        case Retry(cause, message):
            text = gettext("{cause}: {why}; it is tried again by itself", cause=cause, why=message)
            return "retry", text
        case Dead(cause, message):
            return "dead", gettext("{name}: {value}", name=cause, value=message)
        case Closed():
            return "elsewhere", gettext("access is shut; the rest follows the directory")


def _time(epoch_s: float) -> str:
    return local(utc(epoch_s)).strftime("%H:%M:%S %Z")
