"""Mail addresses, as they are compared and as they stand in messages."""

from __future__ import annotations

import unicodedata


def canonical(mail: str) -> str:
    """The address as it is compared: people do not mind capitals, and their mail servers do not either."""
    return in_ascii(unicodedata.normalize("NFC", mail).strip().casefold())


def in_ascii(mail: str) -> str:
    """With its domain as mail servers know it (RFC 3490), which is what browsers send of an accented one.

    What cannot be written so stays as it is.
    """
    local, at, domain = mail.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return mail
