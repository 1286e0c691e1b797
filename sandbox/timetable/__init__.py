"""A small iCalendar server on loopback, HTTP or HTTPS: it gives one calendar per student, as timetable
services do, and misbehaves on request.

It runs as a process of its own (`python -m sandbox.timetable`) and serves a folder, which tests write to:
`calendars/NAME.ics` is what `/ical/NAME.ics` gives, `behaviours.json` says who is met with something else.
"""

from sandbox.timetable.server import Timetable, calendar

__all__ = ["Timetable", "calendar"]
