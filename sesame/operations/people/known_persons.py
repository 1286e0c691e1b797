"""The person of a student number, with all that tells people apart."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from consumers.registry import pending_facts
from consumers.registry.erasure import erasures
from consumers.registry.people import Identity, KnownPerson, People
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from schemas.account import Account, dated_step
from schemas.envelope import from_record
from schemas.events import EnrolmentRecorded
from schemas.language import gettext
from sesame.acts.acts import Report, utc
from sesame.acts.ports import Recognising, Stored


class NoSuchStudent(SesameError):
    """The registry has no account for this student number. Check the number; if it is right, the registrar's
    file has not been imported, or its line was refused: see the rejects file."""


class ErasedAlready(SesameError):
    """This person was erased, and nothing was kept but what the receipt says."""


def refuse_erased(site: Recognising, student_number: str) -> None:
    """Refuse a number of an erased person. Raises `ErasedAlready`."""
    privacy = site.privacy_if_any
    if privacy is None:
        return
    with site.database.read() as connection:
        done = erasures.last_done(connection, privacy.pseudonym(student_number))
    if done is not None:
        raise ErasedAlready(
            gettext("this person was erased already, on {day}", day=utc(done.ended_at or 0.0).date()),
            remedy=gettext("The receipt: sesame privacy receipt {id}", id=done.id),
        )


def names_of(site: Stored, student_numbers: Collection[str]) -> dict[str, str]:
    """The names of these students, as far as known, for a look that is audited."""
    with site.database.read() as connection:
        known = People(site.database).known_among(connection, student_numbers).values()
    return {one.student_number: one.identity.full_name for one in known}


class Side(Report):
    """One of two who may be one person. Personal data: for the operator's eyes.

    Attributes:
        enrolments: year (of students), step and component of each that was not cancelled.
        stage, login, mail, activated_at: of the account; None: there is none.
        merged_into: the number under which this person continues, by decision.
    """

    student_number: str
    birth_name: str
    usage_name: str | None
    given_name: str
    preferred_given_name: str | None
    birth_date: str
    ine: str | None
    enrolments: tuple[str, ...]
    holds: tuple[str, ...]
    stage: str | None
    login: str | None
    mail: str | None
    activated_at: datetime | None
    merged_into: str | None


def known(connection: Connection, database: Database, student_number: str) -> Side | None:
    """The person of a number; None if the registry does not know it."""
    person = People(database).known(connection, student_number)
    return None if person is None else side(connection, database, person)


def side(connection: Connection, database: Database, person: KnownPerson) -> Side:
    """The person with enrolments and account."""
    enrolments = People(database).enrolments(connection, person.student_number)
    steps = sorted({f"{dated_step(each.year, each.step)} {each.component}" for each in enrolments})
    return _made(person, tuple(steps), accounts.find(connection, person.student_number))


def claimed(connection: Connection, student_number: str, identity: Identity) -> Side:
    """The person that the held facts claim for this number."""
    facts = pending_facts.held(connection, student_number)
    events = [from_record(student_number, fact.headers, fact.value).event for fact in facts]
    said = [event for event in events if isinstance(event, EnrolmentRecorded)]
    ine = next((event.ine for event in said if event.ine), None)
    steps = sorted({f"{dated_step(event.year, event.step)} {event.component}" for event in said})
    return _made(KnownPerson(student_number, identity, 0, ine=ine), tuple(steps), None)


def _made(person: KnownPerson, steps: tuple[str, ...], account: Account | None) -> Side:
    identity = person.identity
    return Side(
        student_number=person.student_number,
        birth_name=identity.birth_name,
        usage_name=identity.usage_name,
        given_name=identity.given_name,
        preferred_given_name=identity.preferred_given_name,
        birth_date=identity.birth_date.isoformat(),
        ine=person.ine,
        enrolments=steps,
        holds=tuple(sorted(person.holds)),
        stage=account.stage.value if account is not None else None,
        login=account.login if account is not None else None,
        mail=account.mail if account is not None else None,
        activated_at=account.activated_at if account is not None else None,
        merged_into=person.merged_into,
    )
