"""The timetable service, as this consumer needs it: the five verbs over a target that is only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose calendar: what an address may be made of. The student number is the key of every answer."""

    student_number: str
    login: str
    mail: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The calendar is there.

    Attributes:
        events: how many it has.
    """

    events: int


@dataclass(frozen=True, slots=True)
class NotScheduled:
    """The service has no calendar for this student yet, as the settings understand its answer."""


@dataclass(frozen=True, slots=True)
class Odd:
    """The service answered this student otherwise than with a calendar.

    Attributes:
        cause: a token, e.g. `timetable_unreadable`.
        message: for operators; neither the address nor anything of the answer, since both are personal.
        lasting: asking again will not help until somebody changes something.
    """

    cause: str
    message: str
    lasting: bool = False


Observed = Scheduled | NotScheduled | Odd


class Timetable(Protocol):
    """A timetable service. Thread-safe.

    Every verb raises TargetDown, Throttled or Misconfigured for the service as a whole. Nothing is ever
    written, so no outcome is unknown.

    Attributes:
        verb_s_max: the longest that a verb takes for one student, time-outs and attempts included.
    """

    verb_s_max: float

    def apply(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """Nothing there is ours to write: the same as `read`."""

    def close(self, batch: Sequence[Subject]) -> None:
        """Nothing there is ours to shut: does nothing."""

    def read(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """Fetch these students' calendars, by student number."""

    def dump(self) -> Iterator[str]:
        """Nobody: such a service gives calendars one by one, and lists no one."""

    def probe(self) -> None:
        """Fetch a calendar that is nobody's; return only if the whole path works."""

    def disconnect(self) -> None:
        """Give the connections back. Nothing may be called afterwards."""
