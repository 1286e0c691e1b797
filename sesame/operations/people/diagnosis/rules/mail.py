"""Rules about the mailbox and its redirection, as the mail server shows them."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.mailbox import NAME as MAILBOX
from consumers.mailbox.mailbox import NOT_ENABLED, Mailbox
from schemas.language import gettext
from sesame.acts.acts import utc
from sesame.operations.people.diagnosis.rules.base import Finding, rule
from sesame.operations.people.diagnosis.situation import Situation

_REFUSED = ("redirect_invalid", "redirect_refused", "invalid_mail_redirect")
"""Causes of dead letters about the address of a redirection."""

_NEARLY_FULL = 0.95
"""Of the quota: from here on a message with a picture is refused."""


@rule("mailbox_not_enabled")
def mailbox_not_enabled(s: Situation) -> Iterator[Finding]:
    """The mail server, which looks its users up in the directory, knows no such user."""
    account = s.open_at(MAILBOX)
    if account is None or s.live.mailbox != NOT_ENABLED:
        return
    target = s.target(MAILBOX)
    if target is None or target.state not in ("provisioned", "waiting", "retrying", "failed"):
        return
    entry = s.live.entry
    shown = entry.attributes.get("sesameMailEnabled", ()) if entry is not None else ()
    evidence = {"address": account.mail, "sesameMailEnabled": ", ".join(shown) or gettext("not there")}
    yield Finding("mailbox_not_enabled", MAILBOX, evidence, since=target.since)


@rule("mailbox_full")
def mailbox_full(s: Situation) -> Iterator[Finding]:
    """The mailbox is over quota, or nearly."""
    target, seen = s.target(MAILBOX), _mailbox(s)
    waits = target is not None and target.state == "waiting" and target.reason == "mailbox_full"
    nearly = (
        seen is not None
        and seen.quota_kib is not None
        and seen.quota_kib > 0
        and seen.used_kib >= _NEARLY_FULL * seen.quota_kib
    )
    if waits or nearly:
        evidence = {
            "used (KiB)": seen.used_kib if seen is not None else "–",
            "quota (KiB)": seen.quota_kib if seen is not None else "–",
        }
        yield Finding("mailbox_full", MAILBOX, evidence)


@rule("own_script_active")
def own_script_active(s: Situation) -> Iterator[Finding]:
    """The student's own filter blocks the redirection."""
    target = s.target(MAILBOX)
    if target is not None and target.state == "waiting" and target.reason == "own_sieve_script_active":
        yield Finding("own_script_active", MAILBOX, {"reason": target.reason}, since=target.since)


@rule("redirection_refused")
def redirection_refused(s: Situation) -> Iterator[Finding]:
    """The redirection's address cannot be used."""
    mine = [letter for letter in s.letters if letter.cause in _REFUSED]
    if mine:
        evidence = {"cause": mine[-1].cause, "message": mine[-1].message, "dead letter": mine[-1].id}
        yield Finding("redirection_refused", MAILBOX, evidence, since=utc(mine[-1].recorded_at))


@rule("redirection_gone")
def redirection_gone(s: Situation) -> Iterator[Finding]:
    """The redirection was read back once, and the server now has none, or another."""
    account, seen = s.should_work(MAILBOX), _mailbox(s)
    wanted = s.live.redirect_script
    if account is None or seen is None or wanted is None or seen.own_script_active:
        return
    if not seen.redirect_active or seen.redirect_script != wanted:
        evidence = {"active": seen.redirect_active, "as wanted": seen.redirect_script == wanted}
        words = {"address": account.mail_redirect or ""}
        yield Finding("redirection_gone", MAILBOX, evidence, words)


@rule("mail_goes_elsewhere")
def mail_goes_elsewhere(s: Situation) -> Iterator[Finding]:
    """A redirection is in force: the student may look in the wrong place."""
    account, seen = s.open_at(MAILBOX), _mailbox(s)
    if account is not None and seen is not None and account.mail_redirect and seen.redirect_active:
        words = {"address": account.mail_redirect}
        yield Finding("mail_goes_elsewhere", MAILBOX, {"to": account.mail_redirect}, words)


@rule("welcome_not_there")
def welcome_not_there(s: Situation) -> Iterator[Finding]:
    """The mailbox works without the welcome message: deleted, or moved by a program."""
    account, seen = s.should_work(MAILBOX), _mailbox(s)
    if account is None or seen is None or seen.copies is None:
        return
    if seen.copies == 0 and seen.uidnext > 1:
        yield Finding("welcome_not_there", MAILBOX, {"copies": 0, "folders": ", ".join(sorted(seen.folders))})


def _mailbox(s: Situation) -> Mailbox | None:
    return s.live.mailbox if isinstance(s.live.mailbox, Mailbox) else None
