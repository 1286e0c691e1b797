"""A mail server in memory behind the mailbox consumer's port. It looks its users up in the simulated
directory, as a real one does; a mailbox is its user's, whatever the address (see ops/dovecot)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from consumers.kit.deadline import Deadline
from consumers.mailbox.port import (
    ApplyResult,
    Key,
    MailboxChange,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    Sighting,
    Unknown,
    WrittenMailbox,
)
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.targets.directory import SimulatedDirectory
from tests.simulation.targets.target import Fate, Target

FOLDERS = ("Sent", "Trash")


@dataclass
class Box:
    """One mailbox, which its first user's look makes.

    Attributes:
        session: whether its user has it open.
    """

    folders: set[str] = field(default_factory=lambda: {"INBOX"})
    subscribed: set[str] = field(default_factory=lambda: {"INBOX"})
    messages: list[str] = field(default_factory=list)  # Message-IDs; the UID is the place, from 1
    script: str | None = None
    active: bool = False
    session: bool = False


class SimulatedMailboxes(Target):
    """See `consumers.mailbox.port.Mailboxes`.

    Args:
        directory: where users are looked up.

    Attributes:
        boxes: by student.
        closed_for: for which account version sessions were ended last, by student.
        sent_on: whose welcome message went through a redirection; empty if all is well.
    """

    def __init__(self, directory: SimulatedDirectory, *args: object) -> None:
        super().__init__("mailbox", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.boxes: dict[str, Box] = {}
        self.closed_for: dict[str, int] = {}
        self.sent_on: list[str] = []
        self._directory = directory

    def apply(self, batch: Sequence[MailboxChange], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """See `Mailboxes.apply`."""
        deadline.left_s()
        self.meet()
        return {change.address: self._apply(change) for change in batch}

    def close(self, addresses: Sequence[str], deadline: Deadline) -> None:
        """See `Mailboxes.close`. The server knows by its sessions whose they are."""
        deadline.left_s()
        self.meet()
        actor = self.schedule.current
        for account in actor.accounts.values() if actor is not None else ():
            if account.mail in addresses:
                number = account.student_number
                self.closed_for[number] = max(self.closed_for.get(number, 0), account.version)
                self.boxes.get(number, Box()).session = False

    def read(self, keys: Sequence[Key], deadline: Deadline) -> Mapping[str, ReadResult]:
        """See `Mailboxes.read`."""
        deadline.left_s()
        self.meet()
        return {key.address: self._read(key) for key in keys}

    def addresses(self) -> Iterator[str]:
        """See `Mailboxes.addresses`."""
        mails = ("".join(entry.attributes["mail"]) for entry in self._directory.entries.values())
        yield from (mail for mail in mails if self._directory.owner(mail) is not None)

    def erase(self, addresses: Sequence[str], deadline: Deadline) -> Mapping[str, ApplyResult]:
        """See `Mailboxes.erase`."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """See `Mailboxes.disconnect`."""

    def visit(self, number: str) -> None:
        """A student reads mail, if the server lets them in."""
        entry = self._directory.entries.get(number)
        if entry is not None and entry.attributes.get("sesameMailEnabled") == ("TRUE",):
            self.boxes.setdefault(number, Box()).session = True

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        box = self.boxes.get(number)
        if box is not None:
            box.subscribed &= {"INBOX"}
        return box is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`. The directory may be at a newer version by now, which has opened the mailbox
        or shut it since it was read back: a read finds nothing in one that is shut."""
        number = account.student_number
        enabled = self._directory.owner(account.mail) == number
        newer = self._directory.written_for(number) > account.version
        box = self.boxes.get(number)
        if not oracle.access(account):
            left = enabled or (box is not None and box.session)
            return "access" if left and not newer else ""
        if box is None or not (enabled or newer):
            return "mailbox"
        wrong = {
            "folders": not {"Sent", "Trash"} <= box.folders & box.subscribed,
            "redirection": not oracle.redirects(box.script if box.active else None, account),
            "welcome": len(box.messages) != 1,
        }
        return ", ".join(what for what, is_so in wrong.items() if is_so)

    def said(self, account: Account, told: oracle.Obstacle | None) -> None:
        """See `Target.said`. Nothing is done here before the directory has it."""
        super().said(account, told)
        leader = self._directory.newest.get(account.student_number, 0)
        if leader < account.version:
            number = account.student_number
            self.not_so.append(f"mailbox: {number} version {account.version}, and the directory has {leader}")

    # --- inside -----------------------------------------------------------------------------------

    def _apply(self, change: MailboxChange) -> ApplyResult:
        number = self._directory.owner(change.address)
        if number is None:
            return MailboxUnsettled("mailbox_not_enabled", "no such user")

        def effect(change: MailboxChange = change) -> bool:
            self._carry(number, change)
            return True

        def partly() -> bool:  # what the server took charge of by LMTP is not lost
            return effect(replace(change, create=(), subscribe=(), install=None, remove=False))

        match self.write(number, effect, partly):
            case Fate.BUSY:
                return MailboxUnsettled("mailbox_busy", "75")
            case Fate.UNKNOWN:
                return MailboxUnsettled("delivery_unknown", "no answer", unknown=True)
        return WrittenMailbox()

    def _carry(self, number: str, change: MailboxChange) -> None:
        box = self.boxes.setdefault(number, Box())
        box.folders |= set(change.create)
        box.subscribed |= {*change.create, *change.subscribe}
        if change.welcome is not None:
            if box.active:
                self.sent_on.append(number)
            box.messages.append(change.welcome.decode().partition("\r\n")[0].removeprefix("Message-ID: "))
        if change.install is not None:
            box.script, box.active = change.install, True
        if change.remove:
            box.script, box.active = None, False

    def _read(self, key: Key) -> ReadResult:
        number = self._directory.owner(key.address)
        if number is None:
            return Unknown()
        if self.weather.strikes("busy", 0.01):
            return MailboxUnsettled("mailbox_busy", "75")
        box = self.boxes.setdefault(number, Box())
        uids = range(1, len(box.messages) + 1)
        sighting = None
        if key.message_id is not None:
            since = tuple(uid for uid in uids if uid >= key.since_uid)
            sighting = Sighting(box.messages.count(key.message_id), () if key.delivered else since)
        return ObservedMailbox(
            address=key.address,
            folders=frozenset(box.folders),
            subscribed=frozenset(box.subscribed),
            quota_kib=None,
            uidvalidity=1,
            uidnext=len(box.messages) + 1,
            redirect_script=box.script,
            redirect_active=box.active,
            own_script_active=False,
            sighting=sighting,
        )
