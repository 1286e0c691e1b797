"""Read an export of any profile line by line, in bounded memory.

JSON lines are in `json_lines`. Of a delimited file every physical line is parsed alone (RFC 4180 quoting, but
no line break inside a field), so that a quote left open harms its own line only, and line numbers are an
editor's.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from pipeline.errors import system_words
from producers.registrar import json_lines
from producers.registrar.damage import unwrapped
from producers.registrar.encodings import DOS, MAC, TWICE, UTF8, WINDOWS
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.headers import (
    EXPORT_AGAIN,
    FOOTER_LINES_MAX,
    NUMBER,
    Header,
    end_of_data,
    find_header,
    folded,
    states_something,
)
from producers.registrar.physical import (
    LINE_BYTES_MAX,
    LINES_MAX,
    SHEET_SEPARATOR,
    Digest,
    Layout,
    Line,
    Source,
    first_lines,
    last_lines,
    lines_below,
    survey,
    too_long,
)
from producers.registrar.profile import FeedProfile, FileForm
from schemas.language import gettext

_NO_TABLES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF-")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


def examine(source: Source, profile: FeedProfile) -> Layout:
    """Detect how the file is written. Raises UnusableFile: unreadable, empty, or no export of the profile."""
    is_json = profile.form is FileForm.JSON_LINES
    try:
        state = source.state()
        found, lines, start = survey(source)
        encoding = profile.encoding or (json_lines.encoding_of(found) if is_json else found)
        if source.is_sheet:  # it is UTF-8, though not always text that was read as such
            encoding = TWICE if profile.encoding == TWICE else UTF8
        if lines > LINES_MAX:
            by_period, by_year = gettext("Split the export by period."), gettext("Split the export by year.")
            what = gettext("{path}: more than {limit} lines", path=source, limit=LINES_MAX)
            sent = gettext("more than {limit} lines", limit=LINES_MAX)
            raise UnusableFile(what, remedy=by_period if is_json else by_year, sent=sent)
        if is_json:
            number, text = _first_line(source, encoding)
            json_lines.refuse_what_is_no_object(source.path, number, text.strip(), profile.column_names)
            return Layout(encoding, "", (), 0, lines, state, form=source.form)
        _refuse_what_is_no_text(source, start)
        encoding, header = _header(source, encoding, profile)
        upwards = last_lines(source, encoding, lines, FOOTER_LINES_MAX + profile.file.footer_lines)
        last = end_of_data(upwards, header, _place_of_student(header.names, profile), profile.file)
    except OSError as error:
        raise UnusableFile(
            gettext("{path}: cannot be read: {why}", path=source, why=system_words(error)),
            remedy=gettext("Check the name and the rights of the file."),
        ) from error
    end = lines if last is None else last
    return Layout(
        encoding,
        header.separator,
        header.names,
        header.line,
        lines,
        state,
        end,
        source.form,
        source.sheet or "",
        header.titles,
        sum(number > end and states_something(text) for number, text in upwards),
    )


def _first_line(source: Source, encoding: str) -> tuple[int, str]:
    for number, text, whole in first_lines(source, encoding):
        if not whole:
            raise UnusableFile(
                gettext(
                    "{path}, line {line}: the first line is longer than {limit} bytes",
                    path=source,
                    line=number,
                    limit=LINE_BYTES_MAX,
                ),
                remedy=gettext("Check that the file is an export with line breaks."),
            )
        if text.strip():
            return number, text
    raise UnusableFile(
        gettext("{path}: the file is empty", path=source),
        remedy=EXPORT_AGAIN,
        sent=gettext("nothing was sent"),
    )


def _header(source: Source, encoding: str, profile: FeedProfile) -> tuple[str, Header]:
    """The header, and the encoding; if unknown, the one in which the header fits."""
    file = replace(profile.file, separator=SHEET_SEPARATOR) if source.is_sheet else profile.file
    encodings = [encoding]
    if encoding == WINDOWS and not profile.encoding and not "".join(profile.needed_names).isascii():
        encodings += [MAC, DOS]
    refused = None
    for each in encodings:
        try:
            lines = first_lines(source, each)
            return each, find_header(source.path, lines, profile.needed_names, file)
        except UnusableFile as error:
            refused = refused or error
    raise refused or AssertionError


def _place_of_student(names: Sequence[str], profile: FeedProfile) -> int | None:
    """The place of the student number's single column in the file."""
    place = profile.place_of("student_number")
    return None if place is None else names.index(folded(profile.column_names[place]))


def read(
    source: Source, layout: Layout, profile: FeedProfile, *, digest: Digest = lambda _raw: None
) -> Iterator[Line]:
    """The lines with data below the header; blank ones and footers are skipped.

    Args:
        source: from `packing.opened`.
        layout: from `examine`.
        profile: its columns are the wanted ones, in its order.
        digest: called with every byte of the file.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    parse: Callable[[int, str], Line | None]
    student_in: Callable[[str], str]
    if profile.form is FileForm.JSON_LINES:
        parse = partial(json_lines.parse, columns=profile.column_names)
        student_in = partial(json_lines.student_in, column=profile.column_of("student_number"))
    else:
        place_of = {name: place for place, name in reversed(list(enumerate(layout.header)))}
        places = [place_of.get(folded(column)) for column in profile.column_names]
        width = len(layout.header)
        parse = partial(
            _parse, separator=layout.separator, places=places, width=width, padded=source.is_sheet
        )
        place = _place_of_student(layout.header, profile)
        student_in = partial(_student_in, separator=layout.separator, place=place)
    for number, text, whole in lines_below(source, layout, digest):
        if number > layout.last_line:
            continue
        line = too_long(number, text) if not whole else parse(number, text) if text.strip() else None
        if line is not None:
            yield line if line.fault is None else replace(line, student=student_in(text))


def _student_in(text: str, separator: str, place: int | None) -> str:
    """The likely student number of an unreadable line; empty: unknown."""
    cells = text.split(separator)
    cell = cells[place].strip(' ="') if place is not None and place < len(cells) else ""
    return cell if NUMBER.fullmatch(cell) else ""


def _parse(
    number: int, text: str, separator: str, places: list[int | None], width: int, *, padded: bool
) -> Line | None:
    """A delimited line; None: separators only. `padded`: as a sheet's, which leaves cells out."""
    if "\r" in text:
        detail = gettext("a carriage return inside the line")
        return Line(number, (), Fault.CONTROL_CHARACTER, detail, text[:200])
    try:
        cells = next(csv.reader((text,), delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as error:
        unclosed = str(error).startswith("unexpected end")
        closed_before = gettext("text behind a closing double quote")
        detail = gettext("a double quote is not closed") if unclosed else closed_before
        return Line(number, (), Fault.BROKEN_QUOTES, detail, text[:200])
    if padded:
        cells = (cells + [""] * width)[:width]
    if not any(cells):
        return None
    if len(cells) != width:
        detail = gettext("{n} fields where the header has {width}", n=len(cells), width=width)
        return Line(number, (), Fault.WRONG_FIELD_COUNT, detail, text[:200])
    taken = ["" if place is None else cells[place].strip() for place in places]
    if '="' in text:
        taken = [unwrapped(cell) for cell in taken]
    return Line(number, tuple(taken))


def _refuse_what_is_no_text(source: Source, start: bytes) -> None:
    if start.startswith(_OLD_OFFICE):
        raise UnusableFile(
            gettext(
                "{path}: this is a spreadsheet of Excel's old form (.xls), or protected by a password",
                path=source,
            ),
            remedy=gettext("Save it as .xlsx, without a password, or as CSV."),
        )
    if start.startswith(_NO_TABLES):
        raise UnusableFile(
            gettext("{path}: this is a picture or a PDF, and no table", path=source),
            remedy=gettext("Export the list itself, as CSV or .xlsx."),
        )
    if b"\0" in start.split(b"\n", 1)[0]:
        what = gettext("{path}, line 1: this is not text (it holds zero bytes)", path=source)
        raise UnusableFile(what, remedy=gettext("Export it as CSV in UTF-8."))
