"""Find a delimited file's header, its separator, and the end of its data lines."""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from producers.registrar.faults import UnusableFile, refuse_what_is_of_ours
from producers.registrar.physical import LINE_BYTES_MAX
from producers.registrar.profile import FileOptions
from schemas.language import gettext, gettext_noop

TITLES_MAX = 50
"""The header is looked for in this many first lines."""
FOOTER_LINES_MAX = 20

SEPARATORS = (";", ",", "\t", "|")
_NOTHING = "".join(SEPARATORS) + '" \r\n\u00a0'
_BLANKS = re.compile(r"\s+")
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,\t|]*', re.IGNORECASE)
_DATA = re.compile(r"[0-9]{4}|@")
NUMBER = re.compile(r"(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_FOOTER_WORDS = re.compile(
    r"(?:sous-)?total\b|nombre\b|nb\b|edite\b|genere\b|extrait\b|extraction\b|export[eé]?\b|source\b|page\b|fin\b"
    r"|date d|[0-9 ]+ (?:lignes?|etudiants?|inscrits?|inscriptions?|enregistrements?)\b"
)
_FOOTER_CELLS_MAX = 2
_FOUND_SHOWN_MAX = 40
_COMPARED_MAX = 500
"""At most this many names are compared letter by letter with the missing columns."""
EXPORT_AGAIN = gettext_noop("Export it again; nothing was published.")


class Header(NamedTuple):
    """A header.

    Attributes:
        line: its number.
        separator: between its cells.
        names: of the columns, folded.
        titles: how many lines above it are not empty.
        written: the names as the file has them, for messages.
    """

    line: int
    separator: str
    names: tuple[str, ...]
    titles: int = 0
    written: tuple[str, ...] = ()


def folded(name: str) -> str:
    """A column's name for comparison: NFC, one plain blank for any, upper case."""
    return _shown(name).upper()


def _shown(name: str) -> str:
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", name).replace("\ufeff", "")).strip()


def split(text: str, separator: str) -> list[str] | None:
    """The cells of a line; None: its quotes are broken."""
    try:
        return next(csv.reader((text,), delimiter=separator, strict=True))
    except (csv.Error, StopIteration):
        return None


def find_header(
    path: Path, lines: Iterable[tuple[int, str, bool]], columns: Sequence[str], options: FileOptions
) -> Header:
    """The first line that names every column, under the separator that finds them.

    Args:
        path: for messages.
        lines: the file's first lines: number, text, and whether that is the whole line.
        columns: the wanted ones.
        options: known properties of the file.

    Raises:
        UnusableFile: there is none; the message compares the found columns with the expected ones.
    """
    separators: Sequence[str] = [options.separator] if options.separator else SEPARATORS
    wanted = {folded(column) for column in columns}
    best: tuple[int, Header] | None = None
    looked = titles = 0
    for number, text, whole in lines:
        if options.header_line and number != options.header_line:
            titles += states_something(text)
            continue
        if not whole:
            raise UnusableFile(
                gettext(
                    "{path}, line {line}: the header is longer than {limit} bytes",
                    path=path,
                    line=number,
                    limit=LINE_BYTES_MAX,
                ),
                remedy=gettext("Check that the file is an export with line breaks."),
            )
        if not text.strip():
            continue
        if (said := _SEP_LINE.fullmatch(text.strip())) and not looked and not options.separator:
            separators = [said[1]]
            continue
        looked += 1
        hits, header = _read(number, text, separators, wanted)
        refuse_what_is_of_ours(path, text)
        if best is None or hits > best[0]:
            best = hits, header._replace(titles=titles)
        titles += states_something(text)
        if hits == len(wanted) or looked == TITLES_MAX or options.header_line:
            break
    if best is None:
        raise UnusableFile(gettext("{path}: the file is empty", path=path), remedy=EXPORT_AGAIN)
    _refuse_what_does_not_fit(path, best[1], columns, hits=best[0])
    return best[1]


def _read(number: int, text: str, separators: Sequence[str], wanted: set[str]) -> tuple[int, Header]:
    """Count a line's wanted columns, and split it by the separator that finds most."""
    found = []
    for place, separator in enumerate(separators):
        cells = split(text, separator) or []
        written = tuple(map(_shown, cells))
        names = tuple(map(str.upper, written))
        header = Header(number, separator, names, written=written)
        found.append((len(wanted.intersection(names)), len(names), -place, header))
    hits, _, _, header = max(found)
    return hits, header


def _refuse_what_does_not_fit(path: Path, header: Header, columns: Sequence[str], *, hits: int) -> None:
    if not hits:
        _refuse_what_is_no_export(path, header, columns)
        told = "" if any(map(_DATA.search, header.names)) else _beside(header.written, columns)
        none = gettext(
            "{path}, line {line}: no header: none of the expected columns is there, be they separated by "
            "semicolons, commas, tabs or |",
            path=path,
            line=header.line,
        )
        remedy = gettext(
            "Export with a header line that names the columns: {columns}. Or name the export's own columns "
            "in a mapping file (docs/reference/mapping.md).",
            columns=", ".join(columns),
        )
        raise UnusableFile(none + told, remedy=remedy, header=_columns_of(header) if told else ())
    if missing := [column for column in columns if folded(column) not in header.names]:
        known = {folded(column) for column in columns}
        others = [name for name in header.written if folded(name) not in known]
        lacking = gettext(
            "{path}, line {line}: the header lacks {columns}",
            path=path,
            line=header.line,
            columns=", ".join(missing),
        )
        remedy = gettext(
            "Add the columns to the export, under exactly these names. Or name the export's own columns in a "
            "mapping file (docs/reference/mapping.md)."
        )
        told = lacking + _beside(others, missing)
        raise UnusableFile(told, remedy=remedy, header=_columns_of(header))
    if twice := [column for column in columns if header.names.count(folded(column)) > 1]:
        repeated = gettext(
            "{path}, line {line}: the header names {columns} more than once",
            path=path,
            line=header.line,
            columns=", ".join(twice),
        )
        raise UnusableFile(repeated, remedy=gettext("Name each column once."))


def _refuse_what_is_no_export(path: Path, header: Header, columns: Sequence[str]) -> None:
    """Refuse a file whose header is like none in one sentence, without quoting data."""
    names = [name for name in header.written if name]
    if not names or any(_DATA.search(name) or name.isdigit() for name in names):
        return
    every, compared = "\n".join(header.names), _compared(names)
    if any(folded(column) in every or _nearest(column, compared) for column in columns):
        return
    what = gettext(
        "{path}, line {line}: this does not look like an export of students; its header is: {names}",
        path=path,
        line=header.line,
        names=_listed(names),
    )
    remedy = gettext(
        "Check that it is the right file: its header must name {columns}. A mapping file may say what they "
        "are called in it (docs/reference/mapping.md).",
        columns=", ".join(columns),
    )
    raise UnusableFile(what, remedy=remedy, header=_columns_of(header))


def _columns_of(header: Header) -> list[str]:
    """The names of its columns, as far as a person may match them."""
    return list(dict.fromkeys(name for name in header.written if name))[:_COMPARED_MAX]


def nearest(column: str, found: Sequence[str]) -> str:
    """The found column most like this one; empty: none is."""
    return next(iter(_nearest(column, _compared(found))), "")


def _beside(found: Iterable[str], expected: Sequence[str]) -> str:
    """Compare found columns with expected ones: a line for each, nearest first."""
    names = [name for name in dict.fromkeys(found) if name]
    if not names:
        return ""
    lines, compared = [], _compared(names)
    for column in expected:
        near = _nearest(column, compared)
        lines.append(
            gettext("expected {column}: found {names}", column=column, names=", ".join(near))
            if near
            else gettext("expected {column}: found nothing like it", column=column)
        )
    lines.append(gettext("the header has, besides: {names}", names=_listed(names)))
    return "".join(f"\n  {line}" for line in lines)


def _compared(names: Sequence[str]) -> dict[str, str]:
    """These names by their form for comparison, the first one of each."""
    return {folded(name): name for name in names[:_COMPARED_MAX]}


def _nearest(column: str, written: Mapping[str, str]) -> list[str]:
    """The names most like this column's, nearest first; `written`: from `_compared`."""
    return [written[near] for near in difflib.get_close_matches(folded(column), written, n=3, cutoff=0.5)]


def _listed(names: Sequence[str]) -> str:
    shown = ("".join(char if char.isprintable() else "�" for char in name) for name in names)
    return ", ".join(islice(shown, _FOUND_SHOWN_MAX)) + ("…" if len(names) > _FOUND_SHOWN_MAX else "")


def end_of_data(
    upwards: Iterable[tuple[int, str]], header: Header, student: int | None, options: FileOptions
) -> int | None:
    """The number of the last line that is no footer; None: the last one.

    A footer has two cells at most, none of which is a student's number, and either an empty line above it or
    one of the words that footers begin with.

    Args:
        upwards: the file's last lines, the last one first.
        student: the place of the student number's column, if it is one.
    """
    end: int | None = None
    doubtful: list[tuple[int, str]] = []
    left = options.footer_lines
    for number, text in upwards:
        cells = [] if not text.strip() else split(text, header.separator)
        filled = None if cells is None else [cell.strip() for cell in cells if cell.strip()]
        if number <= header.line:
            break
        if filled == [] or left:
            left -= bool(left and filled != [])
            end, doubtful = number - 1, []
        elif options.footer_lines or not _footer_like(filled, cells, student):
            break
        else:
            doubtful.append((number, (filled or [""])[0]))
    if doubtful and all(_FOOTER_WORDS.match(_plain(first)) for _, first in doubtful):
        return doubtful[-1][0] - 1
    return end


def states_something(text: str) -> bool:
    """True if a line holds more than blanks, separators and quotes."""
    return bool(text.strip(_NOTHING))


def _footer_like(filled: list[str] | None, cells: list[str] | None, student: int | None) -> bool:
    if filled is None or cells is None or len(filled) > _FOOTER_CELLS_MAX:
        return False
    if student is None:
        return not any(map(NUMBER.fullmatch, filled))
    return not (student < len(cells) and NUMBER.fullmatch(cells[student].strip()))


def _plain(text: str) -> str:
    kept = (char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return "".join(kept).casefold()
