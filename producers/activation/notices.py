"""Notices: messages about changes to the account, to every address of the student.

A thief of one address does not read the other (NIST SP 800-63B-4, 4.6). A notice proves nothing about its
reader, except by the link that prolongs ending access, once.
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
from producers.activation.proofs import Digests

CHANGED, REDIRECTED, PRINTED, INVITED = "changed", "redirected", "printed", "invited"
ENDING = mail_proofs.LAST

NOTICE_S = 86_400.0
"""How long sending a notice is retried."""

SPREAD_S = 4 * 3600.0
"""Period of a day's warnings: years end for many at once, and urgent messages must not wait for them."""

_chance = secrets.SystemRandom()


class Notices:
    """Prepares notices in the transaction that they report; a `Postman` sends them. Thread-safe."""

    def __init__(self, known: KnownStudents, vault: Vault) -> None:
        self._known = known
        self._vault = vault

    def tell(
        self,
        connection: Connection,
        what: str,
        number: str,
        language: str,
        now: float,
        *,
        until: float | None = None,
        link: Digests | None = None,
        to: str | None = None,
        **more: object,
    ) -> int:
        """Notify a student; return at how many addresses.

        Args:
            what: CHANGED: the password; REDIRECTED: mail is sent on, to `address`; PRINTED: a letter with a
                code; INVITED: a guest, by `sponsor`, until `last_day`; ENDING: access ends after `last_day`,
                and then `services` (title and day) and the account (`account_erased`, or None) are erased;
                days are in ISO 8601.
            until: when it is not true any more; a long validity is not urgent. None: send at once.
            link: makes the digest of a link that is valid until then, one for each address; None: no link.
            to: the number of another person, to notify instead.
            more: further values of its text.
        """
        ends = now + NOTICE_S if until is None else until
        delay_s = 0.0 if until is None else _chance.uniform(0.0, min(SPREAD_S, (until - now) / 2))
        person, account = self._known.known(connection, to or number), accounts.find(connection, to or number)
        known = {
            person.personal_mail if person is not None else None,
            account.mail if account is not None and account.activated_at is not None else None,
        }
        addresses = sorted(filter(None, known))
        for address in addresses:
            notice_id, secret = secrets.token_urlsafe(12), secrets.token_urlsafe(32)
            says = {
                "to": address,
                "number": number,
                "link": "" if link is None else f"{notice_id}.{secret}",
                "code": "",
                "activated": True,
                **more,
            }
            notice = MailProof(
                id=notice_id,
                purpose=what,
                student_number=number,
                pair=NONE,
                language=language,
                link_digest=NONE if link is None else link.make("link", notice_id, secret),
                code_digest=NONE,
                created_at=now,
                expires_at=ends,
                letter=self._vault.wrap(json.dumps(says)),
                send_at=now + delay_s,
            )
            mail_proofs.add(connection, notice)
        return len(addresses)

    @staticmethod
    def withdraw(connection: Connection, what: str, number: str, now: float) -> None:
        """Drop this notice where unsent; void the links of sent ones."""
        mail_proofs.void_others(connection, number, what, now)
