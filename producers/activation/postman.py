"""Sends what is due: the messages that proofs wait to be sent by, and notices. Several may send at once.

A notice tells a student, at every address, what was done to the account: whoever took over one of them does
not read the other (NIST SP 800-63B-4, 4.6). It carries nothing that proves who reads it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable

from sqlalchemy import Connection

from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import DependencyDown, SesameError
from pipeline.vault import SealBroken, Vault
from producers.activation import mail_proofs
from producers.activation.known_students import KnownStudents
from producers.activation.letters import AddressUnusable, Letters
from producers.activation.mail_proofs import NONE, MailProof
from producers.activation.smtp import MailRefused, MailServerDown, Post

LETTERS_PER_PAGE = 10
CLAIM_S = 120.0  # longer than a page takes to send, or another sender would send it too
RETRY_DELAY_S_MAX = 300.0
LOOK_EVERY_S = 0.25

OnSent = Callable[[str], None]
"""Told how each ended: sent, postponed or refused."""


class Postman:
    """Sends in a thread of its own.

    Args:
        on_sent: told of each message.
        on_trouble: told in a sentence what is wrong, without anybody's address.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        letters: Letters,
        post: Post,
        *,
        on_sent: OnSent = lambda _how: None,
        on_trouble: Callable[[str], None] = lambda _what: None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._letters = letters
        self._post = post
        self._on_sent = on_sent
        self._on_trouble = on_trouble

    def run(self, stopping: threading.Event) -> None:
        """Send until told to stop."""
        while not stopping.is_set():
            try:
                if self.send_page():
                    continue
            except DependencyDown as error:
                self._on_trouble(str(error))
            stopping.wait(LOOK_EVERY_S)

    def send_page(self) -> int:
        """Send some that are due; return how many were looked at.

        Raises:
            StoreUnavailable: nothing is lost; call again.
        """
        with self._database.read() as connection:
            if not mail_proofs.letters_due(connection, self._database.now(connection)):
                return 0
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = mail_proofs.claim_letters(connection, now, until=now + CLAIM_S, limit=LETTERS_PER_PAGE)
        for proof in due:
            self._send(proof)
        return len(due)

    def _send(self, proof: MailProof) -> None:
        try:
            says = json.loads(self._vault.unwrap(proof.letter or b""))
            self._post.send(self._letters.write(proof.purpose, proof.language, says))
        except MailServerDown as error:
            self._postpone(proof)
            self._trouble(error, "postponed")
        except (MailRefused, AddressUnusable, SealBroken) as error:
            with self._database.write() as connection:
                mail_proofs.refuse(connection, proof.id, " ".join(str(error).split()))
            self._trouble(error, "refused")
        else:
            with self._database.write() as connection:
                mail_proofs.sent(connection, proof.id, self._database.now(connection))
            self._on_sent("sent")

    def _postpone(self, proof: MailProof) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            delay_s = min(RETRY_DELAY_S_MAX, 2.0 ** min(proof.send_attempts, 10))
            until = now + delay_s
            mail_proofs.postpone(connection, proof.id, until if until < proof.expires_at else None)

    def _trouble(self, error: SesameError, how: str) -> None:
        self._on_sent(how)
        self._on_trouble(str(error))


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
