"""What a mailbox does not have as it should: pure, without IO.

The redirection that a student opted in to is a sieve script (RFC 5228) that keeps a copy (RFC 3894).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from consumers.kit.connector import Fields, Held, Refused
from consumers.mailbox.port import MailboxChange, ObservedMailbox
from schemas.account import Account

SCRIPT: Final = "sesame"
"""The project's own name among a student's sieve scripts. No other script is ever touched."""

_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")

_SCRIPT = """\
# Redirection demandée par l'étudiant dans le portail. Ce texte est réécrit par Sésame : pour changer ou
# arrêter la redirection, passer par le portail.
# Redirection asked for by the student in the portal. Sésame rewrites this text: to change or stop the
# redirection, use the portal.
require ["copy"];
redirect :copy "{address}";
"""


class RedirectInvalid(ValueError):
    """The address of the redirection cannot be used; the address itself is not shown."""


def script_for(redirect: str, *, own: frozenset[str]) -> str:
    """The script that copies each message to `redirect` and keeps it in the mailbox.

    Args:
        redirect: a mail address.
        own: the mailbox's own addresses, to which a redirection would be a loop.

    Raises:
        RedirectInvalid: it is not one plain address, or it is the mailbox itself.
    """
    if not _ADDRESS.fullmatch(redirect):
        raise RedirectInvalid("it is not a mail address")
    if redirect.casefold() in {address.casefold() for address in own}:
        raise RedirectInvalid("it is the mailbox itself")
    quoted = redirect.replace("\\", "\\\\").replace('"', '\\"')  # RFC 5228, section 2.4.2
    return _SCRIPT.format(address=quoted)


FOLDERS, QUOTA, REDIRECT, WELCOME = "folders", "quota", "redirect", "welcome"
"""What is ours in a mailbox. The quota is only compared: the mail server has it of the directory."""

GIVEN: Final = ("given",)
"""The value of `welcome` once nothing is to be sent any more."""

MAILBOX_FULL: Final = "mailbox_full"
"""Reason of waiting: over quota. The student deletes messages, or the quota is raised."""

OWN_SCRIPT: Final = "own_sieve_script_active"
"""Reason of waiting: the student's own sieve script is active, and is not replaced by the redirection."""

READ_BACK_DIFFERS: Final = "read_back_differs"
"""Cause of a retry, the kit's: something is not as wanted after the write."""

RECHECK_S: Final = 3600.0


@dataclass(frozen=True)
class WantedMailbox:
    """What every mailbox has.

    Attributes:
        folders: subscribed folders other than the inbox.
        quota_bytes: what the directory says each mailbox may hold; None: not checked.
    """

    folders: tuple[str, ...]
    quota_bytes: int | None = None


def script_of(account: Account) -> str | None:
    """The redirection's script, if the student opted in.

    Raises:
        RedirectInvalid: the address cannot be used.
    """
    if account.mail_redirect is None:
        return None
    return script_for(account.mail_redirect, own=frozenset({account.mail, *account.aliases}))


def wanted_fields(account: Account, wanted: WantedMailbox) -> Fields:
    """What a mailbox is to show, by field.

    Raises:
        RedirectInvalid: as `script_of`.
    """
    script = script_of(account)
    return {**wanted_of_all(wanted), REDIRECT: () if script is None else (script,)}


def wanted_of_all(wanted: WantedMailbox) -> Fields:
    """The same for a student whose redirection cannot be written: it stays as it is."""
    quota = {} if wanted.quota_bytes is None else {QUOTA: (str(_kib(wanted.quota_bytes)),)}
    return {FOLDERS: tuple(sorted(set(wanted.folders))), **quota, WELCOME: GIVEN}


def shown_fields(seen: ObservedMailbox, wanted: WantedMailbox, *, due: bool) -> Fields:
    """What a mailbox shows of what we own, in the same form.

    Messages and other folders are the student's.

    Args:
        seen: the mailbox.
        wanted: what every mailbox has.
        due: whether the welcome message is to be sent.
    """
    script: tuple[str, ...] = () if seen.redirect_script is None else (seen.redirect_script,)
    inactive = ("inactive",) if script and not seen.redirect_active else ()
    return {
        FOLDERS: tuple(sorted(set(wanted.folders) & seen.folders & seen.subscribed)),
        QUOTA: () if seen.quota_kib is None else (str(seen.quota_kib),),
        REDIRECT: (*script, *inactive),
        WELCOME: () if due else GIVEN,
    }


def hidden(wanted: Fields, shown: Fields, seen: ObservedMailbox) -> Held | None:
    """Hold the redirection where the student's own script is active.

    That script is not replaced.
    """
    differs = wanted.get(REDIRECT, ()) != shown[REDIRECT]
    if not (seen.own_script_active and wanted.get(REDIRECT) and differs):
        return None
    return Held(OWN_SCRIPT, (REDIRECT,), RECHECK_S, fields=(REDIRECT,))


def foreseen(fields: Fields, seen: ObservedMailbox) -> Held | Refused | None:
    """What will be in the way of writing these fields, as far as a mailbox shows it."""
    full = seen.quota_kib is not None and seen.used_kib >= seen.quota_kib
    if full and fields.keys() & {FOLDERS, WELCOME}:  # it is tried all the same: servers allow some grace
        return Held(MAILBOX_FULL)
    if QUOTA in fields:  # it is the directory's: the mail server is behind, or has another one
        return Refused(READ_BACK_DIFFERS, "the mail server has another quota")
    return None


def change_of(
    fields: Fields, seen: ObservedMailbox, wanted: WantedMailbox, welcome: bytes | None
) -> MailboxChange:
    """What to write, for the fields that differ."""
    folders = wanted.folders if FOLDERS in fields else ()
    script = fields.get(REDIRECT)
    return MailboxChange(
        address=seen.address,
        create=tuple(folder for folder in folders if folder not in seen.folders),
        subscribe=tuple(sorted(set(folders) & seen.folders - seen.subscribed)),
        welcome=welcome,
        install=script[0] if script else None,
        remove=script == (),
        deactivate=seen.redirect_active,
    )


def _kib(size_bytes: int) -> int:
    """As doveadm shows a limit: in KiB, rounded up."""
    return -(-size_bytes // 1024)
