"""Entitlements: which target is for whom, and when. Pure; days are UTC's.

The first row that matches an enrolment in force counts for it, and any enrolment may give the target. Without
a matching row a target is for everybody. In grace a target stays as it was, unless a row names `affiliate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal, NamedTuple, Self

from pydantic import model_validator

from consumers.registry.settings import MonthDay, RegistryModel, day_in
from pipeline.settings import TargetName
from schemas.account import NO_YEAR, STUDENT, Enrolment
from schemas.language import gettext

_FIRST_FROM: Final = "07-01"
"""The days from here on are in the calendar year in which the academic year begins, others in the next."""
_LAST_FROM: Final = "11-01"
"""The same of last days: a year's enrolments end in October at the latest."""
_ANY_YEAR: Final = 2001

CRITERIA: Final = ("populations", "components", "steps")
"""The criteria that are about an enrolment."""


class Entitlement(RegistryModel):
    """One row: a target, for whom, and from when to when. Each criterion given must be met."""

    target: TargetName
    everybody: bool = False
    affiliations: frozenset[Literal["student", "member", "affiliate"]] = frozenset()
    populations: frozenset[str] = frozenset()
    components: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    open: bool = True
    opens_on: MonthDay | date | None = None
    shuts_on: MonthDay | date | None = None

    @property
    def names_grace(self) -> bool:
        """Whether it is for those in grace."""
        return "affiliate" in self.affiliations

    @property
    def names_enrolled(self) -> bool:
        """Whether it is for those who are not in grace."""
        return not self.affiliations or bool(self.affiliations - {"affiliate"})

    @property
    def named(self) -> frozenset[str]:
        """The populations that it is for; empty: every one."""
        students_alone = "student" in self.affiliations and "member" not in self.affiliations
        return self.populations or (frozenset({STUDENT}) if students_alone else frozenset())

    def unmet(self, enrolment: Enrolment) -> set[str]:
        """Which of `CRITERIA` this enrolment in force does not meet."""
        met = {
            "populations": not self.named or enrolment.population in self.named,
            "components": not self.components or enrolment.component in self.components,
            "steps": not self.steps or any(_covers(step, enrolment.step) for step in self.steps),
        }
        return {name for name, is_met in met.items() if not is_met}

    def matches(self, enrolment: Enrolment) -> bool:
        """Whether it is for the holder of this enrolment in force."""
        return self.names_enrolled and not self.unmet(enrolment)

    def covers(self, other: Entitlement) -> bool:
        """Whether it matches all that another row of its target matches."""
        named = not self.named or (bool(other.named) and other.named <= self.named)
        components = not self.components or (bool(other.components) and other.components <= self.components)
        steps = not self.steps or (
            bool(other.steps) and all(any(_covers(mine, each) for mine in self.steps) for each in other.steps)
        )
        return (
            self.target == other.target
            and ((self.names_enrolled and named and components and steps) or not other.names_enrolled)
            and (self.names_grace or not other.names_grace)
        )

    def first_day(self, year: int) -> date | None:
        """The first day of the target in this academic year. None: from the start.

        A month and day mean nothing to those who have no year.
        """
        return _day(self.opens_on, year, _FIRST_FROM)

    def last_day(self, year: int) -> date | None:
        """Likewise the last one; None: as long as the account."""
        return _day(self.shuts_on, year, _LAST_FROM)

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        criteria = bool(self.affiliations or self.populations or self.components or self.steps)
        begins, ends = self.first_day(_ANY_YEAR), self.last_day(_ANY_YEAR)
        dated = begins is not None or ends is not None
        if self.everybody is criteria:
            raise ValueError(
                gettext(
                    "name affiliations, populations, components or steps, or write everybody = true; not both"
                )
            )
        if dated and not self.open:
            raise ValueError(gettext("open = false takes no days: take opens_on and shuts_on out"))
        if self.populations and "student" in self.affiliations:
            raise ValueError(gettext("affiliation student names a population already: take one of them out"))
        if self.names_grace and (dated or self.populations or self.components or self.steps):
            raise ValueError(
                gettext(
                    "affiliate means grace, which has no enrolment: take populations, steps, components and "
                    "days out"
                )
            )
        by_year = any(isinstance(day, str) for day in (self.opens_on, self.shuts_on))
        if by_year and self.populations and STUDENT not in self.populations:
            raise ValueError(gettext("a month and day are of students' years: write a whole date"))
        if begins is not None and ends is not None and begins > ends:
            raise ValueError(gettext("opens_on comes after shuts_on"))
        return self


class TargetVerdict(NamedTuple):
    """What the rows say of one target.

    Attributes:
        open: whether the student has it on that day.
        row: which row decides, counted from 1; None: no row is for this student.
        opens_on: the day on which it opens; None: it is open, or no day is known.
        ends_on: the last day of one that is open; None: as long as the account.
    """

    open: bool
    row: int | None = None
    opens_on: date | None = None
    ends_on: date | None = None


def verdict(
    rows: Sequence[Entitlement], target: str, in_force: Sequence[Enrolment], today: date
) -> TargetVerdict:
    """What the rows give of a target: the most that any of these enrolments in force gives."""
    mine = [(at, row) for at, row in enumerate(rows, 1) if row.target == target]
    given = [_of_enrolment(mine, enrolment, today) for enrolment in in_force] if mine else []
    return max(given, key=_most, default=TargetVerdict(open=True))


def in_grace(rows: Sequence[Entitlement], target: str) -> bool | None:
    """Whether a row gives a target in grace. None: no row says so, and it stays as it was."""
    return next((row.open for row in rows if row.target == target and row.names_grace), None)


def changes(rows: Sequence[Entitlement], target: str, enrolments: Sequence[Enrolment]) -> list[date]:
    """The days on which a target may open or shut to these enrolments, in order."""
    mine = [row for row in rows if row.target == target]
    years = {enrolment.year for enrolment in enrolments}
    begins = {row.first_day(year) for row in mine for year in years}
    ends = {row.last_day(year) for row in mine for year in years}
    return sorted(
        {day for day in begins if day is not None}
        | {day + timedelta(days=1) for day in ends if day is not None}
    )


def contradictions(rows: Sequence[Entitlement]) -> Iterator[tuple[int, int]]:
    """Rows that never count, with the earlier row that covers each. Counted from 1."""
    for at, row in enumerate(rows, 1):
        earlier = next((n for n, other in enumerate(rows[: at - 1], 1) if other.covers(row)), None)
        if earlier is not None:
            yield at, earlier


def _of_enrolment(
    rows: Sequence[tuple[int, Entitlement]], enrolment: Enrolment, today: date
) -> TargetVerdict:
    at, row = next(((at, row) for at, row in rows if row.matches(enrolment)), (None, None))
    if row is None:
        return TargetVerdict(open=True)
    begins, ends = row.first_day(enrolment.year), row.last_day(enrolment.year)
    if not row.open or (ends is not None and ends < today):
        return TargetVerdict(open=False, row=at)
    if begins is not None and begins > today:
        return TargetVerdict(open=False, row=at, opens_on=begins)
    return TargetVerdict(open=True, row=at, ends_on=ends)


def _most(one: TargetVerdict) -> tuple[Any, ...]:
    """Order by how much a verdict gives: open, for how long; else how soon."""
    ends, opens = one.ends_on or date.max, one.opens_on or date.max
    return one.open, ends.toordinal() if one.open else -opens.toordinal()


def _covers(pattern: str, code: str) -> bool:
    """Whether a code, or all that another pattern means, is meant by a pattern."""
    return code.startswith(pattern[:-1]) if pattern.endswith("*") else code == pattern


def _day(day: str | date | None, year: int, since: str) -> date | None:
    if not isinstance(day, str):
        return day
    if year == NO_YEAR:
        return None
    return day_in(year if day >= since else year + 1, day)
