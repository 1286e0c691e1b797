"""Files about people that the registrar opens in a spreadsheet: private, whole or absent, and harmless.

Source: OWASP, CSV Injection: a cell that begins with = + - @, a tab or a line break may be run as a formula,
and an apostrophe before it makes it text. Full-width forms of these signs are treated alike.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from producers.registrar.faults import REMEDIES, Rejection, UnusableFile
from producers.registrar.guard import Affected, OutlineChange

VALUE_CHARACTERS_MAX = 80
_FORMULA_SIGNS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 -- the full-width forms are meant
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """One kind of file.

    Attributes:
        name: what it is called in messages.
        columns: its header. The first one tells it from other files.
        option: the option that names another place for it.
    """

    name: str
    columns: tuple[str, ...]
    option: str

    def write(self, path: Path, rows: Iterable[tuple[int | str, ...]], *, separator: str) -> None:
        """Write the file, readable by its owner only, in one step: it is there whole or not at all.

        Args:
            path: replaced if it exists.
            rows: cells in the order of the columns, harmless already.
            separator: the export's own, so that both open alike in the same spreadsheet.

        Raises:
            UnusableFile: it cannot be written, or would replace something else.
        """
        self._refuse_what_is_not_ours(path)
        try:
            with NamedTemporaryFile(
                "w", encoding="utf-8", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as file:
                temporary = Path(file.name)
                try:
                    writer = csv.writer(
                        file, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"
                    )
                    writer.writerow(self.columns)
                    writer.writerows(rows)
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.replace(path)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise UnusableFile(
                f"{path}: the {self.name} cannot be written: {error.strerror or error}",
                remedy=f"Choose another place with {self.option}; nothing was published.",
            ) from error

    def remove(self, path: Path) -> None:
        """Remove an earlier import's file, which would be taken for this one's.

        Raises:
            UnusableFile: something else stands there, or it cannot be removed.
        """
        self._refuse_what_is_not_ours(path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UnusableFile(f"{path}: cannot be removed: {error.strerror or error}") from error

    def _refuse_what_is_not_ours(self, path: Path) -> None:
        """An existing file is replaced only if it is empty or of this kind."""
        try:
            if not path.exists() or (path.is_file() and self._is_ours(path)):
                return
        except OSError as error:
            raise UnusableFile(f"{path}: cannot be looked at: {error.strerror or error}") from error
        raise UnusableFile(
            f"{path}: there is something else than a {self.name}",
            remedy=f"Choose another place with {self.option}; nothing was published.",
        )

    def _is_ours(self, path: Path) -> bool:
        mark = f'"{self.columns[0]}"'.encode()
        with path.open("rb") as file:
            start = file.read(len(mark))
        return start in (b"", mark)


REJECTS = WorkbookSheet(
    "rejects file", ("line", "student", "column", "fault", "value", "detail", "remedy"), "--rejects"
)
"""What was refused, where, and what to do."""

AFFECTED = WorkbookSheet(
    "file of affected people",
    ("student", "year", "step", "version", "change", "before", "after", "meaning"),
    "--affected",
)
"""Who would lose an enrolment, or change in a way that seldom happens."""

AFFECTED_TEACHINGS = WorkbookSheet(
    "file of affected people",
    ("student", "year", "unit", "group", "change", "groups left", "meaning"),
    "--affected",
)
"""Who would lose a teaching unit, or a group of one."""

MEANINGS: dict[OutlineChange, str] = {
    OutlineChange.CANCELLED: "The file cancels this enrolment.",
    OutlineChange.GONE: "The file is said to be complete for the year, and does not have this any more.",
    OutlineChange.NOT_IN_FORCE: "The enrolment was in force, and is pending or awaits payment in the file.",
    OutlineChange.PEDAGOGICAL: "The pedagogical enrolment was validated, and is not in the file.",
    OutlineChange.IDENTITY: (
        "Birth name, first given name or birth date are others, and not only spelled otherwise."
    ),
    OutlineChange.INE: "The INE is another one, or missing.",
    OutlineChange.PERSONAL_MAIL: "The personal mail address is another one, or missing.",
    OutlineChange.COMPONENT: "The component of this enrolment is another one.",
    OutlineChange.TEACHING: "The student does not follow this teaching unit any more.",
    OutlineChange.GROUP: (
        "The student is not in this group of the teaching unit any more, and stays in the unit."
    ),
}
"""What each change means, for the operator."""


def reject_cells(rejection: Rejection) -> tuple[int | str, ...]:
    """A row of REJECTS."""
    return (
        rejection.line,
        harmless(rejection.student_number),
        harmless(rejection.column),
        rejection.fault.value,
        harmless(rejection.value),
        harmless(rejection.detail, characters_max=300),
        REMEDIES[rejection.fault],
    )


def affected_cells(sheet: WorkbookSheet, affected: Iterable[Affected]) -> Iterator[tuple[int | str, ...]]:
    """The rows of AFFECTED or AFFECTED_TEACHINGS."""
    for each in affected:
        student, year, code, part = each.key
        states = (each.before, each.after) if "before" in sheet.columns else (each.after,)
        yield (
            harmless(student),
            year,
            harmless(code),
            harmless(part),
            each.change.value,
            *map(harmless, states),
            MEANINGS[each.change],
        )


def harmless(value: str, *, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """`value` shortened, with invisible characters spelled out, and never a formula."""
    shown = "".join(map(_visible, value[:characters_max]))
    if len(value) > characters_max:
        shown += f"… ({len(value)} characters)"
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA_SIGNS) else shown


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 -- a byte that could not be decoded
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004
