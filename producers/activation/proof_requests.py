"""Send a code and a link to those who request an account or confirm an address.

**No answer reveals who is known.** Whether number and address match or not, the same rows are read and
written in one transaction; only the message differs, and it goes only to the registrar's address.
"""

from __future__ import annotations

import hmac
import json
import secrets
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
from producers.activation.throttles import Rate
from schemas.account import Stage

HOUR_S = 3600.0
_UNREACHABLE = frozenset({Stage.EXPIRED.value, Stage.ERASED.value})
_chance = secrets.SystemRandom()


DELAY_S_MAX: Final = 1.0
"""A message leaves after a random part of this: the time of an answer does not betray it."""


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
    ) -> None:
        self._database = database
        self._vault = vault
        self._digests = digests
        self._delay_s_max = delay_s_max
        self._known = known
        self._rate = Rate(MESSAGES_AT_ONCE, LIFETIME_H * HOUR_S / MESSAGES_AT_ONCE)

    def ask(self, student_number: str, mail: str, language: str, *, browser: str) -> str:
        """Send a proof to the student, if `mail` is the registrar's address. `browser`: identifies it.

        Returns the id under which the code will be typed, whether there is such a student or not.
        """
        given = canonical(mail)
        with self._database.write() as connection:
            contact = self._known.contact(connection, student_number)
            holder = self._holder(contact, given)
            pair = self._digests.make("pair", student_number, given)
            return self._add(connection, contact if holder else None, pair, language, given, browser=browser)

    def again(self, proof_id: str, language: str, *, browser: str) -> str | None:
        """Send another message for the same request; None if the id is unknown."""
        with self._database.write() as connection:
            before = mail_proofs.find(connection, proof_id)
            if before is None or before.purpose != PASSWORD:
                return None
            number = before.student_number
            contact = self._known.contact(connection, number if number is not None else before.id)
            return self._add(connection, contact, before.pair, language, "", browser=browser)

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
        known = canonical(contact.personal_mail or "") if contact is not None else ""
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
        now = self._database.now(connection)
        spare = not throttles.take(connection, self._database, f"mail:{pair}", self._rate, now)
        number = contact.student_number if contact is not None else None
        proof = self._new(
            PASSWORD,
            number,
            pair,
            language,
            now,
            to=(contact.personal_mail if contact is not None else None) or given,
            activated=contact is not None and contact.activated_at is not None,
            sends=number is not None and spare,
            withheld=not spare,
            asked_by=self._digests.make("browser", browser),
        )
        mail_proofs.add(connection, proof)
        return proof.id

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
