"""Faults of rows, and the registrar's remedy for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.errors import SesameError
from schemas.language import gettext, gettext_noop


class UnusableFile(SesameError):
    """The file as a whole cannot be read as an export. Nothing was published."""

    def __init__(
        self,
        message: str = "",
        *,
        remedy: str = "",
        sent: str = "",
        sheets: Sequence[str] = (),
        header: Sequence[str] = (),
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.sent = sent  # the same for a program, which sends lines and has no file
        self.sheets = tuple(sheets)  # one of them has to be chosen
        self.header = tuple(header)  # its columns, where they are not the wanted ones


class Fault(StrEnum):
    """A class of fault of a row. The name is stable: scripts may count by it."""

    BROKEN_QUOTES = "broken_quotes"
    BROKEN_JSON = "broken_json"
    LINE_TOO_LONG = "line_too_long"
    WRONG_FIELD_COUNT = "wrong_field_count"
    UNDECODABLE = "undecodable"
    DAMAGED_TEXT = "damaged_text"
    CONTROL_CHARACTER = "control_character"
    MISSING_VALUE = "missing_value"
    TOO_LONG = "too_long"
    BAD_STUDENT_NUMBER = "bad_student_number"
    LOST_DIGITS = "lost_digits"
    BAD_INE = "bad_ine"
    BAD_DATE = "bad_date"
    IMPLAUSIBLE_DATE = "implausible_date"
    BAD_MAIL = "bad_mail"
    BAD_MOBILE = "bad_mobile"
    BAD_YEAR = "bad_year"
    BAD_CODE = "bad_code"
    UNKNOWN_VALUE = "unknown_value"
    CONFLICTING_LINES = "conflicting_lines"
    CONTRADICTING_PERSON = "contradicting_person"
    SEVERAL_PRIMARY_STEPS = "several_primary_steps"
    TOO_MANY_TEACHINGS = "too_many_teachings"


REJECTS_MARK, AFFECTED_MARK = "sesame-fault", "sesame-change"
"""Columns that identify the files about an export, in every language."""

_COLUMN = r'(?:^|[;,\t|"]){}(?:$|[;,\t|"])'
REJECTS_HEADER = re.compile(rf'{_COLUMN.format(REJECTS_MARK)}|^"line"."student"."column"', re.IGNORECASE)
AFFECTED_HEADER = re.compile(rf'{_COLUMN.format(AFFECTED_MARK)}|^"student"."year"', re.IGNORECASE)
"""The form of each file's first line, also of earlier versions."""

DAMAGES = (Fault.DAMAGED_TEXT, Fault.UNDECODABLE)
"""Faults that, if many, suggest a wrong encoding of the whole file."""

REMEDIES: dict[Fault, str] = {
    Fault.BROKEN_QUOTES: gettext_noop(
        "Close every double quote on its own line; a field cannot hold a line break."
    ),
    Fault.BROKEN_JSON: gettext_noop(
        "Write one JSON object per line, with texts, whole numbers or null as values."
    ),
    Fault.LINE_TOO_LONG: gettext_noop("Look for a missing line break or pasted text; export the line again."),
    Fault.WRONG_FIELD_COUNT: gettext_noop(
        "Give the line as many fields as the header; quote fields that hold separators."
    ),
    Fault.UNDECODABLE: gettext_noop("Export the whole file in one encoding, best UTF-8."),
    Fault.DAMAGED_TEXT: gettext_noop(
        "Correct the value; if it is right, import once with the --accept that the detail gives."
    ),
    Fault.CONTROL_CHARACTER: gettext_noop(
        "Retype the value in the registrar's software; it holds an invisible character."
    ),
    Fault.MISSING_VALUE: gettext_noop("Fill in the value in the registrar's software, then export again."),
    Fault.TOO_LONG: gettext_noop("Shorten the value; check that no other text was pasted into it."),
    Fault.BAD_STUDENT_NUMBER: gettext_noop(
        "Correct the number: letters, digits, dot, hyphen and underscore only, at most 32."
    ),
    Fault.LOST_DIGITS: gettext_noop(
        "Give the column the format Text in the spreadsheet before the values come into it, then export "
        "again: the lost digits are not in this file."
    ),
    Fault.BAD_INE: gettext_noop("Give the INE's 11 letters and digits, or leave it empty."),
    Fault.BAD_DATE: gettext_noop(
        "Write the date as 31/12/2005 or 2005-12-31, and check that the day exists."
    ),
    Fault.IMPLAUSIBLE_DATE: gettext_noop("Check the year of birth."),
    Fault.BAD_MAIL: gettext_noop("Correct the personal mail address, or leave it empty."),
    Fault.BAD_MOBILE: gettext_noop("Give one mobile number, or leave it empty."),
    Fault.BAD_YEAR: gettext_noop("Give the academic year by its first year, in four digits."),
    Fault.BAD_CODE: gettext_noop(
        "Use letters, digits, space and _ . : + / - only, at most 64, a letter or digit first."
    ),
    Fault.UNKNOWN_VALUE: gettext_noop("Use one of the values listed in the detail."),
    Fault.CONFLICTING_LINES: gettext_noop(
        "Of the lines named in the detail keep one: the one that is right."
    ),
    Fault.CONTRADICTING_PERSON: gettext_noop(
        "Make what is said of the person agree on all lines of the student."
    ),
    Fault.SEVERAL_PRIMARY_STEPS: gettext_noop(
        "Of the steps named in the detail mark one as the primary one of that year."
    ),
    Fault.TOO_MANY_TEACHINGS: gettext_noop(
        "Check the student number on these lines: nobody follows so many units."
    ),
}
"""The remedy for each class of fault; `gettext` translates it."""


def refuse_what_is_of_ours(path: Path, header: str) -> None:
    """Refuse one of our own files as an export, by this header. Raises UnusableFile."""
    if REJECTS_HEADER.search(header.strip()):
        what = gettext("{path}: these are the refused lines of an earlier import, and no export", path=path)
        remedy = gettext("Correct them in the registrar's software, export anew, and import that export.")
        raise UnusableFile(what, remedy=remedy)
    if AFFECTED_HEADER.search(header.strip()):
        what = gettext(
            "{path}: these are the people whom an earlier import affects, and no export", path=path
        )
        raise UnusableFile(what, remedy=gettext("Import the export itself."))


@dataclass(frozen=True, slots=True)
class Rejection:
    """One fault of one line.

    Attributes:
        line: physical line in the file; the header is line 1.
        student_number: as read, for finding the student; may be empty or wrong; a guess if the whole line is
            wrong.
        column: the export's own column, or the field that has none; empty: the whole line.
        value: the contents, as read.
        detail: what exactly is wrong.
    """

    line: int
    student_number: str
    column: str
    fault: Fault
    value: str
    detail: str
