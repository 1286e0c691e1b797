"""The registrar's facts: who a person is, their enrolments and their teachings.

The highest source sequence of each step, and of each year's teachings, wins, cancellations included, whatever
the order in which the facts are read.

**A number must never hand one person's account to another.** When a fact names a person who cannot be
recognised as the number's holder, the whole fact is held: the account stays as it is, with its enrolments,
and a doubt shows both holders side by side. If an operator decides that it is one person (a change of civil
status, an adoption, a first entry full of errors), the facts are applied. If two, the facts are refused, now
and on every repetition, because an account belongs to one person permanently; the registrar gives the
newcomer a number of their own. A fact of the same step about the known holder replaces the held one, and
withdraws the doubt when nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, select

from consumers.registry import identity_doubts as store
from consumers.registry import pending_facts, teachings
from consumers.registry.doubts import DOUBTFUL, Doubts, Examined, bury_fact, fingerprints, recognised
from consumers.registry.erasure.erasures import has_forgotten
from consumers.registry.identity_doubts import HOLDER, Doubt, Verdict
from consumers.registry.ledger import ledger
from consumers.registry.minter import Minter, Origin
from consumers.registry.pending_facts import DECISION, PendingFact
from consumers.registry.people import Identity, KnownPerson, People, enrolments, people
from pipeline.accounts import accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.errors import meaning
from pipeline.eventlog.port import Record
from pipeline.facts import Rejected
from schemas.account import Administrative, Enrolment, Lane
from schemas.envelope import Message, from_record
from schemas.events import Cause, EnrolmentCancelled, EnrolmentRecorded, TeachingsRecorded

_NUMBERS: Final = {
    table.c.student_number: select(table.c.student_number)
    for table in (people, enrolments, teachings.teachings, pending_facts.pending_facts, accounts, ledger)
}
_WHO = ("birth_name", "usage_name", "given_name", "preferred_given_name", "birth_date", "language")


OnNewAddress = Callable[[Connection, str, float], None]
"""Called with a student whose personal address has changed or gone, and the time (epoch seconds)."""


class RegistrarFacts:
    """Applies enrolments within the caller's transaction."""

    def __init__(
        self,
        database: Database,
        people: People,
        minter: Minter,
        doubts: Doubts,
        holders: Holders,
        on_new_address: OnNewAddress,
    ) -> None:
        self._on_new_address = on_new_address
        self._database = database
        self._people = people
        self._minter = minter
        self._doubts = doubts
        self._holders = holders

    def newcomers(self, connection: Connection, student_numbers: Collection[str]) -> set[str]:
        """Those of these numbers of which the registry has no row; locked until the transaction ends."""
        found: set[str] = set()
        numbers = sorted(student_numbers)
        for number in numbers:
            self._people.lock(connection, number)
        for column, query in _NUMBERS.items():
            found.update(rows_among(connection, query, column, numbers).scalars())
        new = set(numbers) - found
        if (privacy := self._minter.privacy) is not None:
            erased = {privacy.pseudonym(number): number for number in new}
            holder = ledger.c.student_number
            held = rows_among(connection, _NUMBERS[holder], holder, list(erased)).scalars()
            new -= {erased[pseudonym] for pseudonym in held}
        return new

    def recorded(
        self,
        connection: Connection,
        event: EnrolmentRecorded,
        message: Message,
        record: Record,
        *,
        newcomer: bool = False,
    ) -> bool:
        """Apply an enrolment; return whether the person was unknown before.

        Args:
            newcomer: this number is one of `newcomers`, and this its first fact: it is not looked for again.

        Raises:
            Rejected: no name is left to give, or the number belongs to another person.
        """
        before = None if newcomer else self._people.locked(connection, event.student_number)
        cancelled = event.administrative is Administrative.CANCELLED
        if before is None and cancelled and self._was_erased(connection, event.student_number):
            return False
        said = _identity(event)
        if (
            before is not None
            and event.source_sequence > before.identity_sequence
            and not self._holders.accept(connection, before, (said, event.ine), message, record)
        ):
            return False
        after = self._identify(connection, before, event, said)
        enrolment = None if cancelled else Enrolment.model_validate(event.model_dump(exclude_none=True))
        newer = self._people.record_enrolment(
            connection,
            event.student_number,
            (event.year, event.step, event.step_version),
            event.source_sequence,
            enrolment,
        )
        examined = Examined()
        if after is not None:
            examined = self._doubts.examine(connection, before, after, message.id)
        if before is not None:
            self._holders.superseded(connection, event)
        if newcomer and after is not None and enrolment is not None and not examined.doubtful:
            self._minter.mint_first(connection, after, enrolment, _origin(message))
        elif after is not None or newer:
            self._mint(connection, event.student_number, message)
        for number in sorted(examined.released):
            self._mint(connection, number, message)
        return before is None

    def cancelled(self, connection: Connection, event: EnrolmentCancelled, message: Message) -> None:
        """Apply a cancellation, even of an unseen enrolment. It brings no erased person back."""
        key = (event.year, event.step, event.step_version)
        number, sequence = event.student_number, event.source_sequence
        if self._people.locked(connection, number) is None and self._was_erased(connection, number):
            return
        if self._people.record_enrolment(connection, number, key, sequence, None):
            self._mint(connection, number, message)
        self._holders.superseded(connection, event)

    def taught(self, connection: Connection, event: TeachingsRecorded, message: Message) -> None:
        """Keep a feed's teaching units and groups; they count once there is an enrolment."""
        if teachings.record(connection, self._database, event):
            self._mint(connection, event.student_number, message)

    def _was_erased(self, connection: Connection, student_number: str) -> bool:
        privacy = self._minter.privacy
        return privacy is not None and has_forgotten(connection, privacy.pseudonym(student_number))

    def _identify(
        self, connection: Connection, before: KnownPerson | None, event: EnrolmentRecorded, said: Identity
    ) -> KnownPerson | None:
        """Keep a person's identity by the newest fact; None if a newer one is known."""
        if before is not None and event.source_sequence <= before.identity_sequence:
            return None
        values: dict[str, Any] = {
            "identity": said,
            "identity_sequence": event.source_sequence,
            "ine": event.ine,
            "ine_provisional": event.ine_provisional,
            "personal_mail": event.personal_mail,
            "mobile": event.mobile,
        }
        if before is not None:
            after = replace(before, **values)
            self._people.change(connection, event.student_number, **values)
            lost = before.mobile not in (None, event.mobile)
            if lost or before.personal_mail not in (None, event.personal_mail):
                now = self._database.now(connection)
                self._on_new_address(connection, event.student_number, now)
        else:
            after = KnownPerson(event.student_number, **values)
            self._people.add(connection, after)
        return after

    def _mint(self, connection: Connection, student_number: str, message: Message) -> None:
        self._minter.mint_version(connection, student_number, _origin(message))


def _origin(message: Message) -> Origin:
    return Origin.of(message, Cause.ENROLMENT, Lane.BULK)


def _identity(event: EnrolmentRecorded) -> Identity:
    said = {name: getattr(event, name) for name in _WHO}
    return Identity.model_validate({name: value for name, value in said.items() if value is not None})


class NumberReissued(Rejected):
    """This student number permanently belongs to another person, as an operator decided; no fact of its new
    holder is applied. Have the registrar give the newcomer a number of their own, and correct this one."""

    def __init__(self) -> None:
        super().__init__("number_reissued", meaning(type(self)))


class Holders:
    """Holds facts that name another holder, within the caller's transaction."""

    def __init__(self, database: Database, doubts: Doubts) -> None:
        self._database = database
        self._doubts = doubts

    def accept(
        self,
        connection: Connection,
        before: KnownPerson,
        said: tuple[Identity, str | None],
        message: Message,
        record: Record,
    ) -> bool:
        """Accept a fact, or hold it until an operator decides.

        Args:
            before: the number's holder.
            said: its holder by the fact, with the INE.
            message, record: the fact.

        Raises:
            NumberReissued: an operator has decided that this is another person.
        """
        identity, ine = said
        if identity == before.identity or recognised(before.identity, identity, before.ine, ine):
            return True
        number = before.student_number
        doubt = self._doubt(connection, number, identity)
        raised = store.raise_once(connection, self._database, doubt)
        known = store.get(connection, doubt.id)
        verdict = Verdict.OPEN if known is None else known.state
        if verdict is Verdict.MERGED:
            return True
        if verdict is Verdict.SEPARATE:
            raise NumberReissued
        if raised:
            bury_fact(connection, self._database, number, message.id, Rejected(DOUBTFUL, _question(number)))
        pending_facts.keep(connection, self._database, message, record, waits_for=DECISION)
        return False

    def superseded(self, connection: Connection, event: EnrolmentRecorded | EnrolmentCancelled) -> None:
        """Drop older held facts of the step just applied. Withdraw the doubt when none is left."""
        number = event.student_number
        left = 0
        waiting = pending_facts.held(connection, number)
        for fact in waiting:
            held = _event(fact)
            if _step(held) == _step(event) and held.source_sequence < event.source_sequence:
                pending_facts.drop(connection, fact.event_id)
            else:
                left += 1
        if waiting and not left:
            for doubt in open_about_holder(connection, number):
                self._doubts.settle(connection, doubt, Verdict.WITHDRAWN)

    def decided(
        self,
        connection: Connection,
        holder: KnownPerson,
        verdict: Verdict,
        decided_at: float,
        apply: Callable[[Message, Record], None],
    ) -> None:
        """Apply an operator's decision to the held facts.

        Args:
            holder: the number's holder.
            verdict: MERGED: still the same person; SEPARATE: another one.
            decided_at: seconds since the epoch.
            apply: applies a fact as if it came now.
        """
        student_number = holder.student_number
        for doubt in open_about_holder(connection, student_number):
            self._doubts.settle(connection, doubt, verdict, decided_at)
        if verdict is Verdict.MERGED:  # nor is the way back a question
            way_back = self._doubt(connection, student_number, holder.identity)
            store.raise_once(connection, self._database, replace(way_back, claimed=None))
            store.settle(connection, way_back.id, verdict, decided_at)
        for fact in pending_facts.take(connection, student_number, waits_for=DECISION):
            message = from_record(fact.student_number, fact.headers, fact.value)
            record = Record(fact.topic, 0, 0, fact.student_number, fact.value, fact.headers, 0)
            try:
                with connection.begin_nested():
                    apply(message, record)
            except Rejected as error:
                reason = Rejected(error.cause, str(error))
                bury_fact(connection, self._database, student_number, fact.event_id, reason)

    def _doubt(self, connection: Connection, number: str, claimed: Identity) -> Doubt:
        return Doubt(
            id=store.holder_id(number, fingerprints(claimed, None)["birth"]),
            student_number=number,
            other_number=None,
            evidence=(HOLDER,),
            state=Verdict.OPEN,
            raised_at=self._database.now(connection),
            claimed=claimed,
        )


def open_about_holder(connection: Connection, student_number: str) -> list[Doubt]:
    """The open doubts whether this number still has its holder."""
    found = store.of(connection, student_number, [Verdict.OPEN])
    return [doubt for doubt in found if doubt.other_number is None]


def _event(fact: PendingFact) -> EnrolmentRecorded:
    event = from_record(fact.student_number, fact.headers, fact.value).event
    if not isinstance(event, EnrolmentRecorded):
        raise AssertionError("only enrolments are held")  # noqa: TRY004 (a fault of ours, not of a type)
    return event


def _step(event: EnrolmentRecorded | EnrolmentCancelled) -> tuple[int, str, str]:
    return event.year, event.step, event.step_version


def _question(number: str) -> str:
    return (
        f"the names and birth date of student number {number} have changed beyond recognition; its account"
        f" goes on, the new facts are held. Look at both with `sesame identities show {number}`, then"
        f" say `sesame identities merge {number}` (still the same person) or `separate {number}` (somebody"
        " else)"
    )
