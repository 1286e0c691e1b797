"""The mailbox's target handler: accounts in, mailboxes written and read back, outcomes out.

The order, for each student: the server finds the user (its directory has it), folders, quota, the welcome
message, and only then the redirection, so that the message is never sent on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from consumers.mailbox.difference import (
    MAILBOX_FULL,
    OWN_SCRIPT,
    READ_BACK_DIFFERS,
    RedirectInvalid,
    WantedMailbox,
    besides_redirect,
    canonical,
    differences,
    preview_of,
    redirect_differs,
    script_of,
)
from consumers.mailbox.port import (
    Again,
    ApplyResult,
    Full,
    Key,
    MailboxChange,
    Mailboxes,
    MailboxRefused,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    Unknown,
    WelcomeJournal,
    WrittenMailbox,
)
from consumers.mailbox.welcome import AddressInvalid, Posting, Welcome, WelcomePost
from pipeline.digest import digest_of
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Closed, Dead, Description, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account

ADDRESS_INVALID: Final = "mail_address_invalid"
"""Cause of a dead letter: the welcome message cannot be addressed."""

_RECHECK_S: Final = 3600.0


@dataclass
class _Turn:
    """One student's turn, as far as it has come."""

    account: Account
    before: ObservedMailbox
    script: str | None = None  # the redirection's, if one is wanted
    fault: Dead | None = None  # what cannot be done whatever else succeeds
    welcome: bytes | None = None
    note: str = ""
    change: MailboxChange = MailboxChange("")  # noqa: RUF009  (immutable; known with the welcome message)
    result: ApplyResult = WrittenMailbox()  # noqa: RUF009  (immutable)


class MailboxHandler:
    """Brings mailboxes to each account's state; see `pipeline.target.Handler`.

    Args:
        mailboxes: the port; closed with the handler.
        journal: where the intent to send the welcome message is recorded.
        welcome: renders it.
        wanted: what every mailbox has.
        system: technology and address, for operators.
        batch_size: students in one call.
        work_s_max: no verb is begun after this; those who are left are tried again.
        monotonic: seconds, for the limit above.
    """

    name = "mailbox"

    def __init__(
        self,
        mailboxes: Mailboxes,
        journal: WelcomeJournal,
        welcome: Welcome,
        wanted: WantedMailbox,
        *,
        system: str,
        batch_size: int = 10,
        work_s_max: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mailboxes = mailboxes
        self._posting = Posting(mailboxes, journal, welcome)
        self._journal = journal
        self._wanted = wanted
        self._system = system
        self.batch_size = batch_size
        self._work_s_max = work_s_max
        self.call_s_max = work_s_max + mailboxes.verb_s_max
        self._monotonic = monotonic

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """Close what must be closed, write what differs, read everything back."""
        end = self._monotonic() + self._work_s_max
        outcomes: dict[str, HandlerOutcome] = {
            task.account.student_number: Closed() for task in tasks if task.close_only
        }
        if shut := [task.account.mail for task in tasks if task.close_only or not task.account.access_open]:
            self._mailboxes.close(shut)
        accounts = {task.account.mail: task.account for task in tasks if not task.close_only}
        if not accounts:
            return outcomes
        seen = self._mailboxes.read([Key(mail) for mail in accounts])
        turns: list[_Turn] = []
        for mail, account in accounts.items():
            begun = self._begin(account, seen[mail])
            if isinstance(begun, _Turn):
                turns.append(begun)
            else:
                outcomes[account.student_number] = begun
        if self._late(end):
            return outcomes | _too_late(turns)
        turns = self._decide_welcomes(turns, outcomes)
        if self._late(end):
            return outcomes | _too_late(turns)
        self._apply(turns)
        try:
            after = self._read_again(turns)
        except (TargetDown, Misconfigured) as error:
            error.unknown = error.unknown or any(map(_unanswered, turns))
            raise
        return outcomes | {t.account.student_number: self._outcome(t, after[t.account.mail]) for t in turns}

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """What differs: folders, quota, redirect, welcome; `sessions`: access is to be shut."""
        seen = self._mailboxes.read([Key(account.mail) for account in accounts])
        boxes = [(account, seen[account.mail]) for account in accounts if account.access_open]
        welcomed = self._posting.foresee([(a, box) for a, box in boxes if isinstance(box, ObservedMailbox)])
        previews = {}
        for account in accounts:
            number = account.student_number
            found = preview_of(account, self._wanted, seen[account.mail], welcome=number in welcomed)
            refused = "welcome" in found.differs and not self._posting.can_be_written(account)
            previews[number] = replace(found, obstacle=ADDRESS_INVALID) if refused else found
        return previews

    def probe(self) -> None:
        """Look up the service account."""
        self._mailboxes.probe()

    def describe(self) -> Description:
        """What the pipeline owns in a mailbox."""
        folders = tuple(f"folder {folder}" for folder in self._wanted.folders)
        return Description(
            name=self.name,
            system=self._system,
            owns=(*folders, "the welcome message's delivery, once", "sieve script sesame"),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._mailboxes.disconnect()

    def _late(self, end: float) -> bool:
        return self._monotonic() >= end

    def _begin(self, account: Account, seen: ReadResult) -> _Turn | HandlerOutcome:
        """What is settled before anything is written."""
        if isinstance(seen, MailboxUnsettled):
            return Retry(seen.cause, seen.message)
        if not account.access_open:
            if isinstance(seen, Unknown):
                return Done(digest=digest_of({"enabled": False}), changed=False)
            return Retry("directory_behind", "access is to be shut, and the mail server still finds the user")
        if isinstance(seen, Unknown):
            return Retry(
                "mailbox_not_enabled",
                "the mail server does not find this user: the directory's entry has another mail or is not "
                "enabled (sesameMailEnabled)",
            )
        try:
            return _Turn(account, seen, script_of(account))
        except RedirectInvalid as error:  # all else is done; the redirection stays as it is
            fault = Dead("redirect_invalid", f"the redirection's address cannot be used: {error}")
            return _Turn(account, seen, fault=fault)

    def _decide_welcomes(self, turns: list[_Turn], outcomes: dict[str, HandlerOutcome]) -> list[_Turn]:
        """Say for each student whether the message is to be sent; record the intent first."""
        posts = self._posting.decide([(turn.account, turn.before) for turn in turns])
        going_on = []
        for turn in turns:
            number, post = turn.account.student_number, posts[turn.account.student_number]
            match post:
                case AddressInvalid():
                    outcomes[number] = Dead(ADDRESS_INVALID, f"no welcome message can be written: {post}")
                case MailboxUnsettled(cause, message):
                    outcomes[number] = Retry(cause, message)
                case WelcomePost(message, note):
                    turn.welcome, turn.note = message, note
                    turn.change = self._change(turn)
                    going_on.append(turn)
        return going_on

    def _change(self, turn: _Turn) -> MailboxChange:
        """The difference between what is wanted and what was seen."""
        seen = turn.before
        missing = tuple(f for f in self._wanted.folders if f not in seen.folders)
        unsubscribed = set(self._wanted.folders) & seen.folders - seen.subscribed
        settled = turn.fault is not None or not redirect_differs(turn.script, seen)
        return MailboxChange(
            address=seen.address,
            create=missing,
            subscribe=tuple(sorted(unsubscribed)),
            welcome=turn.welcome,
            install=None if settled or seen.own_script_active else turn.script,
            remove=not settled and turn.script is None,
            deactivate=seen.redirect_active,
        )

    def _apply(self, turns: Iterable[_Turn]) -> None:
        """Write, and record which messages the server took charge of."""
        changes = {t.account.mail: t for t in turns if not t.change.empty}
        results = self._mailboxes.apply([turn.change for turn in changes.values()])
        sent = []
        for mail, result in results.items():
            turn = changes[mail]
            turn.result = result
            if turn.welcome is not None and (isinstance(result, WrittenMailbox) or result.delivered):
                sent.append(turn.account.student_number)
        self._journal.sent(sent)

    def _read_again(self, turns: Iterable[_Turn]) -> dict[str, ReadResult]:
        """Read back whatever was written; what was not is as it was seen."""
        after: dict[str, ReadResult] = {t.account.mail: t.before for t in turns}
        keys = [
            Key(
                t.account.mail,
                message_id=self._posting.message_id(t.account) if t.welcome else None,
                again=Again(t.before, t.change),
            )
            for t in turns
            if not t.change.empty and isinstance(t.result, WrittenMailbox)
        ]
        return after | dict(self._mailboxes.read(keys))

    def _outcome(self, turn: _Turn, seen: ReadResult) -> HandlerOutcome:
        match turn.result:
            case MailboxRefused(cause, message):
                return Dead(cause, message)
            case MailboxUnsettled(cause, message, _, unknown):
                return Retry(cause, message, unknown=unknown)
            case Full(delivered):
                pending = () if delivered or turn.welcome is None else ("welcome",)
                return Waiting(MAILBOX_FULL, pending=pending, recheck_after_s=_RECHECK_S)
        match seen:
            case MailboxUnsettled(cause, message):
                return Retry(cause, message)
            case Unknown():
                return Retry(
                    "mailbox_not_enabled", "the mail server lost this user while its mailbox was written"
                )
        return self._read_back(turn, seen)

    def _read_back(self, turn: _Turn, seen: ObservedMailbox) -> HandlerOutcome:
        different = list(self._differences(turn, seen))
        if different == ["redirect"] and seen.own_script_active:
            return Waiting(OWN_SCRIPT, pending=("redirect",), recheck_after_s=_RECHECK_S)
        if different:
            return Retry(READ_BACK_DIFFERS, f"read back otherwise than written: {', '.join(different)}")
        if turn.fault is not None:
            return turn.fault
        changed = not turn.change.empty
        return Done(digest=digest_of(canonical(self._wanted, seen)), changed=changed, note=turn.note)

    def _differences(self, turn: _Turn, seen: ObservedMailbox) -> Iterable[str]:
        if turn.welcome is not None and seen.sighting is not None and seen.sighting.copies == 0:
            yield "welcome"
        if turn.fault is None:
            yield from differences(self._wanted, turn.script, seen)
        else:
            yield from besides_redirect(self._wanted, seen)


def _unanswered(turn: _Turn) -> bool:
    """Whether something that was written for this student may still take effect."""
    return isinstance(turn.result, MailboxUnsettled) and turn.result.unknown


def _too_late(turns: Iterable[_Turn]) -> dict[str, HandlerOutcome]:
    slow = Retry("mailbox_slow", "the call's time was used up before this student's turn")
    return {turn.account.student_number: slow for turn in turns}
