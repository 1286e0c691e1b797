"""The registry's handler: applies facts in order, and mints account versions.

Applying a fact twice changes nothing: enrolments are ordered by the registrar's source sequence, credentials
by the vault's, and the last other facts of each student are remembered by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from consumers.registry import NAME, choices, pending_facts
from consumers.registry.decisions import Decisions
from consumers.registry.doubts import Doubts, bury_fact
from consumers.registry.erasure.returns import ErasedPersons
from consumers.registry.esi import Esis
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.lifecycle.warnings import WARNING_DUE, EndNotices, Warnings
from consumers.registry.minter import TIMERS, Minter, Origin, Propagated
from consumers.registry.pending_facts import PendingFact
from consumers.registry.people import KnownPerson, People
from consumers.registry.registrar import Holders, OnNewAddress, RegistrarFacts
from consumers.registry.settings import EsiRules, RegistrySettings
from pipeline import accounts, replays
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.facts import Fact, Rejected
from pipeline.timers import OnDue
from pipeline.vault import SealBroken, Vault, forget_kept
from schemas import catalogue, events
from schemas.account import Hold, Lane, Stage
from schemas.envelope import EnvelopeError, Message, from_record

if TYPE_CHECKING:
    from consumers.registry.erasure.privacy_key import PrivacyKey

RECENT_FACTS = 32  # ids remembered per student: the loop redelivers one transaction, rarely more
UNKNOWN = "unknown_student"

_CAUSES: dict[type[events.Event], events.Cause] = {
    events.ActivationRequested: events.Cause.ACTIVATION,
    events.CredentialChanged: events.Cause.CREDENTIAL,
    events.PreferenceChanged: events.Cause.PREFERENCE,
    events.HoldPlaced: events.Cause.HOLD,
    events.HoldLifted: events.Cause.HOLD,
    events.ProlongationRequested: events.Cause.LIFECYCLE,
    events.CanaryReset: events.Cause.LIFECYCLE,
}


class Registry:
    """Turns facts into accounts. Implements `pipeline.facts.FactHandler`.

    Args:
        database: the store; its clock is the registry's.
        vault: opens personal values by reference.
        settings: how names are minted and accounts made.
        rules: what follows the last enrolment.
        services: see `Lifecycle`.
        notices: warn students that access ends; None: no warnings.
        on_new_address: called when the registrar gives a known student another personal address.
        privacy: recognises erased persons; None: this site erases no one.
        esi: which INEs are definitive; None: no ESIs are minted.
    """

    name = NAME
    topics: tuple[str, ...] = (catalogue.ENROLMENTS, *catalogue.both_lanes(catalogue.ACTIVATIONS))

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: RegistrySettings,
        *,
        propagated: Propagated,
        rules: LifecycleSettings | None = None,
        services: Iterable[str] = (),
        notices: EndNotices | None = None,
        on_new_address: OnNewAddress = lambda _connection, _student_number, _now: None,
        privacy: PrivacyKey | None = None,
        esi: EsiRules | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._people = People(database)
        self.lifecycle = Lifecycle(settings, rules or LifecycleSettings(), tuple(services))
        self._warnings = Warnings(database, self._people, self.lifecycle, notices)
        self._esis = Esis(database, self._people, esi)
        self._minter = Minter(database, self._people, self.lifecycle, propagated, self._warnings, self._esis)
        self._doubts = Doubts(database, self._people)
        if privacy is not None:
            self.recognise_by(privacy)
        holders = Holders(database, self._doubts)
        self._registrar = RegistrarFacts(
            database, self._people, self._minter, self._doubts, holders, on_new_address
        )
        self._decisions = Decisions(database, self._people, self._minter, self._doubts, holders)

    def recognise_by(self, privacy: PrivacyKey) -> None:
        """Recognise erased persons by this key, made after the registry had started."""
        self._minter.privacy = self._esis.privacy = privacy
        self._doubts.erased = ErasedPersons(self._settings, privacy)

    # --- the loop's side ---

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Apply facts. Raises Rejected: its cause and message say why, and what to do."""
        enrolled = {m.event.student_number for _, m in facts if isinstance(m.event, events.EnrolmentRecorded)}
        newcomers = self._registrar.newcomers(connection, enrolled) if enrolled else set()
        for record, message in facts:
            number = message.event.student_number
            self._apply(connection, record, message, newcomer=number in newcomers)
            newcomers.discard(number)

    def _apply(
        self, connection: Connection, record: Record, message: Message, *, newcomer: bool = False
    ) -> None:
        event = message.event
        if isinstance(event, events.EnrolmentRecorded):
            known = not self._registrar.recorded(connection, event, message, record, newcomer=newcomer)
            if not (known or newcomer):
                for fact in pending_facts.take(connection, event.student_number):
                    self._apply_pending(connection, fact)
        elif isinstance(event, events.EnrolmentCancelled):
            self._registrar.cancelled(connection, event, message)
        elif isinstance(event, events.TeachingsRecorded):
            self._registrar.taught(connection, event, message)
        elif isinstance(event, events.IdentityDecided):
            lane = catalogue.lane_of(record.topic)
            self._decisions.apply(
                connection, event, message, lane, lambda *fact: self._apply(connection, fact[1], fact[0])
            )
        elif isinstance(event, events.ReplayRequested):
            if event.consumer == self.name:  # a site changed its settings: merge again
                origin = Origin.of(message, events.Cause.LIFECYCLE, catalogue.lane_of(record.topic))
                self._minter.mint_version(connection, event.student_number, origin)
                replays.end(connection, self.name, {event.student_number: [message.id]}, failed=())
        elif not self._settle(connection, message, catalogue.lane_of(record.topic)):
            pending_facts.keep(connection, self._database, message, record)

    def overtake(self, connection: Connection, student_number: str, version: int) -> None:
        """Number the next version above this one. A target shows it; the restored store lacks it."""
        if self._people.locked(connection, student_number) is not None:
            accounts.overtake(connection, student_number, version)

    def make_up_for_lost(self, _connection: Connection) -> str:
        """Do nothing: facts come from outside, and the store cannot make them up."""
        return ""

    def timers(self) -> Mapping[str, OnDue]:
        """The kinds of timer that the registry arms, and their handlers."""
        return {**dict.fromkeys(TIMERS, self.due), WARNING_DUE: self._warnings.due}

    def due(self, connection: Connection, student_number: str, now: float) -> None:
        """Mint the version that is due today by time alone. Raises Rejected: no name is left to give."""
        moment = datetime.fromtimestamp(now, UTC)
        origin = Origin(events.Cause.LIFECYCLE, Lane.BULK, moment, f"timer-{moment:%Y%m%dT%H%M%S}")
        self._minter.mint_version(connection, student_number, origin)

    def expire_pending(self, connection: Connection, now: float) -> int:
        """Dead-letter a page of facts that waited too long; return how many."""
        old = pending_facts.take_older(connection, now - pending_facts.PENDING_AGE_S_MAX)
        for fact in old:
            text = (
                "no enrolment of this student number has come since: check the number, or import the"
                " registrar's file that has it; then replay"
            )
            bury_fact(connection, self._database, fact.student_number, fact.event_id, Rejected(UNKNOWN, text))
        return len(old)

    # --- acts of students and operators ---

    def _settle(self, connection: Connection, message: Message, lane: Lane) -> bool:
        """Apply an act to a person; False if the person is not known.

        A student's choice under a merged number goes to the number that remains. A hold concerns the person,
        so it goes to every account that they ever had.
        """
        event = message.event
        person = self._people.locked(connection, event.student_number)
        if person is not None and person.merged_into is not None:
            person = self._people.locked(connection, person.merged_into)
        if person is None:
            return False
        if message.id in person.recent_facts:
            return True
        changes = self._changes(connection, person, message)
        recent = (*person.recent_facts, message.id)[-RECENT_FACTS:]
        self._people.change(connection, person.student_number, **changes, recent_facts=recent)
        origin = Origin.of(message, _CAUSES[type(event)], lane)
        if isinstance(event, events.HoldPlaced | events.HoldLifted):
            for other in self._people.merged_into(connection, person.student_number):
                theirs = self._changes(connection, other, message)
                self._people.change(connection, other.student_number, **theirs)
                self._minter.mint_version(connection, other.student_number, origin)
        self._minter.mint_version(connection, person.student_number, origin)
        if isinstance(event, events.HoldLifted) and event.hold is Hold.TECHNICAL:
            self._doubts.declare_separate(connection, event.student_number, message.time.timestamp())
        return True

    def _changes(self, connection: Connection, person: KnownPerson, message: Message) -> Mapping[str, Any]:
        match message.event:
            case events.ActivationRequested() as event:
                return self._activation(connection, person, event, message)
            case events.CredentialChanged(credential_ref=ref):
                return self._credential(connection, person, ref, message)
            case events.PreferenceChanged() as event:
                return self._preference(connection, person, event)
            case events.HoldPlaced(hold=hold):
                if hold is Hold.STOLEN_PASSWORDS:
                    numbers = {person.student_number, message.event.student_number}
                    forget_kept(connection, numbers=numbers, refs=[person.credential_ref])
                return {"holds": person.holds | {hold}}
            case events.HoldLifted(hold=hold):
                return {"holds": person.holds - {hold}}
            case events.ProlongationRequested() as event:
                return self._prolongation(connection, person, event)
            case events.CanaryReset():
                forget_kept(connection, refs=[person.credential_ref])
                return {"activated_at": None, "credential_ref": None}
        raise Rejected(
            "unexpected_event",
            f"{message.event.type} is no fact for the registry: its producer writes to the wrong topic",
        )

    def _activation(
        self, connection: Connection, person: KnownPerson, event: events.ActivationRequested, message: Message
    ) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        if person.activated_at is None:
            changes["activated_at"] = message.time.timestamp()
        if event.language is not None:
            changes["language"] = event.language
        if event.credential_ref is not None:
            changes |= self._credential(connection, person, event.credential_ref, message)
        return changes

    def _credential(
        self, connection: Connection, person: KnownPerson, ref: str, message: Message
    ) -> Mapping[str, Any]:
        sequence = self._vault.sequence(connection, message.event.student_number, ref)
        changes = choices.credential_change(person, ref, sequence)
        if changes:
            forget_kept(connection, refs=[person.credential_ref])
        return changes

    def _preference(
        self, connection: Connection, person: KnownPerson, event: events.PreferenceChanged
    ) -> Mapping[str, Any]:
        value: str | None = event.value
        if event.value_ref is not None:
            if self._vault.sequence(connection, event.student_number, event.value_ref) is None:
                raise Rejected(
                    "unknown_reference",
                    "the vault holds nothing of this student under the event's reference: it was restored"
                    " from an older backup, or the producer is not ours. Let the student choose again",
                )
            try:
                value = self._vault.open(event.value_ref)
            except SealBroken as error:
                raise Rejected("seal_broken", str(error)) from error
            if value is None:  # consumed: it was applied, and a newer one may have been since
                return {}
        account = accounts.find(connection, person.student_number)
        changes = choices.preference_change(event.preference, value, account)
        if event.value_ref is not None:  # the person's row has it from now on; a rejected one may be replayed
            self._vault.erase(connection, event.value_ref)
        return changes

    def _prolongation(
        self, connection: Connection, person: KnownPerson, event: events.ProlongationRequested
    ) -> Mapping[str, Any]:
        """Prolong access, if the day lies ahead and the end is the one that was shown."""
        number = person.student_number
        account = accounts.find(connection, number)
        if account is None:
            return {}
        today = datetime.fromtimestamp(self._database.now(connection), UTC).date()
        if account.valid_until != event.ends_on or event.until <= event.ends_on or event.until < today:
            return {}
        if self._people.extend_visit(connection, number, event.until):
            return {}
        if account.stage not in (Stage.GRACE, Stage.EXPIRED):
            return {}
        return {"prolongations": (*person.prolongations, event.until)}

    def _apply_pending(self, connection: Connection, fact: PendingFact) -> None:
        """Apply a fact that was waiting; on failure dead-letter it alone."""
        try:
            message = from_record(fact.student_number, fact.headers, fact.value)
            with connection.begin_nested():
                self._settle(connection, message, catalogue.lane_of(fact.topic))
        except (Rejected, EnvelopeError) as error:
            reason = Rejected(error.cause, str(error))
            bury_fact(connection, self._database, fact.student_number, fact.event_id, reason)
