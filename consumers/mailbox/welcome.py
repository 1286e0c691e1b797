"""The welcome message: its text, and whether to send it.

It is sent at most once, whatever crashes, in the student's language, with a Message-ID that never changes.

The intent is recorded before the message is sent, with the inbox's UIDVALIDITY and UIDNEXT (RFC 9051, section
2.3.1.1) at that moment. When an intent is found whose message is not in the mailbox, either it was never
delivered, or it was delivered and deleted since. It was provably never delivered if the inbox still is the
same one and every message that came since is still there, none of them ours, and no script of the student's
own may have put it elsewhere. Otherwise it cannot be decided, and it is not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from consumers.kit.deadline import Deadline
from consumers.mailbox.port import (
    IntendedWelcome,
    Intent,
    Key,
    Mailboxes,
    ObservedMailbox,
    ReadResult,
    WelcomeJournal,
)
from schemas.account import Account, Requirement
from schemas.typography import spaced

if TYPE_CHECKING:
    from jinja2 import Environment

FIRST_UID: Final = 1
"""An inbox whose UIDNEXT this is never had a message."""

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
        """The Message-ID (RFC 5322, section 3.6.4), always the same for a student.

        It carries only a digest of the number: mail servers write Message-IDs to their logs.
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
    """A name without control characters and line ends.

    The registrar's file may contain any.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _paragraphs(text: str) -> list[list[str]]:
    """The text's paragraphs as lines, for the other rendering."""
    return [[line.strip() for line in block.splitlines()] for block in text.split("\n\n")]


NOT_SENT_AGAIN: Final = "welcome message: unknown whether it arrived; not sent again"

INTENDED, SENT, UNDECIDED = "intended", "sent", "undecided"
"""States of an intent: see `port.Intent`."""


@dataclass(frozen=True)
class WelcomeStanding:
    """The state of one student's message.

    Attributes:
        due: it is to be sent.
        note: for operators.
        intent: what the journal had.
        learned: what it has not: `sent` or `undecided`; empty: nothing.
    """

    due: bool = False
    note: str = ""
    intent: Intent | None = None
    learned: str = ""


class Looked(Protocol):
    """A mailbox that was looked at, and the state of its message."""

    @property
    def seen(self) -> ObservedMailbox: ...  # noqa: D102

    @property
    def standing(self) -> WelcomeStanding: ...  # noqa: D102


class Posting:
    """Decides who gets the message, and keeps the journal.

    Args:
        records: tell the journal what was found in the mailboxes.
    """

    def __init__(
        self, mailboxes: Mailboxes, journal: WelcomeJournal, welcome: Welcome, *, records: bool = True
    ) -> None:
        self._mailboxes = mailboxes
        self._journal = journal
        self._welcome = welcome
        self._records = records
        self._unseen: dict[str, int] = {}
        """The inbox's UIDNEXT before sending, by student whose message is yet to appear."""

    def message_id(self, account: Account) -> str:
        """The Message-ID of the student's welcome message."""
        return self._welcome.message_id(account.student_number)

    def can_be_written(self, account: Account) -> bool:
        """Whether the student's address can be written into a message."""
        return not isinstance(self._write(account), AddressInvalid)

    def look(
        self, accounts: Sequence[Account], deadline: Deadline
    ) -> dict[str, tuple[ReadResult, WelcomeStanding]]:
        """Read these students' mailboxes and the state of the message, by number.

        Raises:
            OutOfTime: the mail server needed two requests, and there was no time for that.
            TargetDown, Misconfigured: as `Mailboxes.read`.
        """
        known = self._journal.known([account.student_number for account in accounts])
        seen = dict(
            self._mailboxes.read([self._key(a, known.get(a.student_number)) for a in accounts], deadline)
        )
        # An inbox that never had a message has none of ours; any other may, though no intent is recorded.
        doubtful = [a for a in accounts if a.student_number not in known and _was_used(seen[a.mail])]
        if doubtful:
            seen |= self._mailboxes.read([Key(a.mail, self.message_id(a)) for a in doubtful], deadline)
        found = {
            a.student_number: (seen[a.mail], self._standing(a, known.get(a.student_number), seen[a.mail]))
            for a in accounts
        }
        if self._records:
            self._record(accounts, found)
        return found

    def decide(self, students: Sequence[tuple[Account, Looked]]) -> dict[str, bytes | AddressInvalid]:
        """The messages to be sent now, by student number, or why one cannot be.

        Each one's intent is recorded first; where another one was recorded since the mailbox was read,
        another worker sends it.
        """
        due = [(account, box) for account, box in students if box.standing.due]
        known = self._intend([(account, box.seen) for account, box in due])
        return {
            account.student_number: self._write(account)
            for account, box in due
            if box.standing.intent == (intent := known.get(account.student_number))
            and (intent is None or intent.state == INTENDED)
        }

    def sent(self, students: Mapping[str, ObservedMailbox]) -> None:
        """Record that the mail server took charge of these students' messages.

        Their mailboxes are to show them.
        """
        self._journal.sent(list(students))
        self._unseen |= {number: seen.uidnext for number, seen in students.items()}

    def _write(self, account: Account) -> bytes | AddressInvalid:
        try:
            return self._welcome.render(account)
        except AddressInvalid as error:
            return error

    def _intend(self, students: Sequence[tuple[Account, ObservedMailbox]]) -> Mapping[str, Intent]:
        """Record these intents; return the earlier ones."""
        intended = {
            account.student_number: IntendedWelcome(self.message_id(account), seen.uidvalidity, seen.uidnext)
            for account, seen in students
        }
        return self._journal.intend(intended) if intended else {}

    def _key(self, account: Account, intent: Intent | None) -> Key:
        uidnext = self._unseen.get(account.student_number)
        if uidnext is not None:
            return Key(account.mail, self.message_id(account), uidnext, delivered=True)
        if intent is not None and intent.state == INTENDED:
            return Key(account.mail, self.message_id(account), intent.uidnext)
        return Key(account.mail)

    def _standing(self, account: Account, intent: Intent | None, seen: ReadResult) -> WelcomeStanding:
        if not isinstance(seen, ObservedMailbox):
            return WelcomeStanding(intent=intent)
        if self._unseen.pop(account.student_number, None) is not None:
            return WelcomeStanding(due=_copies(seen) == 0, intent=intent)
        if intent is not None and intent.state != INTENDED:
            return WelcomeStanding(note=NOT_SENT_AGAIN if intent.state == UNDECIDED else "", intent=intent)
        if intent is None and not _was_used(seen):
            return WelcomeStanding(due=True)
        return self._judge(intent, seen)

    def _judge(self, intent: Intent | None, seen: ObservedMailbox) -> WelcomeStanding:
        """The state of a message that may have arrived, by what was found of it."""
        if _copies(seen) > 0:
            return WelcomeStanding(intent=intent, learned=SENT)
        if intent is None or never_delivered(intent, seen):
            return WelcomeStanding(due=True, intent=intent)
        return WelcomeStanding(note=NOT_SENT_AGAIN, intent=intent, learned=UNDECIDED)

    def _record(
        self, accounts: Sequence[Account], found: Mapping[str, tuple[ReadResult, WelcomeStanding]]
    ) -> None:
        learned = [(a, *found[a.student_number]) for a in accounts if found[a.student_number][1].learned]
        without = [(a, seen) for a, seen, standing in learned if standing.intent is None]
        self._intend([(a, seen) for a, seen in without if isinstance(seen, ObservedMailbox)])
        for state, settle in ((SENT, self._journal.sent), (UNDECIDED, self._journal.undecided)):
            if numbers := [a.student_number for a, _, standing in learned if standing.learned == state]:
                settle(numbers)


def _was_used(seen: ReadResult) -> bool:
    """Whether a mailbox's inbox ever had a message."""
    return isinstance(seen, ObservedMailbox) and seen.uidnext != FIRST_UID


def _copies(seen: ObservedMailbox) -> int:
    return 0 if seen.sighting is None else seen.sighting.copies


def never_delivered(earlier: Intent, seen: ObservedMailbox) -> bool:
    """Whether a missing message provably never came since the earlier intent."""
    if seen.sighting is None or seen.own_script_active or seen.uidvalidity != earlier.uidvalidity:
        return False
    return set(range(earlier.uidnext, seen.uidnext)) <= set(seen.sighting.uids)
