"""Persons as programs send them, one at a time: imported as a file is, then awaited from the registry.

What is sent are the registrar's facts, of a source of their own. The login and the addresses are the
ledger's: the answer says what they are. Whoever asks again goes on where it was: what was published already
is recognised.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from sqlalchemy import Connection

from consumers.registry import identity_doubts
from consumers.registry.doubts import DOUBTFUL
from consumers.registry.identity_doubts import Verdict
from consumers.registry.minter import NAME
from consumers.registry.people import People
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import SesameError
from producers.registrar import accepted_requests, external_ids
from producers.registrar.accepted_requests import AcceptedRequest
from producers.registrar.feed import StepKey, fact_id
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_runs import ImportSuperseded
from producers.registrar.profiles import SENT
from schemas.account import Administrative, Enrolment, Hold
from schemas.language import gettext
from sesame.operations import acts, holds
from sesame.operations.acts import Actor, ActRequest, Report, act, check
from sesame.operations.holds import HoldChange
from sesame.operations.imports import ImportRequest, RejectedLine, import_sent, rejected_lines
from sesame.operations.ports import Registering, Shutting
from sesame.operations.registered_persons import RegisteredPerson, find
from sesame.operations.teaching_groups import leave_all

REJECTED_SHOWN_MAX: Final = 20


class Receiving(Registering, Shutting, Protocol):
    """What persons are received with."""


class SentPerson(ActRequest):
    """A person, whole: what is not said is not so any more.

    Attributes:
        enrolments: all that this source holds; those that it held before, and are not among them, end.
        active: False: shut by an administrative hold; True: that hold is lifted, and no other.
        approve: the id that was told when the guard held this.
        new: nobody stands there yet, but for somebody whom this source sent and was never answered about.
    """

    student_number: str
    external_id: str | None
    birth_name: str | None
    usage_name: str | None
    given_name: str | None
    preferred_given_name: str | None
    birth_date: str | None
    ine: str | None
    personal_mail: str | None
    enrolments: tuple[Enrolment, ...]
    active: bool
    approve: str | None = None
    new: bool = False


class EndedPerson(ActRequest):
    """Whose enrolments end. `approve`: the id that was told when the guard held this."""

    student_number: str
    approve: str | None = None


class PersonRefused(SesameError):
    """Something is missing in what was sent of this person, or wrong: nothing of it was taken."""

    exit_code = 2

    def __init__(self, lines: Collection[RejectedLine]) -> None:
        super().__init__("; ".join(dict.fromkeys(f"{each.column}: {each.detail}" for each in lines)))


class PersonRejected(SesameError):
    """The registry did not take what was sent of this person. Its dead letter says why, and what to do."""


class PersonStopped(SesameError):
    """The guard holds this: persons who were sent by programs would lose too much of late. Where it is right,
    send the same again with the id as the parameter `approve`."""


class PersonInDoubt(SesameError):
    """It is not sure who this is: the names, the birth date or the INE are somebody else's too, or are not
    those that this number had. Nothing happens until somebody has decided: `sesame identities`."""


class PersonKnown(SesameError):
    """This person is there already: look them up, then change them. Nothing was done."""


class PersonElsewhere(SesameError):
    """The registrar's own file, or another source, holds enrolments of this person: only it can end them.
    Nothing was done."""


class PersonMerged(SesameError):
    """This number goes on as another one, as an operator has decided: send the person under that one. Nothing
    was done."""


class PersonWithoutAccount(SesameError):
    """The enrolments are recorded, and none of them opens an account: their year has ended."""


class PersonUnderWay(SesameError):
    """What was sent is published, and the registry has not applied it yet. Send the same again: it goes on
    where it is, and is done once."""


Still = Callable[[RegisteredPerson | None], None]
"""Told who stands there, under the person's lock; raises what keeps this from being done."""

Wait = Callable[[], bool]
"""Waits a little; False: no longer."""


@dataclass(frozen=True)
class Later:
    """How whoever asks is answered if it takes longer than they wait: see `AcceptedRequest`."""

    txn: str
    method: str
    wait: Wait


class PersonAccepted(Report):
    """All is in the log, and is answered later; also if no process of now lives to see it."""

    student_number: str


@act("person.put")
def put(
    site: Receiving,
    actor: Actor,
    request: SentPerson,
    *,
    clock: Callable[[], datetime],
    wait: Wait,
    still: Still = lambda _before: None,
    later: Later | None = None,
) -> RegisteredPerson | PersonAccepted:
    """Let a person be as they are sent; how they stand afterwards.

    Args:
        later: who asks may be answered later, but of somebody new who is shut from the beginning.

    Raises:
        PersonRefused, PersonStopped, PersonKnown, PersonMerged: nothing was done.
        PersonRejected, PersonInDoubt, PersonWithoutAccount: it was published, and does not show.
        PersonUnderWay: send it again.
        ActRefused: the hold is not the actor's to place or to lift; nothing was done.
        LogUnavailable, StoreUnavailable: send it again.
    """
    number, database = request.student_number, site.database
    with _alone(number):
        _wait_for_accepted(database, number, wait)
        before = find(database, number)
        still(before)
        sent = _Import(site, actor, number, request.approve, clock)
        _check_may_stand(database, request, before, sent)
        held = before is not None and Hold.ADMINISTRATIVE in before.holds
        changes_hold = held is request.active
        if changes_hold:
            check(actor, "hold.lift" if request.active else "hold.place")
        acts.note(database, actor, "person.put", student_number=number)
        if before is None or _stated(before) != request.model_copy(update=_APART):
            sent.publish(_lines(request, sent.held))
        if changes_hold and before is None:
            later = None  # the hold is asked for once they are there
        patience = wait if later is None else later.wait
        try:
            if changes_hold and before is not None:
                _ask_for_hold(site, actor, request)
            sent.wait_for(patience)
            if changes_hold and before is None:
                _ask_for_hold(site, actor, request)
            _wait_until(lambda: not changes_hold or _is_held_as_asked(database, number), patience)
        except PersonUnderWay:
            if later is None:
                raise
            with database.write() as connection:
                external_ids.keep(connection, database, number, request.external_id)
                return sent.accept(connection, later, changes_hold=changes_hold)
        after = find(database, number)
        if after is None:
            raise why_not_shown(database, number)
        if after.external_id != request.external_id or _is_unanswered(database, number):
            with database.write() as connection:
                external_ids.keep(connection, database, number, request.external_id)
        return after.model_copy(update={"external_id": request.external_id})


@act("person.end")
def end(
    site: Receiving,
    actor: Actor,
    request: EndedPerson,
    *,
    clock: Callable[[], datetime],
    still: Still,
    wait: Wait,
    later: Later | None = None,
) -> PersonAccepted | None:
    """End all enrolments of a person, if no other source holds any. The account ends as any other does, and
    the login stays theirs.

    Raises:
        PersonElsewhere, PersonStopped: nothing was done.
        PersonRejected, PersonUnderWay: as `put`.
        LogUnavailable, StoreUnavailable: ask again.
    """
    number, database = request.student_number, site.database
    with _alone(number):
        _wait_for_accepted(database, number, wait)
        before = find(database, number)
        still(before)
        ending = _Import(site, actor, number, request.approve, clock)
        steps = (
            {(number, each.year, each.step, each.step_version) for each in before.enrolments}
            if before
            else set()
        )
        if not ending.may_end(steps):
            raise PersonElsewhere
        acts.note(database, actor, "person.end", student_number=number)
        ending.publish([_ended(key) for key in sorted(ending.held | steps)])
        ends = True
        try:
            ending.wait_for(wait if later is None else later.wait)
        except PersonUnderWay:
            if later is None:
                raise
            ends = False
        leave_all(database, number)
        with database.write() as connection:
            external_ids.forget(connection, number)
            return None if ends or later is None else ending.accept(connection, later, changes_hold=False)


_APART: Final = {"active": True, "external_id": None, "approve": None, "new": False}
"""What of a person is no fact of the registrar's."""

_LOCKS: Final = tuple(threading.Lock() for _ in range(64))
_ONE_AT_A_TIME: Final = threading.Lock()
"""A newer import of this source ends an older one: those of this process wait for one another."""


@contextmanager
def _alone(student_number: str) -> Iterator[None]:
    """Nobody else of this process changes this person meanwhile."""
    with _LOCKS[hash(student_number) % len(_LOCKS)]:
        yield


def _stated(person: RegisteredPerson) -> SentPerson:
    """What the registrar's facts about somebody say now."""
    return SentPerson(
        **{
            name: getattr(person, name) or None
            for name in SentPerson.model_fields
            if name not in (*_APART, "enrolments")
        },
        enrolments=person.enrolments,
        **_APART,
    )


def _lines(request: SentPerson, held: Collection[StepKey]) -> list[dict[str, str]]:
    """The lines of an import, by the columns of `profiles.sent`."""
    person = {
        "studentNumber": request.student_number,
        "familyName": request.birth_name,
        "usageName": request.usage_name,
        "givenName": request.given_name,
        "preferredGivenName": request.preferred_given_name,
        "birthDate": request.birth_date,
        "ine": request.ine,
        "personalMail": request.personal_mail,
    }
    given = {name: value for name, value in person.items() if value}
    lines = [given | _step(each) for each in request.enrolments]
    said = {(request.student_number, each.year, each.step, each.step_version) for each in request.enrolments}
    return lines + [_ended(key) for key in sorted(set(held) - said)]


def _step(enrolment: Enrolment) -> dict[str, str]:
    waits = enrolment.administrative is Administrative.AWAITING_PAYMENT
    return {
        "year": str(enrolment.year),
        "step": enrolment.step,
        "stepVersion": enrolment.step_version,
        "stepLabel": enrolment.step_label,
        "component": enrolment.component,
        "primary": "true" if enrolment.primary else "false",
        "administrative": (Administrative.IN_FORCE if waits else enrolment.administrative).value,
        "payment": "awaiting" if waits else "paid",
        "pedagogical": enrolment.pedagogical.value,
    }


def _ended(key: StepKey) -> dict[str, str]:
    student, year, step, version = key
    return {
        "studentNumber": student,
        "year": str(year),
        "step": step,
        "stepVersion": version,
        "administrative": Administrative.CANCELLED.value,
    }


class _Import:
    """One person's lines on their way.

    Attributes:
        held: the enrolments that this source holds of the person.
    """

    def __init__(
        self, site: Receiving, actor: Actor, number: str, approve: str | None, clock: Callable[[], datetime]
    ) -> None:
        self._site = site
        self._actor = replace(actor, acts=actor.acts | {"import"})  # of this person alone
        self._number = number
        self._approve = approve
        self._clock = clock
        self._sent: list[StepKey] = []
        self._published = SqlFeedMemory(site.database).published(SENT, {number})
        self.held = frozenset(key for key, each in self._published.items() if each.live)

    def may_end(self, steps: Collection[StepKey]) -> bool:
        """Whether no other source holds these enrolments: this one does, or has ended them a moment ago."""
        ended = [key for key in steps if key not in self.held]
        if not all(key in self._published for key in ended):
            return False
        with self._site.database.read() as connection:
            recorded = People(self._site.database).step_sequences(connection, self._number)
        return all(recorded.get(key[1:], -1) < self._published[key].sequence for key in ended)

    def publish(self, lines: Collection[Mapping[str, str]]) -> None:
        """Import these lines, all or none: what is published already is not published again."""
        if not lines:
            return
        with TemporaryDirectory(prefix="sesame-person-") as folder, _ONE_AT_A_TIME:
            file = Path(folder) / "person.jsonl"
            file.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="ascii")
            for dry_run in (True, False) if len(lines) > 1 else (False,):
                self._import(file, dry_run=dry_run)
        self._sent = [(self._number, int(each["year"]), each["step"], each["stepVersion"]) for each in lines]

    def _import(self, file: Path, *, dry_run: bool) -> None:
        request = ImportRequest(profile=SENT, file=file, approve=self._approve, dry_run=dry_run)
        try:
            report = import_sent(self._site, self._actor, request, file, clock=self._clock)
        except ImportSuperseded as error:  # by another process
            raise PersonUnderWay from error
        if report.rejects_path is not None:
            raise PersonRefused(list(islice(rejected_lines(report.rejects_path), REJECTED_SHOWN_MAX)))
        if report.held:
            raise PersonStopped(gettext("the id: {id}", id=report.approval))

    def wait_for(self, wait: Wait) -> None:
        """Return once the registry has applied what was published of these enrolments.

        Raises:
            PersonInDoubt, PersonRejected: it will not, as things stand.
            PersonUnderWay: it has not yet.
        """
        _wait_until(lambda: _is_applied(self._site.database, self._number, self._sent), wait)

    def accept(self, connection: Connection, later: Later, *, changes_hold: bool) -> PersonAccepted:
        """Remember that this is to be answered."""
        now = self._site.database.now(connection)
        request = AcceptedRequest(
            later.txn, self._number, later.method, self._sent, changes_hold, accepted_at=now
        )
        accepted_requests.add(connection, request)
        return PersonAccepted(student_number=self._number)


def _wait_until(is_so: Callable[[], bool], wait: Wait) -> None:
    while not is_so():
        if not wait():
            raise PersonUnderWay


def _is_applied(database: Database, number: str, steps: Collection[StepKey]) -> bool:
    """Whether the registry has applied what this source published last of these enrolments.

    Raises:
        PersonInDoubt, PersonRejected: it will not, as things stand.
    """
    if not steps:
        return True
    published = SqlFeedMemory(database).published(SENT, {number})
    with database.read() as connection:
        recorded = People(database).step_sequences(connection, number)
        left = [
            key for key in steps if key in published and recorded.get(key[1:], -1) < published[key].sequence
        ]
        facts = [fact_id(SENT, key, published[key]) for key in left]
        letters = dead_letters.of_events(connection, NAME, facts) if facts else {}
    for letter in letters.values():
        if letter.cause == DOUBTFUL:
            raise PersonInDoubt
        raise PersonRejected(letter.cause)
    return not left


def is_done(database: Database, request: AcceptedRequest) -> bool:
    """Whether the registry has applied an accepted request.

    Raises:
        PersonInDoubt, PersonRejected: it will not, as things stand.
    """
    number = request.student_number
    return _is_applied(database, number, request.steps) and (
        not request.changes_hold or _is_held_as_asked(database, number)
    )


def _wait_for_accepted(database: Database, number: str, wait: Wait) -> None:
    """Wait for what was accepted of this person: what is read before it is applied would undo it."""
    with database.read() as connection:
        accepted = accepted_requests.of_student(connection, number)
    for request in accepted:
        with suppress(PersonInDoubt, PersonRejected):
            _wait_until(partial(is_done, database, request), wait)


def _is_held_as_asked(database: Database, number: str) -> bool:
    """Whether the administrative hold is as it was asked for last, by whomever."""
    with database.read() as connection:
        return holds.is_as_asked(connection, database, number, Hold.ADMINISTRATIVE)


def _ask_for_hold(site: Receiving, actor: Actor, request: SentPerson) -> None:
    """Ask the registry to place or to lift the administrative hold."""
    change = HoldChange(
        student_number=request.student_number,
        kind=Hold.ADMINISTRATIVE,
        reason=gettext("a program that sends persons said so"),
    )
    (holds.lift if request.active else holds.place)(site, actor, change)


def _check_may_stand(
    database: Database, request: SentPerson, before: RegisteredPerson | None, sent: _Import
) -> None:
    number = request.student_number
    if before is not None:
        if request.new and not (sent.held and _is_unanswered(database, number)):
            raise PersonKnown
        return
    with database.read() as connection:
        person = People(database).known(connection, number)
    if person is not None and person.merged_into is not None:
        raise PersonMerged(person.merged_into)


def _is_unanswered(database: Database, number: str) -> bool:
    """Whether no program was told that this person is here."""
    with database.read() as connection:
        return not external_ids.is_kept(connection, number)


def why_not_shown(database: Database, number: str) -> SesameError:
    """Why somebody whose enrolments are recorded has no account."""
    with database.read() as connection:
        doubts = identity_doubts.of(connection, number, [Verdict.OPEN])
    return PersonInDoubt() if doubts else PersonWithoutAccount()
