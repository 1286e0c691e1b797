"""A proven student's choices: password, charter, mail redirection, longer access.

Each act is one transaction: the proof is used up, the secret sealed, the event put into the outbox, and
earlier proofs are void. So a crash leaves all of it or nothing, and of two clicks one counts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Column, Connection, Float, String, Table

from pipeline import accounts, audit, outbox
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from pipeline.vault import Vault
from producers.activation import mail_proofs, request_rows
from producers.activation.activation_requests import NAME
from producers.activation.hashes import Hasher
from producers.activation.known_students import KnownStudents
from producers.activation.mail_proofs import MailProof
from producers.activation.notices import CHANGED, ENDING, REDIRECTED, Notices
from producers.activation.proofs import PASSWORD, REDIRECT, REPEAT_S
from producers.activation.request_rows import ActivationRequest
from schemas import catalogue
from schemas.account import Hold, Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import (
    ActivationRequested,
    CredentialChanged,
    Event,
    HoldLifted,
    Preference,
    PreferenceChanged,
    ProlongationRequested,
)
from schemas.language import Language


def ask(
    connection: Connection,
    student_number: str,
    *,
    ends_on: date,
    until: date,
    now: float,
    reason_ref: str | None = None,
) -> None:
    """Publish `prolongation.requested` with the caller's transaction.

    Args:
        ends_on: the last day of access as known now; if it is another one by then, the registry does nothing.
        until: the last day that is wanted.
        now: epoch seconds.
        reason_ref: where an operator's words are kept.
    """
    event = ProlongationRequested(
        student_number=student_number, ends_on=ends_on, until=until, reason_ref=reason_ref
    )
    identity = event_id(event.type, NAME, student_number, ends_on.isoformat(), until.isoformat())
    _enqueue(connection, event, identity, now)


def _enqueue(connection: Connection, event: Event, identity: str, now: float) -> None:
    message = Message(identity, SOURCE_PREFIX + NAME, datetime.fromtimestamp(now, UTC), event)
    topic = catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL)
    outbox.enqueue(connection, message, topic, Lane.PERSONAL)


charter_acceptances = Table(
    "charter_acceptances",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("charter", String(32), primary_key=True),  # its edition, as the settings name it
    Column("accepted_at", Float, nullable=False),
    info=rows_of("student_number"),
)


@dataclass(frozen=True)
class ActivationState:
    """A student's state for the password page; `activated`: this changes a password."""

    student_number: str
    login: str
    activated: bool


@dataclass(frozen=True)
class Chosen:
    """Result of a choice; `fresh` is False for the second click, which has no effect."""

    student_number: str
    fresh: bool


class Choices:
    """Records students' choices. Thread-safe; it needs the database and the vault's keys, and no log."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        hasher: Hasher,
        *,
        known: KnownStudents,
        end_sessions: Callable[[Connection, str, float], None],
    ) -> None:
        self._database = database
        self._vault = vault
        self._hasher = hasher
        self._known = known
        self._end_sessions = end_sessions
        self._notices = Notices(known, vault)

    def situation(self, student_number: str) -> ActivationState | None:
        """The student's state; None: no account under this number (yet)."""
        with self._database.read() as connection:
            account = accounts.find(connection, student_number)
            if account is None:
                return None
            return ActivationState(student_number, account.login, self._activated(connection, student_number))

    def choose_password(
        self, proof: MailProof, grant: str, password: str, *, charter: str | None, language: Language
    ) -> Chosen | None:
        """Set a password that was judged good; None: the proof is no longer valid.

        Args:
            proof: of the student's identity; used up by this.
            grant: of the browser that was shown to hold the proof, so that a second click is recognised.
            charter: the edition that was accepted with it.
            language: of the page, for the messages to come.
        """
        number = proof.student_number
        if number is None or proof.purpose != PASSWORD:
            return None
        mark = _mark(grant)
        hashed = self._hasher.hash(password)
        with self._database.write() as connection:
            now = self._database.now(connection)
            if not mail_proofs.use(connection, proof.id, now, by=mark):
                return self._second_click(connection, proof.id, mark, now)
            ref = self._vault.seal_password(connection, number, hashed, password)
            self._announce_password(connection, number, ref, language, now)
            self._open_again(connection, number, ref, now)
            mail_proofs.void_others(connection, number, PASSWORD, now)
            self._end_sessions(connection, number, now)
            if charter is not None:
                accept_charter(connection, self._database, number, charter, now)
        return Chosen(number, fresh=True)

    def chosen_just_now(self, proof_id: str, grant: str) -> str | None:
        """The student whose password this grant has just chosen. The browser may have missed the answer."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            again = self._second_click(connection, proof_id, _mark(grant), now)
        return None if again is None else again.student_number

    def confirm_redirect(self, proof: MailProof) -> bool:
        """Confirm a redirection by the address's owner; False if the proof is void.

        The student is notified at the other addresses, in the language of the request: the owner of that
        address may be another person.
        """
        number, sealed = proof.student_number, proof.value
        if number is None or sealed is None or proof.purpose != REDIRECT:
            return False
        address = self._vault.unwrap(sealed)
        with self._database.write() as connection:
            now = self._database.now(connection)
            if not mail_proofs.use(connection, proof.id, now, by=""):
                return False
            ref = self._vault.seal(connection, number, Preference.MAIL_REDIRECT, address)
            self._prefer(connection, number, ref, now)
            self._notices.tell(connection, REDIRECTED, number, proof.language, now, address=address)
        return True

    def end_redirect(self, student_number: str) -> None:
        """Keep mail in the university's mailbox; void unconfirmed redirections."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            mail_proofs.void_others(connection, student_number, REDIRECT, now)
            self._prefer(connection, student_number, None, now)

    def prolong(self, proof: MailProof, *, ends_on: date, until: date, sponsor: str | None = None) -> bool:
        """Prolong access, and void other links to the same end. False: the proof is no longer valid.

        `sponsor`: of a guest: who does so.
        """
        number = proof.student_number
        if number is None or proof.purpose != ENDING:
            return False
        with self._database.write() as connection:
            now = self._database.now(connection)
            if not mail_proofs.use(connection, proof.id, now, by=""):
                return False
            mail_proofs.void_others(connection, number, ENDING, now)
            detail = {"student_number": number, "until": until.isoformat()}
            detail |= {} if sponsor is None else {"sponsor": sponsor}
            actor = "student" if sponsor is None else "sponsor"
            audit.note(connection, self._database, actor=actor, action="lifecycle.prolong", detail=detail)
            ask(connection, number, ends_on=ends_on, until=until, now=now)
        return True

    # --- events ---

    def _activated(self, connection: Connection, student_number: str) -> bool:
        person = self._known.known(connection, student_number)
        if person is not None and person.activated_at is not None:
            return True
        asked = request_rows.find(connection, [student_number]).get(student_number)
        return asked is not None and asked.confirmed_at is not None

    def _announce_password(
        self, connection: Connection, number: str, ref: str, language: Language, now: float
    ) -> None:
        event: Event
        if self._activated(connection, number):
            event = CredentialChanged(student_number=number, credential_ref=ref)
            self._notices.tell(connection, CHANGED, number, language, now)
        else:
            event = ActivationRequested(student_number=number, credential_ref=ref, language=language)
        identity = event_id(event.type, NAME, number, ref, str(now))
        _enqueue(connection, event, identity, now)
        if isinstance(
            event, ActivationRequested
        ):  # the outbox will not lose it: `sesame activate` skips them
            request = ActivationRequest(number, identity, ref, now, confirmed_at=now)
            request_rows.intend(connection, self._database, [request])

    def _open_again(self, connection: Connection, number: str, ref: str, now: float) -> None:
        """Lift the stolen-password hold of a student with a new one; no other hold."""
        person = self._known.known(connection, number)
        hold = Hold.STOLEN_PASSWORDS
        if person is None or hold not in person.holds:
            return
        detail = {"student_number": number, "hold": hold}
        audit.note(connection, self._database, actor="student", action="hold.lift", detail=detail)
        event = HoldLifted(student_number=number, hold=hold)
        _enqueue(connection, event, event_id(event.type, NAME, number, ref), now)

    def _prefer(self, connection: Connection, number: str, ref: str | None, now: float) -> None:
        event = PreferenceChanged(student_number=number, preference=Preference.MAIL_REDIRECT, value_ref=ref)
        _enqueue(connection, event, event_id(event.type, NAME, number, ref or "", str(now)), now)

    @staticmethod
    def _second_click(connection: Connection, proof_id: str, mark: str, now: float) -> Chosen | None:
        used = mail_proofs.find(connection, proof_id)
        if used is None or used.student_number is None or used.used_at is None:
            return None
        same = hmac.compare_digest(used.used_by or "", mark)
        if not same or now - used.used_at > REPEAT_S:
            return None
        return Chosen(used.student_number, fresh=False)


def _mark(grant: str) -> str:
    return hashlib.sha256(grant.encode()).hexdigest()


def accept_charter(
    connection: Connection, database: Database, student_number: str, charter: str, now: float
) -> None:
    """Record that a student accepted this edition; the first time counts."""
    row = {"student_number": student_number, "charter": charter, "accepted_at": now}
    connection.execute(database.insert_new(charter_acceptances), row)
