"""Persons as the registry holds them, for programs: one, or all, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from consumers.registry.ledger import ledger
from consumers.registry.people import KnownPerson, People, enrolments, people
from pipeline.accounts import COUNTED, accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.registrar import memberships
from producers.registrar.external_ids import external_ids
from producers.registrar.memberships import GroupNamed
from schemas.account import Account, Enrolment, Hold, Stage
from sesame.acts.acts import OFFICE, Actor, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Stored
from sesame.operations.people import person_search
from sesame.operations.people.person_search import Where, condition, sorted_by

COMPARED_MAX: Final = 10_000
"""Limit of persons compared per look with a filter that the database cannot apply."""

COMPARED_S_MAX: Final = 3.0
"""Limit of processor time per look for comparing."""

_PAGE: Final = 500


class TooManyToCompare(SesameError):
    """Too many persons would have to be compared with this filter. Ask for a number, a login or an address,
    or page by a cursor."""

    exit_code = 2


class PersonsRequest(ActRequest):
    """Filter of persons, in the order of their numbers.

    Attributes:
        number: only this one; None: every number.
        sort: sort by this instead; persons without it come last.
        descending: the other way round.
        after: those whose number is higher; of sorted ones, those after so many.
        skip, limit: leave out so many of them, then show so many.
        counted: count all of them, before and after `after`.
    """

    number: str | None = None
    sort: Literal["number", "login", "external_id", "birth_name", "given_name", "changed"] | None = None
    descending: bool = False
    after: str = ""
    skip: int = 0
    limit: int = 1
    counted: bool = False


class RegisteredPerson(Report):
    """One person. Personal data.

    Attributes:
        external_id: the sending program's name of the person.
        mails: the account's address first.
        enrolments: of all years, without cancelled ones.
        groups: teaching groups that programs keep.
        named_at: when the login was given, or first seen.
        changed_at: when the account, or `external_id`, last changed.
    """

    student_number: str
    external_id: str | None
    birth_name: str
    usage_name: str | None
    given_name: str
    preferred_given_name: str | None
    display_name: str
    birth_date: str
    ine: str | None
    personal_mail: str | None
    mobile: str | None
    language: str
    login: str
    mails: tuple[str, ...]
    stage: Stage
    holds: frozenset[Hold]
    enrolments: tuple[Enrolment, ...]
    groups: tuple[GroupNamed, ...]
    named_at: datetime
    changed_at: datetime


class PersonsReport(Report):
    """The matching persons.

    Attributes:
        total: how many there are in all; None: they were not counted.
        after: where the next page begins; None: there is none.
    """

    persons: tuple[RegisteredPerson, ...]
    total: int | None
    after: str | None


Fits = Callable[[RegisteredPerson], bool]


@act("person.look", OFFICE, shows=lambda found, _asked: shown(one.student_number for one in found.persons))
def look(
    site: Stored,
    _actor: Actor,
    request: PersonsRequest,
    *,
    where: Where | None = None,
    fits: Fits | None = None,
) -> PersonsReport:
    """Show persons who have an enrolment that was not cancelled, and an account.

    `where` selects among them, then `fits`; None: all.

    Raises:
        TooManyToCompare: `fits` judged `COMPARED_MAX` persons, and the page is not full; without `counted`
            the page ends there.
    """
    return _Look(site.database, request, where).found(fits)


def find(database: Database, student_number: str) -> RegisteredPerson | None:
    """One registered person, if shown to programs; not audited."""
    with database.read() as connection:
        return next(iter(_loaded(connection, database, [student_number])), None)


class _Look:
    def __init__(self, database: Database, request: PersonsRequest, where: Where | None) -> None:
        self._database = database
        self._request = request
        self._where = where

    def found(self, fits: Fits | None) -> PersonsReport:
        if self._request.sort is not None:
            return self._sorted(fits)
        return self._page() if fits is None else self._filtered(fits)

    def _page(self) -> PersonsReport:
        request = self._request
        total, after = None, request.after
        if request.counted or request.skip:
            with self._database.read() as connection:
                which = (*self._which(connection), _ENROLLED)
                if request.counted:
                    counted = select(func.count()).select_from(_PEOPLE).where(*which)
                    total = connection.execute(counted).scalar_one()
                if request.skip:
                    number = people.c.student_number
                    query = select(number).select_from(_PEOPLE).where(*which, number > after).order_by(number)
                    last = connection.scalar(query.offset(request.skip - 1).limit(1))
                    if last is None:
                        return PersonsReport(persons=(), total=total, after=None)
                    after = last
        found: list[RegisteredPerson] = []
        for page in self._pages(after, size=request.limit + 1):
            found += page
            if len(found) > request.limit:
                break
        persons = tuple(found[: request.limit])
        more = bool(persons) and len(found) > request.limit
        return PersonsReport(persons=persons, total=total, after=persons[-1].student_number if more else None)

    def _filtered(self, fits: Fits) -> PersonsReport:
        """Compare persons page by page, so that memory is bounded."""
        request, found, last = self._request, list[RegisteredPerson](), ""
        fitting = 0
        try:
            for each, fit in self._compared(fits, request.after):
                last = each.student_number
                if not fit:
                    continue
                fitting += 1
                if fitting <= request.skip:
                    continue
                if len(found) < request.limit:
                    found.append(each)
                elif not request.counted:
                    after = found[-1].student_number if found else None
                    return PersonsReport(persons=tuple(found), total=None, after=after)
        except TooManyToCompare:
            if request.counted:
                raise
            return PersonsReport(persons=tuple(found), total=None, after=last)
        return PersonsReport(persons=tuple(found), total=fitting if request.counted else None, after=None)

    def _compared(self, fits: Fits, after: str) -> Iterator[tuple[RegisteredPerson, bool]]:
        """Each person, and whether they fit. Raises `TooManyToCompare`: there are more, or it takes
        longer."""
        compared, begun = 0, time.thread_time()
        for page in self._pages(after, size=_PAGE):
            if compared >= COMPARED_MAX or time.thread_time() - begun > COMPARED_S_MAX:
                raise TooManyToCompare
            yield from ((each, fits(each)) for each in page)
            compared += len(page)

    def _sorted(self, fits: Fits | None) -> PersonsReport:
        request, number = self._request, people.c.student_number
        skip = request.skip + int(request.after or 0)
        with self._database.read() as connection:
            which = (*self._which(connection), _ENROLLED)
        if fits is not None:
            among = [each.student_number for each, fit in self._compared(fits, "") if fit]
            which = (*_SHOWN, number.in_(among))
        value = sorted_by(str(request.sort), is_sqlite=self._database.is_sqlite)
        order = [value.is_(None), value, number]
        order = [each.desc() for each in order] if request.descending else order
        query = select(number).select_from(_PEOPLE).where(*which).order_by(*order)
        with self._database.read() as connection:
            total = connection.scalar(select(func.count()).select_from(_PEOPLE).where(*which))
            numbers = list(connection.scalars(query.offset(skip).limit(request.limit)))
            known = {each.student_number: each for each in _loaded(connection, self._database, numbers)}
        more = bool(numbers) and total is not None and skip + len(numbers) < total
        return PersonsReport(
            persons=tuple(known[each] for each in numbers if each in known),
            total=total if request.counted else None,
            after=str(skip + len(numbers)) if more else None,
        )

    def _pages(self, after: str, *, size: int) -> Iterator[list[RegisteredPerson]]:
        """The selected persons by number, at most `size` per page, a transaction per page."""
        size = min(size, _PAGE)
        last: str | None = after
        while last is not None:
            with self._database.read() as connection:
                numbers = _numbers(connection, self._which(connection), last, size)
                page = _loaded(connection, self._database, numbers)
            last = numbers[-1] if len(numbers) == size else None
            if page:
                yield page

    def _which(self, connection: Connection) -> tuple[ColumnElement[bool], ...]:
        """The conditions for persons who are shown."""
        which: tuple[ColumnElement[bool], ...] = _SHOWN
        if self._request.number is not None:
            which += (people.c.student_number == self._request.number,)
        if self._where is not None:
            which += (condition(connection, self._database, self._where),)
        return which


_PEOPLE: Final = person_search.PERSONS
_ALONE: Final = func.coalesce(people.c.merged_into, "") == ""
"""Not by the index of merged persons: SQLite would read and sort all persons by it."""

_SHOWN: Final = (_ALONE, COUNTED, accounts.c.stage != Stage.ERASED.value)
"""Those shown, if they have an enrolment: `_loaded` checks a page, `_ENROLLED` all."""

_NUMBERS: Final = people.alias("numbers")
_ENROLLED: Final = people.c.student_number.in_(
    select(func.coalesce(_NUMBERS.c.merged_into, _NUMBERS.c.student_number))
    .join(enrolments, enrolments.c.student_number == _NUMBERS.c.student_number)
    .where(enrolments.c.cancelled.is_(False))
)
_ROWS: Final = (
    select(
        people.c.student_number,
        accounts.c.document,
        accounts.c.changed_at,
        external_ids.c.external_id,
        external_ids.c.changed_at.label("called_at"),
    )
    .select_from(_PEOPLE)
    .where(*_SHOWN)
    .order_by(people.c.student_number)
)
_NAMED: Final = select(ledger.c.student_number, func.min(ledger.c.recorded_at).label("at")).group_by(
    ledger.c.student_number
)
_GOES_ON: Final = func.coalesce(people.c.merged_into, people.c.student_number)
_ENROLMENTS: Final = (
    select(_GOES_ON.label("number"), enrolments.c.document)
    .join(people, people.c.student_number == enrolments.c.student_number)
    .where(enrolments.c.cancelled.is_(False))
    .order_by(enrolments.c.year, enrolments.c.step, enrolments.c.step_version)
)


def _numbers(
    connection: Connection, which: tuple[ColumnElement[bool], ...], after: str, limit: int
) -> list[str]:
    number = people.c.student_number
    query = select(number).select_from(_PEOPLE).where(*which, number > after).order_by(number)
    return list(connection.scalars(query.limit(limit)))


def _loaded(connection: Connection, database: Database, numbers: Sequence[str]) -> list[RegisteredPerson]:
    """Load those of these persons who are shown, by number."""
    rows = rows_among(connection, _ROWS, people.c.student_number, numbers).all() if numbers else []
    if not rows:
        return []
    known = People(database).known_among(connection, numbers)
    steps: dict[str, list[Enrolment]] = {}
    mine = or_(people.c.student_number.in_(numbers), people.c.merged_into.in_(numbers))
    for number, document in connection.execute(_ENROLMENTS.where(mine)):
        steps.setdefault(number, []).append(Enrolment.model_validate_json(document))
    groups = memberships.groups_of(connection, numbers)
    named = rows_among(connection, _NAMED, ledger.c.student_number, numbers)
    named_at = {each.student_number: utc(each.at) for each in named}
    return [
        _person(known[row.student_number], row, steps, groups, named_at.get(row.student_number))
        for row in rows
        if row.student_number in known and row.student_number in steps
    ]


def _person(
    person: KnownPerson,
    row: Row[Any],
    steps: Mapping[str, Sequence[Enrolment]],
    groups: Mapping[str, Sequence[GroupNamed]],
    named_at: datetime | None,
) -> RegisteredPerson:
    account, number = Account.model_validate_json(row.document), person.student_number
    identity = person.identity
    return RegisteredPerson(
        student_number=number,
        external_id=row.external_id,
        birth_name=identity.birth_name,
        usage_name=identity.usage_name,
        given_name=identity.given_name,
        preferred_given_name=identity.preferred_given_name,
        display_name=account.person.display_name,
        birth_date=identity.birth_date.isoformat(),
        ine=person.ine,
        personal_mail=person.personal_mail,
        mobile=person.mobile,
        language=account.person.language,
        login=account.login,
        mails=(account.mail, *account.aliases),
        stage=account.stage,
        holds=person.holds,
        enrolments=tuple(steps.get(number, ())),
        groups=tuple(groups.get(number, ())),
        named_at=named_at or utc(row.changed_at),
        changed_at=utc(max(row.changed_at, row.called_at or 0.0)),
    )
