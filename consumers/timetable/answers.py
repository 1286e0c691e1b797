"""What an answer of the timetable service means. Pure; the only file that imports the iCalendar library.

Sources: RFC 5545 (iCalendar: a stream whose objects are VCALENDAR components), RFC 9110 (HTTP).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from consumers.timetable.port import NotScheduled, Observed, Odd, Scheduled
from pipeline.errors import TargetDown, Throttled

MISSING: Final = "missing"
"""Not scheduled yet: the service answers 404 or 410."""

EMPTY: Final = "empty"
"""Not scheduled yet: the calendar has no event."""

_PAUSE_S: Final = 30.0  # when the service throttles without saying for how long
_PAUSE_S_MAX: Final = 3600.0
_NESTED_MAX: Final = 100  # components that may be open at once; RFC 5545 knows three levels
_BEGIN: Final = b"BEGIN:"
_END: Final = b"END:"


class NotACalendar(ValueError):
    """The body is no iCalendar object."""


@dataclass(frozen=True, slots=True)
class CalendarAnswer:
    """An HTTP answer, without the library that fetched it.

    Attributes:
        body: None: it was longer than the settings allow. Fetched for status 200 only.
    """

    status: int
    body: bytes | None = b""
    retry_after: str | None = None


def judge(answer: CalendarAnswer, not_scheduled: Collection[str]) -> Observed:
    """What this answer says of one student.

    Args:
        not_scheduled: which answers mean that there is no calendar yet: `MISSING`, `EMPTY`.

    Raises:
        TargetDown, Throttled: the answer is about the service.
    """
    if answer.status == HTTPStatus.OK:
        return _calendar(answer.body, not_scheduled)
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        if MISSING in not_scheduled:
            return NotScheduled()
        return Odd("timetable_missing", f"the service does not know this student ({answer.status})")
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Odd("timetable_refused", f"the service refuses this student's calendar ({answer.status})")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return Odd("timetable_redirected", "the service sends this student's calendar elsewhere")
    _raise_for_service(answer)
    return Odd("timetable_unreadable", f"the service answers {answer.status} for this student")


def events_of(body: bytes) -> int:
    """How many events this calendar has.

    Raises:
        NotACalendar: it is no single VCALENDAR.
    """
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


def _calendar(body: bytes | None, not_scheduled: Collection[str]) -> Observed:
    if body is None:
        message = "the calendar is larger than timetable.bytes_max: raise it, or have the service shorten it"
        return Odd("timetable_too_large", message, lasting=True)
    try:
        events = events_of(body)
    except NotACalendar:
        return Odd("timetable_unreadable", "the service answers something that is no calendar")
    return NotScheduled() if not events and EMPTY in not_scheduled else Scheduled(events)


def _raise_for_service(answer: CalendarAnswer) -> None:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Throttled(
            "the timetable service asked for fewer calls (429)", retry_after_s=_seconds(answer.retry_after)
        )
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after is not None:
        raise Throttled(
            "the timetable service asked to be called later (503)",
            retry_after_s=_seconds(answer.retry_after),
        )
    if answer.status in (
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    ):
        raise TargetDown(f"the timetable service is out of order ({answer.status})", unknown=False)


def _depth(body: bytes) -> int:
    """How many components are open at once, at most: the library's work grows with its square."""
    depth = deepest = 0
    for line in body.upper().split(b"\n"):
        if line.startswith(_BEGIN):
            depth += 1
            deepest = max(deepest, depth)
        elif line.startswith(_END):
            depth -= 1
    return deepest


def _seconds(retry_after: str | None) -> float:
    """RFC 9110, 10.2.3. The form with a date is rare and needs a clock: it counts as unsaid."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return _PAUSE_S
    return min(max(seconds, 1.0), _PAUSE_S_MAX) if math.isfinite(seconds) else _PAUSE_S
