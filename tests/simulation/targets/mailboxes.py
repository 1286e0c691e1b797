"""A mail server in memory: doveadm's commands, and LMTP.

It looks its users up in the simulated directory, as a real one does; a mailbox is its user's, under any
address (see ops/dovecot).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from consumers.kit.connector import Refused
from consumers.kit.deadline import Deadline
from consumers.mailbox.commands import LOST, Command, DoveadmAnswer, Exit
from consumers.mailbox.mailbox import SCRIPT
from pipeline.errors import TargetDown
from schemas.account import Account
from sesame.testing.servers import mail_kit
from tests.simulation import oracle
from tests.simulation.targets.directory import SimulatedDirectory
from tests.simulation.targets.target import Fate, Target

FOLDERS = ("Sent", "Trash")
BUSY = 1
"""An exit code without a reason."""


@dataclass
class Box(mail_kit.Box):
    """One mailbox, made by its first user's look. `session`: whether its user has it open."""

    session: bool = False


class SimulatedMailboxes(Target):
    """Both `consumers.mailbox.dovecot.Doveadm` and `consumers.mailbox.lmtp.Lmtp`.

    Args:
        directory: of the users.

    Attributes:
        boxes: by student.
        closed_for: the account version of the last end of sessions, by student.
        sent_on: students whose welcome message was redirected; empty if all is well.
    """

    def __init__(self, directory: SimulatedDirectory, *args: object) -> None:
        super().__init__("mailbox", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.boxes: dict[str, Box] = {}
        self.closed_for: dict[str, int] = {}
        self.sent_on: list[str] = []
        self._directory = directory

    def call(
        self, commands: Sequence[Command], deadline: Deadline, *, writes: bool = False
    ) -> list[DoveadmAnswer]:
        """See `Doveadm.call`. The answer is lost if that to one of its users is."""
        if not commands:
            return []
        deadline.left_s()
        self.meet()
        answers: list[DoveadmAnswer] = []
        lost = False
        for user, several in groupby(commands, lambda each: each.arguments.get("user")):
            said = self._said(user, list(several), writes=writes)
            lost = lost or said is None
            answers += said or []
        if lost:
            deadline.unanswered = True
            raise TargetDown("doveadm does not answer in time", unknown=True)
        return answers

    def deliver(self, recipient: str, message: bytes, deadline: Deadline) -> Refused | None:
        deadline.left_s()
        number = self._directory.owner(recipient)
        if number is None:
            return LOST
        message_id = message.decode().partition("\r\n")[0].removeprefix("Message-ID: ")

        def effect() -> bool:
            box = self.boxes.setdefault(number, Box())
            if box.active:
                self.sent_on.append(number)
            box.receive(message_id)
            return True

        match self.write(number, effect):
            case Fate.BUSY:
                return Refused("delivery_deferred", "451")
            case Fate.UNKNOWN:
                return Refused("delivery_unknown", "no answer", unknown=True)
        return None

    def close(self) -> None:
        """See `Doveadm.close`."""

    def visit(self, number: str) -> None:
        """A student reads mail, if the server lets them in."""
        entry = self._directory.entries.get(number)
        if entry is not None and entry.attributes.get("sesameMailEnabled") == ("TRUE",):
            self.boxes.setdefault(number, Box()).session = True

    def drift(self, number: str) -> bool:
        box = self.boxes.get(number)
        if box is not None:
            box.subscribed.clear()
        return box is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`.

        The directory may be at a newer version by now, which has opened the mailbox or shut it since it was
        read back: a read finds nothing in one that is shut.
        """
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
            "redirection": not oracle.redirects(box.scripts[SCRIPT] if box.active else None, account),
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

    def _said(self, user: Any, commands: list[Command], *, writes: bool) -> list[DoveadmAnswer] | None:
        """The answers to the commands about one user; None: their answer is lost."""
        if user is None:
            return [self._of_all(each) for each in commands]
        number = self._directory.owner(user)
        if number is None:
            return [DoveadmAnswer(Exit.NO_USER) for _ in commands]
        if not writes:
            if self.weather.strikes("busy", 0.01):
                return [DoveadmAnswer(BUSY) for _ in commands]
            return self._carried_out(number, commands)
        said: list[DoveadmAnswer] = [DoveadmAnswer(Exit.OK, []) for _ in commands]

        def effect() -> bool:
            said[:] = self._carried_out(number, commands)
            return True

        match self.write(number, effect, lambda: True):
            case Fate.BUSY:
                return [DoveadmAnswer(BUSY) for _ in commands]
            case Fate.UNKNOWN:
                return None
        return said

    def _carried_out(self, number: str, commands: list[Command]) -> list[DoveadmAnswer]:
        box = self.boxes.setdefault(number, Box())
        answers = [box.answer(each.name, each.arguments) for each in commands]
        return [DoveadmAnswer(a) if isinstance(a, int) else DoveadmAnswer(Exit.OK, a) for a in answers]

    def _of_all(self, command: Command) -> DoveadmAnswer:
        """Answer `user`, and `kick`: the server knows sessions' owners."""
        if command.name == "user":
            mails = ("".join(entry.attributes["mail"]) for entry in self._directory.entries.values())
            found = [mail for mail in mails if self._directory.owner(mail) is not None]
            return DoveadmAnswer(Exit.OK, {"userList": found})
        actor = self.schedule.current
        for account in actor.accounts.values() if actor is not None else ():
            if account.mail in command.arguments["mask"]:
                number = account.student_number
                self.closed_for[number] = max(self.closed_for.get(number, 0), account.version)
                self.boxes.get(number, Box()).session = False
        return DoveadmAnswer(Exit.OK, [])
