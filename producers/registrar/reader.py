"""Reads a delimited export line by line, in bounded memory whatever the file is.

Every physical line is parsed for itself (RFC 4180 quoting, but no line break inside a field), so that a
quote left open harms its own line only, and a line number is the one that an editor shows.
"""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from producers.registrar.faults import Fault, UnusableFile

LINE_BYTES_MAX = 65_536
LINES_MAX = 99_999_999  # a source sequence has eight digits for the line
_CHUNK_BYTES = 1 << 16
_SEPARATORS = (";", ",", "\t")
_UTF8_BOM = codecs.BOM_UTF8
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # zip (xlsx, ods) and OLE (xls)


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take some more bytes."""


class _Lines(Protocol):
    def readline(self, limit: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line below the header: its cells in the order of the columns asked for, or why there are none.

    Bytes that are wrong in the file's encoding stand as lone surrogates (U+DC80 to U+DCFF).
    """

    number: int
    cells: tuple[str, ...]
    fault: Fault | None = None
    detail: str = ""
    raw: str = ""  # the line's beginning, when there are no cells


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found out about a file before reading it.

    Attributes:
        encoding: `utf-8`, `utf-8-sig` (with a byte order mark) or `windows-1252`.
        header: the columns' names, in upper case.
        header_line: its line number; blank lines may stand above.
        lines: how many lines the file has in all, the header included.
        state: size and time of the last change, to notice a file that is still being written.
    """

    encoding: str
    separator: str
    header: tuple[str, ...]
    header_line: int
    lines: int
    state: tuple[int, int]


def examine(path: Path, columns: Sequence[str]) -> Layout:
    """Find encoding, separator and header, reading the file once in chunks.

    Raises:
        UnusableFile: it cannot be read, is empty, is no text, or lacks one of `columns`.
    """
    try:
        state = _state(path.stat())
        encoding, lines = _survey(path)
        header_line, text = _first_line(path, encoding)
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
        digest: updated with every byte of the file, the very ones that the lines are made of.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    positions = [layout.header.index(column.upper()) for column in columns]
    width = len(layout.header)
    try:
        with path.open("rb") as file:
            for number, raw, whole in _physical_lines(_Digested(file, digest) if digest else file):
                if number <= layout.header_line:
                    continue
                if number > layout.lines:  # it grows, perhaps as fast as it is read
                    raise _changed(path)
                text = _decode(raw, layout.encoding)
                if not whole:
                    detail = f"longer than {LINE_BYTES_MAX} bytes"
                    yield Line(number, (), Fault.LINE_TOO_LONG, detail, text[:200])
                elif text.strip():
                    yield _parse(number, text, layout.separator, positions, width)
            if _state(os.fstat(file.fileno())) != layout.state:
                raise _changed(path)
    except OSError as error:
        raise UnusableFile(f"{path}: reading failed: {error.strerror or error}") from error


class _Digested:
    """A file of which every byte that is read is told to a digest."""

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self._file = file
        self._digest = digest

    def readline(self, bytes_max: int) -> bytes:
        raw = self._file.readline(bytes_max)
        self._digest.update(raw)
        return raw


def _changed(path: Path) -> UnusableFile:
    return UnusableFile(
        f"{path}: the file was changed while it was being read",
        remedy="Import it again once it is complete: let the export be renamed into place.",
    )


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


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


def _physical_lines(file: _Lines) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes without the line's end, and whether that is the whole line."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX + 2):
        number += 1
        whole = raw.endswith(b"\n") or len(raw) <= LINE_BYTES_MAX
        rest = raw
        while not rest.endswith(b"\n") and rest:  # too long, or the last line: go to its end
            rest = file.readline(_CHUNK_BYTES)
            whole = whole and not rest
        yield number, raw.rstrip(b"\r\n") if whole else raw[:LINE_BYTES_MAX], whole


def _decode(raw: bytes, encoding: str) -> str:
    return raw.decode(encoding.removesuffix("-sig"), errors="surrogateescape")


def _survey(path: Path) -> tuple[str, int]:
    """The encoding and the number of lines.

    Without a byte order mark: UTF-8, unless more bytes are wrong in it than characters beyond ASCII are
    right. Then it is Windows-1252, in which nearly any bytes are right.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    right = wrong = lines = 0
    last = b"\n"
    with path.open("rb") as file:
        start = file.read(4096)
        _refuse_what_is_no_text(path, start)
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
            if not chunk.isascii() or decoder.getstate()[0]:
                text = decoder.decode(chunk)
                bad = len(text) - len(text.encode("utf-8", "ignore").decode())
                wrong += bad
                right += len(text) - len(text.encode("ascii", "ignore")) - bad
    wrong += len(decoder.decode(b"", final=True))
    lines += last != b"\n"
    if start.startswith(_UTF8_BOM):
        return "utf-8-sig", lines
    return ("windows-1252" if wrong > right else "utf-8"), lines


def _refuse_what_is_no_text(path: Path, start: bytes) -> None:
    as_csv = "Export it as CSV in UTF-8."
    if start.startswith(_SPREADSHEETS):
        raise UnusableFile(f"{path}: this is a spreadsheet, not a text file", remedy=as_csv)
    if start.startswith(_UTF16_BOMS):
        raise UnusableFile(f"{path}: the encoding is UTF-16", remedy=as_csv)
    if b"\0" in start.split(b"\n", 1)[0]:
        raise UnusableFile(f"{path}, line 1: this is not text (it holds zero bytes)", remedy=as_csv)


def _first_line(path: Path, encoding: str) -> tuple[int, str]:
    with path.open("rb") as file:
        for number, raw, whole in _physical_lines(file):
            text = _decode(raw.removeprefix(_UTF8_BOM) if number == 1 else raw, encoding)
            if not whole:
                raise UnusableFile(
                    f"{path}, line {number}: the header is longer than {LINE_BYTES_MAX} bytes",
                    remedy="Check that the file is a CSV export with line breaks.",
                )
            if text.strip():
                return number, text
    raise UnusableFile(f"{path}: the file is empty", remedy="Export it again; nothing was published.")


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
            f"{path}, line {number}: no header: none of the expected columns is there",
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
