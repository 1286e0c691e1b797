"""The doveadm commands that read, write and empty a mailbox, and their answers. Pure.

Each costs the server a look-up of the user and an opening of the mailbox, some milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from consumers.kit.connector import Fields, Held, Refused
from consumers.mailbox.mailbox import FOLDERS, FULL, NOT_ENABLED, QUOTA, REDIRECT, SCRIPT, Mailbox
from pipeline.errors import Misconfigured

MAILBOX_BUSY: Final = "mailbox_busy"
LOST: Final = Refused(NOT_ENABLED.cause, "the mail server does not know this user any more")
_FOLDER_REFUSED: Final = Refused(
    "folder_name_refused", "Dovecot cannot use a folder's name: see mailbox.folders", lasting=True
)
_SCRIPT_REFUSED: Final = Refused(
    "redirect_refused", "Dovecot does not accept the sieve script of the redirection", lasting=True
)

_STATUS: Final = ("uidvalidity", "uidnext", "messages")
_ACCESS_MAX: Final = 100  # access lists read per mailbox: a student may have thousands of folders
_UNREAD: Final = ""  # an existing script whose text was not read yet
_GONE: Final = frozenset({"mailboxDelete", "mailboxUnsubscribe", "sieveDelete"})

Observed = Mailbox | Refused
"""A mailbox, or why it was not seen; `NOT_ENABLED`: the server does not know the user."""


class CommandUnknown(Misconfigured):
    """Dovecot does not know a command that the mailbox needs: its version, or a plugin that is not loaded."""


@dataclass(frozen=True, slots=True)
class Command:
    """One doveadm command; parameters are named as in the API."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DoveadmAnswer:
    """One command's answer; `code`: 0, or doveadm's (see `Exit`). `rows`: empty after an error."""

    code: int
    rows: Any = ()


class Exit:
    """The exit codes of doveadm (sysexits.h) that we distinguish."""

    OK: Final = 0
    USAGE: Final = 64  # a name that the server cannot use
    DATA: Final = 65  # it exists already; or a script does not compile; or an active script is to be deleted
    NO_USER: Final = 67
    NOT_FOUND: Final = 68
    FULL: Final = 73  # over quota
    TEMPORARY: Final = 75  # the directory behind it is away; or a lock, or the disk


@dataclass(frozen=True, slots=True)
class Key:
    """A mailbox to read, and a message to look for in it.

    Attributes:
        address: the main mail address, which is the user name.
        message_id: look for this Message-ID (angle brackets included) in all folders; None: do not look.
        since_uid: with `message_id`, also list the inbox's messages from this UID on.
        delivered: the message was just delivered: look among those first, and elsewhere only if it is
            missing.
        inbox_only: look at no more than the state of the inbox, which is made if it was never opened.
    """

    address: str
    message_id: str | None = None
    since_uid: int = 1
    delivered: bool = False
    inbox_only: bool = False


# --- reading ----------------------------------------------------------------------------------------


def first_looks(key: Key, of_all: Fields) -> dict[str, Command]:
    """The first commands for a mailbox, by what they tell `observed`.

    Just after the delivery they are few: what was made is subscribed, and a subscription is seen.

    Args:
        of_all: the wanted fields of every mailbox.
    """
    user = {"user": key.address}
    inbox = Command("mailboxStatus", {**user, "field": list(_STATUS), "mailboxMask": ["INBOX"]})
    if key.inbox_only:
        return {"inbox": inbox}
    looks = {"subscribed": _subscribed(key.address), "scripts": Command("sieveList", user)}
    if QUOTA in of_all or not key.delivered:
        looks["quota"] = Command("quotaGet", user)
    if not key.delivered:
        looks |= {"inbox": inbox, "folders": _all_folders(key.address)}
    if key.message_id is None:
        return looks
    since = ["mailbox", "INBOX", "uid", f"{key.since_uid}:*"]
    if key.delivered:
        since += ["HEADER", "Message-ID", key.message_id]
        return {**looks, "copies": Command("fetch", {**user, "field": ["uid"], "query": since})}
    looks["copies"] = _everywhere(key.address, key.message_id)
    return {**looks, "since": Command("fetch", {**user, "field": ["uid"], "query": since})}


def observed(key: Key, answers: Mapping[str, DoveadmAnswer]) -> Observed:
    """The mailbox according to the answers to `first_looks`."""
    if (failed := unread(list(answers.values()))) is not None:
        return failed
    rows = {name: answer.rows for name, answer in answers.items()}
    inbox = rows["inbox"][0] if "inbox" in rows else {}
    storage = [root for root in rows.get("quota", ()) if root["type"] == "STORAGE"]
    scripts = rows.get("scripts", ())
    active = [row["script"] for row in scripts if row["active"]]
    names = frozenset(row["script"] for row in scripts)
    subscribed = _names(rows.get("subscribed", ()))
    return Mailbox(
        ref=key.address.lower(),
        folders=_names(rows["folders"]) if "folders" in rows else subscribed,
        subscribed=subscribed,
        # of several storage roots, the smallest limit
        quota_kib=min((int(root["limit"]) for root in storage if root["limit"] != "-"), default=None),
        used_kib=max((int(root["value"]) for root in storage), default=0),
        messages=int(inbox.get("messages", 0)),
        scripts=names,
        active_script=active[0] if active else None,
        uidvalidity=int(inbox.get("uidvalidity", 0)),
        uidnext=int(inbox.get("uidnext", key.since_uid)),
        redirect_script=_UNREAD if SCRIPT in names else None,
        copies=len(rows["copies"]) if "copies" in rows else None,
        uids=tuple(sorted(int(row["uid"]) for row in rows.get("since", ()))),
        inbox_only=key.inbox_only,
    )


def second_looks(key: Key, seen: Observed) -> list[Command]:
    """The commands that the first answers make necessary.

    The text of a script that exists (reading a missing one is an error in the server's log), and a message
    that is not where it was delivered.
    """
    if isinstance(seen, Refused):
        return []
    looks = []
    if seen.redirect_script == _UNREAD:
        looks.append(Command("sieveGet", {"user": key.address, "scriptname": SCRIPT}))
    if key.delivered and seen.copies == 0 and key.message_id is not None:
        looks.append(_everywhere(key.address, key.message_id))
    return looks


def completed(seen: Observed, looks: Sequence[Command], answers: Sequence[DoveadmAnswer]) -> Observed:
    """The mailbox with the answers to its `second_looks`."""
    for look, answer in zip(looks, answers, strict=True):
        gone = look.name == "sieveGet" and answer.code == Exit.NOT_FOUND
        failed = None if gone else unread([answer])
        if failed is not None or isinstance(seen, Refused):
            return failed or seen
        if look.name == "fetch":
            seen = replace(seen, copies=len(answer.rows))
        else:
            seen = replace(seen, redirect_script=None if gone else answer.rows[0]["sieve script"])
    return seen


def access_looks(address: str, seen: Observed) -> list[Command]:
    """The access lists of a mailbox's folders, the inbox's first. Each costs the server 4 ms."""
    if isinstance(seen, Refused):
        return []
    folders = sorted(seen.folders, key=lambda folder: (folder != "INBOX", folder))[:_ACCESS_MAX]
    return [Command("aclGet", {"user": address, "mailbox": folder}) for folder in folders]


def with_access(seen: Observed, answers: Sequence[DoveadmAnswer]) -> Observed:
    """The mailbox with the answers to its `access_looks`. A folder of mere folders has no list."""
    if isinstance(seen, Refused):
        return seen
    if any(answer.code == Exit.TEMPORARY for answer in answers):
        return _busy(Exit.TEMPORARY)
    own = {"owner", f"user={seen.ref}".casefold()}
    given = [row for answer in answers for row in answer.rows if row["id"].casefold() not in own]
    rights = {right for row in given for right in row["rights"].split() if not right.startswith("-")}
    return replace(seen, shared=bool(rights))


def unread(answers: Sequence[DoveadmAnswer]) -> Refused | None:
    """Why a mailbox could not be read now; None: it was."""
    codes = {answer.code for answer in answers}
    if Exit.NO_USER in codes:
        return NOT_ENABLED
    return _busy(max(codes)) if codes != {Exit.OK} else None


def _busy(code: int) -> Refused:
    return Refused(MAILBOX_BUSY, f"the mailbox could not be read now (doveadm: {code})")


def _all_folders(address: str) -> Command:
    return Command("mailboxList", {"user": address})


def _subscribed(address: str) -> Command:
    return Command("mailboxList", {"user": address, "subscriptions": True})


def _everywhere(address: str, message_id: str) -> Command:
    query = ["mailbox", "*", "HEADER", "Message-ID", message_id]
    return Command("fetch", {"user": address, "field": ["mailbox", "uid"], "query": query})


def _names(rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    return frozenset(row["mailbox"] for row in rows)


# --- writing ----------------------------------------------------------------------------------------


def folder_commands(address: str, fields: Fields, seen: Mailbox) -> list[Command]:
    """Make and subscribe folders. One command each: an existing one hides others' outcome."""
    folders = fields.get(FOLDERS, ())
    return [
        Command("mailboxCreate", {"user": address, "mailbox": [folder], "subscriptions": True})
        for folder in folders
        if folder not in seen.folders
    ] + [
        Command("mailboxSubscribe", {"user": address, "mailbox": [folder]})
        for folder in folders
        if folder in seen.folders - seen.subscribed
    ]


def script_commands(address: str, fields: Fields, seen: Mailbox) -> list[Command]:
    """The redirection's script; the student's own scripts are never touched."""
    script, user = fields.get(REDIRECT), {"user": address}
    if script is None:
        return []
    if script:
        put = {**user, "scriptname": SCRIPT, "file": script[0], "activate": True}
        return [Command("sievePut", put)]
    delete = Command("sieveDelete", {**user, "scriptname": [SCRIPT]})
    return [Command("sieveDeactivate", user), delete] if seen.redirect_active else [delete]


def erasure_looks(address: str) -> list[Command]:
    """The commands that read a mailbox before it is emptied."""
    return [_all_folders(address), _subscribed(address), Command("sieveList", {"user": address})]


def erasure_commands(address: str, answers: Sequence[DoveadmAnswer]) -> list[Command]:
    """The commands that empty a mailbox, by the answers to `erasure_looks`. Inner folders first."""
    folders, subscribed, scripts = (answer.rows for answer in answers)
    user = {"user": address}
    commands = [
        Command("mailboxDelete", {**user, "mailbox": [folder]})
        for folder in sorted(_names(folders) - {"INBOX"}, reverse=True)
    ]
    if hidden := sorted(_names(subscribed)):
        commands.append(Command("mailboxUnsubscribe", {**user, "mailbox": hidden}))
    commands.append(Command("expunge", {**user, "query": ["mailbox", "INBOX", "all"]}))
    if any(row["active"] for row in scripts):
        commands.append(Command("sieveDeactivate", user))
    names = sorted(row["script"] for row in scripts)
    return commands + [Command("sieveDelete", {**user, "scriptname": [name]}) for name in names]


def failure(command: Command, answer: DoveadmAnswer) -> Held | Refused | None:
    """The meaning of an exit code for the student. Things made or gone already are no failure."""
    match answer.code:
        case Exit.OK:
            return None
        case Exit.DATA if command.name == "mailboxCreate":
            return None  # it exists; the read-back confirms it
        case Exit.NOT_FOUND if command.name in _GONE:
            return None  # it is gone; the read-back confirms it
        case Exit.FULL:
            return FULL
        case Exit.NO_USER:
            return LOST
        case Exit.USAGE:
            return _FOLDER_REFUSED
        case Exit.DATA:
            return _SCRIPT_REFUSED
    return Refused(MAILBOX_BUSY, f"{command.name} did not succeed (doveadm: {answer.code})")
