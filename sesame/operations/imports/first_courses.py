"""When each component's first course is, from a table or a calendar."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any, Final

from pipeline.errors import SesameError, of_extra, system_words
from schemas.language import gettext, local

_COLUMNS: Final = ("component", "begins")
_FRENCH_TIME: Final = "%d/%m/%Y %H:%M"


class FirstCoursesUnusable(SesameError):
    """The file of first courses cannot be used, and nothing was done. It is a CSV with the columns
    `component` and `begins` (2026-09-07T08:00, or 07/09/2026 08:00), or an iCalendar file (.ics) whose events
    name components as their categories. Mend it, or leave the option out."""

    exit_code = 2


def first_courses(path: Path | None) -> dict[str, int]:
    """The components by their first course, from 0; empty without a file.

    A time without a zone is of the site's.

    Raises:
        FirstCoursesUnusable: naming the line, and what is wrong.
    """
    if path is None:
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FirstCoursesUnusable(
            gettext("{path} cannot be read: {why}", path=path, why=system_words(error))
        ) from error
    read = _of_calendar if path.suffix.lower() == ".ics" else _of_table
    first: dict[str, datetime] = {}
    for component, begins in read(path, content):
        first[component] = min(begins, first.get(component, begins))
    if not first:
        raise FirstCoursesUnusable(gettext("{path} names no component", path=path))
    times = sorted(set(first.values()))
    return {component: times.index(begins) for component, begins in first.items()}


def _of_table(path: Path, content: bytes) -> Iterator[tuple[str, datetime]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FirstCoursesUnusable(
            gettext("{path} is not UTF-8 (byte {byte})", path=path, byte=error.start),
            remedy=gettext("Save it as UTF-8 and try again."),
        ) from error
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in header else ",")
    missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise FirstCoursesUnusable(
            gettext("{path}, line 1: no column {column}", path=path, column=missing[0])
        )
    for row in rows:
        component, begins = ((row[name] or "").strip() for name in _COLUMNS)
        if not component and not begins:
            continue
        at = _time(begins)
        if not component or at is None:
            what = gettext("{begins!r} is no time", begins=begins) if component else gettext("no component")
            raise FirstCoursesUnusable(
                gettext("{path}, line {line}: {what}", path=path, line=rows.line_num, what=what)
            )
        yield component, at


def _time(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, lambda each: datetime.strptime(each, _FRENCH_TIME)):  # noqa: DTZ007
        try:
            return local(read(text))
        except ValueError:
            continue
    return None


def _of_calendar(path: Path, content: bytes) -> Iterator[tuple[str, datetime]]:
    """Each event's categories, with its start (RFC 5545, 3.8.1.2 and 3.8.2.4)."""
    with of_extra("calendar"):
        from icalendar import Calendar  # here: it is slow to load

    try:
        calendar = Calendar.from_ical(content)
        events = [
            (str(category), event.decoded("dtstart"))
            for event in calendar.walk("VEVENT")
            for line in _lines(event.get("categories"))
            for category in line.cats
        ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise FirstCoursesUnusable(gettext("{path} is no calendar", path=path)) from error
    for category, begins in events:
        at = begins if isinstance(begins, datetime) else datetime.combine(begins, time())
        yield category, local(at)


def _lines(found: Any) -> list[Any]:
    """A property's lines, of which there may be several, one, or none."""
    return found if isinstance(found, list) else [] if found is None else [found]
