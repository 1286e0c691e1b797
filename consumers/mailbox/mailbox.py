"""A mailbox and our fields of it. Pure.

The redirection that a student opted in to is a sieve script (RFC 5228) that keeps a copy (RFC 3894).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from consumers.kit.connector import Fields, Held, Refused, TargetObject
from consumers.kit.handler import SHARED
from schemas.account import Account

if TYPE_CHECKING:
    from consumers.mailbox.welcome_journal import RecordedIntent

SCRIPT: Final = "sesame"
"""Our script among a student's sieve scripts. No other one is ever touched."""

FOLDERS, QUOTA, REDIRECT, WELCOME = "folders", "quota", "redirect", "welcome"
"""Our fields of a mailbox. The quota is only compared: the mail server has it from the directory."""

MAILBOX_FULL: Final = "mailbox_full"
"""Reason of waiting: over quota. The student deletes messages, or the quota is raised."""

OWN_SCRIPT: Final = "own_sieve_script_active"
"""Reason of waiting: the student's own sieve script is active; the redirection does not replace it."""

NOT_ENABLED: Final = Refused(
    "mailbox_not_enabled",
    "the mail server does not find this user: the directory's entry has another mail or is not enabled "
    "(sesameMailEnabled)",
)
RECHECK_S: Final = 3600.0
FULL: Final = Held(MAILBOX_FULL, recheck_after_s=RECHECK_S)

_GIVEN: Final = ("given",)  # the value of `welcome` once nothing is to be sent any more
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


@dataclass(frozen=True)
class WelcomeStanding:
    """The state of one student's welcome message.

    Attributes:
        due: it is to be sent.
        note: for operators.
        intent: the journal's.
        learned: what the journal lacks: `sent` or `undecided`; empty: nothing.
    """

    due: bool = False
    note: str = ""
    intent: RecordedIntent | None = None
    learned: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox(TargetObject):
    """A mailbox as the server shows it, from which a change is made.

    Attributes:
        folders: all folders, the inbox included; just after the delivery, the subscribed ones.
        subscribed: those that mail programs show.
        quota_kib: its limit in KiB, rounded up; None: no limit.
        used_kib: how much of it is taken.
        messages: how many the inbox has.
        scripts: the names of all sieve scripts.
        active_script: which of them is active.
        redirect_script: the text of ours; None: there is none.
        uidvalidity, uidnext: the inbox's (RFC 9051, section 2.3.1.1).
        copies: how many messages carry the Message-ID that was looked for; None: no look.
        uids: of the inbox's messages since the look's first UID, in order; the last message's in any case
            (RFC 9051, section 9: seq-range).
        shared: others may use one of its folders, by its access list (RFC 4314). Read only on a server that
            is only observed, as a comparison does.
        standing: the state of the welcome message.
        inbox_only: nothing but the state of its inbox was looked at.
    """

    folders: frozenset[str]
    subscribed: frozenset[str]
    quota_kib: int | None
    used_kib: int
    messages: int
    scripts: frozenset[str]
    active_script: str | None
    uidvalidity: int
    uidnext: int
    redirect_script: str | None = None
    copies: int | None = None
    uids: tuple[int, ...] = ()
    shared: bool = False
    standing: WelcomeStanding = field(default_factory=WelcomeStanding)
    inbox_only: bool = False

    @property
    def redirect_active(self) -> bool:
        """True if our script is the active one."""
        return self.active_script == SCRIPT

    @property
    def own_script_active(self) -> bool:
        """True if another script, the student's own, is active."""
        return self.active_script not in (None, SCRIPT)

    @property
    def erased(self) -> bool:
        """True if it holds nothing; an inbox exists while the server finds its user."""
        return not (self.folders - {"INBOX"} or self.subscribed or self.messages or self.scripts)


def script_for(redirect: str, *, own: frozenset[str]) -> str:
    """The script that copies each message to `redirect` and keeps it in the mailbox.

    Args:
        own: the mailbox's own addresses, to which a redirection would be a loop.

    Raises:
        RedirectInvalid: `redirect` is not one plain mail address, or it is the mailbox itself.
    """
    if not _ADDRESS.fullmatch(redirect):
        raise RedirectInvalid("it is not a mail address")
    if redirect.casefold() in {address.casefold() for address in own}:
        raise RedirectInvalid("it is the mailbox itself")
    quoted = redirect.replace("\\", "\\\\").replace('"', '\\"')  # RFC 5228, section 2.4.2
    return _SCRIPT.format(address=quoted)


def script_of(account: Account) -> str | None:
    """The redirection's script, if the student opted in. Raises RedirectInvalid."""
    if account.mail_redirect is None:
        return None
    return script_for(account.mail_redirect, own=frozenset({account.mail, *account.aliases}))


def wanted_of_all(folders: Sequence[str], quota_bytes: int | None) -> Fields:
    """The wanted fields of every mailbox.

    Args:
        folders: subscribed ones, other than the inbox.
        quota_bytes: each mailbox's limit by the directory; None: not checked. doveadm shows KiB, rounded up.
    """
    quota = {} if quota_bytes is None else {QUOTA: (str(-(-quota_bytes // 1024)),)}
    return {FOLDERS: tuple(sorted(set(folders))), **quota, WELCOME: _GIVEN}


def shown(seen: Mailbox, number: str, to_have: Fields) -> Mailbox:
    """A student's mailbox with our fields as it shows them.

    Messages and other folders are the student's. Their own active script is not replaced: the redirection
    waits.

    Args:
        seen: the mailbox, with the state of the welcome message.
        number: the student's.
        to_have: the wanted fields.
    """
    script: tuple[str, ...] = () if seen.redirect_script is None else (seen.redirect_script,)
    inactive = ("inactive",) if script and not seen.redirect_active else ()
    quota = () if seen.quota_kib is None else (str(seen.quota_kib),)
    fields = {
        FOLDERS: tuple(sorted(set(to_have[FOLDERS]) & seen.folders & seen.subscribed)),
        QUOTA: to_have.get(QUOTA, ()) if seen.inbox_only else quota,
        REDIRECT: (*script, *inactive),
        WELCOME: () if seen.standing.due else _GIVEN,
    }
    held = Held(SHARED) if seen.shared else None
    if held is None and seen.own_script_active and to_have.get(REDIRECT) not in (None, (), fields[REDIRECT]):
        held = Held(OWN_SCRIPT, (REDIRECT,), RECHECK_S, fields=(REDIRECT,))
    return replace(seen, student_number=number, fields=fields, held=held, note=seen.standing.note)


def foreseen(fields: Fields, seen: Mailbox) -> Held | Refused | None:
    """Predict the obstacle to writing these fields, as far as a mailbox shows it."""
    full = seen.quota_kib is not None and seen.used_kib >= seen.quota_kib
    if full and fields.keys() & {FOLDERS, WELCOME}:  # only predicted: servers allow some grace
        return FULL
    if QUOTA in fields:  # the mail server is behind the directory, or has another quota
        return Refused("read_back_differs", "the mail server has another quota")
    return None
