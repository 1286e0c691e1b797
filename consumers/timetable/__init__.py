"""The timetable target: one iCalendar per student, read over HTTP (RFC 5545).

Nothing is written: the service takes its students from elsewhere. This consumer checks whether the student's
calendar can be fetched at the address that the portal gives them, and reports it. A missing calendar is no
failure: the student waits for it, with that reason.

Rooms: `address` (a template and a student make an address), `answers` (what an answer means), `connector`.
"""
