"""The welcome message, in the student's language; its Message-ID never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipeline.letters import Letterhead, mailbox, texts
from schemas.account import Account, Requirement
from schemas.language import Language

_SUBJECTS: Final[dict[Language, str]] = {
    "fr": "Bienvenue : votre compte universitaire est ouvert",
    "en": "Welcome: your university account is open",
}
_PREHEADERS: Final[dict[Language, str]] = {
    "fr": "Votre identifiant : {login}",
    "en": "Your login: {login}",
}


@dataclass(frozen=True)
class Welcome:
    """The message of one site.

    Attributes:
        letterhead: the domain of its sender is the Message-ID's too, so it must stay the same.
        clock: gives the message's date.
    """

    letterhead: Letterhead
    clock: Callable[[], datetime]

    def message_id(self, student_number: str) -> str:
        """A student's constant Message-ID. A digest: mail servers log it."""
        return self.letterhead.message_id(f"welcome.{_digest(student_number)}")

    def render(self, account: Account) -> bytes:
        """The whole message, with CRLF line ends. Raises AddressUnusable."""
        language = _language(account)
        words = {
            "name": _one_line(account.person.called_name),
            "mail": account.mail,
            "login": account.login,
            "links": [(name[language], url) for name, url in self.letterhead.links],
            "portal": self.letterhead.portal_url,
            "support": self.letterhead.support,
            "institution": self.letterhead.institution,
            "pending": any(c.requires is Requirement.PEDAGOGICAL and not c.met for c in account.cohorts),
        }
        message = self.letterhead.write(
            mailbox(account.mail, _one_line(account.person.display_name)),
            _SUBJECTS[language],
            texts("consumers.mailbox").get_template(f"welcome.{language}.txt").render(words),
            language,
            at=self.clock(),
            name=f"welcome.{_digest(account.student_number)}",
            shown=account.login,
            preheader=_PREHEADERS[language].format(login=account.login),
        )
        message.set_boundary(f"=_{_digest(account.student_number)}")
        return message.as_bytes()


def _digest(student_number: str) -> str:
    return hashlib.sha256(f"welcome:{student_number}".encode()).hexdigest()[:32]


def _language(account: Account) -> Language:
    """The primary language subtag (RFC 5646), if there is a text in it; else French."""
    return "en" if account.person.language.partition("-")[0].casefold() == "en" else "fr"


def _one_line(name: str) -> str:
    """A name without control characters and line ends, which files may contain."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
