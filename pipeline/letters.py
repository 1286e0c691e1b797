"""Messages to persons: text and HTML in one layout, under the letterhead.

A text is written once; the HTML is made of its paragraphs. The library makes the headers from checked values:
a value with a line end is refused, never folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError, NonASCIILocalPartDefect
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import SesameError
from schemas.language import Language
from schemas.scalars import is_local_part
from schemas.typography import spaced

if TYPE_CHECKING:
    from jinja2 import Environment


class AddressUnusable(SesameError):
    """An address cannot stand in a message's header, so nothing was sent to it. The registrar's office
    corrects the address, and the next import brings it."""


def in_ascii(mail: str) -> str:
    """The address with its domain in ASCII (RFC 3490), if it can be encoded."""
    local, at, domain = mail.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return mail


def mailbox(mail: str, name: str = "") -> Address:
    """The address in the form of a message's header, exactly one.

    Accents before the @ stay (RFC 6532). Raises AddressUnusable: it is none, or more than one.
    """
    written = in_ascii(mail)
    local, _, domain = written.rpartition("@")
    try:
        try:
            return Address(name, addr_spec=written)
        except NonASCIILocalPartDefect:
            if not is_local_part(local):
                raise
            return Address(name, username=local, domain=Address(addr_spec=f"x@{domain}").domain)
    except (ValueError, IndexError, HeaderParseError) as error:  # the library's parser fails in these ways
        raise AddressUnusable from error


class _Headers(HeaderRegistry):
    """The library's, whose class for a name is made once."""

    @cache  # noqa: B019 (there is one registry)
    def __getitem__(self, name: str) -> type[BaseHeader]:
        return super().__getitem__(name)


class _Policy(EmailPolicy):
    """SMTP's; common headers of messages are neither parsed nor folded again."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return self._parsed(name, value) if type(value) is str else super().header_store_parse(name, value)

    @lru_cache(64)  # noqa: B019 (there is one policy)
    def _parsed(self, name: str, value: str) -> tuple[str, Any]:
        return super().header_store_parse(name, value)

    @lru_cache(64)  # noqa: B019
    def fold_binary(self, name: str, value: str) -> bytes:
        return super().fold_binary(name, value)


_POLICY: Final = _Policy(linesep="\r\n", header_factory=_Headers())


@cache
def texts(room: str) -> Environment:
    """The texts of a room: the package that has them in its folder `templates`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader(room, "templates"),
        autoescape=select_autoescape(enabled_extensions=("html",)),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


@dataclass(frozen=True)
class Letterhead:
    """What all messages of a site share.

    Attributes:
        institution: the university's name: the sender's, and the HTML's heading.
        sender: the sender's address.
        support: the address for help.
        portal_url: address of the students' pages, without a final slash.
        color: the university's, `#rrggbb`, legible on white and white on it.
        links: the services' addresses, each with its name by language.
    """

    institution: str = ""
    sender: str = ""
    support: str = ""
    portal_url: str = ""
    color: str = "#1f3a8a"
    links: tuple[tuple[Mapping[Language, str], str], ...] = ()

    def message_id(self, name: str) -> str:
        """A Message-ID (RFC 5322, 3.6.4) of the sender's domain."""
        return f"<{name}@{self.sender.rpartition('@')[2]}>"

    def write(
        self,
        to: Address,
        subject: str,
        text: str,
        language: Language,
        *,
        at: datetime,
        name: str,
        shown: str = "",
        preheader: str = "",
    ) -> EmailMessage:
        """Write a message.

        Args:
            text: paragraphs between empty lines. One of a label and, on the next line, an address is a button
                of the HTML.
            at: its date.
            name: of its Message-ID.
            shown: the paragraph that the HTML shows large: what is copied.
            preheader: what a list of messages shows after the subject.
        """
        if language == "fr":
            text, preheader = spaced(text), spaced(preheader)
        html = (
            texts("pipeline")
            .get_template("letter.html")
            .render(
                language=language,
                subject=subject,
                institution=self.institution,
                color=self.color,
                shown=shown,
                preheader=preheader,
                paragraphs=[block.strip() for block in text.split("\n\n") if block.strip()],
            )
        )
        message = EmailMessage(policy=_POLICY)
        message["From"] = Address(self.institution, addr_spec=self.sender)
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = self.message_id(name)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        message["Content-Language"] = language  # RFC 3282; with the content, whose setting drops it
        return message
