"""Commands that read and write a mailbox over doveadm and LMTP; pure.

And what their answers mean. Each command costs the server a look-up of the user and an opening of the
mailbox, some milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from consumers.mailbox.difference import SCRIPT
from consumers.mailbox.dovecot import Command, DoveadmAnswer, Exit
from consumers.mailbox.lmtp import Delivery, DeliveryVerdict
from consumers.mailbox.port import (
    ApplyResult,
    Full,
    Key,
    MailboxChange,
    MailboxRefused,
    MailboxUnsettled,
    ObservedMailbox,
    ReadResult,
    Sighting,
    Unknown,
)

MAILBOX_BUSY: Final = "mailbox_busy"
_STATUS: Final = ("uidvalidity", "uidnext", "messages")
_ACCESS_MAX: Final = 100  # folders of which the access list is read: a student may have thousands
_UNREAD: Final = ""  # a script that is there, before its text was asked for


def commands_for(key: Key) -> list[Command]:
    """The first commands for a mailbox, in the order in which `observed` reads them."""
    user = {"user": key.address}
    commands = [
        *_folders(key.address),
        Command("quotaGet", user),
        Command("mailboxStatus", {**user, "field": list(_STATUS), "mailboxMask": ["INBOX"]}),
        Command("sieveList", user),
    ]
    if key.message_id is None:
        return commands
    since = ["mailbox", "INBOX", "uid", f"{key.since_uid}:*"]
    if key.delivered:
        query = [*since, "HEADER", "Message-ID", key.message_id]
        return [*commands, Command("fetch", {**user, "field": ["uid"], "query": query})]
    return [
        *commands,
        _everywhere(key.address, key.message_id),
        Command("fetch", {**user, "field": ["uid"], "query": since}),
    ]


def observed(key: Key, answers: Sequence[DoveadmAnswer]) -> ReadResult:
    """What the answers to `commands_for` show."""
    codes = {answer.code for answer in answers}
    if Exit.NO_USER in codes:
        return Unknown()
    if codes != {Exit.OK}:
        return unread(max(codes))
    folders, subscribed, quota, status, scripts, *found = (answer.rows for answer in answers)
    names = _scripts(scripts)
    return ObservedMailbox(
        address=key.address,
        folders=_names(folders),
        subscribed=_names(subscribed),
        quota_kib=_storage_limit(quota),
        uidvalidity=int(status[0]["uidvalidity"]),
        uidnext=int(status[0]["uidnext"]),
        redirect_script=_UNREAD if SCRIPT in names else None,
        redirect_active=names.get(SCRIPT, False),
        own_script_active=_others_active(names),
        sighting=_sighting(key, *found) if found else None,
        used_kib=max((int(root["value"]) for root in quota if root["type"] == "STORAGE"), default=0),
        messages=int(status[0]["messages"]),
        scripts=frozenset(names),
    )


def second_looks(key: Key, result: ReadResult) -> list[Command]:
    """The commands that the first answers make necessary.

    The text of a script that is there (reading one that is not is an error in the server's log), and a
    message that is not where it was delivered.
    """
    if not isinstance(result, ObservedMailbox):
        return []
    looks = []
    if result.redirect_script == _UNREAD:
        looks.append(Command("sieveGet", {"user": key.address, "scriptname": SCRIPT}))
    missed = result.sighting is not None and result.sighting.copies == 0
    if key.delivered and missed and key.message_id is not None:
        looks.append(_everywhere(key.address, key.message_id))
    return looks


def completed(result: ReadResult, command: Command, answer: DoveadmAnswer) -> ReadResult:
    """The result with the answer to one of its `second_looks`."""
    if not isinstance(result, ObservedMailbox):
        return result
    if answer.code == Exit.NO_USER:
        return Unknown()
    if command.name == "fetch":
        if answer.code != Exit.OK:
            return unread(answer.code)
        return replace(result, sighting=Sighting(len(answer.rows), ()))
    if answer.code not in (Exit.OK, Exit.NOT_FOUND):
        return unread(answer.code)
    return replace(result, redirect_script=_text(answer))


def access_looks(address: str, result: ReadResult) -> list[Command]:
    """The access lists of a mailbox's folders, the inbox's first. Each costs the server 4 ms."""
    if not isinstance(result, ObservedMailbox):
        return []
    folders = sorted(result.folders, key=lambda folder: (folder != "INBOX", folder))[:_ACCESS_MAX]
    return [Command("aclGet", {"user": address, "mailbox": folder}) for folder in folders]


def with_access(result: ReadResult, answers: Sequence[DoveadmAnswer]) -> ReadResult:
    """The result with the answers to its `access_looks`. A folder that only holds others has no list."""
    if not isinstance(result, ObservedMailbox):
        return result
    if any(answer.code == Exit.TEMPORARY for answer in answers):
        return unread(Exit.TEMPORARY)
    own = {"owner", f"user={result.address}".casefold()}
    given = [row for answer in answers for row in answer.rows if row["id"].casefold() not in own]
    rights = {right for row in given for right in row["rights"].split() if not right.startswith("-")}
    return replace(result, shared=bool(rights))


def _folders(address: str) -> list[Command]:
    return [
        Command("mailboxList", {"user": address}),
        Command("mailboxList", {"user": address, "subscriptions": True}),
    ]


def _everywhere(address: str, message_id: str) -> Command:
    query = ["mailbox", "*", "HEADER", "Message-ID", message_id]
    return Command("fetch", {"user": address, "field": ["mailbox", "uid"], "query": query})


def _names(rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    return frozenset(row["mailbox"] for row in rows)


def _scripts(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Whether each script is the active one, by name."""
    return {row["script"]: bool(row["active"]) for row in rows}


def _others_active(names: Mapping[str, bool]) -> bool:
    return any(active for name, active in names.items() if name != SCRIPT)


def _text(answer: DoveadmAnswer) -> str | None:
    return answer.rows[0]["sieve script"] if answer.code == Exit.OK else None


def _sighting(key: Key, copies: Sequence[Any], since: Sequence[Any] = ()) -> Sighting:
    """Where the message was seen.

    `N:*` always names the last message, even below N (RFC 9051, section 9: seq-range).
    """
    uids = sorted(uid for row in since if (uid := int(row["uid"])) >= key.since_uid)
    return Sighting(copies=len(copies), uids=tuple(uids))


def _storage_limit(roots: Sequence[Mapping[str, str]]) -> int | None:
    """The smallest limit among the storage roots; `-` is none."""
    limits = [int(r["limit"]) for r in roots if r["type"] == "STORAGE" and r["limit"] != "-"]
    return min(limits, default=None)


def unread(code: int) -> MailboxUnsettled:
    """One mailbox that could not be read now."""
    return MailboxUnsettled(MAILBOX_BUSY, f"the mailbox could not be read now (doveadm: {code})")


def folder_commands(change: MailboxChange) -> list[Command]:
    """One command per folder.

    With several in one, a folder that exists hides the outcome of the others.
    """
    user = change.address
    return [
        Command("mailboxCreate", {"user": user, "mailbox": [folder], "subscriptions": True})
        for folder in change.create
    ] + [Command("mailboxSubscribe", {"user": user, "mailbox": [folder]}) for folder in change.subscribe]


def script_commands(change: MailboxChange) -> list[Command]:
    """The redirection's script; a script of the student's own is never touched."""
    user = change.address
    commands = []
    if change.install is not None:
        put = {"user": user, "scriptname": SCRIPT, "file": change.install, "activate": True}
        commands.append(Command("sievePut", put))
    if change.remove and change.deactivate:
        commands.append(Command("sieveDeactivate", {"user": user}))
    if change.remove:
        commands.append(Command("sieveDelete", {"user": user, "scriptname": [SCRIPT]}))
    return commands


def erasure_looks(address: str) -> list[Command]:
    """The commands that read a mailbox before it is emptied."""
    return [*_folders(address), Command("sieveList", {"user": address})]


def erasure_commands(address: str, answers: Sequence[DoveadmAnswer]) -> list[Command]:
    """The commands that empty a mailbox, by the answers to `erasure_looks`.

    Folders within others come first.
    """
    folders, subscribed, scripts = (answer.rows for answer in answers)
    user = {"user": address}
    commands = [
        Command("mailboxDelete", {**user, "mailbox": [folder]})
        for folder in sorted(_names(folders) - {"INBOX"}, reverse=True)
    ]
    if hidden := sorted(_names(subscribed)):
        commands.append(Command("mailboxUnsubscribe", {**user, "mailbox": hidden}))
    commands.append(Command("expunge", {**user, "query": ["mailbox", "INBOX", "all"]}))
    names = _scripts(scripts)
    if any(names.values()):
        commands.append(Command("sieveDeactivate", user))
    return commands + [Command("sieveDelete", {**user, "scriptname": [name]}) for name in sorted(names)]


_GONE: Final = frozenset({"mailboxDelete", "mailboxUnsubscribe", "sieveDelete"})


def failure(command: Command, answer: DoveadmAnswer) -> ApplyResult | None:
    """What an exit code means for the student whose command it was."""
    match answer.code:
        case Exit.OK:
            return None
        case Exit.DATA if command.name == "mailboxCreate":
            return None  # it exists; the read-back confirms it
        case Exit.NOT_FOUND if command.name in _GONE:
            return None  # it is gone; the read-back confirms it
        case Exit.FULL:
            return Full()
        case Exit.NO_USER:
            return MailboxUnsettled("mailbox_not_enabled", "the mail server does not know this user any more")
        case Exit.USAGE:
            return MailboxRefused(
                "folder_name_refused", "Dovecot cannot use a folder's name: see mailbox.folders"
            )
        case Exit.DATA:
            return MailboxRefused(
                "redirect_refused", "Dovecot does not accept the sieve script of the redirection"
            )
    return MailboxUnsettled(MAILBOX_BUSY, f"{command.name} did not succeed (doveadm: {answer.code})")


def undelivered(verdict: DeliveryVerdict) -> ApplyResult:
    """What it means for the student that the message was not delivered."""
    codes = verdict.codes
    match verdict.delivery:
        case Delivery.FULL:
            return Full()
        case Delivery.NO_USER:
            return MailboxUnsettled("mailbox_not_enabled", "the mail server does not know this user any more")
        case Delivery.REFUSED:
            return MailboxRefused(
                "welcome_refused", f"the mail server refuses the welcome message (LMTP {codes})"
            )
        case Delivery.UNKNOWN:
            return MailboxUnsettled(
                "delivery_unknown", f"the delivery's outcome is unknown ({codes})", unknown=True
            )
    return MailboxUnsettled("delivery_deferred", f"the mail server defers the welcome message (LMTP {codes})")


def with_delivery(result: ApplyResult, *, delivered: bool) -> ApplyResult:
    """The result, with whether the message was delivered before another step failed."""
    match result:
        case Full():
            return Full(delivered)
        case MailboxRefused(cause, message):
            return MailboxRefused(cause, message, delivered)
        case MailboxUnsettled(cause, message, _, unknown):
            return MailboxUnsettled(cause, message, delivered, unknown)
    return result
