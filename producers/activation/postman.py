"""Send due messages: those with proofs, and notices. Several senders may run at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from pipeline.db.database import Database
from pipeline.errors import DependencyDown, SesameError
from pipeline.letters import AddressUnusable
from pipeline.vault import SealBroken, Vault
from producers.activation import mail_proofs
from producers.activation.letters import Letters
from producers.activation.mail_proofs import MailProof
from producers.activation.smtp import MailRefused, MailServerDown, Post

LETTERS_PER_PAGE = 10
CLAIM_S = 120.0  # longer than a page takes to send, or another sender would send it too
RETRY_DELAY_S_MAX = 300.0
LOOK_EVERY_S = 0.25

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
