"""Mail addresses, as they are compared and as they stand in messages."""

from __future__ import annotations

import unicodedata
from email.errors import HeaderParseError, NonASCIILocalPartDefect
from email.headerregistry import Address

from pipeline.errors import SesameError
from schemas.scalars import is_local_part


class AddressUnusable(SesameError):
    """A personal address cannot stand in a message's header, so nothing was sent to it. The registrar's
    office corrects the address, and the next import brings it."""


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


def mailbox(mail: str) -> Address:
    """The address as it stands in a message's header: one address, and nothing else.

    Accents before the @ stay (RFC 6532): mail servers that offer SMTPUTF8 take them.

    Raises:
        AddressUnusable: it is none, or more than one.
    """
    written = in_ascii(mail)
    local, _, domain = written.rpartition("@")
    try:
        try:
            return Address(addr_spec=written)
        except NonASCIILocalPartDefect:
            if not is_local_part(local):
                raise
            return Address(username=local, domain=Address(addr_spec=f"x@{domain}").domain)
    except (ValueError, IndexError, HeaderParseError) as error:  # the library's parser fails in these ways
        raise AddressUnusable from error
