"""Scalar types of events, accepted alike by typed models and JSON Schemas.

Bounds and patterns are in both; patterns keep to what every regular expression dialect reads alike. Sources:
RFC 3339 (times), RFC 7493 (I-JSON: integers up to 2^53 - 1, so that any language reads them exactly).
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, WithJsonSchema

INTEGER_MAX = 2**53 - 1
DURATION_S_MAX = 1_000_000_000

_DATE = r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR_MINUTE = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = f"^{_DATE}$"
_MOMENT = rf"^{_DATE}T{_HOUR_MINUTE}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_HOUR_MINUTE})$"


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(_MOMENT, value):
            raise ValueError("a time looks like 2026-09-01T08:30:00.25Z: with seconds and a zone")
        return datetime.fromisoformat(value)
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(_DAY, value):
            raise ValueError("a date looks like 2006-02-28")
        return date.fromisoformat(value)
    return value


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is an integer to JSON Schema, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _MOMENT}),
]
"""A time with its zone: RFC 3339 with an upper-case T and Z, at most microseconds, no leap second."""

Day = Annotated[
    date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date", "pattern": _DAY})
]
"""A calendar date, RFC 3339's full-date."""

Text = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")
]
"""Text for people: one line, without control characters."""

Code = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+/ -]*$")
]
"""A code of the registrar's."""

Token = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A word of this project's: a reason, a cause, a target, a consumer, a source."""

RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
"""Names a rule as a command does."""

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
"""Names something kept elsewhere: a secret in the vault, a replay, a dead letter. It is no secret itself."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A digest of what was read back from a target (`pipeline.target`)."""

Ine = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{11}$")]
"""The national student number (INE)."""

PhoneNumber = Annotated[str, StringConstraints(pattern=r"^[+][1-9][0-9]{6,14}$")]
"""A telephone number: ITU-T E.164, with its + and without blanks."""

Seconds = Annotated[float, Field(ge=0, le=DURATION_S_MAX, allow_inf_nan=False)]
"""A duration in seconds."""

Version = Annotated[int, Field(ge=1, le=INTEGER_MAX), BeforeValidator(_whole)]
"""An account's version. It only grows."""

Count = Annotated[int, Field(ge=0, le=INTEGER_MAX), BeforeValidator(_whole)]
"""A number of things, or a number in a sequence, from 0."""

Attempt = Annotated[int, Field(ge=1, le=INTEGER_MAX), BeforeValidator(_whole)]
"""Which attempt it was, from 1."""

Year = Annotated[int, Field(ge=1990, le=2100), BeforeValidator(_whole)]
"""An academic year: 2026 means 2026–2027."""

MAIL_ADDRESS_LENGTH_MAX = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690."""

_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")


_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(\.{_ATOM})*")


def is_mail_address(text: str) -> bool:
    """Whether this is a mail address as people have them: RFC 5322's dot-atom at a domain name, in ASCII."""
    if len(text) > MAIL_ADDRESS_LENGTH_MAX or ".." in text:
        return False
    return _MAIL_ADDRESS.fullmatch(text) is not None


def is_local_part(text: str) -> bool:
    """Whether this may precede an address's @: a dot-atom (RFC 5322) of any script (RFC 6531).

    What else that standard allows, typographic quotes for instance, is a slip.
    """
    return _LOCAL_PART.fullmatch(text) is not None


_OVERSEAS = {"639": "262", "69[23]": "262", "69[01]": "590", "694": "594", "69[67]": "596"}
"""Country codes of the French mobile numbers that have one of their own (ARCEP 2018-0881, annex)."""


def phone_number(text: str) -> str | None:
    """Return a number in E.164's form, whose country is France unless it names another; None: it is none.

    Spreadsheets take the first 0, or the +, from what they hold to be an amount.
    """
    digits = re.sub(r"^(?:\+|00)33(?=[0-9])|^(?=[67][0-9]{8}$)|^33(?=[67][0-9]{8}$)", "0", _bare(text))
    if national := re.fullmatch(r"0?(0[1-9][0-9]{8})", digits):
        own = national[1][1:]
        found = next((code for first, code in _OVERSEAS.items() if re.match(first, own)), "33")
        return f"+{found}{own}"
    abroad = re.fullmatch(r"(?:\+|00)([1-9][0-9]{6,14})", digits)
    return None if abroad is None or abroad[1].startswith("33") else f"+{abroad[1]}"


def _bare(text: str) -> str:
    return re.sub(r"[\s./()-]", "", text.replace("(0)", ""))
