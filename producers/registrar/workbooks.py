"""Common to all spreadsheets: stream XML, write cells as delimited lines.

It uses the standard library's streaming parser, not a library for spreadsheets: a cell in the last column of
the last row makes calamine allocate the whole grid (512 GB, and the process ends); nor does it give a
number's format, which has the leading zeros.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import IO
from xml.parsers import expat

from producers.registrar.physical import LINE_BYTES_MAX, SHEET_SEPARATOR
from schemas.language import gettext, gettext_noop

UNPACKED_BYTES_MAX = 1 << 30
ROWS_MAX, COLUMNS_MAX = 1_048_576, 16_384
YES, NO = "VRAI", "FAUX"
SAVE_AGAIN = gettext_noop("Open it in the spreadsheet program, save it there, then import it.")
_CHUNK_BYTES = 1 << 16
_HEEDED_BYTES = 1 << 20
_TOKEN_BYTES_MAX = 1 << 20
_DIGITS_EXACT = 10**15  # a spreadsheet keeps fifteen
_BREAKS = str.maketrans({"\r": None, "\n": "\u2028", "\t": " "})
_LITERALS = re.compile(r'"([^"]*)"|\\(.)|\[[^\]]*\]|[_*].')
_HARMLESS = re.compile(r"[\s\u00a0\u202f€$£()]*")
_LAST_SERIAL = 2_958_466  # 9999-12-31


REMEDY = gettext_noop("Save it anew as .xlsx, .ods or CSV, and import that.")


class Unpackable(Exception):
    """What is packed in a file cannot be read: why, and what to do. `packing.opened` says it of the file."""

    def __init__(self, why: str, remedy: str = REMEDY, sheets: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.remedy = remedy
        self.sheets = sheets  # one of them has to be chosen


class Budget:
    """How many bytes may still be unpacked of a file; `heed`: called at every mebibyte. May raise."""

    def __init__(self, heed: Callable[[], object]) -> None:
        self.left = UNPACKED_BYTES_MAX
        self._heed = heed

    def spend(self, size: int) -> None:
        """Spend so many bytes. Raises `Unpackable` when there are no more."""
        before, self.left = self.left, self.left - size
        if before // _HEEDED_BYTES != self.left // _HEEDED_BYTES:
            self._heed()
        if self.left < 0:
            raise Unpackable(
                gettext("unpacked it is larger than {limit} bytes", limit=UNPACKED_BYTES_MAX),
                remedy=gettext("Check that it is an export; if it is, split it by year."),
            )


def without_value(row: int, column: int) -> Unpackable:
    """The error of a cell whose formula has no value."""
    what = gettext(
        "row {row}, column {column}: a formula whose value the file does not hold", row=row, column=column
    )
    return Unpackable(what, remedy=SAVE_AGAIN)


class Elements:
    """Handler of an XML document's parts, which ignores all. Names are without their namespaces."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Text inside the element."""


class Stop(Exception):
    """Enough was read."""


def walk(file: IO[bytes], elements: Elements, budget: Budget) -> None:
    """Pass an XML document's parts to `elements`, in bounded memory. Raises Unpackable."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        if " " in "".join(attributes):
            attributes = {_local(key): value for key, value in attributes.items()}
        elements.start(_local(name), attributes)

    def end(name: str) -> None:
        elements.end(_local(name))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = elements.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    read = 0
    try:
        while chunk := file.read(_CHUNK_BYTES):
            budget.spend(len(chunk))
            read += len(chunk)
            parser.Parse(chunk, False)
            if read - parser.CurrentByteIndex > _TOKEN_BYTES_MAX:
                raise Unpackable(gettext("its XML is not a spreadsheet's"))
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Unpackable(
            gettext(
                "its XML is broken, in line {line}, column {column}",
                line=error.lineno,
                column=error.offset + 1,
            )
        ) from error
    except Stop:
        return


@lru_cache(maxsize=1024)
def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse_doctype(*_: object) -> None:
    raise Unpackable(gettext("its XML has a DOCTYPE, which no spreadsheet has"))


class Rows:
    """Writes a sheet's rows as delimited lines, each on the line of its row's number."""

    def __init__(self, file: io.BufferedIOBase | IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._line = io.StringIO()
        self._writer = csv.writer(self._line, delimiter=SHEET_SEPARATOR, lineterminator="\n")
        self.number = 0  # of the last row written

    def write(self, number: int, cells: Mapping[int, str]) -> None:
        """Write a row, and empty ones for those left out before it. `cells`: by column, from 0 on."""
        if number <= self.number or number > ROWS_MAX or max(cells, default=0) >= COLUMNS_MAX:
            raise Unpackable(gettext("row {row} stands where no row can", row=number))
        filled = [column for column, text in cells.items() if text.strip()]
        if not filled:
            return
        self._put(b"\n" * (number - self.number - 1))
        self.number = number
        self._line.seek(0)
        self._line.truncate()
        self._writer.writerow([cells.get(column, "").translate(_BREAKS) for column in range(max(filled) + 1)])
        self._put(self._line.getvalue().encode("utf-8", "replace"))

    def _put(self, raw: bytes) -> None:
        self._budget.spend(len(raw))
        self._file.write(raw)


class Text:
    """One cell's text, gathered from pieces; dropped beyond a line's length."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Add a piece."""
        if self._size <= LINE_BYTES_MAX:
            self._parts.append(text)
            self._size += len(text)

    def take(self) -> str:
        """Return all of it and clear it for the next cell."""
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return text


def number_text(raw: str, code: str = "", *, since_1904: bool = False) -> str:
    """A number as displayed under an Excel format code: a date, or with leading zeros.

    Letters or digits of the format follow in brackets, so that they are not taken for the number's; where
    digits are lost, it is in short form.
    """
    try:
        value = float(raw)
    except ValueError:
        return raw
    section = code.partition(";")[0]
    bare = _LITERALS.sub("", section)
    if code != "General" and re.search(r"[dmyhs]", bare, re.IGNORECASE):
        return serial_date(value, since_1904=since_1904) or raw
    if not abs(value) < _DIGITS_EXACT:  # also NaN
        return f"{value:.14E}"
    digits = str(int(value)) if value.is_integer() else raw
    literals = "".join((found[1] or "") + (found[2] or "") for found in _LITERALS.finditer(section))
    if "%" in bare or not _HARMLESS.fullmatch(literals):
        return f"{digits} [{code}]"
    if not value.is_integer():
        return raw
    zeros = bare.partition(".")[0].count("0")
    return digits.zfill(zeros) if value >= 0 else digits


def serial_date(value: float, *, since_1904: bool = False) -> str:
    """Excel's serial day as an ISO date, with its time if any; empty: it is none.

    Source: ECMA-376, 18.17.4.1. The first system counts a 29 February 1900, which never was.
    """
    if not 1 <= value < _LAST_SERIAL or 60 <= value < 61:  # noqa: PLR2004 -- that day
        return ""
    first = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30 + (value < 60))  # noqa: DTZ001, PLR2004
    moment = first + timedelta(seconds=round(value * 86_400))
    return moment.strftime("%Y-%m-%d" if moment.time() == moment.min.time() else "%Y-%m-%d %H:%M:%S")


def choose_sheet(sheets: list[tuple[str, bool, bool]], wanted: str) -> str:
    """The sheet to read, of (name, is hidden, has content): wanted, or the only full.

    Raises Unpackable: there is none, or there are several.
    """
    remedy = gettext("Name one with --sheet, or as `sheet` under [file] in a mapping file.")
    names = ", ".join(name for name, _, _ in sheets[:20])
    if wanted:
        for name, _, _ in sheets:
            if name.strip().casefold() == wanted.strip().casefold():
                return name
        raise Unpackable(
            gettext("it has no sheet {sheet}; its sheets: {names}", sheet=wanted, names=names),
            remedy=remedy,
            sheets=[name for name, _, _ in sheets],
        )
    full = [(name, hidden) for name, hidden, holds in sheets if holds]
    shown = [name for name, hidden in full if not hidden]
    if len(shown) > 1:
        names = ", ".join(shown[:20])
        several = gettext("{n} sheets hold something: {names}", n=len(shown), names=names)
        raise Unpackable(several, remedy=remedy, sheets=shown)
    if not shown and full:
        what = gettext("only hidden sheets hold something: {names}", names=full[0][0])
        raise Unpackable(what, remedy=remedy, sheets=[name for name, _ in full])
    if not shown:
        again = gettext("Export it again; nothing was published.")
        raise Unpackable(gettext("its sheets are empty"), remedy=again)
    return shown[0]
