"""A mail server in memory behind the mailbox consumer's port. It looks its users up in the simulated
directory, as a real one does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumers.mailbox import Wanted
from consumers.mailbox.port import (
    ApplyResult,
    Change,
    Key,
    ObservedMailbox,
    ReadResult,
    Sighting,
    Unknown,
    Unsettled,
    Written,
)
from schemas.account import Account
from tests.simulation.targets.directory import SimulatedDirectory
from tests.simulation.targets.target import Fate, Target

FOLDERS = Wanted(("Sent", "Trash"))


@dataclass
class Box:
    """One mailbox, which its first user's look makes."""

    folders: set[str] = field(default_factory=lambda: {"INBOX"})
    subscribed: set[str] = field(default_factory=lambda: {"INBOX"})
    messages: list[str] = field(default_factory=list)  # Message-IDs; the UID is the place, from 1
    script: str | None = None
    active: bool = False


class SimulatedMailboxes(Target):
    """See `consumers.mailbox.port.Mailboxes`.

    Args:
        directory: where users are looked up.
    """

    verb_s_max = 5.0

    def __init__(self, directory: SimulatedDirectory, *args: object) -> None:
        super().__init__("mailbox", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.boxes: dict[str, Box] = {}
        self.numbers: dict[str, str] = {}  # by address: whose it is, as the directory said
        self._directory = directory

    def apply(self, batch: Sequence[Change]) -> Mapping[str, ApplyResult]:
        """See `Mailboxes.apply`."""
        self.meet()
        return {change.address: self._apply(change) for change in batch}

    def close(self, addresses: Sequence[str]) -> None:
        """See `Mailboxes.close`."""
        self.meet()

    def read(self, keys: Sequence[Key]) -> Mapping[str, ReadResult]:
        """See `Mailboxes.read`."""
        self.meet()
        return {key.address: self._read(key) for key in keys}

    def dump(self) -> Iterator[ObservedMailbox]:
        """See `Mailboxes.dump`."""
        seen = (self._read(Key(address)) for address in self.boxes)
        yield from (each for each in seen if isinstance(each, ObservedMailbox))

    def addresses(self) -> Iterator[str]:
        """See `Mailboxes.addresses`."""
        yield from (address for address in self.boxes if self._directory.enabled(address))

    def disconnect(self) -> None:
        """See `Mailboxes.disconnect`."""

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        for address, owner in self.numbers.items():
            if owner == number and address in self.boxes:
                self.boxes[address].subscribed &= {"INBOX"}
                return True
        return False

    def differs(self, account: Account) -> str:
        """See `Target.differs`. The directory may be at a newer version by now, which has opened the mailbox
        or shut it since it was read back: a read finds nothing in one that is shut."""
        enabled = self._directory.enabled(account.mail)
        entry = self._directory.entries.get(account.student_number)
        newer = self._directory.written_for(account.student_number) > account.version
        if not account.access_open:
            return "access" if enabled and entry is not None and not newer else ""
        box = self.boxes.get(account.mail)
        if box is None or not (enabled or newer):
            return "mailbox"
        return "" if set(FOLDERS.folders) <= box.folders & box.subscribed else "folders"

    # --- inside -----------------------------------------------------------------------------------

    def _apply(self, change: Change) -> ApplyResult:
        if not self._directory.enabled(change.address):
            return Unsettled("mailbox_not_enabled", "no such user")

        def effect() -> bool:
            self._carry(change)
            return True

        match self.write(self._number(change.address), effect):
            case Fate.BUSY:
                return Unsettled("mailbox_busy", "75")
            case Fate.UNKNOWN:
                return Unsettled("delivery_unknown", "no answer", unknown=True)
        return Written()

    def _carry(self, change: Change) -> None:
        box = self.boxes.setdefault(change.address, Box())
        box.folders |= set(change.create)
        box.subscribed |= {*change.create, *change.subscribe}
        if change.welcome is not None:
            box.messages.append(change.welcome.decode().partition("\r\n")[0].removeprefix("Message-ID: "))
        if change.install is not None:
            box.script, box.active = change.install, True
        if change.remove:
            box.script, box.active = None, False

    def _read(self, key: Key) -> ReadResult:
        if not self._directory.enabled(key.address):
            return Unknown()
        if self.weather.strikes("busy", 0.01):
            return Unsettled("mailbox_busy", "75")
        number, box = self._number(key.address), self.boxes.setdefault(key.address, Box())
        uids = range(1, len(box.messages) + 1)
        sighting = None
        if key.message_id is not None:
            since = tuple(uid for uid in uids if uid >= key.since_uid)
            sighting = Sighting(box.messages.count(key.message_id), since)
        self.numbers[key.address] = number
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

    def _number(self, address: str) -> str:
        known = self.numbers.get(address)
        if known is not None:
            return known
        entries = self._directory.entries.items()
        return next(number for number, entry in entries if entry.attributes.get("mail") == (address,))
