"""A student's address at the timetable service: a template, percent-encoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, urlsplit

FIELDS: Final = ("login", "student_number", "mail")
"""Fields that a template may name in braces."""

_FIELD: Final = re.compile(r"\{([a-z_]*)\}")


@dataclass(frozen=True, slots=True)
class Subject:
    """A calendar's owner: the values of an address."""

    student_number: str
    login: str
    mail: str


class CalendarAddressInvalid(ValueError):
    """The template makes no addresses. The text says why."""


@dataclass(frozen=True)
class Template:
    """Makes addresses. Made by `of`, which checks it."""

    text: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Check a template. Raises CalendarAddressInvalid: a wrong field, none, or one in the host."""
        named = _FIELD.findall(text)
        if unknown := sorted(set(named) - set(FIELDS)):
            raise CalendarAddressInvalid(f"{{{unknown[0]}}} is no field: the fields are {_braced()}")
        if not named:
            raise CalendarAddressInvalid(f"names no student: put one of {_braced()} into it")
        if any(brace in _FIELD.sub("", text) for brace in "{}"):
            raise CalendarAddressInvalid("has a brace that belongs to no field; write it as %7B or %7D")
        if "{" in urlsplit(text).netloc:
            raise CalendarAddressInvalid("has a field in the server's name: it would choose whom to ask")
        return cls(text)

    def address(self, subject: Subject) -> str:
        """A student's address. Values, percent-encoded (RFC 3986, 2.1, 3.3), stay within their places."""
        return _FIELD.sub(lambda field: _encoded(getattr(subject, field[1])), self.text)


def _encoded(value: str) -> str:
    escaped = quote(value, safe="")
    return escaped if escaped.strip(".") else escaped.replace(".", "%2E")


def _braced() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)
