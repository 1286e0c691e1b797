"""The rules' input: the pipeline's records of one student, and live looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection

from consumers.directory.objects import EntryObject
from consumers.directory.trial import PasswordPolicy
from consumers.kit.connector import TargetObject
from consumers.kit.handler import AMBIGUOUS, COLLISION, OUT_OF_PLACE, OUT_OF_REACH
from consumers.mailbox.commands import Observed
from consumers.registry import pending_facts, teachings
from consumers.registry.account import Known
from consumers.registry.esi import Esis, EsiState
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.people import KnownPerson, Names, People
from consumers.registry.settings import EsiRules
from pipeline import accounts, parking, status
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.parking import Parked
from pipeline.status import ConsumerStatus
from pipeline.target import Preview
from producers.activation import mail_proofs, request_rows
from producers.activation.mail_proofs import MailProof
from producers.activation.proofs import PASSWORD
from schemas.account import Account, Lane
from schemas.language import Language
from sesame.acts.acts import utc
from sesame.login import cas_logins
from sesame.login.cas_logins import CasLogin
from sesame.login.outcome import ProbeResult
from sesame.operations.people.diagnosis.openings import OpeningChange, smallest
from sesame.operations.people.diagnosis.person import (
    CONSUMER_SILENT_AFTER_S,
    PersonStatus,
    TargetStatus,
    person_status,
)
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.words import glossary, word

CAS: Final = "cas"

IN_THE_WAY: Final = frozenset({AMBIGUOUS, COLLISION, OUT_OF_PLACE, OUT_OF_REACH})
"""Obstacles of a look: another's object, or one that we may not write."""


@dataclass(frozen=True)
class Live:
    """The servers' answers just now. None: not looked at, or unseen; `unseen` tells why.

    Attributes:
        entries: the directory's, with this student number.
        policy: the password policy that applies.
        moodle: the users of Moodle with this student number.
        objects: what a turn would write now at each target that is found by entry point.
        login: how the login probe ended: a service account's, not this student's.
        redirect_script: the sieve script that the account wants; None: no redirection.
        auth: the authentication method that Moodle users should have.
        unseen: reason by service; for operators.
    """

    entries: tuple[EntryObject, ...] | None = None
    policy: PasswordPolicy | None = None
    mailbox: Observed | None = None
    moodle: tuple[TargetObject, ...] | None = None
    objects: Mapping[str, Preview] = field(default_factory=dict)
    login: ProbeResult | None = None
    redirect_script: str | None = None
    auth: str = "cas"
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def entry(self) -> EntryObject | None:
        """The directory's entry, if there is exactly one."""
        return self.entries[0] if self.entries is not None and len(self.entries) == 1 else None


@dataclass(frozen=True)
class Situation:
    """One student's situation at one moment.

    Attributes:
        person: as the registry knows them; None: this number was never imported.
        account, status: the account, and each target's state; None: there is no account.
        requested_at: of an activation that is not settled yet.
        held: facts that wait for a decision or for an enrolment.
        login: what was seen of logins by CAS; None: nothing.
        titles: what people call the services of other packages' connectors, by target and language.
        components: names of components by code.
        lags: unsettled records by consumer and lane, over all living processes.
        refused: the last message with a code, if the mail server refused it for good.
        warned_at: when the last warning that access ends was sent; None: there was none.
        prolongations_left: how often the student may still prolong access that ends.
        changes: what would open each target that is shut or waits for the registrar; see `openings`.
        esi: whether there is a European Student Identifier; None: the site mints none.
    """

    number: str
    now: datetime
    person: KnownPerson | None = None
    account: Account | None = None
    status: PersonStatus | None = None
    parked: Mapping[str, Parked] = field(default_factory=dict)
    letters: tuple[DeadLetter, ...] = ()
    consumers: Mapping[str, ConsumerStatus] = field(default_factory=dict)
    lags: Mapping[str, Mapping[Lane, int]] = field(default_factory=dict)
    requested_at: datetime | None = None
    held: int = 0
    login: CasLogin | None = None
    uses_cas: bool = False
    uses_sms: bool = False
    titles: Mapping[str, Mapping[Language, str]] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    refused: MailProof | None = None
    warned_at: datetime | None = None
    prolongations_left: int = 0
    changes: Mapping[str, tuple[OpeningChange, ...]] = field(default_factory=dict)
    esi: EsiState | None = None
    live: Live = field(default_factory=Live)

    @property
    def open(self) -> Account | None:
        """The account, if activated with open access, so that it should work."""
        account = self.account
        return account if account is not None and account.activated_at and account.access_open else None

    def service(self, name: str, language: Language) -> str:
        """The name that students use for a service."""
        kind = "student_services" if name in glossary()["student_services"] else "services"
        return self.titles.get(name, {}).get(language) or word(kind, name, language)

    def component(self, code: str) -> str:
        """A component's name, or its code."""
        return self.components.get(code, code)

    def target(self, name: str) -> TargetStatus | None:
        """One target's status; None: no account, or a target not provisioned here."""
        targets = self.status.targets if self.status is not None else ()
        return next((each for each in targets if each.target == name), None)

    def done(self, name: str) -> bool:
        """Whether the target is recorded as holding all it can of the newest account."""
        found = self.target(name)
        if found is None or (found.state == "waiting" and explain(found.reason).held_back):
            return False
        return found.state in ("provisioned", "waiting")

    def open_at(self, name: str) -> Account | None:
        """The account, if it should work at this target."""
        return self.open if self.open is not None and self.open.at(name).access_open else None

    def should_work(self, name: str) -> Account | None:
        """The account, if this target is recorded as holding it: the server must agree."""
        return self.open_at(name) if self.done(name) else None


def gather(
    database: Database,
    number: str,
    *,
    targets: tuple[str, ...],
    follows: Mapping[str, str],
    uses_cas: bool,
    uses_sms: bool = False,
    titles: Mapping[str, Mapping[Language, str]] = MappingProxyType({}),
    components: Mapping[str, str] = MappingProxyType({}),
    lifecycle: Lifecycle | None = None,
    esi: EsiRules | None = None,
) -> Situation:
    """Gather what the store knows of a student; query no server."""
    people = People(database)
    with database.read() as connection:
        found = person_status(connection, database, number, targets=targets, follows=follows)
        account = accounts.find(connection, number)
        person = people.known(connection, number)
        times = len(person.prolongations) if person is not None else 0
        now = database.now(connection)
        requested_at = _requested(connection, number, account)
        changes: dict[str, tuple[OpeningChange, ...]] = {}
        if lifecycle is not None and person is not None and account is not None:
            known = _known(connection, people, person, account, requested_at)
            changes = smallest(known, targets, lifecycle, utc(now).date())
        warned_at = mail_proofs.last_sent(connection, number, mail_proofs.LAST)
        consumers: dict[str, ConsumerStatus] = {}
        lags: dict[str, dict[Lane, int]] = {}
        for each in status.statuses(connection):
            consumers.setdefault(each.consumer, each)  # the newest come first
            if now - each.seen_at <= CONSUMER_SILENT_AFTER_S:
                mine = lags.setdefault(each.consumer, dict.fromkeys(Lane, 0))
                mine[Lane.PERSONAL] += each.lag_personal
                mine[Lane.BULK] += each.lag_bulk
        return Situation(
            number=number,
            now=utc(now),
            person=person,
            account=account,
            status=found,
            parked=parking.all_parked_of(connection, number),
            letters=_newest(dead_letters.unresolved(connection, student_number=number), targets),
            consumers=consumers,
            lags=lags,
            requested_at=requested_at,
            held=len(pending_facts.held(connection, number)),
            login=cas_logins.of(connection, number),
            uses_cas=uses_cas,
            uses_sms=uses_sms,
            titles=titles,
            components=components,
            refused=mail_proofs.last_refused(connection, number, PASSWORD),
            warned_at=None if warned_at is None else utc(warned_at),
            prolongations_left=lifecycle.rules.prolongations_left(times) if lifecycle is not None else 0,
            changes=changes,
            esi=None if person is None else Esis(database, people, esi).state(connection, person),
        )


def _known(
    connection: Connection,
    people: People,
    person: KnownPerson,
    account: Account,
    requested_at: datetime | None,
) -> Known:
    """The registry's inputs of this account; an activation that is not settled yet counts."""
    numbers = (
        account.student_number,
        *(each.student_number for each in people.merged_into(connection, account.student_number)),
    )
    activated = account.activated_at or requested_at
    return Known(
        replace(
            person, holds=account.holds, activated_at=None if activated is None else activated.timestamp()
        ),
        Names(account.login, account.mail, account.principal),
        (account.mail, *account.aliases),
        account.enrolments,
        account,
        teachings.held(connection, *numbers),
        held=True,  # nothing closes today that the account does not show closed
    )


def _newest(letters: Iterable[DeadLetter], targets: Sequence[str]) -> tuple[DeadLetter, ...]:
    """The newest dead letter of each target, and all of the registry's.

    A target's older one is about an account that has changed since; the registry's are about different facts.
    """
    ordered = sorted(letters, key=lambda letter: letter.recorded_at)
    last = {letter.consumer: letter for letter in ordered}
    return tuple(each for each in ordered if each.consumer not in targets or each is last[each.consumer])


def _requested(connection: Connection, number: str, account: Account | None) -> datetime | None:
    if account is not None and account.activated_at is not None:
        return None
    request = request_rows.find(connection, [number]).get(number)
    return None if request is None else utc(request.intended_at)
