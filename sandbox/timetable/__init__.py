"""A small iCalendar server on loopback, with faults on request.

It is a separate process (`python -m sandbox.timetable`), over HTTP or HTTPS, and serves a folder, which tests
write to: `calendars/NAME.ics` for `/ical/NAME.ics`, and the faults in `behaviours.json`.
"""

from sandbox.timetable.server import Timetable, calendar

__all__ = ["Timetable", "calendar"]
