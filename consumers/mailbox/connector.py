"""The mailbox connector: folders, a welcome message and a redirection, on Dovecot.

The order, for each student: the server finds the user (its directory has it), folders, the welcome message,
and only then the redirection, so that the message is never sent on. The directory decides whether a mailbox
may be used; this connector shuts what the directory cannot: the sessions that are open.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from consumers.kit.connector import (
    AdoptedRefs,
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
from consumers.kit.deadline import Deadline
from consumers.kit.handler import SHARED
from consumers.kit.reasons import Reason, read_reasons
from consumers.mailbox.difference import (
    FOLDERS,
    MAILBOX_FULL,
    QUOTA,
    RECHECK_S,
    REDIRECT,
    WELCOME,
    RedirectInvalid,
    WantedMailbox,
    change_of,
    foreseen,
    hidden,
    shown_fields,
    wanted_fields,
    wanted_of_all,
)
from consumers.mailbox.port import (
    ApplyResult,
    Full,
    Key,
    MailboxChange,
    Mailboxes,
    MailboxRefused,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    WelcomeJournal,
    WrittenMailbox,
)
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import AddressInvalid, Posting, Welcome, WelcomeStanding
from pipeline.tls import trusting
from schemas.account import Account, Stage
from schemas.language import Language, gettext

_BEHIND: Final = Refused("directory_behind", "access is to be shut, and the mail server still finds the user")
_HIDDEN: Final = Held("mailbox_hidden", recheck_after_s=3600.0)
_SHARED: Final = Held(SHARED)
_NOT_ENABLED: Final = Refused(
    "mailbox_not_enabled",
    "the mail server does not find this user: the directory's entry has another mail or is not enabled "
    "(sesameMailEnabled)",
)
_UNWRITABLE: Final = Refused(
    "mail_address_invalid",
    "no welcome message can be written: the address cannot stand in a header",
    lasting=True,
)


@dataclass(frozen=True, slots=True)
class MailboxObject(TargetObject):
    """A mailbox as it was read, from which a change is made.

    Attributes:
        seen: all that the server shows.
        standing: the state of the welcome message.
    """

    seen: ObservedMailbox = field(kw_only=True)
    standing: WelcomeStanding = field(kw_only=True)


class MailboxConnector(Connector[MailboxSettings]):
    """One mailbox per student, on a Dovecot, by doveadm over HTTP and by LMTP.

    Args:
        mailboxes: the port; None: the server that the settings name.
        journal: where the intent to send the welcome message is recorded; None: the site's store.
        welcome: renders it; None: as the settings say.
    """

    section = MailboxSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "La messagerie", "en": "The mailbox"}
    role = "mailbox"
    follows = "directory"
    sessions = True
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    keeps = (
        "the empty mail folder, whose name has the login",
        "its own logs and backups",
    )
    owns = (FOLDERS, QUOTA, REDIRECT, WELCOME)
    lists = ()
    known_by = "mail"

    def __init__(
        self,
        context: ConnectorContext[MailboxSettings],
        mailboxes: Mailboxes | None = None,
        journal: WelcomeJournal | None = None,
        welcome: Welcome | None = None,
    ) -> None:
        super().__init__(context)
        self._wanted = WantedMailbox(self.settings.folders, context.site.mail_quota_bytes)
        self._mailboxes = mailboxes or dovecot_mailboxes(context)
        self._posting = Posting(
            self._mailboxes,
            journal or _journal(context, self.adopted_refs),
            welcome or welcome_of(self.settings),
            records=not context.read_only,
        )

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. For a closed account, only that the directory shuts it."""
        if not account.access_open:
            return Wanted({}, _BEHIND)
        try:
            return Wanted(wanted_fields(account, self._wanted))
        except RedirectInvalid as error:  # all else is done
            fault = f"the redirection's address cannot be used: {error}"
            return Wanted(wanted_of_all(self._wanted), Refused("redirect_invalid", fault, lasting=True))

    # --- reading ------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`. A mailbox is the student's to whom the directory gives its address."""
        seen: dict[str, Seen] = {}
        if shut := [account for account in accounts if not account.access_open]:
            there = self._mailboxes.read([Key(account.mail) for account in shut], deadline)
            seen = {a.student_number: _shut(a, there[a.mail], self.name) for a in shut}
        if opened := [account for account in accounts if account.access_open]:
            looked = self._posting.look(opened, deadline)
            seen |= {a.student_number: self._opened(a, *looked[a.student_number]) for a in opened}
        return seen

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:  # noqa: ARG002
        """See `Connector.foresee`."""
        said: dict[str, Held | Refused] = {}
        for each in changes:
            obstacle = foreseen(each.fields, _box(each).seen)
            if WELCOME in each.fields and not self._posting.can_be_written(each.account):
                obstacle = _UNWRITABLE
            if obstacle is not None:
                said[each.account.student_number] = obstacle
        return said

    def look(self, account: Account) -> ReadResult:
        """All that the server shows of one mailbox, and of its welcome message."""
        key = Key(account.mail, message_id=self._posting.message_id(account))
        deadline = Deadline.after(self.settings.verb_s_max, self.context.monotonic)
        return self._mailboxes.read([key], deadline)[account.mail]

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`: the users that the server finds, by address alone.

        No mailbox is opened.
        """
        for address in self._mailboxes.addresses():
            mail = address.lower()
            yield TargetObject(ref=mail, names=(("mail", mail),))

    def probe(self) -> None:
        """See `Connector.probe`: a look-up of the service account."""
        self._mailboxes.probe()

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: kept doveadm processes get slower with each student."""
        from consumers.mailbox.dovecot import keeps_processes

        if keeps_processes(self.context):
            yield Advice(
                gettext("Dovecot keeps its doveadm processes, and each gets slower with every student"),
                gettext(
                    "In `service doveadm` of Dovecot, set service_count (2.4: restart_request_count) to 20, "
                    "and reload Dovecot."
                ),
            )

    def _opened(self, account: Account, seen: ReadResult, standing: WelcomeStanding) -> Seen:
        if isinstance(seen, MailboxUnsettled):
            return Refused(seen.cause, seen.message)
        if not isinstance(seen, ObservedMailbox):
            return _NOT_ENABLED
        shown = shown_fields(seen, self._wanted, due=standing.due)
        return [
            MailboxObject(
                ref=account.mail.lower(),
                student_number=account.student_number,
                fields=shown,
                held=_SHARED if seen.shared else hidden(self.wanted(account).fields, shown, seen),
                note=standing.note,
                seen=seen,
                standing=standing,
            )
        ]

    # --- writing ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`. The intent to send a message is recorded before it is sent."""
        boxes = {each.account.student_number: _box(each) for each in changes}
        new = [each.account for each in changes if WELCOME in each.fields]
        welcomes = self._posting.decide([(account, boxes[account.student_number]) for account in new])
        deadline.left_s()
        writes: dict[str, MailboxChange] = {}
        for each in changes:
            number = each.account.student_number
            welcome = welcomes.get(number)
            if isinstance(welcome, AddressInvalid):
                continue  # nothing is written for a student who cannot be welcomed
            write = change_of(each.fields, boxes[number].seen, self._wanted, welcome)
            if not write.empty:
                writes[number] = write
        written = self._mailboxes.apply(list(writes.values()), deadline)
        results = {number: written[write.address] for number, write in writes.items()}
        sent = [number for number, write in writes.items() if write.welcome and _delivered(results[number])]
        self._posting.sent({number: boxes[number].seen for number in sent})
        said = {number: _said(result, writes[number].welcome) for number, result in results.items()}
        unwritable = [number for number, one in welcomes.items() if isinstance(one, AddressInvalid)]
        return {
            **{number: one for number, one in said.items() if one is not None},
            **dict.fromkeys(unwritable, _UNWRITABLE),
        }

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: it ends sessions; new ones are the directory's to refuse."""
        self._mailboxes.close([each.account.mail for each in changes], deadline)
        return {}

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`: all that a mailbox holds. The server finds its user, and an empty inbox,
        until the directory's entry is erased too; afterwards no mailbox could be found to be emptied."""
        results = self._mailboxes.erase([each.ref for each in found], deadline)
        said = {each.ref: _said(results[each.ref]) for each in found}
        return {ref: one for ref, one in said.items() if isinstance(one, Refused)}

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._mailboxes.disconnect()


def welcome_of(settings: MailboxSettings) -> Welcome:
    """The welcome message, as this site sends it."""
    return Welcome(settings.sender, settings.portal_url, settings.support, lambda: datetime.now(UTC))


def _shut(account: Account, seen: ReadResult, target: str) -> Seen:
    """What matters of a mailbox that is not to be used.

    Whether the server still finds its user; and, if it is to be erased, whether it holds anything. In that
    case the server finds the user until the directory's entry is removed, after everything else.
    """
    if isinstance(seen, MailboxUnsettled):
        return Refused(seen.cause, seen.message)
    if account.stage is Stage.ERASED and target in account.stages and not isinstance(seen, ObservedMailbox):
        return _HIDDEN
    if not isinstance(seen, ObservedMailbox) or (account.stage is Stage.ERASED and seen.erased):
        return ()
    return [TargetObject(ref=account.mail.lower(), student_number=account.student_number)]


def _box(change: Change) -> MailboxObject:
    """What a change is made from: no mailbox is ever made here."""
    assert isinstance(change.found, MailboxObject)  # noqa: S101  (for the type checker)
    return change.found


def _delivered(result: ApplyResult) -> bool:
    """Whether the mail server took charge of the message that was part of a write."""
    return isinstance(result, WrittenMailbox) or result.delivered


def _said(result: ApplyResult, welcome: bytes | None = None) -> Held | Refused | None:
    """The outcome of a write that did not succeed; None: it did.

    Args:
        result: of the write.
        welcome: the message that was part of it.
    """
    match result:
        case Full(delivered):
            return Held(MAILBOX_FULL, () if delivered or welcome is None else (WELCOME,), RECHECK_S)
        case MailboxRefused(cause, message):
            return Refused(cause, message, lasting=True)
        case MailboxUnsettled(cause, message, _, unknown):
            return Refused(cause, message, unknown=unknown)
    return None


def _journal(context: ConnectorContext[MailboxSettings], adopted: AdoptedRefs) -> WelcomeJournal:
    from consumers.mailbox.welcome_journal import WelcomeMessages

    assert context.site.database is not None, "the mailbox needs the store"  # noqa: S101
    return WelcomeMessages(context.site.database, clock=time.time, adopted=adopted)


def dovecot_mailboxes(context: ConnectorContext[MailboxSettings]) -> Mailboxes:
    """The server that the settings name; connects to nothing until it is used.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """
    from consumers.mailbox.dovecot import Doveadm, http_client
    from consumers.mailbox.lmtp import Lmtp
    from consumers.mailbox.mailboxes import DovecotMailboxes

    wanted = context.settings
    doveadm = Doveadm(http_client(context), context)
    tls = trusting(context.name, wanted.ca_file)
    lmtp = Lmtp(wanted.lmtp_host, wanted.lmtp_port, sender=wanted.sender, context=tls)
    return DovecotMailboxes(
        doveadm, lmtp, probe_user=wanted.probe_user, timeout_s=wanted.timeout_s, monotonic=context.monotonic
    )
