"""The timetable target: one iCalendar per student, read over HTTP (RFC 5545).

Nothing is written. The timetable service takes its students from elsewhere, so there is nothing to provision:
this consumer checks whether the student's calendar can be fetched at the address that the portal gives them,
and reports it. A service that has no calendar yet is no failure: the student waits for it, with that reason.

Rooms: `address` (a template and a student make an address), `answers` (what an answer means), `ical` (HTTP),
`port` (the five verbs), `handler`.
"""
