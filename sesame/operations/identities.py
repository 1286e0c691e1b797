"""Doubtful identities, as an operator looks at them: each side with all that tells people apart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from consumers.registry import identity_doubts as store
from consumers.registry import pending_facts
from consumers.registry.account import shown_person
from consumers.registry.identity import LOGIN, MAIL, Templates
from consumers.registry.identity_doubts import Doubt, Verdict
from consumers.registry.ledger import SEEN, SqlLedger
from consumers.registry.people import Identity, KnownPerson, People
from consumers.registry.settings import RegistrySettings
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from schemas.account import Account
from schemas.envelope import from_record
from schemas.events import EnrolmentRecorded


@dataclass(frozen=True)
class Side:
    """One of the two who may be one person. Personal data: for the operator's eyes.

    Attributes:
        enrolments: year, step and component of each that was not cancelled.
        stage, login, mail, activated_at: of the account; None: there is none.
        merged_into: the number that this person goes on under, as was decided.
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


@dataclass(frozen=True)
class Case:
    """One doubt with both sides. `after` is the other number, or who the number is said to be now; None: who
    it was said to be is not kept once it is decided."""

    doubt: Doubt
    before: Side
    after: Side | None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "student_number": self.doubt.student_number,
            "other": self.doubt.other_number,
            "evidence": list(self.doubt.evidence),
            "state": self.doubt.state.value,
            "raised_at": datetime.fromtimestamp(self.doubt.raised_at, UTC),
            "decided_at": self.doubt.decided_at and datetime.fromtimestamp(self.doubt.decided_at, UTC),
            "before": asdict(self.before),
            "after": None if self.after is None else asdict(self.after),
        }


def listed(database: Database, states: Collection[Verdict]) -> list[Doubt]:
    """Every doubt that stands so, oldest first."""
    with database.read() as connection:
        return store.in_state(connection, states)


def cases(database: Database, student_number: str) -> list[Case]:
    """Every doubt that this number has to do with, open ones first."""
    people = People(database)
    with database.read() as connection:
        found = store.of(connection, student_number)
        found.sort(key=lambda doubt: doubt.state is not Verdict.OPEN)
        made = (_case(connection, people, doubt) for doubt in found)
        return [case for case in made if case is not None]


def known(database: Database, student_number: str) -> Side | None:
    """Who a number is; None: nobody that the registry knows."""
    with database.read() as connection:
        return _side(connection, People(database), student_number)


class NotMintedAgain(SesameError):
    """The names of this account stay as they are."""


@dataclass(frozen=True)
class Minting:
    """The names of an account, and those that would be minted for it now; a counter may follow these."""

    login: str
    mail: str
    new_login: str
    new_mail: str


def minting(database: Database, student_number: str, settings: RegistrySettings) -> Minting:
    """What minting this account again would change.

    Raises:
        NotMintedAgain: it cannot be, or would change nothing: why, and what to do.
    """
    people = People(database)
    with database.read() as connection:
        person, account = people.known(connection, student_number), accounts.find(connection, student_number)
        if person is None or account is None:
            raise NotMintedAgain(
                f"{student_number!r} has no account",
                remedy="Check the number: `sesame identities` takes it as the registrar writes it.",
            )
        _refuse_what_was_seen(connection, database, person, account)
    names = Templates(shown_person(person, settings), student_number, settings)
    found = Minting(account.login, account.mail, names.login(), names.address(MAIL, names.login()))
    if (found.login, found.mail) == (found.new_login, found.new_mail):
        raise NotMintedAgain(
            f"the names of {student_number} give {found.login} and {found.mail} again",
            remedy="Have the registrar correct the names, import the file, and see whether `sesame "
            f"identities show {student_number}` asks about it; then mint again.",
        )
    return found


def _refuse_what_was_seen(
    connection: Connection, database: Database, person: KnownPerson, account: Account
) -> None:
    number = person.student_number
    if person.activated_at is not None:
        raise NotMintedAgain(
            f"the account of {number} has been activated: {account.login} is known, and stays",
            remedy="Have the registrar correct the names and import the file: what is shown follows, and the "
            "mail address as `registry.rename` says.",
        )
    holder = SqlLedger(connection, database, 0.0).holders([(LOGIN, account.login)])[LOGIN, account.login]
    if holder.origin in SEEN:
        raise NotMintedAgain(
            f"{account.login} was not minted: it was found in the {holder.origin}, and is in use there",
            remedy="If it is to change, change it there.",
        )


def _case(connection: Connection, people: People, doubt: Doubt) -> Case | None:
    """The case; for a pair, the number that was there first comes first."""
    mine = _side(connection, people, doubt.student_number)
    if mine is None:
        return None
    if doubt.other_number is not None:
        theirs = _side(connection, people, doubt.other_number)
        return None if theirs is None else Case(doubt, before=theirs, after=mine)
    claimed = None if doubt.claimed is None else _claimed(connection, doubt.student_number, doubt.claimed)
    return Case(doubt, before=mine, after=claimed)


def _side(connection: Connection, people: People, student_number: str) -> Side | None:
    person = people.known(connection, student_number)
    if person is None:
        return None
    enrolments = people.enrolments(connection, student_number)
    steps = sorted({f"{each.year} {each.step} {each.component}" for each in enrolments})
    return _made(person, tuple(steps), accounts.find(connection, student_number))


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


def _claimed(connection: Connection, student_number: str, identity: Identity) -> Side:
    """Who the number is said to be, as far as the facts tell that are held."""
    facts = pending_facts.held(connection, student_number)
    events = [from_record(student_number, fact.headers, fact.value).event for fact in facts]
    said = [event for event in events if isinstance(event, EnrolmentRecorded)]
    ine = next((event.ine for event in said if event.ine), None)
    steps = sorted({f"{event.year} {event.step} {event.component}" for event in said})
    return _made(KnownPerson(student_number, identity, 0, ine=ine), tuple(steps), None)
