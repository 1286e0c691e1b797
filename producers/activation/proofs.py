"""Verify a student's identity by the code or link of `proof_requests`' message.

**No one can lock out another.** A code belongs to the one request that it was made for, and so do its
attempts. Messages are limited by number *and* address together, so that only those who know both can use them
up; and then the last message, whose link needs no attempt, is in the mailbox and still valid: the limit
refills `MESSAGES_AT_ONCE` times within a proof's life.

**An answer may be lost.** Browsers on a bad network send a form once more, or miss the answer to their
request. So the codes of all messages that one browser requested for one student and address are worth the
same while they are valid; and a right code may be typed again for a short time, by the browser whose request
it is. (Each code has its own attempts: several are no easier to guess than one.)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.db.database import Database
from producers.activation import mail_proofs
from producers.activation.mail_proofs import NONE, MailProof
from schemas.codes import read_code


@dataclass(frozen=True)
class Digests:
    """HMAC-SHA256 under the first of `keys` (`pipeline.vault.derive_keys`). Older ones still match."""

    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Digests:
        """Make the digests of these keys."""
        return cls(tuple(keys))

    def make(self, *parts: str) -> str:
        """The digest of these parts, in hexadecimal."""
        return self.under_each(*parts)[0]

    def match(self, digest: str, *parts: str) -> bool:
        """True for the digest of the parts under one of the keys; in constant time."""
        return any([hmac.compare_digest(digest, each) for each in self.under_each(*parts)])  # noqa: C419

    def under_each(self, *parts: str) -> list[str]:
        """The digest under each key, the present one first."""
        return [self._by(key, parts) for key in self.keys]

    @staticmethod
    def _by(key: bytes, parts: Sequence[str]) -> str:
        return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()


PASSWORD, REDIRECT = "password", "redirect"
CODE_DIGITS = 6
ID_LENGTH: Final = 32

REPEAT_S = 300.0
"""How long after its first success a form may be sent again, for a lost answer."""

REPEATS_MAX = 3

LIFETIME_H: Final = 24.0
"""How long a message's link and code are valid: a daily reader of mail reads it in time."""

ATTEMPTS_MAX: Final = 5
"""Attempts at a message's code: typing errors are forgiven, and of a million codes five are guessed."""

MESSAGES_AT_ONCE: Final = 5
"""Messages to one student at once; then one more each time that this share of `LIFETIME_H` has passed."""

MESSAGES_VALID_MAX: Final = 2 * MESSAGES_AT_ONCE
"""One student's valid messages at a time: those at once, and those of the limit's refill."""


class LinkState(StrEnum):
    """State of a link."""

    GOOD = "good"
    USED = "used"
    EXPIRED = "expired"
    VOIDED = "voided"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Link:
    """A link that was followed; `proof` None: unknown."""

    state: LinkState
    proof: MailProof | None


@dataclass(frozen=True)
class Typed:
    """A code that was typed: it proves `proof`, else `left` attempts remain."""

    proof: MailProof | None
    left: int


class Proofs:
    """Verifies codes and links. Thread-safe."""

    def __init__(self, database: Database, digests: Digests) -> None:
        self._database = database
        self._digests = digests

    def type_code(self, asked: Sequence[str], code: str, *, browser: str) -> Typed:
        """Check a code typed for a request, whose messages count as one. Count the attempt first.

        Args:
            asked: ids from `ProofRequests`, the newest last.
            browser: a text that identifies it.
        """
        given = "".join(code.split())
        asked_by = self._digests.make("browser", browser)
        with self._database.write() as connection:
            now = self._database.now(connection)
            request = mail_proofs.of_request(connection, asked, asked_by=asked_by, limit=MESSAGES_VALID_MAX)
            left, proved = 0, None
            for before in request:
                counted = mail_proofs.count_attempt(
                    connection,
                    before.id,
                    attempts_max=ATTEMPTS_MAX,
                    repeats_max=REPEATS_MAX,
                    proved_after=now - REPEAT_S,
                )
                right = self._digests.match(before.code_digest, "code", before.id, given)
                if before.proved_at is None:
                    left = max(left, ATTEMPTS_MAX - before.attempts - counted)
                if counted and right and before.stands(now) and before.student_number is not None:
                    proved = before
            if proved is not None:
                mail_proofs.prove(connection, proved.id, now)
        return Typed(proved, left)

    def follow(self, link: str, purpose: str) -> Link:
        """Check a link without using it up: mail scanners follow links too."""
        proof_id, _, secret = link.partition(".")
        with self._database.read() as connection:
            now = self._database.now(connection)
            proof = mail_proofs.find(connection, proof_id)
        digest = proof.link_digest if proof is not None else NONE
        right = self._digests.match(digest, "link", proof_id, secret)
        if proof is None or not right or proof.purpose != purpose:
            return Link(LinkState.UNKNOWN, None)
        return Link(state_of(proof, now), proof)

    def read_letter(self, typed: str) -> Link:
        """Check a code of a letter that the desk has printed, which alone finds its proof."""
        code = read_code(typed)
        for digest in self._digests.under_each("letter", code):
            followed = self.follow(f"{digest[:ID_LENGTH]}.{code}", PASSWORD)
            if followed.proof is not None:
                return followed
        return Link(LinkState.UNKNOWN, None)

    def standing(self, proof_id: str) -> Link:
        """The present state of a proof that was shown before."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            proof = mail_proofs.find(connection, proof_id)
        return Link(LinkState.UNKNOWN, None) if proof is None else Link(state_of(proof, now), proof)


def state_of(proof: MailProof, now: float) -> LinkState:
    """The state of a proof."""
    if proof.used_at is not None:
        return LinkState.USED
    if proof.voided_at is not None:
        return LinkState.VOIDED
    return LinkState.EXPIRED if now >= proof.expires_at else LinkState.GOOD
