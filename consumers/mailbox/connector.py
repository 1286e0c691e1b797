"""The mailbox connector: folders, a welcome message and a redirection, on Dovecot.

The order, for each student: the server finds the user (its directory has it), folders, the welcome message,
and only then the redirection, so that the message is never sent on. The directory decides whether a mailbox
may be used; this connector ends the open sessions, which the directory cannot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from consumers.kit.connector import (
    SLOW,
    TOO_SLOW,
    Advice,
    Change,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.reasons import Reason, read_reasons
from consumers.mailbox import commands
from consumers.mailbox.commands import Command, CommandUnknown, DoveadmAnswer, Exit, Key, Observed
from consumers.mailbox.mailbox import (
    FOLDERS,
    FULL,
    NOT_ENABLED,
    QUOTA,
    REDIRECT,
    WELCOME,
    Mailbox,
    RedirectInvalid,
    foreseen,
    script_of,
    shown,
    wanted_of_all,
)
from consumers.mailbox.posting import Posting
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import Welcome
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden
from pipeline.letters import AddressUnusable
from pipeline.tls import trusting
from schemas.account import Account, Stage
from schemas.language import Language, gettext

if TYPE_CHECKING:
    from consumers.mailbox.dovecot import Doveadm
    from consumers.mailbox.lmtp import Lmtp
    from consumers.mailbox.welcome_journal import WelcomeMessages
    from pipeline.letters import Letterhead

_BEHIND: Final = Refused("directory_behind", "access is to be shut, and the mail server still finds the user")
_HIDDEN: Final = Held("mailbox_hidden", recheck_after_s=3600.0)
_LATE: Final = Refused(SLOW, TOO_SLOW)
_UNWRITABLE: Final = Refused(
    "mail_address_invalid",
    "no welcome message can be written: the address cannot stand in a header",
    lasting=True,
)
_DIRECTORY_AWAY: Final = "Dovecot cannot look users up: its directory is away"


class MailboxConnector(Connector[MailboxSettings]):
    """One mailbox per student, on a Dovecot, by doveadm over HTTP and by LMTP.

    Args:
        doveadm, lmtp: administration and delivery; None: the server of the settings.
        journal: records the intent to send the welcome message; None: the site's store.
        welcome: renders it; None: as the settings say.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    section = MailboxSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "La messagerie", "en": "The mailbox"}
    level = "platinum"
    lacks: ClassVar[Mapping[str, str]] = {
        "stranger": "a mailbox has no owner but its login",
        "changes_since": "doveadm lists no changes",
    }
    role = "mailbox"
    follows = "directory"
    sessions = True
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    keeps = ("the empty mail folder, whose name has the login", "its own logs and backups")
    owns = (FOLDERS, QUOTA, REDIRECT, WELCOME)
    lists = ()
    known_by = "mail"

    def __init__(
        self,
        context: ConnectorContext[MailboxSettings],
        doveadm: Doveadm | None = None,
        lmtp: Lmtp | None = None,
        journal: WelcomeMessages | None = None,
        welcome: Welcome | None = None,
    ) -> None:
        from consumers.mailbox.dovecot import Doveadm  # slow to load; reasons are read without it
        from consumers.mailbox.lmtp import Lmtp

        super().__init__(context)
        settings = self.settings
        self._wanted_of_all = wanted_of_all(settings.folders, context.site.mail_quota_bytes)
        self._doveadm = doveadm or Doveadm(context)
        self._lmtp = lmtp or Lmtp(
            settings.lmtp_host,
            settings.lmtp_port,
            sender=self._letterhead.sender,
            context=trusting(context.name, settings.ca_file),
        )
        self._posting = Posting(
            self._look,
            journal or self._journal(),
            welcome or Welcome(self._letterhead, lambda: datetime.now(UTC)),
            records=not context.read_only,
        )

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. For a closed account, only that the directory shuts it."""
        if not account.access_open:
            return Wanted({}, _BEHIND)
        try:
            script = script_of(account)
        except RedirectInvalid as error:  # all else is done, and the redirection stays as it is
            fault = f"the redirection's address cannot be used: {error}"
            return Wanted(self._wanted_of_all, Refused("redirect_invalid", fault, lasting=True))
        return Wanted({**self._wanted_of_all, REDIRECT: () if script is None else (script,)})

    # --- reading ------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`. A mailbox is its student's because the directory gives its address."""
        return self._observe(accounts, deadline)

    def read_before(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read_before`: of a new mailbox, no more than that it is new."""
        return self._observe(accounts, deadline, least=not self.context.read_only)

    def _observe(
        self, accounts: Sequence[Account], deadline: Deadline, *, least: bool = False
    ) -> Mapping[str, Seen]:
        seen: dict[str, Seen] = {}
        if shut := [account for account in accounts if not account.access_open]:
            there = self._look([Key(account.mail) for account in shut], deadline)
            seen = {a.student_number: self._shut(a, there[a.mail]) for a in shut}
        if opened := [account for account in accounts if account.access_open]:
            looked = self._posting.look(opened, deadline, least=least)
            seen |= {a.student_number: self._opened(a, looked[a.student_number]) for a in opened}
        return seen

    def look(self, account: Account) -> Observed:
        """All that the server shows of one mailbox, and of its welcome message."""
        key = Key(account.mail, message_id=self._posting.message_id(account))
        deadline = Deadline.after(self.settings.verb_s_max, self.context.monotonic)
        return self._look([key], deadline)[account.mail]

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:  # noqa: ARG002
        """See `Connector.foresee`."""
        said: dict[str, Held | Refused] = {}
        for each in changes:
            obstacle = foreseen(each.fields, _box(each))
            if WELCOME in each.fields and not self._posting.can_be_written(each.account):
                obstacle = _UNWRITABLE
            if obstacle is not None:
                said[each.account.student_number] = obstacle
        return said

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`: the server's users but the probe's, by address. Opens no mailbox."""
        listing = self._user("*")
        if listing.code == Exit.DATA:
            raise Misconfigured(
                "Dovecot cannot list its users",
                remedy="Lift the directory's size limit for Dovecot's account (ops/ldap/slapd.conf).",
            )
        if listing.code not in (Exit.OK, Exit.NO_USER):
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)
        for address in listing.rows["userList"] if listing.code == Exit.OK else ():
            if address != self.settings.probe_user:
                mail = address.lower()
                yield TargetObject(ref=mail, names=(("mail", mail),))

    def probe(self) -> None:
        """See `Connector.probe`: look up the service account, through the directory."""
        answer = self._user(self.settings.probe_user)
        if answer.code == Exit.NO_USER:
            raise Misconfigured(
                "Dovecot does not know the service account that the probe looks up",
                remedy="Enable the mailbox of mailbox.probe_user in the directory (ops/ldap/tree.ldif).",
            )
        if answer.code != Exit.OK:
            raise TargetDown(_DIRECTORY_AWAY, unknown=False)

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: kept doveadm processes get slower with each student."""
        from consumers.mailbox.dovecot import keeps_processes

        if keeps_processes(self._doveadm, self._moment()):
            yield Advice(
                gettext("Dovecot keeps its doveadm processes, and each gets slower with every student"),
                gettext(
                    "In `service doveadm` of Dovecot, set service_count (2.4: restart_request_count) to 20, "
                    "and reload Dovecot."
                ),
            )

    def _look(self, keys: Sequence[Key], deadline: Deadline) -> dict[str, Observed]:
        """Read these mailboxes, by address. Access lists, which are expensive, on an observed server only."""
        first = {key.address: commands.first_looks(key, self._wanted_of_all) for key in keys}
        told = self._ask({address: list(several.values()) for address, several in first.items()}, deadline)
        seen = {
            key.address: commands.observed(key, dict(zip(first[key.address], told[key.address], strict=True)))
            for key in keys
        }
        looks = {key.address: commands.second_looks(key, seen[key.address]) for key in keys}
        second = self._each(looks, deadline)
        seen = {
            address: commands.completed(seen[address], looks[address], second[address]) for address in seen
        }
        if not self.context.read_only:
            return seen
        try:
            lists = self._each(
                {mail: commands.access_looks(mail, one) for mail, one in seen.items()}, deadline
            )
        except CommandUnknown:
            return seen  # without Dovecot's acl plugin there are no lists
        return {address: commands.with_access(one, lists[address]) for address, one in seen.items()}

    def _opened(self, account: Account, seen: Observed) -> Seen:
        if isinstance(seen, Refused):
            return seen
        return [shown(seen, account.student_number, self.wanted(account).fields)]

    def _shut(self, account: Account, seen: Observed) -> Seen:
        """What matters of a closed mailbox.

        Whether the server still finds its user; and, if it is to be erased, whether it holds anything: the
        server then finds the user until the directory's entry is removed, after everything else.
        """
        erased = account.stage is Stage.ERASED
        if isinstance(seen, Refused):
            if seen is not NOT_ENABLED:
                return seen
            return _HIDDEN if erased and self.name in account.stages else ()
        if erased and seen.erased:
            return ()
        return [TargetObject(ref=account.mail.lower(), student_number=account.student_number)]

    # --- writing ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`. All folders in one request, the messages one by one, then all scripts.

        The intent to send a message is recorded first. Each step needs the success of the one before; nothing
        is written for a student who cannot be welcomed.
        """
        boxes = {each.account.student_number: _box(each) for each in changes}
        new = [each.account for each in changes if WELCOME in each.fields]
        welcomes = self._posting.decide([(account, boxes[account.student_number]) for account in new])
        deadline.left_s()
        said: dict[str, Held | Refused] = {
            number: _UNWRITABLE for number, one in welcomes.items() if isinstance(one, AddressUnusable)
        }
        left = {n: each for each in changes if (n := each.account.student_number) not in said}
        said |= self._write(
            {n: commands.folder_commands(c.account.mail, c.fields, boxes[n]) for n, c in left.items()},
            deadline,
        )
        messages = {
            number: (each.account.mail, message)
            for number, each in left.items()
            if number not in said and isinstance(message := welcomes.get(number), bytes)
        }
        undelivered = self._deliver(messages, deadline)
        delivered = messages.keys() - undelivered.keys()
        self._posting.sent({number: boxes[number] for number in delivered})
        said |= undelivered
        scripts = {
            number: commands.script_commands(each.account.mail, each.fields, boxes[number])
            for number, each in left.items()
            if number not in said
        }
        try:
            said |= self._write(scripts, deadline)
        except OutOfTime:  # delivered messages stay delivered
            said |= {number: _LATE for number, several in scripts.items() if several}
        waiting = replace(FULL, pending=(WELCOME,))
        unsent = welcomes.keys() - delivered
        return {n: waiting if one == FULL and n in unsent else one for n, one in said.items()}

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: end open sessions; the directory refuses new ones."""
        mails = [each.account.mail for each in changes]
        literal = [mail for mail in mails if not set(mail) & set("*?")]  # the command takes masks
        self._doveadm.call([Command("kick", {"mask": [mail]}) for mail in literal], deadline)
        return {}

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`: all that a mailbox holds, in two requests.

        The server finds its user, and an empty inbox, until the directory's entry is erased too; afterwards
        no mailbox could be found to be emptied. An unknown user has nothing.
        """
        answers = self._ask({each.ref: commands.erasure_looks(each.ref) for each in found}, deadline)
        unseen = {
            ref: why for ref, several in answers.items() if (why := commands.unread(several)) is not None
        }
        emptying = {
            ref: commands.erasure_commands(ref, each) for ref, each in answers.items() if ref not in unseen
        }
        said = {ref: why for ref, why in unseen.items() if why is not NOT_ENABLED}
        failed = self._write(emptying, deadline)
        return said | {ref: why for ref, why in failed.items() if isinstance(why, Refused)}

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._doveadm.close()
        self._lmtp.close()

    def _write(self, asked: Mapping[str, list[Command]], deadline: Deadline) -> dict[str, Held | Refused]:
        """Send the commands of all students together; return each one's first failure."""
        said: dict[str, Held | Refused] = {}
        for key, answers in self._ask(asked, deadline, writes=True).items():
            for command, answer in zip(asked[key], answers, strict=True):
                if key not in said and (why := commands.failure(command, answer)) is not None:
                    said[key] = why
        return said

    def _deliver(
        self, messages: Mapping[str, tuple[str, bytes]], deadline: Deadline
    ) -> dict[str, Held | Refused]:
        """Deliver the messages one by one; return why some were not delivered."""
        undelivered: dict[str, Held | Refused] = {}
        for number, (address, message) in messages.items():
            if self.context.read_only:
                raise WriteForbidden
            try:
                deadline.left_s()
                said = self._lmtp.deliver(address, message, self._moment())
            except OutOfTime:
                said = _LATE
            if said is not None:
                undelivered[number] = said
                deadline.unanswered |= isinstance(said, Refused) and said.unknown
        return undelivered

    # --- doveadm ------------------------------------------------------------------------------------

    def _ask(
        self, asked: Mapping[str, list[Command]], deadline: Deadline, *, writes: bool = False
    ) -> dict[str, list[DoveadmAnswer]]:
        """As `_each`; the directory behind Dovecot is away if every answer is temporary."""
        answers = self._each(asked, deadline, writes=writes)
        if {each.code for several in answers.values() for each in several} == {Exit.TEMPORARY}:
            raise TargetDown(_DIRECTORY_AWAY, unknown=writes)
        return answers

    def _each(
        self, asked: Mapping[str, list[Command]], deadline: Deadline, *, writes: bool = False
    ) -> dict[str, list[DoveadmAnswer]]:
        """Send the commands of several mailboxes in one request; answers by key."""
        together = [command for several in asked.values() for command in several]
        answers = iter(self._doveadm.call(together, deadline, writes=writes))
        return {key: list(islice(answers, len(several))) for key, several in asked.items()}

    def _user(self, mask: str) -> DoveadmAnswer:
        return self._doveadm.call([Command("user", {"userMask": [mask]})], self._moment())[0]

    def _moment(self) -> Deadline:
        return Deadline.after(self.settings.timeout_s, self.context.monotonic)

    @property
    def _letterhead(self) -> Letterhead:
        found = self.context.site.letterhead
        assert found is not None, "the mailbox sends a message"  # noqa: S101
        return found

    def _journal(self) -> WelcomeMessages:
        from consumers.mailbox.welcome_journal import WelcomeMessages

        assert self.context.site.database is not None, "the mailbox needs the store"  # noqa: S101
        return WelcomeMessages(self.context.site.database, clock=time.time, adopted=self.adopted_refs)


def _box(change: Change) -> Mailbox:
    """The mailbox that a change is made from; none is ever made here."""
    assert isinstance(change.found, Mailbox)  # noqa: S101  (for the type checker)
    return change.found
