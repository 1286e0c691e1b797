"""Validate one line's fields of the main file: a fact, or its faults.

Text is kept as the registrar gave it, in Unicode NFC (UAX #15). Bidirectional control marks, which change how
a name is shown but not what it is, are left out; other control characters are refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from producers.registrar.damage import damage, damage_of_address, is_no_value, write_whole
from producers.registrar.faults import Fault, Rejection
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile, Problem, known_values
from schemas.account import CANARY, NO_YEAR, Administrative, Pedagogical, StudentNumber, is_students
from schemas.language import gettext
from schemas.scalars import Code, Token, is_local_part, phone_number

NAME_CHARACTERS_MAX = 200
LABEL_CHARACTERS_MAX = 512
MAIL_CHARACTERS_MAX = 254  # RFC 5321: a path of 256 octets, less the angle brackets
BIRTH_YEAR_MIN = 1900
AGE_YEARS_MIN = 10  # the youngest students of France were eleven
AGE_YEARS_MAX = 100
LAST_YEAR_MAX = 2100  # as of years: events.Year

_BIDI_MARKS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
_BOM = "\ufeff"
_MAIL_DOMAIN = re.compile(r"[^@\s<>()\[\],;:\\\"._-][^@\s<>()\[\],;:\\\"]*\.[^@\s<>()\[\],;:\\\".]{2,}")
_MIDNIGHT = r"(?:[ \u00a0T]+0{1,2}:00(?::00(?:\.0+)?)?)?"  # as databases write a date
_DATES = (
    re.compile(rf"(?P<day>[0-9]{{1,2}})/(?P<month>[0-9]{{1,2}})/(?P<year>[0-9]{{4}}){_MIDNIGHT}"),
    re.compile(rf"(?P<year>[0-9]{{4}})-(?P<month>[0-9]{{2}})-(?P<day>[0-9]{{2}}){_MIDNIGHT}"),
)
DATE_FORMS = ("dd/mm/yyyy", "yyyy-mm-dd")  # as `_DATES` reads them


def _refuse(fault: Fault, detail: str) -> PydanticCustomError:
    return PydanticCustomError("fault", "{detail}", {"fault": fault, "detail": detail})


def _date(text: str) -> date:
    for pattern in _DATES:
        if found := pattern.fullmatch(text):
            year, month, day = (int(found[part]) for part in ("year", "month", "day"))
            try:
                return date(year, month, day)
            except ValueError:
                raise _refuse(Fault.BAD_DATE, gettext("no such day in the calendar")) from None
    raise _refuse(Fault.BAD_DATE, gettext("neither dd/mm/yyyy nor yyyy-mm-dd"))


def _last_day(text: str) -> date | None:
    """A last day; None: one so far away that it says there is none (31/12/9999)."""
    day = _date(text)
    return day if day.year <= LAST_YEAR_MAX else None


def date_form(text: str) -> str:
    """How a date is written, for the report: one of `DATE_FORMS`; empty: another form."""
    for pattern, form in zip(_DATES, DATE_FORMS, strict=True):
        if pattern.fullmatch(text):
            return form
    return ""


def _year(text: str) -> int:
    if not re.fullmatch(r"[0-9]{4}", text) or not 1990 <= int(text) <= 2100:  # noqa: PLR2004 -- events.Year
        raise _refuse(Fault.BAD_YEAR, gettext("not a year between 1990 and 2100"))
    return int(text)


def _ine(text: str) -> str:
    ine = text.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-Z]{11}", ine):
        raise _refuse(Fault.BAD_INE, gettext("not 11 letters and digits"))
    return ine


def _mail(text: str) -> str:
    if len(text) > MAIL_CHARACTERS_MAX:
        raise _refuse(Fault.TOO_LONG, _longer_than(MAIL_CHARACTERS_MAX))
    local, at, domain = text.rpartition("@")
    if not at or not local or "@" in local:
        raise _refuse(Fault.BAD_MAIL, gettext("not a mail address"))
    if not is_local_part(local):
        detail = gettext("before the @: something else than letters, digits and single dots")
        raise _refuse(Fault.BAD_MAIL, _with_reading(detail, local))
    if not text.isprintable() or not _MAIL_DOMAIN.fullmatch(domain) or not _encodes(domain):
        raise _refuse(Fault.BAD_MAIL, gettext("after the @: not the name of a domain"))
    return text


def _mobile(text: str) -> str:
    number = phone_number(text)
    if number is None:
        raise _refuse(Fault.BAD_MOBILE, gettext("not one telephone number"))
    return number


def _longer_than(limit: int) -> str:
    return gettext("longer than {limit} characters", limit=limit)


def _with_reading(detail: str, text: str) -> str:
    """A detail, with the likely right reading of a visibly damaged text."""
    seen = damage(text)
    return detail if seen is None else gettext("{detail} ({reading})", detail=detail, reading=seen.what)


def _encodes(domain: str) -> bool:
    """True if mail servers can look the domain up (RFC 3490)."""
    try:
        return bool(domain.encode("idna"))
    except UnicodeError:
        return False


Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARACTERS_MAX)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=LABEL_CHARACTERS_MAX)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    student_number: StudentNumber
    year: Annotated[int, BeforeValidator(_year)]


class StepRow(_Row):
    """An enrolment's key and state: all that a cancellation needs."""

    step: Code
    step_version: Code
    state: Literal["pending", "in_force", "cancelled", "terminated"]


class EnrolmentRow(StepRow):
    """An enrolment that the registrar holds, with the person's identity."""

    step_label: Label
    component: Code
    primary: bool
    payment: Literal["awaiting", "paid"] | None = None
    pedagogical: Pedagogical
    birth_name: Name | None = None  # of these two one may be missing, if the profile says so
    usage_name: Name | None = None
    given_name: Name | None = None
    preferred_given_name: Name | None = None
    birth_date: Annotated[date, BeforeValidator(_date)]
    ine: Annotated[str, BeforeValidator(_ine)] | None = None
    ine_provisional: bool | None = None
    personal_mail: Annotated[str, BeforeValidator(_mail)] | None = None
    mobile: Annotated[str, BeforeValidator(_mobile)] | None = None
    population: Token | None = None
    ends_on: Annotated[date | None, BeforeValidator(_last_day)] = None


class TeachingRow(_Row):
    """A teaching unit that a student follows, or no longer follows."""

    element: Code
    group: Code | None = None
    element_label: Label | None = None
    state: Literal["in_force", "cancelled"] = "in_force"


_NAMES = ("birth_name", "usage_name", "given_name", "preferred_given_name")
PERSON_FIELDS = (*_NAMES, "birth_date", "ine", "ine_provisional", "personal_mail", "mobile")
"""Fields that must agree on all lines of one student."""

_DAMAGEABLE = frozenset({*_NAMES, "personal_mail"})

_ENDED = ("cancelled", "terminated")
_SIGNS_OF_NUMBERS, _SIGNS_OF_CODES = "._-", "_.:+/ -"  # schemas.account.StudentNumber, schemas.scalars.Code
_QUOTED = re.compile(r"'([^']*)'")
_BY_FIELD = {
    "student_number": Fault.BAD_STUDENT_NUMBER,
    **dict.fromkeys(("step", "step_version", "component", "element", "group"), Fault.BAD_CODE),
}
Fact = dict[str, Any]
"""An event's data without its source and source sequence, in JSON's types; `reason` marks a cancellation."""

Fields = dict[str, str]
Reader = Callable[[Fields], Fact]
"""Makes a fact of a line's fields. Raises ValidationError."""


def parse(line: Line, profile: FeedProfile, *, accepted: bool = False) -> Fact | list[Rejection]:
    """Parse a line: its enrolment, or all its faults. `accepted`: damaged-looking values are right."""

    def read(fields: Fields) -> Fact:
        ended = fields.get("state") in _ENDED
        row = StepRow.model_validate(fields) if ended else EnrolmentRow.model_validate(fields)
        return _fact(row, profile)

    return checked(line, profile, read, _implausible if accepted else _doubtful)


def checked(
    line: Line,
    profile: FeedProfile,
    read: Reader,
    implausible: Callable[[Fields, Fact | None, FeedProfile], Iterable[Problem]] = lambda *_: (),
) -> Fact | list[Rejection]:
    """The fact of a line, or all its faults.

    Args:
        read: makes the fact.
        implausible: faults of fields that are valid singly and not together, as far as known without a fact.
    """
    if line.fault is not None:
        student = line.student and profile.prefix + line.student
        return [Rejection(line.number, student, "", line.fault, line.raw, line.detail)]
    cells, problems = clean(line.cells, profile)
    fields, unknown = profile.take(cells)
    problems += unknown
    problems += write_whole(fields, profile)
    found: list[Problem] = list(_number_problems(fields.get("student_number", ""), profile))
    if profile.prefix:
        fields = _without_year(fields, profile)
        found += _population_problems(fields["step"], profile)
    fact: Fact | None = None
    try:
        fact = read(fields)
    except ValidationError as error:
        every = list(_problems(error, fields))
        # What was made of other columns has no fault of its own.
        found += [each for each in every if not profile.prefix or profile.column_of(each[0])]
        found = found or every
    student = fields.get("student_number", "")
    if fact is not None and fact["year"] > profile.year_max:
        detail = gettext("later than {year}: not plausible yet", year=profile.year_max)
        found.append(("year", Fault.BAD_YEAR, fields["year"], detail))
    found += implausible(fields, fact, profile)
    told = {problem[0] for problem in problems}
    for problem in found:  # of each field the first one
        if problem[0] not in told:
            told.add(problem[0])
            problems.append(problem)
    if fact is None or problems:
        return [
            Rejection(line.number, student, profile.column_of(field) or field, fault, value, detail)
            for field, fault, value, detail in problems
        ]
    return fact


def _number_problems(number: str, profile: FeedProfile) -> Iterable[Problem]:
    """Faults of a number, as the file has it."""
    details = (
        (is_no_value(number), gettext("stands for a missing value")),
        (number.casefold() == CANARY, gettext("is the canary's number")),
        (
            not profile.prefix and not is_students(number),
            gettext("begins as the numbers of staff and guests do, which no registrar gives"),
        ),
    )
    yield from (("student_number", Fault.BAD_STUDENT_NUMBER, number, why) for is_so, why in details if is_so)


def _population_problems(name: str, profile: FeedProfile) -> Iterable[Problem]:
    if name not in profile.populations:
        fault = Fault.UNKNOWN_VALUE if name else Fault.MISSING_VALUE
        yield "population", fault, name, known_values(profile.populations)


def _without_year(fields: Fields, profile: FeedProfile) -> Fields:
    """Another population's fields as an enrolment's: the step is the population."""
    name, number = fields.get("population", ""), fields.get("student_number", "")
    common = {
        "year": str(NO_YEAR),
        "step": name,
        "step_label": profile.populations.get(name, name),
        "primary": "false",
        "pedagogical": Pedagogical.VALIDATED.value,
    }
    by_default = {"state": "in_force", "step_version": fields.get("component", "")}
    if number:
        common["student_number"] = profile.prefix + number
    return by_default | fields | common


def clean(cells: Sequence[str], profile: FeedProfile) -> tuple[Sequence[str], list[Problem]]:
    """The cells in NFC without bidirectional marks, and those with bad characters."""
    together = "".join(cells)
    if together.isascii() and together.isprintable():  # the usual line
        return cells, []
    kept: list[str] = []
    problems: list[Problem] = []
    marked = _BOM in together
    for name, cell in zip(profile.column_names, cells, strict=True):
        text = cell.strip()
        if not cell.isascii():
            text = unicodedata.normalize("NFC", cell.translate(_BIDI_MARKS)).strip()
            if marked and profile.field_of[name] not in _DAMAGEABLE:
                text = text.replace(_BOM, "").strip()
        kept.append(text)
        if text.isprintable():
            continue
        field = profile.field_of[name]
        categories = {unicodedata.category(character) for character in text}
        if "Cs" in categories:
            fault, detail = Fault.UNDECODABLE, gettext("bytes that are wrong in this encoding")
        elif categories & {"Cc", "Zl", "Zp"}:
            fault, detail = Fault.CONTROL_CHARACTER, gettext("a control character")
        else:
            continue
        problems.append((field, fault, cell, _with_reading(detail, text) if field in _DAMAGEABLE else detail))
    return kept, problems


def _problems(error: ValidationError, fields: Fields) -> Iterable[Problem]:
    for each in error.errors(include_url=False):
        field = str(each["loc"][0])
        value = fields.get(field, "")
        if each["type"] == "missing":
            yield field, Fault.MISSING_VALUE, "", gettext("the value is missing")
        elif each["type"] == "fault":
            yield field, Fault(each["ctx"]["fault"]), value, each["msg"]
        elif field in _BY_FIELD:
            yield field, _BY_FIELD[field], value, _against_form(field, value, each)
        elif each["type"] == "string_too_long":
            yield field, Fault.TOO_LONG, value, _longer_than(each["ctx"]["max_length"])
        else:
            known = _QUOTED.findall(str(each.get("ctx", {}).get("expected", ""))) or ["true", "false"]
            yield field, Fault.UNKNOWN_VALUE, value, known_values(known)


def _against_form(field: str, value: str, error: ErrorDetails) -> str:
    """Describe what in a student number or a code does not fit its form."""
    if error["type"] == "string_too_long":
        return _longer_than(error["ctx"]["max_length"])
    signs = _SIGNS_OF_NUMBERS if field == "student_number" else _SIGNS_OF_CODES
    for sign in value:
        if not (sign.isascii() and sign.isalnum()) and sign not in signs:
            if sign.isspace():
                return gettext("holds a blank, which is not allowed there")
            shown = sign if sign.isprintable() else f"U+{ord(sign):04X}"
            return gettext('holds "{sign}", which is not allowed there', sign=shown)
    return gettext("does not begin with a letter or a digit")


def _doubtful(fields: Fields, fact: Fact | None, profile: FeedProfile) -> Iterable[Problem]:
    """Likely damages, and implausible combinations of fields."""
    if fields.get("state") in _ENDED:
        return
    for name in _NAMES:
        if (value := fields.get(name)) and (found := damage(value)) is not None:
            yield name, Fault.DAMAGED_TEXT, value, found.what
    address = fields.get("personal_mail")
    if address and (found := damage_of_address(address)) is not None:
        yield "personal_mail", Fault.DAMAGED_TEXT, address, found.what
    yield from _implausible(fields, fact, profile)


def _implausible(fields: Fields, fact: Fact | None, profile: FeedProfile) -> Iterable[Problem]:
    if fields.get("state") in _ENDED:
        return
    missing = [name for name in ("birth_name", "given_name") if name not in fields]
    if len(missing) > profile.one_name:  # one of them is enough if the profile says so
        for name in missing:
            yield name, Fault.MISSING_VALUE, "", gettext("the value is missing")
    if fact is None:
        return
    year = profile.year_max if fact["year"] == NO_YEAR else fact["year"]
    born, last = int(fact["birth_date"][:4]), year - AGE_YEARS_MIN
    first = max(BIRTH_YEAR_MIN, year - AGE_YEARS_MAX)
    if not first <= born <= last:
        detail = gettext("not between {first} and {last}", first=first, last=last)
        yield "birth_date", Fault.IMPLAUSIBLE_DATE, fields["birth_date"], detail
    if profile.payment_required and fields["state"] == "in_force" and "payment" not in fields:
        yield "payment", Fault.MISSING_VALUE, "", gettext("required for an enrolment in force")


def _fact(row: StepRow, profile: FeedProfile) -> Fact:
    if not isinstance(row, EnrolmentRow):
        fact = row.model_dump(exclude={"state"})
        return {**fact, "reason": row.state}
    fact = row.model_dump(mode="json", exclude={"state", "payment"}, exclude_none=True)
    return {**fact, "administrative": _administrative(row, profile).value}


def _administrative(row: EnrolmentRow, profile: FeedProfile) -> Administrative:
    if row.state == "pending":
        return Administrative.PENDING
    if profile.payment_required and row.payment == "awaiting":
        return Administrative.AWAITING_PAYMENT
    return Administrative.IN_FORCE
