"""What can be wrong with a row, and what the registrar does about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import SesameError


class UnusableFile(SesameError):
    """The file as a whole cannot be read as an export. Nothing was published."""


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
    BAD_INE = "bad_ine"
    BAD_DATE = "bad_date"
    IMPLAUSIBLE_DATE = "implausible_date"
    BAD_MAIL = "bad_mail"
    BAD_YEAR = "bad_year"
    BAD_CODE = "bad_code"
    UNKNOWN_VALUE = "unknown_value"
    CONFLICTING_LINES = "conflicting_lines"
    CONTRADICTING_PERSON = "contradicting_person"
    SEVERAL_PRIMARY_STEPS = "several_primary_steps"
    TOO_MANY_TEACHINGS = "too_many_teachings"


DAMAGES = (Fault.DAMAGED_TEXT, Fault.UNDECODABLE)
"""Faults of which many say that the whole file was read in a wrong encoding."""

REMEDIES: dict[Fault, str] = {
    Fault.BROKEN_QUOTES: "Close every double quote on its own line; a field cannot hold a line break.",
    Fault.BROKEN_JSON: "Write one JSON object per line, with texts, whole numbers or null as values.",
    Fault.LINE_TOO_LONG: "Look for a missing line break or pasted text; export the line again.",
    Fault.WRONG_FIELD_COUNT: "Give the line as many fields as the header; quote fields that hold separators.",
    Fault.UNDECODABLE: "Export the whole file in one encoding, best UTF-8.",
    Fault.DAMAGED_TEXT: "Correct the value; if it is right, import once with --accept and the number.",
    Fault.CONTROL_CHARACTER: "Retype the value in the registrar's software; it holds an invisible character.",
    Fault.MISSING_VALUE: "Fill in the value in the registrar's software, then export again.",
    Fault.TOO_LONG: "Shorten the value; check that no other text was pasted into it.",
    Fault.BAD_STUDENT_NUMBER: "Use letters, digits, dot, hyphen and underscore only, at most 32.",
    Fault.BAD_INE: "Give the INE's 11 letters and digits, or leave it empty.",
    Fault.BAD_DATE: "Write the date as 31/12/2005 or 2005-12-31, and check that the day exists.",
    Fault.IMPLAUSIBLE_DATE: "Check the year of birth.",
    Fault.BAD_MAIL: "Correct the personal mail address, or leave it empty.",
    Fault.BAD_YEAR: "Give the academic year by its first year, in four digits.",
    Fault.BAD_CODE: "Use letters, digits, space and _ . : + / - only, at most 64, a letter or digit first.",
    Fault.UNKNOWN_VALUE: "Use one of the values listed in the detail.",
    Fault.CONFLICTING_LINES: "Of the lines named in the detail keep one: the one that is right.",
    Fault.CONTRADICTING_PERSON: "Make what is said of the person agree on all lines of the student.",
    Fault.SEVERAL_PRIMARY_STEPS: "Of the steps named in the detail mark one as the primary one of that year.",
    Fault.TOO_MANY_TEACHINGS: "Check the student number on these lines: nobody follows so many units.",
}
"""What to do about each class of fault."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One fault of one line.

    Attributes:
        line: physical line in the file; the header is line 1.
        student_number: as read, for finding the student; may be empty or wrong.
        column: the export's own column, or empty when it is the whole line.
        value: what stood there, as read.
        detail: what exactly is wrong.
    """

    line: int
    student_number: str
    column: str
    fault: Fault
    value: str
    detail: str
