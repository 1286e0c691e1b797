"""Reads a delimited export line by line, in bounded memory whatever the file is.

Every physical line is parsed for itself (RFC 4180 quoting, but no line break inside a field), so that a
quote left open harms its own line only, and a line number is the one that an editor shows.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import (
    LINE_BYTES_MAX,
    LINES_MAX,
    Digest,
    Layout,
    Line,
    first_line,
    lines_below,
    state_before,
    survey,
    too_long,
)

__all__ = ["LINES_MAX", "LINE_BYTES_MAX", "Layout", "Line", "examine", "read"]

_SEPARATORS = (";", ",", "\t")
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # zip (xlsx, ods) and OLE (xls)


def examine(path: Path, columns: Sequence[str], encoding: str = "") -> Layout:
    """Find encoding, separator and header, reading the file once in chunks.

    Args:
        path: the export.
        columns: that it must have.
        encoding: what it is in; empty: it is found out.

    Raises:
        UnusableFile: it cannot be read, is empty, is no text, or lacks one of `columns`.
    """
    try:
        state = state_before(path)
        found, lines, start = survey(path)
        encoding = encoding or found
        _refuse_what_is_no_text(path, start)
        header_line, text = first_line(path, encoding)
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read: {error.strerror or error}",
            remedy="Check the name and the rights of the file.",
        ) from error
    if lines > LINES_MAX:
        raise UnusableFile(f"{path}: more than {LINES_MAX} lines", remedy="Split the export by year.")
    separator, header = _header(path, header_line, text, columns)
    return Layout(encoding, separator, header, header_line, lines, state)


def read(
    path: Path, layout: Layout, columns: Sequence[str], *, digest: Digest | None = None
) -> Iterator[Line]:
    """The lines below the header; blank ones are skipped.

    Args:
        path: the export.
        layout: as `examine` found it.
        columns: whose cells are wanted, in this order.
        digest: updated with every byte of the file.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    positions = [layout.header.index(column.upper()) for column in columns]
    width = len(layout.header)
    for number, text, whole in lines_below(path, layout, digest):
        if not whole:
            yield too_long(number, text)
        elif text.strip():
            yield _parse(number, text, layout.separator, positions, width)


def _parse(number: int, text: str, separator: str, positions: list[int], width: int) -> Line:
    if "\r" in text:
        detail = "a carriage return inside the line"
        return Line(number, (), Fault.CONTROL_CHARACTER, detail, text[:200])
    try:
        cells = next(csv.reader((text,), delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as error:
        return Line(number, (), Fault.BROKEN_QUOTES, str(error), text[:200])
    if len(cells) != width:
        detail = f"{len(cells)} fields where the header has {width}"
        return Line(number, (), Fault.WRONG_FIELD_COUNT, detail, text[:200])
    return Line(number, tuple([cells[position].strip() for position in positions]))


def _refuse_what_is_no_text(path: Path, start: bytes) -> None:
    as_csv = "Export it as CSV in UTF-8."
    if start.startswith(_SPREADSHEETS):
        raise UnusableFile(f"{path}: this is a spreadsheet, not a text file", remedy=as_csv)
    if start.startswith(_UTF16_BOMS):
        raise UnusableFile(f"{path}: the encoding is UTF-16", remedy=as_csv)
    if b"\0" in start.split(b"\n", 1)[0]:
        raise UnusableFile(f"{path}, line 1: this is not text (it holds zero bytes)", remedy=as_csv)


def _header(path: Path, number: int, text: str, columns: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The separator under which most of the wanted columns are found, and the header read with it."""
    wanted = [column.upper() for column in columns]
    separator, header = _SEPARATORS[0], tuple[str, ...]()
    for candidate in _SEPARATORS:
        try:
            cells = next(csv.reader((text,), delimiter=candidate, strict=True))
        except (csv.Error, StopIteration):
            continue
        names = tuple(cell.strip().upper() for cell in cells)
        if len(set(names) & set(wanted)) > len(set(header) & set(wanted)):
            separator, header = candidate, names
    missing = [column for column in columns if column.upper() not in header]
    if len(missing) == len(columns):
        raise UnusableFile(
            f"{path}, line {number}: no header: none of the expected columns is there, be they separated by "
            "semicolons, commas or tabs",
            remedy=f"Export with a header line that names the columns: {', '.join(columns)}.",
        )
    if missing:
        raise UnusableFile(
            f"{path}, line {number}: the header lacks {', '.join(missing)}",
            remedy="Add the columns to the export, under exactly these names.",
        )
    if twice := [column for column in columns if header.count(column.upper()) > 1]:
        raise UnusableFile(
            f"{path}, line {number}: the header names {', '.join(twice)} more than once",
            remedy="Name each column once.",
        )
    return separator, header
