"""The mailbox: folders, quota, one welcome message and the opted-in redirection, on a Dovecot server.

`dovecot` and `mailboxes` are asked for by their own names: they load an HTTP library.
"""

from consumers.mailbox.difference import WantedMailbox
from consumers.mailbox.handler import MailboxHandler
from consumers.mailbox.lmtp import Lmtp
from consumers.mailbox.port import Mailboxes, ObservedMailbox, WelcomeJournal
from consumers.mailbox.transport import context_of
from consumers.mailbox.welcome import Welcome

__all__ = [
    "Lmtp",
    "MailboxHandler",
    "Mailboxes",
    "ObservedMailbox",
    "WantedMailbox",
    "Welcome",
    "WelcomeJournal",
    "context_of",
]
