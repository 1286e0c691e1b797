"""The timetable: check each student's calendar at the portal's address. Nothing is written.

An address names a student, so it is in no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from consumers.kit.connector import (
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, read_reasons
from consumers.timetable.address import Subject, Template
from consumers.timetable.answers import MISSING, TO_BE_JUDGED, judge
from consumers.timetable.settings import TimetableSettings
from pipeline.errors import Misconfigured, NotInstalled
from schemas.account import Account
from schemas.language import Language

if find_spec("icalendar") is None:  # found only: it is slow to load
    raise NotInstalled("calendar")

PROBE: Final = Subject("sesame-probe", "sesame-probe", "sesame-probe@localhost")
"""A student who does not exist, for the probe when no address is set for it."""

_THERE: Final = {"calendar": ("there",)}
"""Only the calendar's existence is read back: its content changes daily, and is not ours."""

_REMEDIES: Final = {
    "timetable_refused": "check timetable.token_file and timetable.token_header with the service's operator",
    "timetable_redirected": "set timetable.calendar_url to the final address: redirections are not followed",
    "timetable_missing": "set timetable.probe_url to a calendar that exists, in the service of calendar_url",
    "timetable_unreadable": "check timetable.calendar_url: it must give an iCalendar object, not a page",
    "timetable_too_large": "set timetable.probe_url to a smaller calendar",
}


class TimetableConnector(Connector[TimetableSettings]):
    """One calendar per student, read over HTTP as iCalendar (RFC 5545)."""

    recheck_s: ClassVar[float] = 3600.0
    """How often to look again for a missing calendar: timetables are published by the day."""

    section = TimetableSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "L'emploi du temps", "en": "The timetable"}
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "apply": "calendars are read only",
        "close": "calendars are read only",
        "objects": "calendars are read one by one",
        "erase": "calendars are read only",
        "changes_since": "calendars are read one by one",
    }
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))

    def __init__(self, context: ConnectorContext[TimetableSettings]) -> None:
        super().__init__(context)
        from consumers.kit.http import HttpClient

        self._template = Template.of(self.settings.calendar_url)
        self._http = HttpClient(context, setting="calendar_url")

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`: nothing for a closed account. Its calendar is up to the service."""
        return Wanted(_THERE if account.access_open else {})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: such a service gives calendars one by one, without a list."""
        return one_by_one(accounts, deadline, lambda account: self._look(account, deadline))

    def probe(self) -> None:
        """See `Connector.probe`."""
        asked = self.settings.probe_url
        deadline = Deadline.after(self.settings.verb_s_max, self.context.monotonic)
        # A service that does not know the probe's name has answered: that is enough.
        seen = self._fetch(asked or self._template.address(PROBE), deadline, () if asked else (MISSING,))
        if isinstance(seen, Refused):
            text = seen.message.replace(" this student's calendar", " the probe's calendar")
            raise Misconfigured(text.replace("this student", "the probe"), remedy=_REMEDIES[seen.cause])

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._http.disconnect()

    def _look(self, account: Account, deadline: Deadline) -> Seen:
        if not account.access_open:
            return ()
        address = self._template.address(Subject(account.student_number, account.login, account.mail))
        seen = self._fetch(address, deadline, self.settings.not_scheduled)
        if seen is not None:
            return seen
        return [
            TargetObject(ref=account.student_number, student_number=account.student_number, fields=_THERE)
        ]

    def _fetch(self, address: str, deadline: Deadline, not_scheduled: Sequence[str]) -> Held | Refused | None:
        """The obstacle to this calendar; None: it is there."""
        accept = {"Accept": "text/calendar"}
        answer = self._http.call("GET", address, deadline, headers=accept, expect=TO_BE_JUDGED)
        return judge(answer, not_scheduled, self.recheck_s)
