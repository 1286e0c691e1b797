"""Meaning of the timetable service's answers. Pure; only this file imports the iCalendar library.

Sources: RFC 5545 (iCalendar: a stream whose objects are VCALENDAR components), RFC 9110 (HTTP).
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from consumers.kit.connector import Held, Refused

if TYPE_CHECKING:
    from consumers.kit.http import HttpAnswer

NOT_SCHEDULED: Final = "timetable_not_scheduled"
"""Reason of waiting: the service has no calendar for this student yet."""

MISSING: Final = "missing"
"""Not scheduled yet: the service answers 404 or 410."""

EMPTY: Final = "empty"
"""Not scheduled yet: the calendar has no event."""

TO_BE_JUDGED: Final = frozenset(range(300, 429)) | {HTTPStatus.INTERNAL_SERVER_ERROR}
"""Statuses that may be about one student; the probe judges the service as a whole."""

_NESTED_MAX: Final = 100  # components that may be open at once; RFC 5545 knows three levels
_BEGIN: Final = b"BEGIN:"
_END: Final = b"END:"


class NotACalendar(ValueError):
    """The body is no iCalendar object."""


def judge(answer: HttpAnswer, not_scheduled: Collection[str], recheck_s: float) -> Held | Refused | None:
    """Judge an answer, whatever its status, for one student. None: the calendar is there.

    Args:
        not_scheduled: which answers mean that there is no calendar yet: `MISSING`, `EMPTY`.
        recheck_s: how often to look again for a missing one.
    """
    not_yet = Held(NOT_SCHEDULED, recheck_after_s=recheck_s)
    if answer.status == HTTPStatus.OK:
        return _calendar(answer, not_yet if EMPTY in not_scheduled else None)
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        if MISSING in not_scheduled:
            return not_yet
        return Refused("timetable_missing", f"the service does not know this student ({answer.status})")
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Refused("timetable_refused", f"the service refuses this student's calendar ({answer.status})")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return Refused("timetable_redirected", "the service sends this student's calendar elsewhere")
    return Refused("timetable_unreadable", f"the service answers {answer.status} for this student")


def events_of(body: bytes) -> int:
    """Count the events of a calendar. Raises NotACalendar: it is no single VCALENDAR."""
    from icalendar import Calendar  # here, since settings name this room, and it is slow to load

    if _depth(body) > _NESTED_MAX:
        raise NotACalendar
    try:
        calendar = Calendar.from_ical(body)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise NotACalendar from error  # what a parser meets in a page that is no calendar
    if calendar.name != "VCALENDAR":
        raise NotACalendar
    return sum(component.name == "VEVENT" for component in calendar.subcomponents)


def _calendar(answer: HttpAnswer, if_empty: Held | None) -> Held | Refused | None:
    if answer.body is None:
        message = "the calendar is larger than a million bytes: have the service shorten it"
        return Refused("timetable_too_large", message, lasting=True)
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        # It was requested as it is: compressed, its size could not be bounded.
        return Refused("timetable_unreadable", "the service answers something that is no calendar")
    try:
        events = events_of(answer.body)
    except NotACalendar:
        return Refused("timetable_unreadable", "the service answers something that is no calendar")
    return None if events else if_empty


def _depth(body: bytes) -> int:
    """The largest number of components open at once. The library's work grows with its square."""
    depth = deepest = 0
    for line in body.upper().split(b"\n"):
        if line.startswith(_BEGIN):
            depth += 1
            deepest = max(deepest, depth)
        elif line.startswith(_END):
            depth -= 1
    return deepest
