"""A look at the site for one measure: what it reads is noted as it was asked."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, select

from consumers.registry.people import people
from pipeline.accounts import COUNTED, accounts
from schemas.account import Stage
from sesame.acts.acts import Report
from sesame.acts.ports import Configured
from sesame.operations.people.diagnosis.figures import quantiles

DAY_S: Final = 86_400.0
OPEN: Final = (Stage.ACTIVE.value, Stage.GRACE.value)
"""Stages in which a student may use the services."""


NOWHERE: Final = "-"
"""The component of accounts without an enrolment of this year."""


class Deviation(Report):
    """One exception to a measure.

    Attributes:
        number: the student's; None: it is about the site.
        since: since when; None: it has no beginning.
        data: by which it is seen.
    """

    number: str | None = None
    since: datetime | None = None
    data: Mapping[str, str | int | float]


class MeasureResult(NamedTuple):
    """What a measure found: its figures by name, its exceptions, and the reports that it counted."""

    figure: Mapping[str, int | float]
    exceptions: Sequence[Deviation]
    reports: Sequence[Mapping[str, str | int | float]] = ()


class ReadAccount(NamedTuple):
    """What measures compare of an account."""

    number: str
    version: int
    stage: str
    held: bool
    logins: frozenset[str]
    mails: frozenset[str]
    principal: str
    component: str
    valid_until: date | None
    partly: bool
    """Single services are at another stage: some have erased already."""
    met: frozenset[str]
    """Keys of the groups and cohorts that it gives."""
    changed_at: float
    activated_at: float | None
    stage_since: date | None

    @property
    def is_open(self) -> bool:
        """Whether the student may use the services."""
        return self.stage in OPEN and not self.held


class Look:
    """One reading of the store, in one transaction, for all measures of a framework.

    Attributes:
        asked: the queries so far, as the database got them, with settings and files that were read.
        now: seconds since the epoch, UTC.
    """

    def __init__(self, site: Configured, connection: Connection) -> None:
        self.site, self.settings, self.connection = site, site.settings, connection
        self.now = site.database.now(connection)
        self.asked: list[str] = []

    @property
    def today(self) -> date:
        """The day, UTC."""
        return datetime.fromtimestamp(self.now, UTC).date()

    def rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of a query."""
        self._note(query)
        return self.connection.execute(query).all()

    def read(self, what: str) -> None:
        """Note a setting or a file that was read."""
        self.asked.append(what)

    @cached_property
    def _accounts(self) -> Mapping[str, ReadAccount]:
        return {each.number: each for each in map(_account, self.connection.execute(_READ))}

    @property
    def accounts(self) -> Mapping[str, ReadAccount]:
        """Every account by student number, the canary's left out; read once."""
        self._note(_READ)
        return self._accounts

    def _note(self, query: Select[*tuple[Any, ...]]) -> None:
        said = query.compile(dialect=self.connection.dialect, compile_kwargs={"literal_binds": True})
        self.asked.append(" ".join(str(said).split()))

    @cached_property
    def main_of(self) -> Mapping[str, str]:
        """For each merged number, the number that remains."""
        query = select(people.c.student_number, people.c.merged_into).where(people.c.merged_into.is_not(None))
        return {row.student_number: row.merged_into for row in self.connection.execute(query)}

    def person(self, number: str) -> str:
        """The number by which one person's several numbers are one."""
        return self.main_of.get(number, number)


def shared(named: Iterable[tuple[str, str]], look: Look) -> Iterator[tuple[str, list[str]]]:
    """Values that belong to several persons, each with the sorted numbers.

    `named`: value and number.
    """
    holders: dict[str, set[str]] = {}
    for value, number in named:
        holders.setdefault(value, set()).add(number)
    for value, numbers in sorted(holders.items()):
        if len({look.person(number) for number in numbers}) > 1:
            yield value, sorted(numbers)


def percentiles(seconds: Sequence[float], name: str) -> dict[str, int | float]:
    """The 50th, 95th and 99th percentile in seconds, and the number, as figures."""
    found = quantiles(seconds)
    if found is None:
        return {f"{name}_count": 0}
    return {
        f"{name}_count": found.students,
        f"{name}_p50_s": found.p50,
        f"{name}_p95_s": found.p95,
        f"{name}_p99_s": found.p99,
    }


def folded(text: str) -> str:
    """In one spelling of case (Unicode, NFKC case folding)."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _account(row: Row[*tuple[Any, ...]]) -> ReadAccount:
    said = json.loads(row.document)
    until = said.get("valid_until")
    enrolled = [each["component"] for each in said.get("enrolments", ())]
    memberships = (*said.get("groups", ()), *said.get("cohorts", ()))
    return ReadAccount(
        row.student_number,
        row.version,
        row.stage,
        bool(said.get("holds")),
        frozenset(folded(name) for name in (row.login, said.get("short_login")) if name),
        frozenset(map(folded, (said["mail"], *said.get("aliases", ())))),
        folded(said["principal"]),
        next(iter((*said.get("entities", ()), *enrolled)), NOWHERE),
        None if until is None else date.fromisoformat(until),
        bool(said.get("stages")),
        frozenset(each["key"] for each in memberships if each["met"]),
        row.changed_at,
        row.activated_at,
        None if (since := said.get("stage_since")) is None else date.fromisoformat(since),
    )


_a = accounts.c
_READ: Final[Select[*tuple[Any, ...]]] = (
    select(_a.student_number, _a.version, _a.stage, _a.login, _a.activated_at, _a.changed_at, _a.document)
    .where(COUNTED)
    .order_by(_a.student_number)
)
