"""Send a code and a link to those who request an account or confirm an address.

**No answer reveals who is known.** Whether number and address match or not, the same rows are read and
written in one transaction; only the message differs, and it goes only to the registrar's address.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final

from sqlalchemy import Connection

from pipeline.db.database import Database
from pipeline.vault import Vault
from producers.activation import mail_proofs, throttles
from producers.activation.known_students import Contact, KnownStudents
from producers.activation.letters import canonical
from producers.activation.mail_proofs import NONE, MailProof
from producers.activation.proofs import CODE_DIGITS, LIFETIME_H, MESSAGES_AT_ONCE, PASSWORD, REDIRECT, Digests
from producers.activation.sms import is_number
from producers.activation.throttles import Rate
from schemas.account import Stage

HOUR_S = 3600.0
_UNREACHABLE = frozenset({Stage.EXPIRED.value, Stage.ERASED.value})
_chance = secrets.SystemRandom()


DELAY_S_MAX: Final = 1.0
"""A message leaves after a random part of this: the time of an answer does not betray it."""

SMS_AT_ONCE: Final = 5
"""Codes by SMS to one person, and to one number, at once; then one more each fifth of a day."""

SMS_PAUSE: Final = Rate(1, 60.0)
"""The rate of one request's SMS: a form sent again, by whatever hand, costs nothing."""


class ProofRequests:
    """Prepares messages, which a `Postman` sends. Thread-safe."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        digests: Digests,
        *,
        known: KnownStudents,
        delay_s_max: float = DELAY_S_MAX,
        prefixes: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._vault = vault
        self._digests = digests
        self._delay_s_max = delay_s_max
        self._known = known
        self._rate = Rate(MESSAGES_AT_ONCE, LIFETIME_H * HOUR_S / MESSAGES_AT_ONCE)
        self._sms_rate = Rate(SMS_AT_ONCE, 24 * HOUR_S / SMS_AT_ONCE)
        self._prefixes = tuple(prefixes)

    def ask(self, student_number: str, address: str, language: str, *, browser: str) -> str:
        """Send a proof to the student, if `address` is the registrar's. `browser`: identifies it.

        Args:
            address: of mail, or a mobile number in E.164's form.

        Returns the id under which the code will be typed, whether there is such a student or not.
        """
        given = canonical(address)
        with self._database.write() as connection:
            contact = self._known.contact(connection, student_number)
            holder = self._holder(contact, given)
            pair = self._digests.make("pair", student_number, given)
            return self._add(connection, contact if holder else None, pair, language, given, browser=browser)

    def again(self, proof_id: str, language: str, *, browser: str, address: str = "") -> str | None:
        """Send another message for the same request; None if the id is unknown. `address`: as typed."""
        with self._database.write() as connection:
            before = mail_proofs.find(connection, proof_id)
            if before is None or before.purpose != PASSWORD:
                return None
            number = before.student_number
            contact = self._known.contact(connection, number if number is not None else before.id)
            given = address if is_number(address) else ""
            return self._add(connection, contact, before.pair, language, given, browser=browser)

    def ask_redirect(self, student_number: str, address: str, language: str) -> bool:
        """Ask `address`, sealed until then, to confirm a student's redirection. False: too often."""
        pair = self._digests.make("redirect", student_number, "")
        with self._database.write() as connection:
            now = self._database.now(connection)
            if throttles.take(connection, self._database, f"mail:{pair}", self._rate, now):
                return False
            mail_proofs.void_others(connection, student_number, REDIRECT, now)
            make = partial(self._new, REDIRECT, student_number, pair, language, now)
            mail_proofs.add(connection, make(to=address, value=self._vault.wrap(address)))
        return True

    def _holder(self, contact: Contact | None, given: str) -> bool:
        """True if this person has this address; in constant time."""
        known = canonical(_address_of(contact, given) or "") if contact is not None else ""
        same = hmac.compare_digest(self._digests.make("mail", known), self._digests.make("mail", given))
        return same and bool(known) and contact is not None and contact.stage not in _UNREACHABLE

    def _add(
        self,
        connection: Connection,
        contact: Contact | None,
        pair: str,
        language: str,
        given: str,
        *,
        browser: str,
    ) -> str:
        now, by_sms = self._database.now(connection), is_number(given)
        number = contact.student_number if contact is not None else None
        to = _address_of(contact, given) if contact is not None else None
        spare = not (
            self._too_many_sms(connection, pair, number, to, now)
            if by_sms
            else throttles.take(connection, self._database, f"mail:{pair}", self._rate, now)
        )
        proof = self._new(
            PASSWORD,
            number,
            pair,
            language,
            now,
            to=to or given,
            activated=contact is not None and contact.activated_at is not None,
            sends=number is not None and spare and (not by_sms or self._may_text(to)),
            withheld=not spare,
            asked_by=self._digests.make("browser", browser),
        )
        mail_proofs.add(connection, proof)
        return proof.id

    def _may_text(self, to: str | None) -> bool:
        return to is not None and to.startswith(self._prefixes)

    def _too_many_sms(
        self, connection: Connection, pair: str, number: str | None, to: str | None, now: float
    ) -> bool:
        """Count an SMS of this request, person and number. A decoy's rows are its own: it harms none."""
        person = self._digests.make("sms-of", number or pair)
        mobile = self._digests.make("sms-to", (to if number is not None else None) or pair)
        day = self._sms_rate
        limits = (f"sms:{pair}", SMS_PAUSE), (f"sms-of:{person}", day), (f"sms-to:{mobile}", day)
        return any(throttles.take(connection, self._database, name, rate, now) for name, rate in limits)

    def _new(
        self,
        purpose: str,
        student_number: str | None,
        pair: str,
        language: str,
        now: float,
        *,
        to: str,
        activated: bool = False,
        sends: bool = True,
        withheld: bool = False,
        asked_by: str | None = None,
        value: bytes | None = None,
    ) -> MailProof:
        """Make a proof: no guessable code if unsent, no link either if withheld."""
        proof_id, secret = secrets.token_urlsafe(12), secrets.token_urlsafe(32)
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
        letter = {
            "to": to,
            "number": student_number,
            "link": f"{proof_id}.{secret}",
            "code": code,
            "activated": activated,
        }
        code_digest = self._digests.make("code", proof_id, code)
        link_digest = self._digests.make("link", proof_id, secret)
        delay_s = _chance.uniform(0.0, self._delay_s_max)
        return MailProof(
            id=proof_id,
            purpose=purpose,
            student_number=student_number,
            pair=pair,
            asked_by=asked_by,
            language=language,
            link_digest=NONE if withheld else link_digest,
            code_digest=code_digest if sends else NONE,
            created_at=now,
            expires_at=now + LIFETIME_H * HOUR_S,
            value=value,
            letter=self._vault.wrap(json.dumps(letter)),
            send_at=now + delay_s if sends else None,
        )


def _address_of(contact: Contact, given: str) -> str | None:
    """The registrar's address of the kind that was given: number or mail."""
    return contact.mobile if is_number(given) else contact.personal_mail
