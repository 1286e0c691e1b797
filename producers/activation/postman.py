"""Send due messages: those with proofs, and notices. Several senders may run at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline import audit
from pipeline.db.database import Database
from pipeline.errors import DependencyDown, SesameError
from pipeline.letters import AddressUnusable
from pipeline.vault import SealBroken, Vault
from producers.activation import mail_proofs
from producers.activation.letters import Letters
from producers.activation.mail_proofs import MailProof
from producers.activation.sms import SmsGatewayDown, SmsRefused, TextMessages, is_number
from producers.activation.smtp import MailRefused, MailServerDown, Post

LETTERS_PER_PAGE = 10
CLAIM_S = 120.0  # longer than a page takes to send, or another sender would send it too
RETRY_DELAY_S_MAX = 300.0
LOOK_EVERY_S = 0.25
SMS_ATTEMPTS_MAX = 8
"""Some eight minutes: a code is of no use later, and each attempt may be charged."""

OnSent = Callable[[str], None]
"""Called with each message's outcome: sent, postponed or refused."""


class Postman:
    """Sends in its own thread. `on_trouble`: called with the fault in a sentence, without an address."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        letters: Letters,
        post: Post,
        *,
        sms: TextMessages | None = None,
        on_sent: OnSent = lambda _how: None,
        on_trouble: Callable[[str], None] = lambda _what: None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._letters = letters
        self._post = post
        self._sms = sms
        self._on_sent = on_sent
        self._on_trouble = on_trouble

    def run(self, stopping: threading.Event) -> None:
        """Send until `stopping` is set."""
        while not stopping.is_set():
            try:
                if self.send_page():
                    continue
            except DependencyDown as error:
                self._on_trouble(str(error))
            stopping.wait(LOOK_EVERY_S)

    def send_page(self) -> int:
        """Send some due messages; return how many. Raises StoreUnavailable: nothing is lost; retry."""
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
        by_sms = False
        try:
            says = json.loads(self._vault.unwrap(proof.letter or b""))
            by_sms = is_number(says["to"])
            self._hand_over(proof, says)
        except (MailServerDown, SmsGatewayDown) as error:
            self._postpone(proof, error, by_sms=by_sms)
        except (MailRefused, SmsRefused, AddressUnusable, SealBroken) as error:
            self._refuse(proof, error, by_sms=by_sms)
        else:
            with self._database.write() as connection:
                mail_proofs.sent(connection, proof.id, self._database.now(connection))
                if by_sms:
                    self._note(connection, proof, "sent")
            self._on_sent("sent")

    def _hand_over(self, proof: MailProof, says: Mapping[str, Any]) -> None:
        to = says["to"]
        if not is_number(to):
            self._post.send(self._letters.write(proof.purpose, proof.language, says))
        elif self._sms is None:
            raise SmsRefused("sms.url is not set any more")
        else:
            self._sms.send(to, self._letters.text_message(proof.language, says), key=proof.id)

    def _refuse(self, proof: MailProof, error: SesameError, *, by_sms: bool) -> None:
        with self._database.write() as connection:
            mail_proofs.refuse(connection, proof.id, " ".join(str(error).split()))
            if by_sms:
                self._note(connection, proof, "refused")
        self._trouble(error, "refused")

    def _note(self, connection: Connection, proof: MailProof, how: str) -> None:
        """Note a message that costs money, and where it may have gone wrong, in the audit."""
        detail = {"student_number": proof.student_number, "outcome": how, "attempts": proof.send_attempts}
        audit.note(connection, self._database, actor="student", action="sms.send", detail=detail)

    def _postpone(self, proof: MailProof, error: SesameError, *, by_sms: bool) -> None:
        least_s = error.retry_after_s if isinstance(error, SmsGatewayDown) else 0.0
        with self._database.write() as connection:
            now = self._database.now(connection)
            delay_s = max(least_s, min(RETRY_DELAY_S_MAX, 2.0 ** min(proof.send_attempts, 10)))
            until: float | None = now + delay_s
            if now + delay_s >= proof.expires_at or (by_sms and proof.send_attempts >= SMS_ATTEMPTS_MAX):
                until = None
            mail_proofs.postpone(connection, proof.id, until)
            if by_sms and until is None:
                self._note(connection, proof, "given_up")
        self._trouble(error, "postponed")

    def _trouble(self, error: SesameError, how: str) -> None:
        self._on_sent(how)
        self._on_trouble(str(error))
