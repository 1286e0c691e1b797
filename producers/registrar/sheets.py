"""Files about people for a spreadsheet: private, atomic, safe from formulas.

A French Excel opens them by a double click: UTF-8 with a byte order mark, semicolons, CRLF, the header in the
reader's language. One column keeps its name and its words in every language, for scripts and for Sésame: it
identifies such a file later.

Source: OWASP, CSV Injection: a cell that begins with = + - @, a tab or a line break may be run as a formula,
and an apostrophe before it makes it text. Full-width forms of these signs are treated alike.
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pipeline.errors import system_words
from producers.registrar.faults import (
    AFFECTED_HEADER,
    AFFECTED_MARK,
    REJECTS_HEADER,
    REJECTS_MARK,
    REMEDIES,
    Rejection,
    UnusableFile,
)
from producers.registrar.guard import Affected, OutlineChange
from schemas.language import gettext, gettext_noop

VALUE_CHARACTERS_MAX = 80
_DETAIL_CHARACTERS_MAX = 400
_FORMULA_SIGNS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 -- the full-width forms are meant
_REWRITTEN = re.compile(r"0[0-9]+|[0-9]{16,}|[0-9]+(?:[.,][0-9]*)?[Ee][+-]?[0-9]+|[0-9]{1,2}[/-][0-9]{1,2}")
"""Texts that a spreadsheet takes for a number or a day, and shows otherwise."""
_HEADER_BYTES = 1024
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

Row = tuple[int | str, ...]
"""Cells in the order of a sheet's columns, already escaped."""


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """One kind of file.

    Attributes:
        columns: its header, in English; one of them has the same name in every language.
        header: identifies a file's first line.
        elsewhere: message that something else is in its place.
        unwritable: message that it cannot be written.
        option: the option that names another place for it.
    """

    columns: tuple[str, ...]
    header: re.Pattern[str]
    elsewhere: str
    unwritable: str
    option: str

    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """Write or replace the file atomically, with mode 0600.

        Raises UnusableFile: it cannot be written, or would replace something else.
        """
        self._refuse_what_is_not_ours(path)
        try:
            with NamedTemporaryFile(
                "w", encoding="utf-8-sig", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as file:
                temporary = Path(file.name)
                try:
                    writer = csv.writer(
                        file, delimiter=";", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n"
                    )
                    writer.writerow(map(gettext, self.columns))
                    writer.writerows(rows)
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.replace(path)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        except OSError as error:
            what = gettext(self.unwritable, path=path, why=system_words(error))
            raise UnusableFile(what, remedy=self._another_place()) from error

    def remove(self, path: Path) -> None:
        """Remove an earlier import's file, which would be taken for this one's. Raises UnusableFile."""
        self._refuse_what_is_not_ours(path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            why = system_words(error)
            raise UnusableFile(gettext("{path}: cannot be removed: {why}", path=path, why=why)) from error

    def _refuse_what_is_not_ours(self, path: Path) -> None:
        """Refuse to replace a file that is neither empty nor of this kind."""
        try:
            if not path.exists() or (path.is_file() and self._is_ours(path)):
                return
        except OSError as error:
            why = system_words(error)
            raise UnusableFile(gettext("{path}: cannot be looked at: {why}", path=path, why=why)) from error
        raise UnusableFile(gettext(self.elsewhere, path=path), remedy=self._another_place())

    def _another_place(self) -> str:
        return gettext("Choose another place with {option}; nothing was published.", option=self.option)

    def _is_ours(self, path: Path) -> bool:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES).decode("utf-8", "replace").partition("\n")[0].strip()
        return not start or bool(self.header.search(start))


REJECTS = WorkbookSheet(
    (
        gettext_noop("line"),
        gettext_noop("student number"),
        gettext_noop("column"),
        gettext_noop("value"),
        gettext_noop("detail"),
        gettext_noop("remedy"),
        REJECTS_MARK,
    ),
    REJECTS_HEADER,
    gettext_noop("{path}: there is something else than a rejects file"),
    gettext_noop("{path}: the rejects file cannot be written: {why}"),
    "--rejects",
)
"""Refused lines: where, why, and what to do."""

_ELSEWHERE = gettext_noop("{path}: there is something else than a file of affected people")
_UNWRITABLE = gettext_noop("{path}: the file of affected people cannot be written: {why}")

AFFECTED = WorkbookSheet(
    (
        gettext_noop("student number"),
        gettext_noop("year"),
        gettext_noop("step"),
        gettext_noop("version"),
        gettext_noop("columns"),
        gettext_noop("before"),
        gettext_noop("after"),
        gettext_noop("meaning"),
        AFFECTED_MARK,
    ),
    AFFECTED_HEADER,
    _ELSEWHERE,
    _UNWRITABLE,
    "--affected",
)
"""People who would lose an enrolment, or change in a way that seldom happens."""

AFFECTED_TEACHINGS = WorkbookSheet(
    (
        gettext_noop("student number"),
        gettext_noop("year"),
        gettext_noop("unit"),
        gettext_noop("group"),
        gettext_noop("groups before"),
        gettext_noop("groups left"),
        gettext_noop("meaning"),
        AFFECTED_MARK,
    ),
    AFFECTED_HEADER,
    _ELSEWHERE,
    _UNWRITABLE,
    "--affected",
)
"""People who would lose a teaching unit, or a group of one."""

MEANINGS: dict[OutlineChange, str] = {
    OutlineChange.CANCELLED: gettext_noop("The file cancels this enrolment."),
    OutlineChange.GONE: gettext_noop(
        "The file is said to be complete for the year, and does not have this any more."
    ),
    OutlineChange.NOT_IN_FORCE: gettext_noop(
        "The enrolment was in force, and is pending or awaits payment in the file."
    ),
    OutlineChange.PEDAGOGICAL: gettext_noop(
        "The pedagogical enrolment was validated, and is not in the file."
    ),
    OutlineChange.IDENTITY: gettext_noop(
        "Birth name, first given name or birth date are others, and not only spelled otherwise."
    ),
    OutlineChange.INE: gettext_noop("The INE is another one, or missing."),
    OutlineChange.PERSONAL_MAIL: gettext_noop("The personal mail address is another one, or missing."),
    OutlineChange.MOBILE: gettext_noop("The mobile number is another one, or missing."),
    OutlineChange.COMPONENT: gettext_noop("The component of this enrolment is another one."),
    OutlineChange.TEACHING: gettext_noop("The student does not follow this teaching unit any more."),
    OutlineChange.GROUP: gettext_noop(
        "The student is not in this group of the teaching unit any more, and stays in the unit."
    ),
}
"""The meaning of each change, for the operator; `gettext` translates it."""


def reject_cells(rejection: Rejection) -> Row:
    """A row of REJECTS."""
    return (
        rejection.line,
        cell(rejection.student_number),
        cell(rejection.column) or gettext("(the whole line)"),
        cell(rejection.value),
        harmless(rejection.detail, characters_max=_DETAIL_CHARACTERS_MAX),
        gettext(REMEDIES[rejection.fault]),
        rejection.fault.value,
    )


def affected_cells(sheet: WorkbookSheet, affected: Iterable[Affected]) -> Iterator[Row]:
    """The rows of AFFECTED or AFFECTED_TEACHINGS."""
    for each in affected:
        student, year, code, part = each.key
        columns = [each.columns] if sheet is AFFECTED else []
        yield (
            cell(student),
            year,
            cell(code),
            cell(part),
            *map(cell, (*columns, each.before, each.after)),
            gettext(MEANINGS[each.change]),
            each.change.value,
        )


def cell(value: str) -> str:
    """`harmless`, with an apostrophe before what spreadsheets rewrite (00123)."""
    shown = harmless(value)
    return f"'{shown}" if _REWRITTEN.fullmatch(shown) else shown


def harmless(value: str, *, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """`value` shortened, with invisible characters spelled out, and never a formula."""
    shown = "".join(map(_visible, value[:characters_max]))
    if len(value) > characters_max:
        shown += gettext("… ({n} characters)", n=len(value))
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA_SIGNS) else shown


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 -- a byte that could not be decoded
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004
