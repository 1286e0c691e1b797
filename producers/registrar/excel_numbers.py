"""Undo spreadsheets' rewriting of numbers, such as `26100001.0` and `2.6100001E7`.

And `="00123"`, and thousands set apart. Only a form that has one exact whole number is read as one.
`2.61E7` has not: it shows three digits of eight, and a wrong student number is worse than a refused line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from producers.registrar.faults import Fault
from producers.registrar.profile import FeedProfile, Problem
from schemas.language import gettext, ngettext

_BLANKS = " \u00a0\u202f"  # of thousands: also the no-break and the narrow one
_GROUPED = re.compile(rf"[0-9]{{1,3}}(?:[{_BLANKS}][0-9]{{3}})+")
_DECIMAL = re.compile(r"([0-9]{2,})[.,]0{1,2}")
_SCIENTIFIC = re.compile(r"([0-9])(?:[.,]([0-9]*))?[Ee]([+-]?)([0-9]{1,3})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_SO_MANY_DIGITS = re.compile(r"\^?(?:\[0-9\]|\\d)\{(?P<n>[0-9]{1,3})\}\$?")
_TEXT_FORMULA = re.compile(r'="([^"]*)"')


def whole_number(text: str) -> str | None:
    """The whole number written in a spreadsheet's form.

    Any other text as it is; None: digits are lost.
    """
    if text.isdigit():
        return text
    if _GROUPED.fullmatch(text):
        return re.sub(f"[{_BLANKS}]", "", text)
    if found := _DECIMAL.fullmatch(text):
        return found[1]
    if found := _SCIENTIFIC.fullmatch(text):
        first, decimals, sign, exponent = found[1], found[2] or "", found[3], int(found[4])
        exact = sign != "-" and len(decimals) >= exponent > 0 and not decimals[exponent:].strip("0")
        return first + decimals[:exponent] if exact else None
    return None if _DATE.fullmatch(text) else text


def unwrapped(cell: str) -> str:
    """The text in a formula that only keeps it a text: `="00123"`."""
    found = _TEXT_FORMULA.fullmatch(cell)
    return found[1].strip() if found else cell


def write_whole(fields: dict[str, str], profile: FeedProfile) -> Iterable[Problem]:
    """Rewrite student number and year in place as whole numbers; yield what cannot be.

    A student number that has the site's form already is left alone.
    """
    for field, fault, form in (
        ("student_number", Fault.BAD_STUDENT_NUMBER, profile.student_number),
        ("year", Fault.BAD_YEAR, ""),
    ):
        text = fields.get(field)
        if not text or (re.fullmatch(form, text) if form else text.isdigit()):
            continue
        number = whole_number(text)
        if number is None:
            lost = gettext("a number rewritten by a spreadsheet, which has lost digits of it")
            yield field, Fault.LOST_DIGITS, text, lost
        elif form and not re.fullmatch(form, number):
            yield field, fault, text, _not_of(form)
        else:
            fields[field] = number


def _not_of(form: str) -> str:
    """Say that a student number lacks the site's form; name its digits if that is all."""
    if found := _SO_MANY_DIGITS.fullmatch(form):
        return ngettext(
            "not of this site's form: {n} digit", "not of this site's form: {n} digits", int(found["n"])
        )
    return gettext("not of the form that this site's student numbers have")
