"""LibreOffice's spreadsheets (.ods): one sheet as delimited lines. Source: OpenDocument 1.3, part 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO
from zipfile import ZipFile

from producers.registrar.workbooks import (
    COLUMNS_MAX,
    NO,
    ROWS_MAX,
    YES,
    Budget,
    Elements,
    Rows,
    Text,
    Unpackable,
    choose_sheet,
    number_text,
    walk,
    without_value,
)
from schemas.language import gettext

MIMETYPE = b"application/vnd.oasis.opendocument.spreadsheet"
CONTENT = "content.xml"
_BLANKS = re.compile(r"[\s\u00a0\u202f]")
_ERROR = "#VALUE!"
_MANIFEST_BYTES = 1 << 20


def write_sheet(archive: ZipFile, wanted: str, rows: IO[bytes], budget: Budget) -> str:
    """Write one sheet's rows; return its name. See `xlsx.write_sheet`."""
    if "META-INF/manifest.xml" in archive.namelist():
        with archive.open("META-INF/manifest.xml") as file:
            if b"encryption-data" in file.read(_MANIFEST_BYTES):
                raise Unpackable(
                    gettext("it is protected by a password"), remedy=gettext("Save it without one.")
                )
    names = _Tables(None, Rows(rows, budget))
    with archive.open(CONTENT) as file:
        walk(file, names, budget)
    name = choose_sheet(names.found, wanted)
    with archive.open(CONTENT) as file:
        walk(file, _Tables([each for each, _, _ in names.found].index(name), Rows(rows, budget)), budget)
    return name


class _Tables(Elements):
    """A document's sheets, and the rows of the chosen one (from 0 on). None: only list the sheets."""

    def __init__(self, chosen: int | None, rows: Rows) -> None:
        self.found: list[tuple[str, bool, bool]] = []
        self._chosen = chosen
        self._rows = rows
        self._hidden: set[str] = set()
        self._style = ""
        self._depth = self._aside = 0  # of tables, and of notes
        self._row = self._times = self._column = 0
        self._cells: dict[int, str] = {}
        self._cell: Mapping[str, str] | None = None
        self._paragraphs = 0
        self._text = Text()

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "table":
            self._depth += 1
            if self._depth == 1:
                hidden = attributes.get("style-name", "") in self._hidden
                self.found.append((attributes.get("name", ""), hidden, False))
                self._row = 0
        elif self._depth != 1:
            self._start_style(name, attributes)
        elif name == "table-row":
            self._times = _repeated(attributes.get("number-rows-repeated"))
            self._column, self._cells = 0, {}
        elif name in ("table-cell", "covered-table-cell"):
            self._cell, self._paragraphs = attributes, 0
        elif name == "annotation":
            self._aside += 1
        elif self._cell is not None and not self._aside:
            self._start_text(name, attributes)

    def _start_style(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "style":
            self._style = attributes.get("name", "")
        elif name == "table-properties" and attributes.get("display") == "false":
            self._hidden.add(self._style)

    def _start_text(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "p":
            if self._paragraphs:
                self._text.add("\n")
            self._paragraphs += 1
        elif name == "s":
            self._text.add(" " * min(_repeated(attributes.get("c")), 100))
        elif name == "tab":
            self._text.add(" ")
        elif name == "line-break":
            self._text.add("\n")

    def end(self, name: str) -> None:
        if name == "table":
            self._depth -= 1
        elif self._depth != 1:
            return
        elif name == "annotation":
            self._aside -= 1
        elif name in ("table-cell", "covered-table-cell"):
            self._end_cell()
        elif name == "table-row":
            self._end_row()

    def text(self, text: str) -> None:
        if self._paragraphs and not self._aside and self._depth == 1:
            self._text.add(text)

    def _end_cell(self) -> None:
        attributes, self._cell, self._paragraphs = self._cell or {}, None, 0
        times = _repeated(attributes.get("number-columns-repeated"))
        shown = self._text.take()
        if "formula" in attributes and "value-type" not in attributes and not shown:
            raise without_value(self._row + 1, self._column + 1)
        if value := _value(attributes, shown):
            if self._column + times > COLUMNS_MAX:
                raise Unpackable(gettext("a cell stands where no cell can"))
            for column in range(self._column, self._column + times):
                self._cells[column] = value
        self._column += times

    def _end_row(self) -> None:
        if any(text.strip() for text in self._cells.values()):
            name, hidden, _ = self.found[-1]
            self.found[-1] = name, hidden, True
            if len(self.found) - 1 == self._chosen:
                if self._row + self._times > ROWS_MAX:
                    raise Unpackable(
                        gettext("row {row} stands where no row can", row=self._row + self._times)
                    )
                for number in range(self._row + 1, self._row + self._times + 1):
                    self._rows.write(number, self._cells)
        self._row += self._times


def _value(attributes: Mapping[str, str], shown: str) -> str:
    kind = attributes.get("value-type", "")
    raw = attributes.get("value", "")
    if shown.startswith(("Err:", "#")) and ("formula" in attributes or kind != "string"):
        return shown if shown.startswith("#") else _ERROR
    if kind == "float":
        return _number(raw, shown)
    if kind in ("percentage", "currency"):
        return number_text(raw) + (" %" if kind == "percentage" else "")
    if kind == "date":
        return attributes.get("date-value", shown)
    if kind == "boolean":
        return YES if attributes.get("boolean-value") == "true" else NO
    return shown


def _number(raw: str, shown: str) -> str:
    """A number as displayed: leading zeros, and its format's additions in brackets."""
    digits = number_text(raw)
    bare = _BLANKS.sub("", shown)
    if bare.isdigit() and bare.lstrip("0") == digits.lstrip("0"):
        return bare
    if not digits.isdigit() or not re.search(
        r"[^\W\d_]|[-/]", re.sub(r"(?<=[0-9])[Ee][+-]?[0-9]+$", "", bare)
    ):
        return digits
    return f"{digits} [{shown}]"


def _repeated(text: str | None) -> int:
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) < 9 else 1  # noqa: PLR2004
