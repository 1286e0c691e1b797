"""BSS's answers: an XML document with a status, a message, and perhaps accounts.

A status other than 0 is an error, and only its message tells which. Messages as public clients distinguish
them (`checkResponseStatus` of dsi-univ-rennes1/libPythonBssApi); *already exists* is Zimbra's own text
(`AccountServiceException`), which no client of BSS mentions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

_TEXT_MAX: Final = 120
_VALUE_MIN: Final = 3
_ADDRESS: Final = re.compile(r"\S+@\S+")


class BssMessage(Enum):
    """The kinds of answers, with texts that identify them."""

    OK = ()
    TOKEN_EXPIRED = ("invalid token",)
    NO_SUCH = ("no such ",)
    DOMAIN_UNKNOWN = ("ne fait pas partie des domaines",)
    TAKEN = ("already exists",)
    MAINTENANCE = ("maintenance mode",)
    ACCESS_REFUSED = ("accès refusé",)
    TEMPORARY = (
        "unable to get connection",
        "ldap error",
        "system failure",
        "une erreur système",
        "unable to create entry",
        "unable to create account",
    )
    OTHER = ("",)


class NotBss(Exception):
    """No answer of BSS: a proxy's page, half an answer, or an unknown body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of BSS; `message`: BSS's own, which may name a person."""

    status: int
    message: str
    root: Element

    @property
    def meaning(self) -> BssMessage:
        """Its kind, by its message."""
        if self.status == 0:
            return BssMessage.OK
        said = self.message.casefold()
        return next(each for each in BssMessage if any(words in said for words in each.value))

    def told(self, form: Mapping[str, str]) -> str:
        """The message for operators, without sent values. Text after a colon repeats values."""
        text = _ADDRESS.sub("…", self.message.partition(": ")[0])
        for value in form.values():
            text = text.replace(value, "…") if len(value) >= _VALUE_MIN else text
        return f"{' '.join(text.split())[:_TEXT_MAX]} (status {self.status})"

    def accounts(self) -> Iterator[Element]:
        """The accounts in it, one or a list."""
        return self.root.iter("account")

    def text(self, name: str) -> str:
        """The text of one of its elements, or empty."""
        return (self.root.findtext(name) or "").strip()


def parse(body: bytes | None) -> Answer:
    """Read an answer; refuse document types, and so entities. Raises NotBss: it is none."""
    root = _parse(body or b"")
    if root.tag.casefold() != "response":
        raise NotBss
    found = Answer(0, (root.findtext("message") or "").strip(), root)
    try:
        return Answer(int(found.text("status")), found.message, root)
    except ValueError:
        raise NotBss from None


def _parse(body: bytes) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, LookupError, ValueError) as error:
        raise NotBss from error


def _refuse(*_declaration: object) -> NoReturn:
    raise NotBss
