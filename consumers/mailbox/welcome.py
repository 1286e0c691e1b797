"""The welcome message: what it says, and whether it is to be sent: at most once, whatever crashes.

It is in the student's language, with a Message-ID that is the same for ever.

The intent is recorded before the message is sent, with the inbox's UIDVALIDITY and UIDNEXT (RFC 9051, section
2.3.1.1) at that moment. When an intent is found whose message is not in the mailbox, either it was never
delivered, or it was delivered and deleted since. It was provably never delivered if the inbox still is the
same one and every message that came since is still there, none of them ours, and no script of the student's
own may have put it elsewhere. Otherwise it cannot be decided, and it is not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from consumers.mailbox.difference import FIRST_UID
from consumers.mailbox.port import (
    IntendedWelcome,
    Intent,
    Key,
    Mailboxes,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    Unknown,
    WelcomeJournal,
)
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
    """An address of the message cannot stand in a header; the address itself is not shown."""


@dataclass(frozen=True)
class Welcome:
    """Renders the message.

    Attributes:
        sender: its sender's address; the domain is the Message-ID's too, so it must stay the same.
        portal_url: the page that students are sent to.
        support: the address for help.
        clock: the time that the message shows as its date.
    """

    sender: str
    portal_url: str
    support: str
    clock: Callable[[], datetime]

    def message_id(self, student_number: str) -> str:
        """The message's Message-ID (RFC 5322, section 3.6.4), for ever the same for a student.

        Of the number only a digest: mail servers write Message-IDs to their logs.
        """
        digest = hashlib.sha256(f"welcome:{student_number}".encode()).hexdigest()[:32]
        return f"<welcome.{digest}@{self.sender.rpartition('@')[2]}>"

    def render(self, account: Account) -> bytes:
        """The whole message, with CRLF line ends.

        Raises:
            AddressInvalid: the student's address, or the sender's, cannot stand in a header.
        """
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
        """The message without its body. The library encodes and folds; a line end in a value is refused."""
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
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nothing answers it by itself
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
    """The first subtag (RFC 5646) of the student's language if there is a message in it, else French."""
    primary = account.person.language.partition("-")[0].casefold()
    return primary if primary in _SUBJECTS else _DEFAULT_LANGUAGE


def _one_line(name: str) -> str:
    """A name without control characters and line ends, whatever the registrar's file had."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _paragraphs(text: str) -> list[list[str]]:
    """The text's paragraphs as lines, for the other rendering."""
    return [[line.strip() for line in block.splitlines()] for block in text.split("\n\n")]


NOT_SENT_AGAIN: Final = "welcome message: unknown whether it arrived; not sent again"


@dataclass(frozen=True)
class WelcomePost:
    """The decision for one student.

    Attributes:
        message: to be sent now; None: not to be sent.
        note: for operators.
    """

    message: bytes | None = field(default=None, repr=False)
    note: str = ""


Decision = WelcomePost | AddressInvalid | MailboxUnsettled
"""`AddressInvalid`: it cannot be written; `MailboxUnsettled`: it could not be decided now."""


class Posting:
    """Decides, and keeps the journal."""

    def __init__(self, mailboxes: Mailboxes, journal: WelcomeJournal, welcome: Welcome) -> None:
        self._mailboxes = mailboxes
        self._journal = journal
        self._welcome = welcome

    def message_id(self, account: Account) -> str:
        """The Message-ID of the student's welcome message."""
        return self._welcome.message_id(account.student_number)

    def can_be_written(self, account: Account) -> bool:
        """Whether the student's address can be written into a message."""
        return isinstance(self._write(account), WelcomePost)

    def foresee(self, students: Sequence[tuple[Account, ObservedMailbox]]) -> frozenset[str]:
        """Numbers of the students who would be sent the message now; only read, and nothing is recorded.

        Raises:
            TargetDown, Misconfigured: as `Mailboxes.read`.
        """
        known = self._journal.known([account.student_number for account, _ in students])
        sent: set[str] = set()
        doubtful: list[tuple[Account, Intent | None]] = []
        for account, seen in students:
            earlier = known.get(account.student_number)
            if earlier is None and seen.uidnext == FIRST_UID:
                sent.add(account.student_number)
            elif earlier is None or earlier.state == "intended":
                doubtful.append((account, earlier))
        sightings = self._sightings(doubtful)
        for account, earlier in doubtful:
            again = sightings[account.mail]
            if isinstance(again, ObservedMailbox) and _is_missing(earlier, again):
                sent.add(account.student_number)
        return frozenset(sent)

    def decide(self, students: Sequence[tuple[Account, ObservedMailbox]]) -> dict[str, Decision]:
        """Decide for each student number; whoever is to be sent a message has its intent recorded.

        Raises:
            TargetDown, Misconfigured: as `Mailboxes.read`.
        """
        decisions: dict[str, Decision] = {}
        doubtful: list[tuple[Account, Intent | None]] = []
        known = self._journal.intend(
            {
                account.student_number: IntendedWelcome(
                    self.message_id(account), seen.uidvalidity, seen.uidnext
                )
                for account, seen in students
            }
        )
        for account, seen in students:
            number = account.student_number
            earlier = known.get(number)
            if earlier is not None and earlier.state in ("sent", "waived"):
                decisions[number] = WelcomePost()
            elif earlier is not None and earlier.state == "undecided":
                decisions[number] = WelcomePost(note=NOT_SENT_AGAIN)
            elif earlier is None and seen.uidnext == FIRST_UID:
                decisions[number] = self._write(account)
            else:
                doubtful.append((account, earlier))
        return decisions | self._look(doubtful)

    def _look(self, doubtful: Sequence[tuple[Account, Intent | None]]) -> dict[str, Decision]:
        """Look for the message in the mailboxes where it may already be."""
        seen = self._sightings(doubtful)
        return {
            account.student_number: self._judge(account, earlier, seen[account.mail])
            for account, earlier in doubtful
        }

    def _sightings(self, doubtful: Sequence[tuple[Account, Intent | None]]) -> Mapping[str, ReadResult]:
        """The mailboxes of these, by address, with what was found of the message."""
        keys = [
            Key(account.mail, self.message_id(account), earlier.uidnext if earlier else FIRST_UID)
            for account, earlier in doubtful
        ]
        return self._mailboxes.read(keys)

    def _judge(self, account: Account, earlier: Intent | None, seen: ReadResult) -> Decision:
        if isinstance(seen, Unknown):
            return MailboxUnsettled("mailbox_not_enabled", "the mail server lost this user meanwhile")
        if isinstance(seen, MailboxUnsettled):
            return seen
        if seen.sighting is not None and seen.sighting.copies > 0:
            self._journal.sent([account.student_number])
            return WelcomePost()
        if earlier is None or never_delivered(earlier, seen):
            return self._write(account)
        self._journal.undecided([account.student_number])
        return WelcomePost(note=NOT_SENT_AGAIN)

    def _write(self, account: Account) -> Decision:
        try:
            return WelcomePost(self._welcome.render(account))
        except AddressInvalid as error:
            return error


def _is_missing(earlier: Intent | None, seen: ObservedMailbox) -> bool:
    """Whether the message that was looked for is to be sent (again)."""
    if seen.sighting is None or seen.sighting.copies > 0:
        return False
    return earlier is None or never_delivered(earlier, seen)


def never_delivered(earlier: Intent, seen: ObservedMailbox) -> bool:
    """Whether a message that is in no folder provably never came since the earlier intent was recorded."""
    if seen.sighting is None or seen.own_script_active or seen.uidvalidity != earlier.uidvalidity:
        return False
    return set(range(earlier.uidnext, seen.uidnext)) <= set(seen.sighting.uids)
