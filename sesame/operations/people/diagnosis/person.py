"""One person at a glance: account, targets, and why access is shut, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from consumers.propagation.rows import propagation
from consumers.registry.lifecycle.stages import OPEN
from consumers.registry.people import People
from pipeline import accounts, parking, status, target_states
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.parking import Kind, Parked
from pipeline.status import ConsumerStatus
from pipeline.target import ADMINISTRATIVE_PENDING, NOT_OPEN_YET
from pipeline.target_states import State, TargetState
from schemas.account import Account, Stage
from schemas.language import gettext, local
from sesame.acts.acts import Report, utc, utc_or_none
from sesame.login import cas_logins
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.words import word

_PLACED, _ACTIONS = "hold.place", ("hold.place", "hold.lift")


@dataclass(frozen=True)
class HoldNote:
    """One hold that an operator placed, with the reason.

    Attributes:
        hold: its kind, e.g. `suspended`.
        words: the operator's own; they may be personal, so neither students nor the log see them.
    """

    hold: str
    since: datetime
    actor: str
    words: str


def hold_notes(connection: Connection, account: Account) -> tuple[HoldNote, ...]:
    """The operators' words for each hold in force; the registry's own holds have none."""
    if not account.holds:
        return ()
    said = operator_notes.of_student(connection, account.student_number)
    newest = {remark.about: remark for remark in said if remark.action in _ACTIONS}
    return tuple(
        HoldNote(hold, utc(remark.at), remark.actor, remark.words)
        for hold in sorted(account.holds)
        if (remark := newest.get(hold)) is not None and remark.action == _PLACED
    )


CONSUMER_SILENT_AFTER_S = status.SILENT_AFTER_S


@dataclass(frozen=True)
class TargetStatus:
    """One target for one person.

    Attributes:
        state: provisioned, waiting, retrying, failed, after, down, queued, not_opened or not_entitled.
        since: when that began, if it is known.
        version: the account version that was last read back there; 0: none.
        cause: in words; empty when all is well.
        next: what happens next, or who must do what.
        message: of the target or the consumer, word for word, if it tells more than `cause`.
    """

    target: str
    state: str
    since: datetime | None
    version: int
    reason: str | None = None
    pending: tuple[str, ...] = ()
    cause: str = ""
    next: str = ""
    message: str = ""


@dataclass(frozen=True)
class EndedStep:
    """An enrolment that counts no more. `cancelled`: by the registrar; else its year is over."""

    year: int
    step: str
    step_version: str
    cancelled: bool


class PersonStatus(Report):
    """One person: the account and every target.

    Attributes:
        valid_until: the last day of access, as far as it is known.
        enrolled: whether any enrolment is in force.
        ended: the enrolments that count no more.
        state: not_activated, waiting, in_progress, completed or failed.
        elapsed_s: of the window, when it is complete.
        login_seen_at: the first working login by CAS.
    """

    student_number: str
    version: int
    stage: str
    holds: tuple[str, ...]
    login: str
    mail: str
    state: str
    activated_at: datetime | None
    opened_at: datetime | None
    completed_at: datetime | None
    elapsed_s: float | None
    targets: tuple[TargetStatus, ...] = ()
    hold_notes: tuple[HoldNote, ...] = ()
    login_seen_at: datetime | None = None
    valid_until: date | None = None
    enrolled: bool = True
    ended: tuple[EndedStep, ...] = ()


@dataclass(frozen=True)
class _Known:
    """Cached reads about one person: what few targets need is read on first use."""

    connection: Connection
    database: Database
    account: Account
    states: Mapping[str, TargetState]
    follows: Mapping[str, str]

    @cached_property
    def parked(self) -> Mapping[str, Parked]:
        return parking.all_parked_of(self.connection, self.account.student_number)

    @cached_property
    def consumers(self) -> Mapping[str, ConsumerStatus]:
        return _newest(status.statuses(self.connection))

    @cached_property
    def letters(self) -> list[dead_letters.DeadLetter]:
        """The unresolved ones."""
        return dead_letters.unresolved(self.connection, student_number=self.account.student_number)

    @cached_property
    def now(self) -> float:
        return self.database.now(self.connection)


def person_status(
    connection: Connection,
    database: Database,
    student_number: str,
    *,
    targets: tuple[str, ...],
    follows: Mapping[str, str],
) -> PersonStatus | None:
    """Status of one person; None if the registry has no account for that number."""
    account = accounts.find(connection, student_number)
    if account is None:
        return None
    states = target_states.all_states_of(connection, student_number, targets)
    known = _Known(connection, database, account, states, follows)
    window = _window(connection, student_number)
    notes = hold_notes(connection, account)
    login = cas_logins.of(connection, student_number)
    found = tuple(_target(target, known) for target in targets)
    return PersonStatus(
        student_number=student_number,
        version=account.version,
        stage=account.stage,
        holds=tuple(sorted(account.holds)),
        login=account.login,
        mail=account.mail,
        state=_overall(found),
        activated_at=account.activated_at,
        opened_at=account.opened_at,
        completed_at=utc_or_none(window.get("completed_at")),
        elapsed_s=window.get("elapsed_s"),
        targets=found,
        hold_notes=notes,
        login_seen_at=utc_or_none(login.seen_at) if login is not None else None,
        valid_until=account.valid_until,
        enrolled=account.enrolled,
        ended=ended_steps(connection, database, account),
    )


def ended_steps(connection: Connection, database: Database, account: Account) -> tuple[EndedStep, ...]:
    """A person's enrolments no longer in force, over all numbers, the newest first."""
    people, number = People(database), account.student_number
    numbers = (number, *(each.student_number for each in people.merged_into(connection, number)))
    counting = {each.key for each in account.enrolments}
    steps = people.steps(connection, *numbers)
    held, cancelled = ([key for key, is_over in steps if is_over is over] for over in (False, True))
    ended = {*(EndedStep(*key, cancelled=True) for key in cancelled if key not in {*held, *counting})}
    ended |= {EndedStep(*key, cancelled=False) for key in held if key not in counting}
    return tuple(sorted(ended, key=lambda each: (-each.year, each.step, each.step_version)))


_COMPLETED: Final = select(propagation.c.completed_at, propagation.c.elapsed_s).where(
    propagation.c.student_number == bindparam("number"),
    propagation.c.completed_version >= propagation.c.version,
)


def _window(connection: Connection, student_number: str) -> dict[str, Any]:
    row = connection.execute(_COMPLETED, {"number": student_number}).mappings().one_or_none()
    return dict(row) if row is not None else {}


def _target(target: str, known: _Known) -> TargetStatus:
    account, state = known.account, known.states.get(target)
    seen = state.applied_version if state is not None else 0
    since = utc_or_none(state.since) if state is not None else None
    if account.stage is Stage.PRECREATED and account.activated_at is None and not account.enrolments:
        text = gettext("No enrolment is left that an account could be opened for.")
        step = gettext("A file of the registrar's that has one opens the way.")
        return TargetStatus(target, "not_opened", None, seen, cause=text, next=step)
    if account.stage is Stage.PRECREATED and account.activated_at is None:
        text, step = (
            gettext("The student has not activated the account."),
            gettext("The student activates it."),
        )
        return TargetStatus(target, "not_opened", None, seen, cause=text, next=step)
    if account.stage is Stage.PRECREATED:  # no target is written before activation
        words = explain(ADMINISTRATIVE_PENDING)
        text, step = words.what, words.next
        return TargetStatus(target, "waiting", since, seen, ADMINISTRATIVE_PENDING, (), text, step)
    if account.at(target).lacks_target:
        opens = account.opens_on.get(target)
        if opens is None:
            step = f"sesame entitlements explain {account.student_number}"
            text = gettext("The site's entitlements do not give it.")
            return TargetStatus(target, "not_entitled", None, seen, cause=text, next=step)
        words, day = explain(NOT_OPEN_YET), opens.isoformat()
        return TargetStatus(target, "waiting", since, seen, NOT_OPEN_YET, (day,), words.what, words.next)
    if state is not None and seen >= account.version and state.state is State.PROVISIONED:
        if account.stage in OPEN and account.at(target).stage not in OPEN:
            text, step = (
                gettext("Access is shut there."),
                f"sesame entitlements explain {account.student_number}",
            )
            return TargetStatus(target, "provisioned", since, seen, cause=text, next=step)
        return TargetStatus(target, "provisioned", since, seen)
    if state is not None and state.state_version >= account.version and state.state is State.WAITING:
        words = explain(state.reason)
        return TargetStatus(
            target, "waiting", since, seen, state.reason, state.pending, words.what, words.next
        )
    if state is not None and state.state_version >= account.version and state.state is State.FAILED:
        return _failed(target, seen, since, state, known.letters)
    return _on_its_way(target, seen, known)


def _failed(
    target: str,
    seen: int,
    since: datetime | None,
    state: TargetState,
    letters: list[dead_letters.DeadLetter],
) -> TargetStatus:
    words = explain(state.reason)
    mine = [letter for letter in letters if letter.consumer == target]
    message = words.beyond(mine[-1].message) if mine else ""
    step = f"sesame dead-letters show {mine[-1].id[:12]}" if mine else words.next
    return TargetStatus(target, "failed", since, seen, state.reason, (), words.what, step, message)


def _on_its_way(target: str, seen: int, known: _Known) -> TargetStatus:
    consumer, parked = known.consumers.get(target), known.parked.get(target)
    if consumer is None or consumer.state == "stopped" or _silent(consumer, known.now):
        since = utc(consumer.seen_at) if consumer is not None else None
        text = gettext("No consumer of this target is running.")
        step = gettext("An operator starts `sesame run`.")
        return TargetStatus(target, "down", since, seen, cause=text, next=step)
    if consumer.state != "running":
        state = "down" if consumer.state == "open" else consumer.state  # an open circuit, in people's words
        own, shown = status.own_words(consumer.reason), word("states", state)
        text = gettext("The target is {state}.", state=shown)
        if own:
            text = gettext("The target is {state}: {reason}", state=shown, reason=own)
        step = (
            gettext("An operator looks at it; nothing is lost.")
            if consumer.state in ("quarantined", "paused")
            else gettext("It goes on by itself when the target is back; nothing is lost.")
        )
        said = consumer.reason if own is None else ""
        return TargetStatus(target, "down", utc(consumer.since), seen, state, (), text, step, said)
    leader = known.follows.get(target)
    if leader is not None and not _reached(leader, known):
        text, step = (
            gettext("Begins when {leader} has this version.", leader=leader),
            gettext("Goes on by itself."),
        )
        return TargetStatus(target, "after", None, seen, leader, cause=text, next=step)
    if parked is not None and parked.kind is not Kind.WAITING:
        words = explain(parked.cause)
        due = utc_or_none(parked.due_at)
        step = words.next
        if due is not None:
            time = f"{local(due):%H:%M:%S}"
            step = gettext("Attempt {attempt} at {time}.", attempt=parked.attempts + 1, time=time)
        said, since = words.beyond(parked.message), utc(parked.first_at)
        return TargetStatus(target, "retrying", since, seen, parked.cause, (), words.what, step, said)
    text, step = gettext("On its way."), gettext("Goes on by itself.")
    return TargetStatus(target, "queued", known.account.opened_at, seen, cause=text, next=step)


def _reached(target: str, known: _Known) -> bool:
    state = known.states.get(target)
    return state is not None and state.applied_version >= known.account.version


def _overall(targets: tuple[TargetStatus, ...]) -> str:
    states = {target.state for target in targets}
    if states == {"not_opened"}:
        return "not_activated"
    if "failed" in states:
        return "failed"
    if states <= {"provisioned", "not_entitled"}:
        return "completed"
    at_rest = states <= {"provisioned", "not_entitled", "waiting", "after"}
    return "waiting" if at_rest and "waiting" in states else "in_progress"


def _newest(consumers: list[ConsumerStatus]) -> dict[str, ConsumerStatus]:
    newest: dict[str, ConsumerStatus] = {}
    for consumer in consumers:
        newest.setdefault(consumer.consumer, consumer)  # the newest come first
    return newest


def _silent(consumer: ConsumerStatus, now: float) -> bool:
    return now - consumer.seen_at > CONSUMER_SILENT_AFTER_S
