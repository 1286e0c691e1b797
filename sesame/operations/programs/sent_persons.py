"""Persons sent by programs, one at a time: imported as a file, then awaited.

They are the registrar's facts, of another source. Login and addresses come from the ledger, and the answer
has them. A repeated request resumes: what was already published is recognised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from pydantic import Field

from consumers.registry import identity_doubts
from consumers.registry.identity_doubts import Verdict
from consumers.registry.people import People
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.registrar import external_ids
from producers.registrar.external_ids import EXTERNAL_ID_CHARACTERS_MAX
from producers.registrar.feed import StepKey
from schemas.account import Administrative, Enrolment, Hold
from schemas.language import gettext
from sesame.acts import acts
from sesame.acts.acts import OFFICE, Actor, ActRequest, act, check
from sesame.operations.access import holds
from sesame.operations.access.holds import HoldChangeRequest
from sesame.operations.programs.person_facts import (
    AsyncAnswer,
    PersonAccepted,
    PersonFacts,
    PersonInDoubt,
    PersonUnderWay,
    Receiving,
    Wait,
    is_held_as_asked,
    wait_for_accepted,
    wait_until,
)
from sesame.operations.programs.registered_persons import RegisteredPerson, find
from sesame.operations.programs.teaching_groups import leave_all


class SendPersonRequest(ActRequest):
    """A whole person: what is left out is removed.

    Attributes:
        enrolments: all that this source holds; missing ones that it held before end.
        active: False: shut by an administrative hold; True: that hold is lifted, and no other.
        approve: the id reported when the guard held this.
        accept: codes of values that look damaged, and are right.
        new: the number is unknown, unless this source sent it and never got an answer.
    """

    student_number: str
    external_id: str | None = Field(max_length=EXTERNAL_ID_CHARACTERS_MAX)
    birth_name: str | None
    usage_name: str | None
    given_name: str | None
    preferred_given_name: str | None
    birth_date: str | None
    ine: str | None
    personal_mail: str | None
    mobile: str | None
    enrolments: tuple[Enrolment, ...]
    active: bool
    approve: str | None = None
    accept: tuple[str, ...] = ()
    new: bool = False


class EndPersonRequest(ActRequest):
    """End a person's enrolments. `approve`: the id reported when the guard held this."""

    student_number: str
    approve: str | None = None


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


Still = Callable[[RegisteredPerson | None], None]
"""Called with the present person, under its lock; raises to refuse the act."""


@act("person.put", OFFICE)
def put(
    site: Receiving,
    actor: Actor,
    request: SendPersonRequest,
    *,
    clock: Callable[[], datetime],
    wait: Wait,
    still: Still = lambda _before: None,
    later: AsyncAnswer | None = None,
) -> RegisteredPerson | PersonAccepted:
    """Make a person as sent; return how they are afterwards.

    Args:
        later: allows a late answer, except for a new person who is shut from the start.

    Raises:
        PersonRefused, PersonStopped, PersonKnown, PersonMerged: nothing was done.
        PersonRejected, PersonInDoubt, PersonWithoutAccount: it was published, and has no effect.
        PersonUnderWay: repeat it.
        ActRefused: the hold is not the actor's to place or to lift; nothing was done.
        LogUnavailable, StoreUnavailable: repeat it.
    """
    number, database = request.student_number, site.database
    with _alone(number):
        wait_for_accepted(database, number, wait)
        before = find(database, number)
        still(before)
        sent = PersonFacts(site, actor, number, clock, approve=request.approve, accept=request.accept)
        _check_may_stand(database, request, before, sent)
        held = before is not None and Hold.ADMINISTRATIVE in before.holds
        changes_hold = held is request.active
        if changes_hold:
            check(actor, "hold.lift" if request.active else "hold.place")
        acts.note(database, actor, "person.put", student_number=number)
        if before is None or _stated(before) != request.model_copy(update=_APART):
            sent.publish(_lines(request, sent.held))
        if changes_hold and before is None:
            later = None  # the hold is placed once they are there
        patience = wait if later is None else later.wait
        try:
            if changes_hold and before is not None:
                _ask_for_hold(site, actor, request)
            sent.wait_for(patience)
            if changes_hold and before is None:
                _ask_for_hold(site, actor, request)
            wait_until(lambda: not changes_hold or is_held_as_asked(database, number), patience)
        except PersonUnderWay:
            if later is None:
                raise
            with database.write() as connection:
                external_ids.keep(connection, database, number, request.external_id)
                return sent.accept(connection, later, changes_hold=changes_hold)
        after = find(database, number)
        if after is None:
            raise why_not_shown(database, number)
        called_at: float | None = None
        if after.external_id != request.external_id or _is_unanswered(database, number):
            with database.write() as connection:
                called_at = external_ids.keep(connection, database, number, request.external_id)
        changed_at = after.changed_at if called_at is None else acts.utc(called_at)
        return after.model_copy(update={"external_id": request.external_id, "changed_at": changed_at})


@act("person.end", OFFICE)
def end(
    site: Receiving,
    actor: Actor,
    request: EndPersonRequest,
    *,
    clock: Callable[[], datetime],
    still: Still,
    wait: Wait,
    later: AsyncAnswer | None = None,
) -> PersonAccepted | None:
    """End all enrolments of a person, if no other source holds any.

    The account ends as any other does, and the person keeps the login.

    Raises:
        PersonElsewhere, PersonStopped: nothing was done.
        PersonRejected, PersonUnderWay: as `put`.
        LogUnavailable, StoreUnavailable: retry.
    """
    number, database = request.student_number, site.database
    with _alone(number):
        wait_for_accepted(database, number, wait)
        before = find(database, number)
        still(before)
        ending = PersonFacts(site, actor, number, clock, approve=request.approve)
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


_APART: Final = {"active": True, "external_id": None, "approve": None, "accept": (), "new": False}
"""Fields of a person that are no fact of the registrar's."""

_LOCKS: Final = tuple(threading.Lock() for _ in range(64))


@contextmanager
def _alone(student_number: str) -> Iterator[None]:
    """Exclude this process's other changes to this person."""
    with _LOCKS[hash(student_number) % len(_LOCKS)]:
        yield


def _stated(person: RegisteredPerson) -> SendPersonRequest:
    """A person by the registrar's present facts."""
    return SendPersonRequest(
        **{
            name: getattr(person, name) or None
            for name in SendPersonRequest.model_fields
            if name not in (*_APART, "enrolments")
        },
        enrolments=person.enrolments,
        **_APART,
    )


def _lines(request: SendPersonRequest, held: Collection[StepKey]) -> list[dict[str, str]]:
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
        "mobile": request.mobile,
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


def _ask_for_hold(site: Receiving, actor: Actor, request: SendPersonRequest) -> None:
    change = HoldChangeRequest(
        student_number=request.student_number,
        kind=Hold.ADMINISTRATIVE,
        reason=gettext("a program that sends persons said so"),
    )
    (holds.lift if request.active else holds.place)(site, actor, change)


def _check_may_stand(
    database: Database, request: SendPersonRequest, before: RegisteredPerson | None, sent: PersonFacts
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
    """Whether no program has been answered yet that this person exists."""
    with database.read() as connection:
        return not external_ids.is_kept(connection, number)


def why_not_shown(database: Database, number: str) -> SesameError:
    """Why a person with recorded enrolments has no account."""
    with database.read() as connection:
        doubts = identity_doubts.of(connection, number, [Verdict.OPEN])
    return PersonInDoubt() if doubts else PersonWithoutAccount()
