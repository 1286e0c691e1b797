"""The mailbox on a Dovecot server: folders, quota, welcome message, redirection.

There is one welcome message, and the redirection is opted in.
"""

from typing import Final

NAME: Final = "mailbox"
"""What `targets` calls it, and its section of the settings."""
