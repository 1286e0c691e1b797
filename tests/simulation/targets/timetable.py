"""A timetable service in memory behind the kit's HTTP client.

Each student has a calendar, sooner or later, at the student's address.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from consumers.kit.http import HttpAnswer
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.targets.target import Target

ADDRESS: Final = "https://edt.univ-exemple.fr/{student_number}/{login}/{mail}"

_CALENDAR: Final = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//edt//FR\r\n"
    b"BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


class SimulatedTimetable(Target):
    """See `consumers.kit.http.HttpClient`.

    Attributes:
        calendars: of these students.
        shown: the answer to a handler's present call, by student; the last one's until then.
    """

    def __init__(self, *args: object) -> None:
        super().__init__("timetable", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.calendars: set[str] = set()
        self.shown: dict[str, bool] = {}

    def call(self, _method: str, address: str, _deadline: object, **_asked: Any) -> HttpAnswer:
        self.meet()
        number, login, mail = map(unquote, urlsplit(address).path.removeprefix("/").split("/"))
        if number == "sesame-probe":
            return HttpAnswer(404)
        if self.weather.strikes("busy", 0.02):
            return HttpAnswer(500)
        actor = self.schedule.current
        account = actor.accounts.get(number) if actor is not None else None
        if account is not None and (login, mail) != (account.login, account.mail):
            return HttpAnswer(404)  # no student's address
        self.shown[number] = number in self.calendars
        return HttpAnswer(200, _CALENDAR) if self.shown[number] else HttpAnswer(404)

    def disconnect(self) -> None:
        """See `HttpClient.disconnect`."""

    def begin(self, number: str) -> None:
        super().begin(number)
        self.shown.pop(number, None)

    def obstacle(self, account: Account) -> oracle.Obstacle | None:
        """See `Target.obstacle`: as the service showed it last, if it was called."""
        number = account.student_number
        return oracle.obstacle(self.name, account, calendar=self.shown.get(number, number in self.calendars))

    def drift(self, number: str) -> bool:
        there = number in self.calendars
        self.calendars.discard(number)
        return there

    def differs(self, account: Account) -> str:
        """See `Target.differs`: nothing there is ours."""
        return ""
