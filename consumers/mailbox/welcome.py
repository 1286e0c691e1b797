"""The welcome message, in the student's language; its Message-ID never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from schemas.account import Account, Requirement
from schemas.typography import spaced

if TYPE_CHECKING:
    from jinja2 import Environment

_SUBJECTS: Final = {
    "fr": "Bienvenue : votre messagerie universitaire est ouverte",
    "en": "Welcome: your university mailbox is open",
}
_DEFAULT_LANGUAGE: Final = "fr"


class AddressInvalid(ValueError):
    """An address of the message cannot be in a header. It is not shown."""


@dataclass(frozen=True)
class Welcome:
    """The message of one site.

    Attributes:
        sender: its sender's address; the domain is the Message-ID's too, so it must stay the same.
        portal_url: the page for students.
        support: the address for help.
        clock: gives the message's date.
    """

    sender: str
    portal_url: str
    support: str
    clock: Callable[[], datetime]

    def message_id(self, student_number: str) -> str:
        """A student's constant Message-ID (RFC 5322, 3.6.4). A digest: mail servers log it."""
        digest = hashlib.sha256(f"welcome:{student_number}".encode()).hexdigest()[:32]
        return f"<welcome.{digest}@{self.sender.rpartition('@')[2]}>"

    def render(self, account: Account) -> bytes:
        """The whole message, with CRLF line ends. Raises AddressInvalid: an address is unfit for a header."""
        language = _language(account)
        words = {
            "name": _one_line(account.person.called_name),
            "mail": account.mail,
            "login": account.login,
            "portal": self.portal_url,
            "support": self.support,
            "pending": any(c.requires is Requirement.PEDAGOGICAL and not c.met for c in account.cohorts),
        }
        text = self._templates.get_template(f"welcome.{language}.txt").render(words)
        if language == "fr":
            text = spaced(text)
        html = self._templates.get_template("welcome.html").render(
            language=language,
            subject=_SUBJECTS[language],
            portal=self.portal_url,
            paragraphs=_paragraphs(text),
        )
        message = self._headed(account, _SUBJECTS[language])
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        message["Content-Language"] = language  # RFC 3282; with the content, whose setting drops it
        message.set_boundary(f"=_{self.message_id(account.student_number)[9:41]}")
        return message.as_bytes()

    def _headed(self, account: Account, subject: str) -> EmailMessage:
        """The message without its body. The library encodes and folds, and refuses line ends in values."""
        message = EmailMessage(policy=SMTP)
        try:
            message["From"] = Address(addr_spec=self.sender)
            message["To"] = Address(_one_line(account.person.display_name), addr_spec=account.mail)
        except (
            ValueError,
            IndexError,
            HeaderParseError,
        ) as error:  # the library's parser fails in all these ways
            raise AddressInvalid("the address cannot stand in a header") from error
        message["Subject"] = subject
        message["Date"] = format_datetime(self.clock())
        message["Message-ID"] = self.message_id(account.student_number)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answer
        return message

    @cached_property
    def _templates(self) -> Environment:
        from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

        return Environment(
            loader=PackageLoader("consumers.mailbox", "templates"),
            autoescape=select_autoescape(enabled_extensions=("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )


def _language(account: Account) -> str:
    """The primary language subtag (RFC 5646), if there is a text in it; else French."""
    primary = account.person.language.partition("-")[0].casefold()
    return primary if primary in _SUBJECTS else _DEFAULT_LANGUAGE


def _one_line(name: str) -> str:
    """A name without control characters and line ends, which files may contain."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _paragraphs(text: str) -> list[list[str]]:
    """The text's paragraphs as lines, for the HTML part."""
    return [[line.strip() for line in block.splitlines()] for block in text.split("\n\n")]
