"""Tables: sorted by a column's heading, and as a file for a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html.parser import HTMLParser
from typing import Any, Final, TypeVar

from sesame.operations.keeping import spreadsheet
from sesame.operations.people.search import folded

SORTED_MAX: Final = 1_000
"""A sorted table has the first so many rows of its list, on one page."""

_Row = TypeVar("_Row")


def sorted_rows(rows: Iterable[_Row], by: str, keys: Mapping[str, Callable[[_Row], Any]]) -> list[_Row]:
    """Sort rows by a column, `-` before its name: downwards. Rows without a value come last.

    An unknown column sorts nothing.
    """
    key = keys.get(by.removeprefix("-"))
    if key is None:
        return list(rows)
    found = [(_folded(key(row)), row) for row in rows]
    full = sorted(((value, row) for value, row in found if value not in (None, "")), key=lambda each: each[0])
    if by.startswith("-"):
        full.reverse()
    return [row for _, row in full] + [row for value, row in found if value in (None, "")]


def _folded(value: Any) -> Any:
    """Text without case and accents."""
    return folded(value).casefold() if isinstance(value, str) else value


def as_csv(page: str) -> str:
    """The first table of a page as a file: BOM and `;`, which Excel in French opens by a double click."""
    reader = _Reader()
    reader.feed(page)
    return spreadsheet.MARK + "".join(map(spreadsheet.line, reader.rows))


class _Reader(HTMLParser):
    """Reads the cells of the first table: `data-csv` of a cell, or else its text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_table = self._in_cell = self._over = False
        self._given: str | None = None
        self._number = False
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A table, a row or a cell begins."""
        if tag == "table":
            self._in_table = not self._over
        elif self._in_table and tag == "tr":
            self.rows.append([])
        elif self._in_table and tag in ("td", "th"):
            given = dict(attrs)
            self._in_cell, self._text = True, []
            self._given, self._number = given.get("data-csv"), given.get("class") == "n"
        elif tag in ("br", "li"):
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """A cell, or the table, ends."""
        if tag == "table" and self._in_table:
            self._in_table, self._over = False, True
        elif self._in_cell and tag in ("td", "th"):
            words = " ".join("".join(self._text).split())
            self.rows[-1].append(self._given or (words.replace(" ", "") if self._number else words))
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        """Text of a cell."""
        if self._in_cell:
            self._text.append(data.replace("\u202f", " ").replace("\u00a0", " "))
