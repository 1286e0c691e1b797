"""The registrar's knowledge of each student, and its consequences by days."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

GRACE, DATA, ACCOUNT = timedelta(60), timedelta(180), timedelta(365)
DOMAIN = "etu.univ-exemple.fr"
LAG = timedelta(8)
"""An operator looks once a week, and a target's erasure is looked at again the next day."""


def year_ends(year: int) -> date:
    """The last day on which an enrolment of this academic year holds."""
    return date(year + 1, 10, 31)


@dataclass
class Student:
    """One student.

    Attributes:
        families: the family names, the newest last; the first one gave the login.
        spans: the days on which an enrolment is true, per year: first and last.
        told: the step of the newest file, by year; None where it is cancelled.
        activated: the day.
        held: the days on which a hold begins and is lifted.
    """

    number: str
    given: str
    families: list[str]
    spans: dict[int, list[tuple[date, date]]] = field(default_factory=dict)
    told: dict[int, str | None] = field(default_factory=dict)
    activated: date | None = None
    held: list[tuple[date, date]] = field(default_factory=list)

    @property
    def login(self) -> str:
        """The permanent login, of the first name."""
        return f"{self.given}.{self.families[0]}".lower()

    @property
    def mails(self) -> list[str]:
        """Every address, the present one last."""
        return [f"{self.given}.{family}@{DOMAIN}".lower() for family in self.families]

    def enrolled(self, day: date) -> bool:
        """Whether any enrolment is true on this day."""
        return any(first <= day <= last for spans in self.spans.values() for first, last in spans)

    def left_on(self, day: date) -> date | None:
        """The first day without an enrolment; None: there was none, or it has not come."""
        lasts = [last for spans in self.spans.values() for first, last in spans if first <= day]
        return max(lasts) + timedelta(1) if lasts and not self.enrolled(day) else None

    def fate(self, target: str, day: date) -> str | None:
        """The object's wanted state: `absent`, `open`, `shut`; None: it changes about now."""
        by_time = self._by_time(target, day)
        return "shut" if by_time == "open" and any(a <= day < b for a, b in self.held) else by_time

    def _by_time(self, target: str, day: date) -> str | None:
        if self.activated is None or self.activated > day:
            return "absent"
        left = self.left_on(day)
        if left is None:
            return "open"
        if self.activated >= left:
            return "absent"
        until = left + GRACE
        for last, fate in ((until, "open"), (until + (ACCOUNT if target == "directory" else DATA), "shut")):
            if day <= last:
                return fate
            if day <= last + LAG:
                return None
        return "absent"

    def fields(self, day: date) -> dict[str, tuple[str, ...]]:
        cohorts = [f"{step}-{year}" for year, step in self.told.items() if step and day <= year_ends(year)]
        shows = {
            "login": (self.login,),
            "name": (f"{self.given} {self.families[-1]}",),
            "mail": (self.mails[-1],),
            "aliases": tuple(sorted(set(self.mails) - {self.mails[-1]})),
            "cohorts": tuple(sorted(cohorts)),
        }
        return {name: values for name, values in shows.items() if values}
