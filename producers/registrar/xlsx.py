"""Excel's workbooks (.xlsx): one sheet as delimited lines. Source: ECMA-376, SpreadsheetML."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryFile
from typing import IO
from zipfile import ZipFile

from producers.registrar.workbooks import (
    NO,
    YES,
    Budget,
    Elements,
    Rows,
    Stop,
    Text,
    Unpackable,
    choose_sheet,
    number_text,
    walk,
    without_value,
)
from schemas.language import gettext

WORKBOOK = "xl/workbook.xml"
_DATES = {**dict.fromkeys((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)), "yyyy-mm-dd")}
_CODES = _DATES | {1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00"}
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_SURROGATES = range(0xD800, 0xE000)


def write_sheet(archive: ZipFile, wanted: str, rows: IO[bytes], budget: Budget) -> str:
    """Write a sheet's rows; return its name. `wanted`: empty: the only full one. Raises Unpackable."""
    workbook, relations = _Workbook(), _Relations()
    _walk(archive, WORKBOOK, workbook, budget)
    _walk(archive, "xl/_rels/workbook.xml.rels", relations, budget)
    parts = {name: relations.targets[key] for name, key, _ in workbook.sheets if key in relations.targets}
    sheets = [
        (name, hidden, bool(wanted) or _holds(archive, parts[name], budget))
        for name, _, hidden in workbook.sheets
        if name in parts
    ]
    name = choose_sheet(sheets, wanted)
    styles = _Styles()
    if relations.styles in archive.namelist():
        _walk(archive, relations.styles, styles, budget)
    with _shared(archive, relations.strings, budget) as shared:
        sheet = _Sheet(Rows(rows, budget), shared, styles.codes, since_1904=workbook.since_1904)
        _walk(archive, parts[name], sheet, budget)
    return name


def _walk(archive: ZipFile, part: str, elements: Elements, budget: Budget) -> None:
    with archive.open(part) as file:
        walk(file, elements, budget)


def _holds(archive: ZipFile, part: str, budget: Budget) -> bool:
    probe = _Probe()
    _walk(archive, part, probe, budget)
    return probe.found


class _Workbook(Elements):
    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.since_1904 = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), attributes.get("id", ""), hidden))
        elif name == "workbookPr":
            self.since_1904 = attributes.get("date1904", "0") in ("1", "true")


class _Relations(Elements):
    def __init__(self) -> None:
        self.targets: dict[str, str] = {}
        self.strings = self.styles = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name != "Relationship":
            return
        target = attributes.get("Target", "")
        target = target[1:] if target.startswith("/") else f"xl/{target}"
        kind = attributes.get("Type", "").rpartition("/")[2]
        if kind == "worksheet":
            self.targets[attributes.get("Id", "")] = target
        elif kind == "sharedStrings":
            self.strings = target
        elif kind == "styles":
            self.styles = target


class _Styles(Elements):
    def __init__(self) -> None:
        self.codes: list[str] = []
        self._own: dict[int, str] = {}
        self._in_cells = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "numFmt":
            self._own[_whole(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            key = _whole(attributes.get("numFmtId", "0"))
            self.codes.append(self._own.get(key, _CODES.get(key, "General")))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Probe(Elements):
    found = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002 -- as `Elements` has it
        if name in ("v", "t", "f"):
            self.found = True
            raise Stop


class _Strings(Elements):
    """The strings that cells share, on disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("Q")
        self._text = Text()
        self._taken = self._spoken = False
        self.get = lru_cache(maxsize=8192)(self._get)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002 -- as `Elements` has it
        if name == "t":
            self._taken = True
        elif name == "rPh":
            self._spoken = True

    def end(self, name: str) -> None:
        if name == "t":
            self._taken = False
        elif name == "rPh":
            self._spoken = False
        elif name == "si":
            self._file.write(self._text.take().encode("utf-8"))
            self._ends.append(self._file.tell())

    def text(self, text: str) -> None:
        if self._taken and not self._spoken:
            self._text.add(text)

    def _get(self, place: int) -> str:
        if not 0 <= place < len(self._ends):
            raise Unpackable(gettext("a cell names a text that the workbook does not have"))
        start = self._ends[place - 1] if place else 0
        self._file.seek(start)
        return _unescaped(self._file.read(self._ends[place] - start).decode("utf-8"))


@contextmanager
def _shared(archive: ZipFile, part: str, budget: Budget) -> Iterator[_Strings]:
    with TemporaryFile() as file:
        strings = _Strings(file)
        if part in archive.namelist():
            _walk(archive, part, strings, budget)
        file.flush()
        yield strings


class _Sheet(Elements):
    def __init__(self, rows: Rows, shared: _Strings, codes: list[str], *, since_1904: bool) -> None:
        self._rows = rows
        self._shared = shared
        self._codes = codes
        self._since_1904 = since_1904
        self._row = 0
        self._column = -1
        self._cells: dict[int, str] = {}
        self._kind = self._style = ""
        self._formula = self._valued = self._taken = self._spoken = False
        self._text = Text()

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "c":
            self._column = _column(attributes.get("r", ""), self._column + 1)
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "0")
            self._formula = self._valued = False
        elif name in ("v", "t"):
            self._taken = self._valued = True
        elif name == "f":
            self._formula = True
        elif name == "rPh":
            self._spoken = True
        elif name == "row":
            self._row = _whole(attributes.get("r", "")) or self._row + 1
            self._column, self._cells = -1, {}

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._taken = False
        elif name == "rPh":
            self._spoken = False
        elif name == "c":
            text = self._text.take()
            if self._formula and not text and not (self._valued and self._kind == "str"):
                raise without_value(self._row, self._column + 1)
            if text:
                self._cells[self._column] = self._value(text)
        elif name == "row":
            self._rows.write(self._row, self._cells)

    def text(self, text: str) -> None:
        if self._taken and not self._spoken:
            self._text.add(text)

    def _value(self, text: str) -> str:
        if self._kind == "s":
            return self._shared.get(_whole(text))
        if self._kind == "n":
            style = _whole(self._style)
            code = self._codes[style] if style < len(self._codes) else ""
            return number_text(text, code, since_1904=self._since_1904)
        if self._kind == "b":
            return YES if text == "1" else NO
        return _unescaped(text)


def _column(reference: str, following: int) -> int:
    if not reference:
        return following
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise Unpackable(gettext("a cell stands where no cell can"))
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - 64
    return column - 1


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 -- as Excel


def _unescaped(text: str) -> str:
    """Decode Excel's escapes of characters that XML lacks, such as `_x0007_`."""

    def meant(found: re.Match[str]) -> str:
        code = int(found[1], 16)
        return found[0] if code in _SURROGATES else chr(code)

    return _ESCAPE.sub(meant, text) if "_x" in text else text
