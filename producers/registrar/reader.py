"""Reads an export line by line, however its profile says it is written, in memory that stays bounded.

JSON lines are in `json_lines`. Of a delimited file every physical line is parsed for itself (RFC 4180
quoting, but no line break inside a field), so that a quote left open harms its own line only, and a line
number is the one that an editor shows.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from producers.registrar import json_lines
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import (
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
from producers.registrar.profile import FeedProfile, FileForm

_SEPARATORS = (";", ",", "\t")
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # zip (xlsx, ods) and OLE (xls)


def examine(path: Path, profile: FeedProfile) -> Layout:
    """Find out how the file is written, reading it once in chunks.

    Raises:
        UnusableFile: it cannot be read, is empty, is something else, or is no export of this profile.
    """
    is_json = profile.form is FileForm.JSON_LINES
    try:
        state = state_before(path)
        found, lines, start = survey(path)
        encoding = profile.encoding or (json_lines.encoding_of(found) if is_json else found)
        if not is_json:
            _refuse_what_is_no_text(path, start)
        number, text = first_line(path, encoding)
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read: {error.strerror or error}",
            remedy="Check the name and the rights of the file.",
        ) from error
    if lines > LINES_MAX:
        part = "period" if is_json else "year"
        raise UnusableFile(f"{path}: more than {LINES_MAX} lines", remedy=f"Split the export by {part}.")
    if is_json:
        json_lines.refuse_what_is_no_object(path, number, text.strip(), profile.column_names)
        return Layout(encoding, "", (), 0, lines, state)
    separator, header = _header(path, number, text, profile.column_names)
    return Layout(encoding, separator, header, number, lines, state)


def read(path: Path, layout: Layout, profile: FeedProfile, *, digest: Digest | None = None) -> Iterator[Line]:
    """The lines that state something: those below the header; blank ones are skipped.

    Args:
        path: the export.
        layout: as `examine` found it.
        profile: whose columns are wanted, in its order.
        digest: updated with every byte of the file.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    if profile.form is FileForm.JSON_LINES:
        parse = partial(json_lines.parse, columns=profile.column_names)
    else:
        places = [layout.header.index(column.upper()) for column in profile.column_names]
        parse = partial(_parse, separator=layout.separator, places=places, width=len(layout.header))
    for number, text, whole in lines_below(path, layout, digest):
        if not whole:
            yield too_long(number, text)
        elif text.strip():
            yield parse(number, text)


def _parse(number: int, text: str, separator: str, places: list[int], width: int) -> Line:
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
    return Line(number, tuple([cells[place].strip() for place in places]))


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
