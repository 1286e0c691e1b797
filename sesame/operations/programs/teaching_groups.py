"""Teaching groups that programs keep member by member."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from uuid import uuid4

from pydantic import Field
from sqlalchemy import ColumnElement, Connection

from consumers.registry.people import People
from consumers.registry.settings import RegistrySettings
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.registrar import memberships
from producers.registrar.memberships import (
    CalledBy,
    GroupChanged,
    GroupGone,
    TeachingGroup,
    display_key,
    teaching_groups,
)
from schemas.scalars import Code, Text, Year
from sesame.acts import acts
from sesame.acts.acts import OFFICE, Actor, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Configured, Stored

MEMBERS_MAX: Final = 200_000
"""Limit of members per look."""

FEW_MEMBERS_MAX: Final = 200
"""Limit of members shown after a change; those of a larger group are not read."""

_STUDENTS_PER_STEP: Final = 500
_PAGE: Final = 500


class TooManyShown(SesameError):
    """Too many members would be shown at once. Leave them out (`excludedAttributes=members`), or ask for one
    group."""

    exit_code = 2


class NoSuchMember(SesameError):
    """Somebody who is to join is nobody that the registry knows. Send the person first. Nothing was done."""

    exit_code = 2


class GroupsRequest(ActRequest):
    """Filter of groups, in the order of their ids.

    Attributes:
        id, display_name, external_id, member: of the groups; None: any.
        sort: sort by this instead, those without it last; `descending`: the other way round.
        after: those whose id is higher; of sorted ones, those after so many.
        skip, limit: leave out so many of them, then show so many.
        counted: count all of them, before and after `after`.
        with_members: show their members too.
    """

    id: str | None = None
    display_name: str | None = None
    external_id: str | None = None
    member: str | None = None
    sort: Literal["id", "display_name", "external_id", "changed_at"] | None = None
    descending: bool = False
    after: str = ""
    skip: int = 0
    limit: int = 1
    counted: bool = False
    with_members: bool = True


class GroupReport(Report):
    """One group. `members`: student numbers, or the requested one; None: they were not read."""

    id: str
    year: int
    element: str
    group: str
    display_name: str
    external_id: str | None
    version: int
    created_at: datetime
    changed_at: datetime
    members: tuple[str, ...] | None


class GroupsReport(Report):
    """The matching groups; see `registered_persons.PersonsReport`."""

    groups: tuple[GroupReport, ...]
    total: int | None
    after: str | None


class MakeGroupRequest(ActRequest):
    """A group to make. `year`: None: the present academic year."""

    display_name: Text
    element: Code
    group: Code | None = None
    year: Year | None = None
    external_id: str | None = Field(None, max_length=255)
    members: tuple[str, ...] = ()


class ChangeGroupRequest(ActRequest):
    """A group's new state, and its joins and leaves.

    Attributes:
        display_name, external_id: its new names; without the first, they stay.
        members: all its members; None: the present ones, with `join`, without `leave`.
        version: the one that it must have; None: any.
    """

    id: str
    display_name: Text | None = None
    external_id: str | None = Field(None, max_length=255)
    members: tuple[str, ...] | None = None
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    version: int | None = None


class EndGroupRequest(ActRequest):
    """A group to end. `version`: as of `ChangeGroupRequest`."""

    id: str
    version: int | None = None


Fits = Callable[[GroupReport], bool]


def _members_shown(found: GroupsReport, asked: GroupsRequest) -> dict[str, object] | None:
    numbers = [number for group in found.groups for number in group.members or ()]
    return shown(numbers, groups=len(found.groups)) if asked.with_members or asked.member else None


@act("group.look", OFFICE, shows=_members_shown)
def look(site: Stored, _actor: Actor, request: GroupsRequest, *, fits: Fits | None = None) -> GroupsReport:
    """Show groups.

    Args:
        fits: which of them, judged without their members except the one requested; None: all.

    Raises:
        TooManyShown: of the groups of this page.
    """
    database, which = site.database, _which(request)
    with database.read() as connection:
        total = memberships.count(connection, which) if request.counted and fits is None else None
    found: list[GroupReport] = []
    after, fitting = None, 0
    groups, skip = _each(database, which, "" if request.sort else request.after), request.skip
    if request.sort is not None:
        key = _sort_key(request.sort)
        groups, skip = (
            iter(sorted(groups, key=key, reverse=request.descending)),
            skip + int(request.after or 0),
        )
    for group in groups:
        alone = _shown(group, None if request.member is None else (request.member,))
        if fits is not None and not fits(alone):
            continue
        fitting += 1
        if fitting <= skip:
            continue
        if len(found) < request.limit:
            found.append(alone)
            continue
        after = (str(skip + len(found)) if request.sort else found[-1].id) if found else None
        if not request.counted or fits is None:
            break
    if request.counted and fits is not None:
        total = fitting
    if request.with_members:
        found = _with_members(database, found)
    return GroupsReport(groups=tuple(found), total=total, after=after)


@act("group.make", OFFICE)
def make(site: Configured, actor: Actor, request: MakeGroupRequest) -> GroupReport:
    """Make a group.

    Raises:
        GroupTaken, NoSuchMember: nothing was done.
        TooManyGroups: some have not joined.
    """
    database = site.database
    _check_known(database, request.members)
    with database.write() as connection:
        today = datetime.fromtimestamp(database.now(connection), UTC).date()
        group = TeachingGroup(
            uuid4().hex,
            request.year or _academic_year(site.settings.registry, today),
            request.element,
            request.group or "",
            request.display_name,
            request.external_id,
        )
        memberships.add(connection, database, group)
    acts.note(database, actor, "group.make", group=group.id, joined=len(request.members))
    if request.members:
        _move(database, group, [(number, True) for number in dict.fromkeys(request.members)])
    return _standing(database, group.id)


@act("group.change", OFFICE)
def change(site: Stored, actor: Actor, request: ChangeGroupRequest) -> GroupReport:
    """Change a group; publish the list of each student who joins or leaves.

    Some hundreds of students go in one transaction; repeating it is harmless. The members are shown if they
    are few.

    Raises:
        GroupGone, GroupChanged, NoSuchMember: nothing was done.
        TooManyGroups: of some hundreds nothing was done.
    """
    database = site.database
    with database.read() as connection:
        group = _found(connection, request.id)
        present: set[str] = set()
        if request.members is not None:
            present = {number for _, number in memberships.members(connection, [group.id], limit=MEMBERS_MAX)}
    if request.version is not None and request.version != group.version:
        raise GroupChanged
    whole = (
        None if request.members is None else (set(request.members) | set(request.join)) - set(request.leave)
    )
    join = set(request.join) - set(request.leave) if whole is None else whole - present
    leave = set(request.leave) if whole is None else present - whole
    _check_known(database, join)
    acts.note(database, actor, "group.change", group=group.id, **shown_moves(join, leave))
    named = None if request.display_name is None else CalledBy(request.display_name, request.external_id)
    moves = [(number, True) for number in sorted(join)] + [(number, False) for number in sorted(leave)]
    if moves or named is not None:
        _move(database, group, moves, named=named, version=request.version)
    return _standing(database, group.id)


@act("group.end", OFFICE)
def end(site: Stored, actor: Actor, request: EndGroupRequest) -> None:
    """Let all members leave a group, then remove it.

    Raises:
        GroupGone, GroupChanged: nothing was done.
    """
    database = site.database
    with database.read() as connection:
        group = _found(connection, request.id)
    if request.version is not None and request.version != group.version:
        raise GroupChanged
    acts.note(database, actor, "group.end", group=group.id)
    while True:
        with database.read() as connection:
            some = memberships.members(connection, [group.id], limit=_STUDENTS_PER_STEP)
        if some:
            _move(database, group, [(number, False) for _, number in some])
            continue
        with database.write() as connection:
            if memberships.end(connection, group):
                return


def leave_all(database: Database, student_number: str) -> None:
    """Let a student who is no user any more leave every group."""
    with database.read() as connection:
        named = memberships.groups_of(connection, [student_number]).get(student_number, [])
        groups = [memberships.find(connection, each.id) for each in named]
    for group in groups:
        if group is not None:
            _move(database, group, [(student_number, False)])


def shown_moves(join: Collection[str], leave: Collection[str]) -> dict[str, object]:
    """The audit's record of joins and leaves: the persons, if they are few."""
    few = len(join) + len(leave) <= acts.NAMED_MAX
    return {
        "joined": sorted(join) if few else len(join),
        "left": sorted(leave) if few else len(leave),
    }


def _sort_key(name: str) -> Callable[[TeachingGroup], Any]:
    def key(group: TeachingGroup) -> tuple[bool, Any, str]:
        value = getattr(group, name)
        value = display_key(value) if name == "display_name" else value
        return value is None, value or "", group.id

    return key


def _which(request: GroupsRequest) -> list[ColumnElement[bool]]:
    columns = teaching_groups.c
    which: list[ColumnElement[bool]] = []
    if request.id is not None:
        which.append(columns.id == request.id)
    if request.display_name is not None:
        which.append(columns.display_key == display_key(request.display_name))
    if request.external_id is not None:
        which.append(columns.external_id == request.external_id)
    if request.member is not None:
        which.append(memberships.has_member(request.member))
    return which


def _each(database: Database, which: list[ColumnElement[bool]], after: str) -> Iterator[TeachingGroup]:
    while True:
        with database.read() as connection:
            page = memberships.page(connection, which, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _with_members(database: Database, groups: list[GroupReport]) -> list[GroupReport]:
    with database.read() as connection:
        rows = memberships.members(connection, [each.id for each in groups], limit=MEMBERS_MAX + 1)
    if len(rows) > MEMBERS_MAX:
        raise TooManyShown
    by_group: dict[str, list[str]] = {}
    for group_id, number in rows:
        by_group.setdefault(group_id, []).append(number)
    return [each.model_copy(update={"members": tuple(by_group.get(each.id, ()))}) for each in groups]


def _move(
    database: Database,
    group: TeachingGroup,
    moves: list[tuple[str, bool]],
    *,
    named: CalledBy | None = None,
    version: int | None = None,
) -> None:
    """Let students join (True) and leave, some hundreds at a time."""
    for start in range(0, max(len(moves), 1), _STUDENTS_PER_STEP):
        some = moves[start : start + _STUDENTS_PER_STEP]
        with database.write() as connection:
            memberships.change(
                connection,
                database,
                group,
                join=[number for number, joins in some if joins],
                leave=[number for number, joins in some if not joins],
                named=named,
                version=version,
            )
        version = None  # ours is the newest now


def _check_known(database: Database, numbers: Collection[str]) -> None:
    people = People(database)
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), _STUDENTS_PER_STEP):
        some = wanted[start : start + _STUDENTS_PER_STEP]
        with database.read() as connection:
            if len(people.known_among(connection, some)) < len(some):
                raise NoSuchMember


def _academic_year(settings: RegistrySettings, today: date) -> int:
    return today.year - (settings.year_ends_on(today.year - 1) >= today)


def _found(connection: Connection, group_id: str) -> TeachingGroup:
    group = memberships.find(connection, group_id)
    if group is None:
        raise GroupGone
    return group


def _standing(database: Database, group_id: str) -> GroupReport:
    with database.read() as connection:
        some = memberships.members(connection, [group_id], limit=FEW_MEMBERS_MAX + 1)
        members = None if len(some) > FEW_MEMBERS_MAX else tuple(number for _, number in some)
        return _shown(_found(connection, group_id), members)


def _shown(group: TeachingGroup, members: tuple[str, ...] | None) -> GroupReport:
    times = {"created_at": utc(group.created_at), "changed_at": utc(group.changed_at)}
    return GroupReport(**asdict(group) | times, members=members)
