"""The mailbox port: verbs over students' mailboxes, and the welcome's journal.

An adapter owns the technology and nothing else: `difference.py` says what a mailbox should look like, and
`welcome.py` whether the welcome message may be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from consumers.kit.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Key:
    """Which mailbox to read, and what to look for in it.

    Attributes:
        address: the main mail address, which is the user name.
        message_id: look for this Message-ID (angle brackets included) in all folders; None: do not look.
        since_uid: with `message_id`, also list the inbox's messages from this UID on.
        delivered: the message was delivered a moment ago: it is looked for among those, and elsewhere only if
            it is not there.
    """

    address: str
    message_id: str | None = None
    since_uid: int = 1
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was found while looking for a message.

    Attributes:
        copies: how many messages, in all folders, carry the Message-ID; with `Key.delivered`, in the first
            place where one was found.
        uids: UIDs of the inbox's messages from `Key.since_uid` on, in order (RFC 9051, section 2.3.1.1);
            with `Key.delivered`, none.
    """

    copies: int
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ObservedMailbox:
    """A mailbox as the server shows it.

    Attributes:
        address: as in the request.
        folders: all folders, the inbox included.
        subscribed: those that mail programs show.
        quota_kib: its limit in KiB, rounded up; None: no limit.
        used_kib: how much of it is taken.
        messages: how many the inbox has.
        scripts: the names of all sieve scripts.
        uidvalidity, uidnext: the inbox's.
        redirect_script: the sieve script (RFC 5228) under the project's name, if there is one.
        redirect_active: whether that script is the active one.
        own_script_active: whether another script, the student's own, is active.
        sighting: the answer to `Key.message_id`.
        shared: whether others may use one of its folders, by its access list (RFC 4314). Read only on a
            server that is only observed, as a comparison does.
    """

    address: str
    folders: frozenset[str]
    subscribed: frozenset[str]
    quota_kib: int | None
    uidvalidity: int
    uidnext: int
    redirect_script: str | None
    redirect_active: bool
    own_script_active: bool
    sighting: Sighting | None = None
    used_kib: int = 0
    messages: int = 0
    scripts: frozenset[str] = frozenset()
    shared: bool = False

    @property
    def erased(self) -> bool:
        """Whether it holds nothing; an inbox exists while the server finds its user."""
        return not (self.folders - {"INBOX"} or self.subscribed or self.messages or self.scripts)


@dataclass(frozen=True, slots=True)
class MailboxChange:
    """What to write to one mailbox, in this order.

    Each step needs the success of the one before.

    Attributes:
        address: the mailbox.
        create: folders to create and subscribe.
        subscribe: folders that exist and are to be subscribed.
        welcome: a message (RFC 5322, with CRLF) to deliver once; None: none.
        install: the sieve script to put under the project's name and to activate.
        remove: whether to deactivate and delete the script under the project's name (`deactivate` says
            whether it is the active one now).
    """

    address: str
    create: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    welcome: bytes | None = field(default=None, repr=False)
    install: str | None = field(default=None, repr=False)
    remove: bool = False
    deactivate: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.create or self.subscribe or self.welcome or self.install or self.remove)


@dataclass(frozen=True, slots=True)
class WrittenMailbox:
    """Every step was taken."""


@dataclass(frozen=True, slots=True)
class Full:
    """The mailbox is over its quota: some step was refused for that reason."""

    delivered: bool = False


@dataclass(frozen=True, slots=True)
class MailboxRefused:
    """The server refuses a step for good. `cause` is a token, `message` is for operators, without values."""

    cause: str
    message: str
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class MailboxUnsettled:
    """It could not be settled now. `unknown`: a step may still take effect."""

    cause: str
    message: str
    delivered: bool = False
    unknown: bool = False


ApplyResult = WrittenMailbox | Full | MailboxRefused | MailboxUnsettled
"""`delivered`, where there is one, says that the mail server took charge of the welcome message."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The server knows no such user.

    There is none in the directory, or the mailbox is not enabled there.
    """


ReadResult = ObservedMailbox | Unknown | MailboxUnsettled


class Mailboxes(Protocol):
    """A mail server. Thread-safe.

    Every verb raises TargetDown when the server, or the directory behind it, is away, and Misconfigured (with
    the remedy) when it refuses the consumer's key, its own certificate does not verify, or it lacks a module.
    Those that are given a deadline begin nothing after it: they raise OutOfTime, or say whom it left over.
    """

    def apply(self, batch: Sequence[MailboxChange], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """Write each change; one result per address. Folders and scripts may be written again without harm; a
        welcome message that was accepted is there twice if it is applied twice."""

    def close(self, addresses: Sequence[str], deadline: Deadline) -> None:
        """End the sessions that are open in these mailboxes. New ones are refused by the directory, where the
        server looks its users up; mail is kept."""

    def read(self, keys: Sequence[Key], deadline: Deadline) -> Mapping[str, ReadResult]:
        """Observe mailboxes, by address.

        `Unknown` when the server does not know the user, or it is not enabled; `MailboxUnsettled` when this
        one mailbox could not be read now.
        """

    def addresses(self) -> Iterator[str]:
        """All users that the server finds, without the probe's; opens no mailbox."""

    def erase(self, addresses: Sequence[str], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """Remove all that these mailboxes hold.

        Messages, folders, subscriptions and sieve scripts. An empty inbox stays for as long as the server
        finds the user, whose entry is the directory's.
        """

    def probe(self) -> None:
        """Look up a service account, through the same directory as a student's."""

    def disconnect(self) -> None:
        """Give connections back."""


class Intent(Protocol):
    """An earlier intent to send the welcome message.

    `state` is `intended` (unknown whether it was sent), `sent`, `undecided` (it cannot be known, and it is
    not sent again) or `waived` (the mailbox is older than Sésame); `uidvalidity` and `uidnext` are the
    inbox's, read just before the intent was recorded.
    """

    @property
    def uidvalidity(self) -> int: ...  # noqa: D102  (see the class)

    @property
    def uidnext(self) -> int: ...  # noqa: D102

    @property
    def state(self) -> str: ...  # noqa: D102


class IntendedWelcome(NamedTuple):
    """A new intent: the Message-ID, and the inbox's UIDVALIDITY and UIDNEXT.

    Both were read just before.
    """

    message_id: str
    uidvalidity: int
    uidnext: int


class WelcomeJournal(Protocol):
    """Durable record of the intent to send a welcome message, before it is sent.

    Each verb takes many students, by number, and carries all of them out or none.
    """

    def intend(self, intended: Mapping[str, IntendedWelcome]) -> Mapping[str, Intent]:
        """Record these intents; an earlier one is left as it is, and returned."""

    def known(self, student_numbers: Sequence[str]) -> Mapping[str, Intent]:
        """The recorded intents; changes nothing."""

    def sent(self, student_numbers: Sequence[str]) -> None:
        """Record that these messages were sent.

        The mail server took charge of them, or they were found in the mailboxes.
        """

    def undecided(self, student_numbers: Sequence[str]) -> None:
        """Record that it cannot be known whether these arrived; they are not sent again."""
