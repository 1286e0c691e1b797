"""The mailbox: folders, quota, one welcome message and the opted-in redirection, on a Dovecot server."""

from consumers.mailbox.difference import Wanted
from consumers.mailbox.dovecot import Doveadm
from consumers.mailbox.handler import MailboxHandler
from consumers.mailbox.lmtp import Lmtp
from consumers.mailbox.mailboxes import DovecotMailboxes
from consumers.mailbox.port import Mailboxes, ObservedMailbox, WelcomeJournal
from consumers.mailbox.tls import context_of
from consumers.mailbox.welcome import Welcome

__all__ = [
    "Doveadm",
    "DovecotMailboxes",
    "Lmtp",
    "MailboxHandler",
    "Mailboxes",
    "ObservedMailbox",
    "Wanted",
    "Welcome",
    "WelcomeJournal",
    "context_of",
]
