"""Letters with a code that the support desk prints for a student whose mail is lost.

A letter's code proves as much as a message's link, once. As long as it may be used it is the student's only
one: printing again prints the same, and announces nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.db.database import Database
from pipeline.vault import Vault
from producers.activation import mail_proofs
from producers.activation.known_students import KnownStudents
from producers.activation.mail_proofs import LETTER, NONE, MailProof
from producers.activation.notices import PRINTED, Notices
from producers.activation.proof_requests import HOUR_S
from producers.activation.proofs import ID_LENGTH, LIFETIME_H, PASSWORD, Digests
from schemas.codes import new_code, shown_code
from schemas.language import Language


@dataclass(frozen=True)
class DeskLetter:
    """A letter's code, as people read it, and until when it may be used (epoch seconds)."""

    code: str
    until: float


class DeskLetters:
    """Makes letters, in the caller's transaction. Thread-safe."""

    def __init__(self, database: Database, vault: Vault, digests: Digests, known: KnownStudents) -> None:
        self._database = database
        self._vault = vault
        self._digests = digests
        self._notices = Notices(known, vault)

    def standing(self, connection: Connection, number: str) -> DeskLetter | None:
        """The student's letter that may still be used."""
        found = mail_proofs.letter_of(connection, number, self._database.now(connection))
        if found is None:
            return None
        code = json.loads(self._vault.unwrap(found.letter or b""))["code"]
        return DeskLetter(shown_code(code), found.expires_at)

    def print(self, connection: Connection, number: str, language: Language) -> tuple[DeskLetter, int]:
        """The student's letter, and how many addresses are told; 0: it was printed before.

        `language`: of the announcement.
        """
        self._database.alone(connection, LETTER, number)
        before = self.standing(connection, number)
        if before is not None:
            return before, 0
        now, code = self._database.now(connection), new_code()
        proof_id = self._digests.make(LETTER, code)[:ID_LENGTH]
        proof = MailProof(
            id=proof_id,
            purpose=PASSWORD,
            student_number=number,
            pair=LETTER,
            language=language,
            link_digest=self._digests.make("link", proof_id, code),
            code_digest=NONE,
            created_at=now,
            expires_at=now + LIFETIME_H * HOUR_S,
            letter=self._vault.wrap(json.dumps({"code": code})),
        )
        mail_proofs.add(connection, proof)
        told = self._notices.tell(connection, PRINTED, number, language, now)
        return DeskLetter(shown_code(code), proof.expires_at), told
