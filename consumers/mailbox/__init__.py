"""The mailbox on Dovecot: folders, quota, one welcome message, redirection."""

from typing import Final

NAME: Final = "mailbox"
"""Its name in `targets`, and of its section of the settings."""
