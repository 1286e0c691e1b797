"""What a mailbox does not have as it should: pure, without IO.

The redirection that a student opted in to is a sieve script (RFC 5228) that keeps a copy (RFC 3894).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from consumers.mailbox.port import MailboxUnsettled, ObservedMailbox, ReadResult, Unknown
from pipeline.target import Preview
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
    """The script that sends a copy of each message to `redirect` and keeps it in the mailbox too.

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


MAILBOX_FULL: Final = "mailbox_full"
"""Reason of waiting: over quota. The student deletes messages, or the quota is raised."""

OWN_SCRIPT: Final = "own_sieve_script_active"
"""Reason of waiting: the student's own sieve script is active, and is not replaced by the redirection."""

READ_BACK_DIFFERS: Final = "read_back_differs"
"""Cause of a retry: something is not as wanted after the write."""

FIRST_UID = 1
"""An inbox whose UIDNEXT this is never had a message."""


@dataclass(frozen=True)
class WantedMailbox:
    """What every mailbox has.

    Attributes:
        folders: besides the inbox, subscribed.
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


def differences(wanted: WantedMailbox, script: str | None, seen: ObservedMailbox) -> Iterator[str]:
    """Names of what is not as wanted: folders, quota, redirect."""
    yield from besides_redirect(wanted, seen)
    if redirect_differs(script, seen):
        yield "redirect"


def besides_redirect(wanted: WantedMailbox, seen: ObservedMailbox) -> Iterator[str]:
    """The same of a student whose redirection cannot be written: it stays as it is, whatever that is."""
    if not set(wanted.folders) <= seen.folders & seen.subscribed:
        yield "folders"
    if wanted.quota_bytes is not None and seen.quota_kib != _kib(wanted.quota_bytes):
        yield "quota"


def redirect_differs(script: str | None, seen: ObservedMailbox) -> bool:
    """Whether the redirection is not as wanted; `script` None: none is wanted."""
    return seen.redirect_script != script or (script is not None and not seen.redirect_active)


def canonical(wanted: WantedMailbox, seen: ObservedMailbox) -> dict[str, object]:
    """What the pipeline owns in a mailbox, as it was read back. Messages are the student's."""
    return {
        "enabled": True,
        "folders": sorted(set(wanted.folders) & seen.folders & seen.subscribed),
        "quota_kib": seen.quota_kib,
        "redirect": seen.redirect_script,
    }


def preview_of(account: Account, wanted: WantedMailbox, seen: ReadResult, *, welcome: bool) -> Preview:
    """What a turn would write.

    Args:
        account: the desired state.
        wanted: what every mailbox has.
        seen: the mailbox, as it was read.
        welcome: whether the welcome message would be sent.
    """
    if isinstance(seen, MailboxUnsettled):
        return Preview(obstacle=seen.cause)
    if isinstance(seen, Unknown):
        return Preview(obstacle="mailbox_not_enabled") if account.access_open else Preview()
    if not account.access_open:
        return Preview(differs=("sessions",), obstacle="directory_behind")
    try:
        found = [*differences(wanted, script_of(account), seen)]
    except RedirectInvalid:
        return Preview(tuple(besides_redirect(wanted, seen)), "redirect_invalid")
    if welcome:
        found.append("welcome")
    if found and seen.quota_kib is not None and seen.used_kib >= seen.quota_kib and _takes_room(found):
        return Preview(tuple(found), MAILBOX_FULL)
    if "quota" in found:  # it is the directory's: the mail server is behind, or has another one
        return Preview(tuple(found), READ_BACK_DIFFERS)
    blocked = "redirect" in found and seen.own_script_active
    return Preview(tuple(found), OWN_SCRIPT if blocked else "")


def _takes_room(found: Sequence[str]) -> bool:
    return "welcome" in found or "folders" in found


def _kib(size_bytes: int) -> int:
    """As doveadm shows a limit: in KiB, rounded up."""
    return -(-size_bytes // 1024)
