"""Read an operator's files: a list of students, or a file of passwords.

Messages never show passwords: they give a line's number.
"""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from pipeline.errors import SesameError, system_words
from producers.activation.hashes import PASSWORD_LENGTH_MAX
from schemas.language import gettext, ngettext

FAULTS_SHOWN_MAX = 10
NUMBER, PASSWORD = "student_number", "password"

_STUDENT_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_SEPARATORS = ";,\t:"


class StudentListUnusable(SesameError):
    """The list of students cannot be used. It has one student number per line, or is a CSV whose header has a
    column `student_number` and perhaps `password`. Mend the lines that are named; nothing was activated."""


class PasswordFileUnusable(SesameError):
    """The password file cannot be used. It has lines `number:password`, or is a CSV whose header is
    `student_number,password`. Mend the lines that are named; nothing was activated."""


class PasswordFileExposed(SesameError):
    """The file holds passwords and others than its owner may read it: they may be known already. Make it
    private, and better write new passwords into it; nothing was activated."""


def is_student_number(text: str) -> bool:
    """True for the form of a student number (`schemas.account.StudentNumber`)."""
    return _STUDENT_NUMBER.fullmatch(text) is not None


class StudentList(NamedTuple):
    """The students of a list, in order and each once, with the passwords in it."""

    students: tuple[str, ...]
    passwords: dict[str, str]


def read_students(path: Path) -> StudentList:
    """Read the students of `--from FILE`: one number per line, or a CSV with a header.

    Empty lines and lines that start with `#` are skipped.

    Raises:
        StudentListUnusable: naming the lines, what is wrong and the remedy.
        PasswordFileExposed: it has passwords and is open to others.
    """
    with _opened(path, StudentListUnusable) as file:
        header, rows = _rows(path, file, StudentListUnusable)
        if header is not None and NUMBER not in header:
            raise StudentListUnusable(
                gettext("{path}, line 1: no column {column}", path=path, column=NUMBER),
                remedy=gettext("Name the column of numbers {column}.", column=NUMBER),
            )
        columns = header or [NUMBER]
        if PASSWORD in columns:
            _refuse_exposed(path, file)
        return _selected(path, columns, rows, StudentListUnusable)


def read_passwords(path: Path) -> dict[str, str]:
    """Read the passwords of `--password-file` by student number.

    Either lines `number:password`, where the first colon separates (a password may contain more of them), or
    a CSV with the header `student_number,password`.

    Raises:
        PasswordFileExposed: others than its owner may read it.
        PasswordFileUnusable: naming the lines, what is wrong and the remedy. No password is repeated.
    """
    with _opened(path, PasswordFileUnusable) as file:
        _refuse_exposed(path, file)
        header, rows = _rows(path, file, PasswordFileUnusable, split_at=":")
        if header is not None and not {NUMBER, PASSWORD} <= set(header):
            raise PasswordFileUnusable(
                gettext(
                    "{path}, line 1: a header without {one} or {other}", path=path, one=NUMBER, other=PASSWORD
                ),
                remedy=gettext(
                    "Make it {header}, or use lines number:password without a header.",
                    header=f"{NUMBER},{PASSWORD}",
                ),
            )
        return _selected(path, header or [NUMBER, PASSWORD], rows, PasswordFileUnusable).passwords


def _opened(path: Path, error: type[SesameError]) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as reason:
        raise error(gettext("{path} cannot be read: {why}", path=path, why=system_words(reason))) from reason


def _refuse_exposed(path: Path, file: TextIO) -> None:
    """Check the open file, not its name: it cannot be exchanged in between."""
    mode = os.fstat(file.fileno()).st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PasswordFileExposed(
            gettext(
                "{path} holds passwords and has mode {mode}: others may read it",
                path=path,
                mode=f"{stat.S_IMODE(mode):04o}",
            ),
            remedy=f"chmod 600 {path}",
        )


def _rows(
    path: Path, file: TextIO, error: type[SesameError], *, split_at: str | None = None
) -> tuple[list[str] | None, Iterator[tuple[int, list[str]]]]:
    """The header, if there is one, and each further line's number and cells."""
    try:
        lines = [line.removesuffix("\r") for line in file.read().split("\n")]
    except UnicodeDecodeError as reason:
        raise error(
            gettext("{path} is not UTF-8 (byte {byte})", path=path, byte=reason.start),
            remedy=gettext("Save it as UTF-8 and try again."),
        ) from reason
    first = lines[0].lower().replace('"', "").replace(" ", "")
    separator = next((char for char in _SEPARATORS if char in first), None)
    names = first.split(separator) if separator else [first]
    is_comment = first.startswith("#")
    is_header = any(map(str.isalpha, first)) and not any(map(str.isdigit, first)) and not is_comment
    header = names if is_header or NUMBER in names else None

    def cells(line: str) -> list[str]:
        if header is None:
            return line.split(split_at, 1) if split_at else [line]
        if separator is None or separator == ":":
            return line.split(separator, len(header) - 1) if separator else [line]
        return next(csv.reader([line], delimiter=separator))

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.startswith("#") and not (number == 1 and header is not None):
                yield number, cells(line)

    return header, rows()


def _selected(
    path: Path, columns: list[str], rows: Iterator[tuple[int, list[str]]], error: type[SesameError]
) -> StudentList:
    students: dict[str, int] = {}
    passwords: dict[str, str] = {}
    faults: list[str] = []
    for line, cells in rows:
        fault, number, password = _row(columns, cells)
        earlier = students.get(number)
        if fault is None and earlier is not None and passwords.get(number) != password:
            fault = gettext(
                "the same student as in line {line} with another password: keep one of them", line=earlier
            )
        if fault is not None:
            faults.append(gettext("line {line}: {fault}", line=line, fault=fault))
            continue
        students.setdefault(number, line)
        if password is not None:
            passwords[number] = password
    if faults:
        more = len(faults) - FAULTS_SHOWN_MAX
        shown = faults[:FAULTS_SHOWN_MAX] + (
            [ngettext("and {n} more line", "and {n} more lines", more)] if more > 0 else []
        )
        raise error(
            gettext("{path}: {faults}", path=path, faults="; ".join(shown)),
            remedy=gettext("Mend these lines; nothing was activated."),
        )
    if not students:
        raise error(
            gettext("{path} names no student", path=path), remedy=gettext("Check that it is the right file.")
        )
    return StudentList(tuple(students), passwords)


def _row(columns: list[str], cells: list[str]) -> tuple[str | None, str, str | None]:
    """A line's error, its student number, and its password."""
    if len(cells) != len(columns):
        return gettext("{n} columns instead of {wanted}", n=len(cells), wanted=len(columns)), "", None
    row = dict(zip(columns, cells, strict=True))
    number, password = row[NUMBER].strip(), row.get(PASSWORD)
    if not is_student_number(number):
        fault = gettext("no student number (letters, digits, dot, hyphen, underscore; at most 32)")
        return fault, "", None
    if password is not None and not password.strip():
        return gettext("an empty password: give one, or leave the student out"), number, None
    if password is not None and len(password) > PASSWORD_LENGTH_MAX:
        fault = gettext(
            "a password of more than {limit} characters: choose another one", limit=PASSWORD_LENGTH_MAX
        )
        return fault, number, None
    if password is not None and not password.isprintable():
        return gettext("a password with control characters: choose another one"), number, None
    return None, number, password
