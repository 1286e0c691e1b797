"""Messages to students' personal addresses: text and HTML, in French or English.

The text is written once; the HTML is made of its paragraphs. The library makes the headers from checked
values: a value with a line end is refused, never folded in.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from email.errors import HeaderParseError, NonASCIILocalPartDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cached_property
from typing import Any, Final

from babel.dates import format_date
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from pipeline.errors import SesameError
from producers.activation.proofs import PASSWORD
from schemas.language import Language
from schemas.scalars import is_local_part
from schemas.typography import spaced


class AddressUnusable(SesameError):
    """A personal address cannot stand in a message's header, so nothing was sent to it. The registrar's
    office corrects the address, and the next import brings it."""


def canonical(mail: str) -> str:
    """The address in its form for comparison: without case, as mail servers treat it."""
    return in_ascii(unicodedata.normalize("NFC", mail).strip().casefold())


def in_ascii(mail: str) -> str:
    """The address with its domain in ASCII (RFC 3490), if it can be encoded."""
    local, at, domain = mail.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return mail


def mailbox(mail: str) -> Address:
    """The address in the form of a message's header, exactly one.

    Accents before the @ stay (RFC 6532). Raises AddressUnusable: it is none, or more than one.
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


LINK_PATHS: Final = {
    "password": "/lien/",
    "redirect": "/redirection/",
    "changed": "/",
    "redirected": "/",
    "ending": "/",
    "prolonged": "/prolongation/",
}
_SUBJECTS: Final = {
    ("activation", "fr"): "Activez votre compte universitaire",
    ("activation", "en"): "Activate your university account",
    ("password", "fr"): "Votre mot de passe universitaire",
    ("password", "en"): "Your university password",
    ("changed", "fr"): "Le mot de passe de votre compte universitaire a changé",
    ("changed", "en"): "The password of your university account was changed",
    ("redirected", "fr"): "Votre messagerie universitaire est redirigée",
    ("redirected", "en"): "Your university mail is being sent on",
    ("ending", "fr"): "Votre compte universitaire sera fermé après le {last_day}",
    ("ending", "en"): "Your university account closes after {last_day}",
    ("prolonged", "fr"): "Votre compte universitaire sera fermé après le {last_day}",
    ("prolonged", "en"): "Your university account closes after {last_day}",
    ("redirect", "fr"): "Confirmez la redirection de votre messagerie universitaire",
    ("redirect", "en"): "Confirm that your university mail may be sent here",
}
_ACTIONS: Final = {
    ("activation", "fr"): "Activer mon compte",
    ("activation", "en"): "Activate my account",
    ("password", "fr"): "Continuer",
    ("password", "en"): "Continue",
    ("changed", "fr"): "Choisir un nouveau mot de passe",
    ("changed", "en"): "Choose a new password",
    ("redirected", "fr"): "Choisir un nouveau mot de passe",
    ("redirected", "en"): "Choose a new password",
    ("ending", "fr"): "Voir mon compte",
    ("ending", "en"): "See my account",
    ("prolonged", "fr"): "Garder mon accès plus longtemps",
    ("prolonged", "en"): "Keep my access longer",
    ("redirect", "fr"): "Confirmer la redirection",
    ("redirect", "en"): "Confirm the redirection",
}
"""Labels of the HTML's button; the address is repeated as text, for mail programs without buttons."""


@dataclass(frozen=True)
class Letters:
    """Writes messages.

    Attributes:
        sender: their sender's address.
        sender_name: the name shown with it, e.g. the university's.
        portal_url: address of the students' pages, without a final slash: the beginning of links.
        support: the address for help.
        lifetime_h: of links and codes.
        color: the university's, `#rrggbb`, legible on white and white on it.
        clock: gives a message's date.
    """

    sender: str
    sender_name: str
    portal_url: str
    support: str
    lifetime_h: float
    color: str
    clock: Callable[[], datetime]

    def write(self, purpose: str, language: str, says: Mapping[str, Any]) -> EmailMessage:
        """Write the message about a proof, or a notice, with `says`. Raises AddressUnusable."""
        spoken: Language = "en" if language == "en" else "fr"
        kind = "activation" if purpose == PASSWORD and not says["activated"] else purpose
        path = LINK_PATHS[purpose]
        if prolonged_to := says.get("prolonged_to"):
            kind, path = "prolonged", LINK_PATHS["prolonged"]
        link = f"{self.portal_url}{path}{says['link']}"
        words = {
            "kind": kind,
            "link": link,
            "code": f"{says['code'][:3]} {says['code'][3:]}",
            "number": says["number"],
            "address": says.get("address", ""),
            "hours": f"{self.lifetime_h:g}",
            "support": self.support,
            "institution": self.sender_name,
            "last_day": _day(says.get("last_day"), spoken),
            "services": [(title, _day(day, spoken)) for title, day in says.get("services", ())],
            "account_erased": _day(says.get("account_erased"), spoken),
            "prolonged_to": _day(prolonged_to, spoken),
        }
        subject = _SUBJECTS[kind, spoken].format_map(words)
        text = self._templates.get_template(f"{purpose}.{spoken}.txt").render(words)
        if spoken == "fr":
            text = spaced(text)
        html = self._templates.get_template("letter.html").render(
            words,
            language=spoken,
            subject=subject,
            action=_ACTIONS[kind, spoken],
            color=self.color,
            paragraphs=_paragraphs(text),
        )
        message = self._headed(str(says["to"]), subject)
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        message["Content-Language"] = spoken  # RFC 3282; with the content, whose setting drops it
        return message

    def _headed(self, to: str, subject: str) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = Address(self.sender_name, addr_spec=self.sender)
        message["To"] = mailbox(to)
        message["Subject"] = subject
        message["Date"] = format_datetime(self.clock())
        message["Message-ID"] = f"<{secrets.token_hex(16)}@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers
        return message

    @cached_property
    def _templates(self) -> Environment:
        return Environment(
            loader=PackageLoader("producers.activation", "templates"),
            autoescape=select_autoescape(enabled_extensions=("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )


def _day(day: str | None, language: Language) -> str:
    if day is None:
        return ""
    written = format_date(date.fromisoformat(day), "long", locale="en_GB" if language == "en" else "fr")
    return re.sub(r"^1 ", "1er ", written) if language == "fr" else written


def _paragraphs(text: str) -> list[str]:
    """The paragraphs; code and link are separate ones, which the HTML shows otherwise."""
    return [block.strip() for block in text.split("\n\n") if block.strip()]
