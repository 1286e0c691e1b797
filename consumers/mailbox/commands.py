"""How a mailbox is read and written over doveadm and LMTP: which commands, and what their answers mean. Pure.

Each command costs the server a look-up of the user and an opening of the mailbox, some milliseconds: what was
not written is not read twice in a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from consumers.mailbox.difference import SCRIPT
from consumers.mailbox.dovecot import Command, DoveadmAnswer, Exit
from consumers.mailbox.lmtp import Delivery, DeliveryVerdict
from consumers.mailbox.port import (
    Again,
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
_UNREAD: Final = ""  # a script that is there, before its text was asked for


def commands_for(key: Key) -> list[Command]:
    """What is asked first, in the order in which `observed` takes the answers."""
    if key.again is not None:
        return _again(key, key.again)
    user = {"user": key.address}
    commands = [
        *_folders(key.address),
        Command("quotaGet", user),
        Command("mailboxStatus", {**user, "field": ["uidvalidity", "uidnext"], "mailboxMask": ["INBOX"]}),
        Command("sieveList", user),
    ]
    if key.message_id is not None:
        since = ["mailbox", "INBOX", "uid", f"{key.since_uid}:*"]
        commands += [
            _everywhere(key.address, key.message_id),
            Command("fetch", {**user, "field": ["uid"], "query": since}),
        ]
    return commands


def observed(key: Key, answers: Sequence[DoveadmAnswer]) -> ReadResult:
    """What the answers to `commands_for` show."""
    codes = {answer.code for answer in answers}
    if Exit.NO_USER in codes:
        return Unknown()
    if key.again is not None:
        return _seen_again(key, key.again, answers)
    if codes != {Exit.OK}:
        return _busy(max(codes))
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
    )


def second_look(key: Key, result: ReadResult) -> Command | None:
    """What the first answers leave to be asked: the text of a script that is there (asking for one that is
    not is an error in the server's log), and a message that is not in the inbox."""
    if not isinstance(result, ObservedMailbox):
        return None
    if result.redirect_script == _UNREAD:
        return Command("sieveGet", {"user": key.address, "scriptname": SCRIPT})
    missed = key.again is not None and result.sighting is not None and result.sighting.copies == 0
    return _everywhere(key.address, key.message_id) if missed and key.message_id is not None else None


def completed(result: ReadResult, command: Command, answer: DoveadmAnswer) -> ReadResult:
    """The result with the answer to its `second_look`."""
    if not isinstance(result, ObservedMailbox):
        return result
    if command.name == "fetch":
        if answer.code != Exit.OK:
            return _busy(answer.code)
        return replace(result, sighting=Sighting(len(answer.rows), ()))
    if answer.code not in (Exit.OK, Exit.NOT_FOUND):
        return _busy(answer.code)
    return replace(result, redirect_script=_text(answer))


def _again(key: Key, again: Again) -> list[Command]:
    """What was written, and nothing else. The message is looked for where it was delivered, as a rule."""
    user, change = {"user": key.address}, again.change
    commands = _folders(key.address) if change.create or change.subscribe else []
    if change.install is not None or change.remove:
        commands.append(Command("sieveList", user))
    if change.install is not None:
        commands.append(Command("sieveGet", {**user, "scriptname": SCRIPT}))
    if key.message_id is not None:
        new = ["mailbox", "INBOX", "uid", f"{again.seen.uidnext}:*", "HEADER", "Message-ID", key.message_id]
        commands.append(Command("fetch", {**user, "field": ["uid"], "query": new}))
    return commands


def _seen_again(key: Key, again: Again, answers: Sequence[DoveadmAnswer]) -> ReadResult:
    result = replace(again.seen, sighting=None)
    asked = list(zip(commands_for(key), answers, strict=True))
    for command, answer in asked:
        gone = command.name == "sieveGet" and answer.code == Exit.NOT_FOUND
        if answer.code != Exit.OK and not gone:
            return _busy(answer.code)
        result = _with(result, command, answer)
    return result


def _with(result: ObservedMailbox, command: Command, answer: DoveadmAnswer) -> ObservedMailbox:
    match command.name:
        case "mailboxList" if "subscriptions" in command.arguments:
            return replace(result, subscribed=_names(answer.rows))
        case "mailboxList":
            return replace(result, folders=_names(answer.rows))
        case "sieveGet":
            return replace(result, redirect_script=_text(answer))
        case "fetch":
            return replace(result, sighting=Sighting(len(answer.rows), ()))
    names = _scripts(answer.rows)
    return replace(
        result,
        redirect_script=_UNREAD if SCRIPT in names else None,
        redirect_active=names.get(SCRIPT, False),
        own_script_active=_others_active(names),
    )


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


def _sighting(key: Key, copies: Sequence[Any], since: Sequence[Any]) -> Sighting:
    """`N:*` always names the last message, even below N (RFC 9051, section 9: seq-range)."""
    uids = sorted(uid for row in since if (uid := int(row["uid"])) >= key.since_uid)
    return Sighting(copies=len(copies), uids=tuple(uids))


def _storage_limit(roots: Sequence[Mapping[str, str]]) -> int | None:
    """The smallest limit among the storage roots; `-` is none."""
    limits = [int(r["limit"]) for r in roots if r["type"] == "STORAGE" and r["limit"] != "-"]
    return min(limits, default=None)


def _busy(code: int) -> MailboxUnsettled:
    return MailboxUnsettled(MAILBOX_BUSY, f"the mailbox could not be read now (doveadm: {code})")


def folder_commands(change: MailboxChange) -> list[Command]:
    """One command per folder: with several in one, a folder that exists hides what became of the others."""
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


def failure(command: Command, answer: DoveadmAnswer) -> ApplyResult | None:
    """What an exit code means for the student whose command it was."""
    match answer.code:
        case Exit.OK:
            return None
        case Exit.DATA if command.name == "mailboxCreate":
            return None  # it exists; the read-back confirms it
        case Exit.NOT_FOUND if command.name == "sieveDelete":
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
    """The result, saying whether the server took charge of the message before something else failed."""
    match result:
        case Full():
            return Full(delivered)
        case MailboxRefused(cause, message):
            return MailboxRefused(cause, message, delivered)
        case MailboxUnsettled(cause, message, _, unknown):
            return MailboxUnsettled(cause, message, delivered, unknown)
    return result
