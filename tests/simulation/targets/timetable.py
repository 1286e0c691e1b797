"""A timetable service in memory behind the timetable consumer's port: a calendar for each student, sooner or
later, at the address that is the student's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consumers.timetable.port import NotScheduled, Observed, Odd, Scheduled, Subject
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.targets.target import Target


class SimulatedTimetable(Target):
    """See `consumers.timetable.port.Timetable`.

    Attributes:
        calendars: whose there are.
        shown: what a handler's call in hand was answered, by student; the last one's until then.
    """

    verb_s_max = 4.0

    def __init__(self, *args: object) -> None:
        super().__init__("timetable", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.calendars: set[str] = set()
        self.shown: dict[str, bool] = {}

    def apply(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """See `Timetable.apply`."""
        return self.read(batch)

    def close(self, batch: Sequence[Subject]) -> None:
        """See `Timetable.close`."""

    def read(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """See `Timetable.read`."""
        self.meet()
        return {subject.student_number: self._read(subject) for subject in batch}

    def dump(self) -> Iterator[str]:
        """See `Timetable.dump`."""
        yield from ()

    def disconnect(self) -> None:
        """See `Timetable.disconnect`."""

    def begin(self, number: str) -> None:
        """See `Target.begin`."""
        super().begin(number)
        self.shown.pop(number, None)

    def obstacle(self, account: Account) -> oracle.Obstacle | None:
        """See `Target.obstacle`: as the service showed it last. Nobody waits because nobody asked."""
        number = account.student_number
        return oracle.obstacle(self.name, account, calendar=self.shown.get(number, number in self.calendars))

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        there = number in self.calendars
        self.calendars.discard(number)
        return there

    def differs(self, account: Account) -> str:
        """See `Target.differs`: nothing there is ours."""
        return ""

    def _read(self, subject: Subject) -> Observed:
        if self.weather.strikes("busy", 0.02):
            return Odd("timetable_unreadable", "no calendar")
        number, actor = subject.student_number, self.schedule.current
        account = actor.accounts.get(number) if actor is not None else None
        if account is not None and (subject.login, subject.mail) != (account.login, account.mail):
            return NotScheduled()  # nobody's address
        self.shown[number] = number in self.calendars
        return Scheduled(1) if self.shown[number] else NotScheduled()
