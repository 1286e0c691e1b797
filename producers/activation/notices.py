"""Notices: messages that tell a student, at every address, what is done to the account.

Whoever took over one of the addresses does not read the other (NIST SP 800-63B-4, 4.6). A notice carries
nothing that proves who reads it.
"""

from __future__ import annotations

import json
import secrets

from sqlalchemy import Connection

from pipeline import accounts
from pipeline.vault import Vault
from producers.activation import mail_proofs
from producers.activation.known_students import KnownStudents
from producers.activation.mail_proofs import NONE, MailProof

CHANGED, REDIRECTED = "changed", "redirected"

NOTICE_S = 86_400.0
"""How long the mail server is tried with a notice."""


class Notices:
    """Prepares notices, which a `Postman` sends, in the transaction of what they tell. Thread-safe."""

    def __init__(self, known: KnownStudents, vault: Vault) -> None:
        self._known = known
        self._vault = vault

    def tell(
        self, connection: Connection, what: str, number: str, language: str, now: float, *, address: str = ""
    ) -> None:
        """Tell a student.

        Args:
            what: CHANGED: the password; REDIRECTED: mail is sent on, to `address`.
        """
        person, account = self._known.known(connection, number), accounts.find(connection, number)
        addresses = {
            person.personal_mail if person is not None else None,
            account.mail if account is not None else None,
        }
        for to in sorted(filter(None, addresses)):
            says = {
                "to": to,
                "number": number,
                "link": "",
                "code": "",
                "activated": True,
                "address": address,
            }
            notice = MailProof(
                id=secrets.token_urlsafe(12),
                purpose=what,
                student_number=number,
                pair=NONE,
                language=language,
                link_digest=NONE,
                code_digest=NONE,
                created_at=now,
                expires_at=now + NOTICE_S,
                letter=self._vault.wrap(json.dumps(says)),
                send_at=now,
            )
            mail_proofs.add(connection, notice)
