"""Who asks for an account, and how it is shown that the student does: proofs by mail.

**No answer tells who is known.** Whether number and address match or not, the same rows are read and written
in one transaction; only the message differs, and it goes to nobody but the address that the registrar gave.

**Nobody can lock out somebody else.** A code belongs to the one request that it was made for, and so do its
attempts. Messages are limited by number *and* address together, so that only who knows both can use them up;
and then the last message, whose link needs no attempt, is in the mailbox and still valid: the limit refills
`messages_at_once` times within a proof's life.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from pipeline.store import mail_proofs, throttles
from pipeline.store.database import Database
from pipeline.store.mail_proofs import MailProof
from pipeline.store.people import Contact, People
from pipeline.store.throttles import Rate
from pipeline.vault import Vault
from schemas.account import Stage

PASSWORD, REDIRECT, CHANGED = "password", "redirect", "changed"
CODE_DIGITS = 6
HOUR_S = 3600.0
_UNREACHABLE = frozenset({Stage.EXPIRED.value, Stage.ERASED.value})
NO_DIGEST = "-"  # no digest: never equal to one
_chance = secrets.SystemRandom()


class ProofSettings(BaseModel):
    """How a student proves by mail who they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lifetime_h: float = Field(
        default=24.0, gt=0, le=168, description="How long a message's link and code are valid, in hours."
    )
    attempts_max: int = Field(default=5, ge=1, le=20, description="Attempts at a message's code.")
    messages_at_once: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Messages to one student at once; then one more each time that this share of "
        "`lifetime_h` has passed.",
    )
    delay_s_max: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="A message leaves after a random part of this, in seconds, so that the time of an answer "
        "does not tell whether there is one.",
    )


class LinkState(StrEnum):
    """What a link is worth."""

    GOOD = "good"
    USED = "used"
    EXPIRED = "expired"
    VOIDED = "voided"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Link:
    """A link that somebody followed. `proof` is None when it is unknown."""

    state: LinkState
    proof: MailProof | None


@dataclass(frozen=True)
class Typed:
    """A code that somebody typed. `proof` is the one it proves; otherwise `left` attempts are left."""

    proof: MailProof | None
    left: int


class Proofs:
    """Makes and checks proofs. Thread-safe.

    Args:
        keys: of the digests, the present one first (`pipeline.vault.derive_keys`).
    """

    def __init__(
        self, database: Database, vault: Vault, keys: Sequence[bytes], settings: ProofSettings
    ) -> None:
        self._database = database
        self._vault = vault
        self._keys = tuple(keys)
        self._settings = settings
        self._people = People(database)
        lifetime_s = settings.lifetime_h * HOUR_S
        self._rate = Rate(settings.messages_at_once, lifetime_s / settings.messages_at_once)

    # --- asking ---

    def ask(self, student_number: str, mail: str, language: str) -> str:
        """Send a proof to the student of this number, if this is the personal address that the registrar has.

        Returns:
            The id under which the code will be typed, whether there is such a student or not.
        """
        given = _canonical(mail)
        with self._database.write() as connection:
            contact = self._people.contact(connection, student_number)
            holder = self._holder(contact, given)
            pair = self._digest(self._keys[0], "pair", student_number, given)
            proof = self._add(connection, contact if holder else None, pair, language, given)
        return proof.id

    def again(self, proof_id: str, language: str) -> str | None:
        """Send another one for the same request; None if the id is unknown."""
        with self._database.write() as connection:
            before = mail_proofs.find(connection, proof_id)
            if before is None or before.purpose != PASSWORD:
                return None
            number = before.student_number
            contact = self._people.contact(connection, number if number is not None else before.id)
            proof = self._add(connection, contact, before.pair, language, "")
        return proof.id

    def ask_redirect(self, student_number: str, address: str, language: str) -> bool:
        """Ask the owner of `address` to confirm that this student's mail may go there; False: too often.

        The address stays sealed until it is confirmed.
        """
        pair = self._digest(self._keys[0], "redirect", student_number, "")
        with self._database.write() as connection:
            now = self._database.now(connection)
            if throttles.take(connection, self._database, f"mail:{pair}", self._rate, now):
                return False
            mail_proofs.void_others(connection, student_number, REDIRECT, now)
            make = partial(self._new, REDIRECT, student_number, pair, language, now)
            mail_proofs.add(connection, make(to=address, value=self._vault.wrap(address)))
        return True

    def _holder(self, contact: Contact | None, given: str) -> bool:
        """Whether this person has this address; in the same time whatever the answer."""
        known = _canonical(contact.personal_mail or "") if contact is not None else ""
        same = hmac.compare_digest(
            self._digest(self._keys[0], "mail", known), self._digest(self._keys[0], "mail", given)
        )
        return same and bool(known) and contact is not None and contact.stage not in _UNREACHABLE

    def _add(
        self, connection: Connection, contact: Contact | None, pair: str, language: str, given: str
    ) -> MailProof:
        now = self._database.now(connection)
        spare = not throttles.take(connection, self._database, f"mail:{pair}", self._rate, now)
        number = contact.student_number if contact is not None else None
        to = (contact.personal_mail if contact is not None else None) or given
        activated = contact is not None and contact.activated_at is not None
        proof = self._new(
            PASSWORD,
            number,
            pair,
            language,
            now,
            to=to,
            activated=activated,
            sends=number is not None and spare,
        )
        mail_proofs.add(connection, proof)
        return proof

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
        value: bytes | None = None,
    ) -> MailProof:
        """A new proof. One that is not sent has no code that could be guessed."""
        proof_id, secret = secrets.token_urlsafe(12), secrets.token_urlsafe(32)
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
        letter = {
            "to": to,
            "number": student_number,
            "link": f"{proof_id}.{secret}",
            "code": code,
            "activated": activated,
        }
        code_digest = self._digest(self._keys[0], "code", proof_id, code)
        delay_s = _chance.uniform(0.0, self._settings.delay_s_max)
        return MailProof(
            id=proof_id,
            purpose=purpose,
            student_number=student_number,
            pair=pair,
            language=language,
            link_digest=self._digest(self._keys[0], "link", proof_id, secret),
            code_digest=code_digest if sends else NO_DIGEST,
            created_at=now,
            expires_at=now + self._settings.lifetime_h * HOUR_S,
            value=value,
            letter=self._vault.wrap(json.dumps(letter)),
            send_at=now + delay_s if sends else None,
        )

    # --- showing it ---

    def type_code(self, proof_ids: Sequence[str], code: str) -> Typed:
        """A code was typed for a request; the last messages of one request count as one.

        Each attempt is counted before the code is looked at.
        """
        given = "".join(code.split())
        with self._database.write() as connection:
            now = self._database.now(connection)
            left, proved = 0, None
            for proof_id in proof_ids:
                counted = mail_proofs.count_attempt(
                    connection, proof_id, attempts_max=self._settings.attempts_max
                )
                proof = mail_proofs.find(connection, proof_id)
                digest = proof.code_digest if proof is not None else NO_DIGEST
                right = self._is(digest, "code", proof_id, given)
                if proof is None:
                    continue
                if proof.proved_at is None:
                    left = max(left, self._settings.attempts_max - proof.attempts)
                if counted and right and proof.stands(now) and proof.student_number is not None:
                    proved = proof
            if proved is not None:
                mail_proofs.prove(connection, proved.id, now)
        return Typed(proved, left)

    def attempts_left(self, proof_ids: Sequence[str]) -> int:
        """How many attempts a request has left, its last message's."""
        with self._database.read() as connection:
            proofs = [mail_proofs.find(connection, proof_id) for proof_id in proof_ids]
        return max(
            (
                self._settings.attempts_max - proof.attempts
                for proof in proofs
                if proof is not None and proof.proved_at is None
            ),
            default=0,
        )

    def follow(self, link: str, purpose: str) -> Link:
        """A link was followed. Looking uses nothing up: mail scanners look too."""
        proof_id, _, secret = link.partition(".")
        with self._database.read() as connection:
            now = self._database.now(connection)
            proof = mail_proofs.find(connection, proof_id)
        digest = proof.link_digest if proof is not None else NO_DIGEST
        right = self._is(digest, "link", proof_id, secret)
        if proof is None or not right or proof.purpose != purpose:
            return Link(LinkState.UNKNOWN, None)
        return Link(state_of(proof, now), proof)

    def standing(self, proof_id: str) -> Link:
        """What a proof that was shown before is worth now."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            proof = mail_proofs.find(connection, proof_id)
        return Link(LinkState.UNKNOWN, None) if proof is None else Link(state_of(proof, now), proof)

    def _is(self, digest: str, *parts: str) -> bool:
        """Whether this is the digest of these parts under one of the keys."""
        return any([hmac.compare_digest(digest, self._digest(key, *parts)) for key in self._keys])  # noqa: C419

    @staticmethod
    def _digest(key: bytes, *parts: str) -> str:
        return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()


def state_of(proof: MailProof, now: float) -> LinkState:
    """What a proof is worth."""
    if proof.used_at is not None:
        return LinkState.USED
    if proof.voided_at is not None:
        return LinkState.VOIDED
    return LinkState.EXPIRED if now >= proof.expires_at else LinkState.GOOD


def _canonical(mail: str) -> str:
    """The address as it is compared: people do not mind capitals, and their mail servers do not either."""
    return unicodedata.normalize("NFC", mail).strip().casefold()
