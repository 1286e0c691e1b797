"""How a change is written over doveadm and LMTP: which commands, and what their answers mean. Pure."""

from __future__ import annotations

from consumers.mailbox.dovecot import Command, DoveadmAnswer, Exit
from consumers.mailbox.lmtp import Delivery, DeliveryVerdict
from consumers.mailbox.port import ApplyResult, Full, MailboxChange, MailboxRefused, MailboxUnsettled
from consumers.mailbox.reading import MAILBOX_BUSY
from consumers.mailbox.redirect import SCRIPT


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
