"""The shape of a site: counts and lengths, and when its students came. No person is in it but as a count."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from consumers.registry.teachings import teachings
from pipeline.accounts import COUNTED, accounts
from schemas.account import Administrative, Pedagogical, Stage
from schemas.language import local

_YEAR_S: Final = 400 * 86_400.0
_POINTS_MAX: Final = 240
_POINT_S_MIN: Final = 1.0
_ROWS: Final = 1000


class EnrolledStep(NamedTuple):
    """One enrolment, by names of the twin."""

    component: str
    step: str
    primary: bool
    paid: bool
    validated: bool


def primary_of(steps: tuple[EnrolledStep, ...]) -> EnrolledStep:
    """The student's main one."""
    return next((step for step in steps if step.primary), steps[0])


class Unit(NamedTuple):
    """A teaching unit and its group, by names of the twin. `group`: empty without one."""

    element: str
    group: str


class Curve(NamedTuple):
    """How students came on the day on which most did.

    `began`: local time of the first one; `points`: after so many seconds, which share of all.
    """

    began: datetime
    students: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Shape:
    """What a twin is drawn from.

    Attributes:
        students: who have an account and an enrolment.
        year: the newest academic year, by its first one.
        names: lengths of family name and given name.
        homonyms: how many students bear one name.
        steps: the enrolments of one student.
        units: by primary step, the units that its students have; `unit_counts`: how many each has.
        curve: None: nobody has activated within 400 days.
    """

    students: int
    year: int
    names: Counter[tuple[int, int]]
    homonyms: Counter[int]
    steps: Counter[tuple[EnrolledStep, ...]]
    units: Mapping[str, Counter[Unit]]
    unit_counts: Mapping[str, Counter[int]]
    curve: Curve | None


def read(connection: Connection, now: float) -> tuple[Shape, set[str]]:
    """The shape, and the words of persons' names, logins and numbers.

    `now`: epoch seconds. Words are in lower case, as they are and without accents; a single letter is none.
    """
    unlike, rename = set[str](), _Renamed()
    names, bearers = Counter[tuple[int, int]](), Counter[tuple[str, str]]()
    steps, primary, year = Counter[tuple[EnrolledStep, ...]](), dict[str, str](), 0
    for account in _documents(connection):
        person = account["person"]
        family, given = person.get("birth_name") or "", person.get("given_name") or ""
        others = person.get("usage_name"), person.get("preferred_given_name"), account["login"]
        for text in filter(None, (family, given, *others, account["student_number"])):
            unlike.update(_words(text))
        if not account["enrolments"]:
            continue
        newest = max(one["year"] for one in account["enrolments"])
        mine = tuple(rename.step(one) for one in account["enrolments"] if one["year"] == newest)
        year = max(year, newest)
        names[len(family), len(given)] += 1
        bearers[family.casefold(), given.casefold()] += 1
        steps[mine] += 1
        primary[account["student_number"]] = primary_of(mine).step
    units, counts = _units(connection, year, primary, rename)
    found = Shape(
        len(primary), year, names, Counter(bearers.values()), steps, units, counts, _curve(connection, now)
    )
    return found, unlike


def _words(text: str) -> Iterator[str]:
    whole = text.casefold()
    for form in (whole, unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode()):
        parts = "".join(sign if sign.isalnum() else " " for sign in form).split()
        yield from (part for part in (form, *parts) if len(part) > 1)


class _Renamed:
    """Codes of the twin, in the order in which the site's are met."""

    def __init__(self) -> None:
        self._codes: defaultdict[str, dict[Any, str]] = defaultdict(dict)

    def code(self, letter: str, known: Any) -> str:
        codes = self._codes[letter]
        return codes.setdefault(known, f"{letter}{len(codes) + 1:04d}")

    def step(self, enrolment: Mapping[str, Any]) -> EnrolledStep:
        return EnrolledStep(
            self.code("C", enrolment["component"]),
            self.code("E", (enrolment["step"], enrolment["step_version"])),
            bool(enrolment.get("primary")),
            enrolment["administrative"] == Administrative.IN_FORCE,
            enrolment["pedagogical"] == Pedagogical.VALIDATED,
        )


def _documents(connection: Connection) -> Iterator[dict[str, Any]]:
    query = select(accounts.c.document).where(COUNTED, accounts.c.stage != Stage.ERASED.value)
    rows = connection.execution_options(yield_per=_ROWS).execute(query.order_by(accounts.c.student_number))
    for document in rows.scalars():
        yield json.loads(document)


def _units(
    connection: Connection, year: int, primary: Mapping[str, str], rename: _Renamed
) -> tuple[Mapping[str, Counter[Unit]], Mapping[str, Counter[int]]]:
    held: defaultdict[str, set[Unit]] = defaultdict(set)
    query = select(teachings.c.student_number, teachings.c.document).where(teachings.c.year == year)
    for number, document in connection.execution_options(yield_per=_ROWS).execute(query):
        if number in primary:
            for element, group, _label in json.loads(document):
                held[number].add(Unit(rename.code("U", element), group and rename.code("G", group)))
    units: defaultdict[str, Counter[Unit]] = defaultdict(Counter)
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for number, step in primary.items():
        units[step].update(held[number])
        counts[step][len(held[number])] += 1
    return units, counts


def _curve(connection: Connection, now: float) -> Curve | None:
    query = select(accounts.c.activated_at).where(COUNTED, accounts.c.activated_at > now - _YEAR_S)
    days: defaultdict[object, list[float]] = defaultdict(list)
    for at in connection.execute(query).scalars():
        days[local(datetime.fromtimestamp(at, UTC)).date()].append(at)
    if not days:
        return None
    came = max(days.values(), key=len)
    began = min(came)
    point_s = max(_POINT_S_MIN, (max(came) - began) / _POINTS_MAX)
    points = Counter(int((at - began) / point_s) for at in came)
    shares = tuple((place * point_s, count / len(came)) for place, count in sorted(points.items()))
    return Curve(local(datetime.fromtimestamp(began, UTC)), len(came), shares)
