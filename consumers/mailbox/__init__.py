"""The mailbox: folders, quota, one welcome message and the opted-in redirection, on a Dovecot server."""

from typing import Final

NAME: Final = "mailbox"
"""What `targets` calls it, and its section of the settings."""
