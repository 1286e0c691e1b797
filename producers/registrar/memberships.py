"""Teaching groups kept member by member by programs, and the lists they publish.

A member is a row: joining or leaving touches no other one, whatever the group's size, and concurrent writers
lose none. A student's published list of a year is made of that student's rows, under a counter that keeps two
writers in order; it leaves by the outbox, in the transaction that changed the row. It is a separate source:
lists of several sources add up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    case,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from pipeline import outbox
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody, rows_of
from pipeline.errors import SesameError
from producers.registrar.feed import EMITTER
from producers.registrar.profiles import GROUPS_SUFFIX, SENT
from schemas.account import Lane
from schemas.catalogue import ENROLMENTS
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import TEACHINGS_MAX, Teaching, TeachingsRecorded

teaching_groups = Table(
    "teaching_groups",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("year", Integer, nullable=False),
    Column("element", String(64), nullable=False),
    Column("group_code", String(64), nullable=False),  # empty: the unit without a group
    Column("display_name", Text, nullable=False),
    Column("display_key", String(255), nullable=False, index=True),  # in one case
    Column("external_id", String(255), index=True),
    Column("version", Integer, nullable=False),  # counts changes
    Column("created_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    UniqueConstraint("year", "element", "group_code", name="uq_teaching_groups"),
    info=of_nobody("teaching units and groups, as programs call them", named_in=("display_name",)),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", String(32), primary_key=True),
    Column("student_number", String(32), primary_key=True, index=True),
    info=rows_of("student_number"),
)

member_lists = Table(
    "member_lists",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),  # source sequence of the list that was published last
    info=rows_of("student_number"),
)

SOURCE: Final = SENT + GROUPS_SUFFIX
_KEY_CHARACTERS = 255
_MS = 1000


class GroupTaken(SesameError):
    """There is a teaching group of this year, unit and group already."""


class GroupGone(SesameError):
    """There is no such teaching group, or no more."""


class GroupChanged(SesameError):
    """The teaching group is not as it was read: somebody has changed it."""


class TooManyGroups(SesameError):
    """A student would be in more teaching groups of one year than an event can say. Nothing was changed."""


@dataclass(frozen=True)
class TeachingGroup:
    """One group, without its members. `group`: empty without one. Times are epoch seconds."""

    id: str
    year: int
    element: str
    group: str
    display_name: str
    external_id: str | None
    version: int = 1
    created_at: float = 0.0
    changed_at: float = 0.0


class GroupNamed(NamedTuple):
    """A group as its members see it."""

    id: str
    display_name: str


class CalledBy(NamedTuple):
    """A program's name and id of a group."""

    display_name: str
    external_id: str | None


def display_key(name: str) -> str:
    """A group's name in its form for comparison."""
    return name.casefold()[:_KEY_CHARACTERS]


def add(connection: Connection, database: Database, group: TeachingGroup) -> None:
    """Make a group without members. Raises GroupTaken: there is one."""
    now = database.now(connection)
    times = {"created_at": now, "changed_at": now}
    values = asdict(group) | _named(group.display_name, group.external_id) | times
    values["group_code"] = values.pop("group")
    try:
        with connection.begin_nested():
            connection.execute(teaching_groups.insert().values(values))
    except IntegrityError as error:
        raise GroupTaken from error


def find(connection: Connection, group_id: str) -> TeachingGroup | None:
    """One group."""
    row = connection.execute(select(teaching_groups).where(teaching_groups.c.id == group_id)).one_or_none()
    return None if row is None else _group(row)


def page(
    connection: Connection, which: Sequence[ColumnElement[bool]], *, after: str, limit: int
) -> list[TeachingGroup]:
    """Groups by id, those above `after`."""
    query = select(teaching_groups).where(*which, teaching_groups.c.id > after).order_by(teaching_groups.c.id)
    return [_group(row) for row in connection.execute(query.limit(limit))]


def count(connection: Connection, which: Sequence[ColumnElement[bool]]) -> int:
    """Count the groups."""
    return connection.execute(select(func.count()).select_from(teaching_groups).where(*which)).scalar_one()


def has_member(student_number: str) -> ColumnElement[bool]:
    """The condition that a group has this member."""
    mine = select(group_members.c.group_id).where(group_members.c.student_number == student_number)
    return teaching_groups.c.id.in_(mine)


def members(connection: Connection, groups: Collection[str], *, limit: int) -> list[tuple[str, str]]:
    """Pairs of group and member of these groups, up to a limit."""
    query = select(group_members).where(group_members.c.group_id.in_(groups))
    order = group_members.c.group_id, group_members.c.student_number
    return [
        (row.group_id, row.student_number) for row in connection.execute(query.order_by(*order).limit(limit))
    ]


_OF_MEMBERS: Final = (
    select(group_members.c.student_number, teaching_groups.c.id, teaching_groups.c.display_name)
    .join(teaching_groups, teaching_groups.c.id == group_members.c.group_id)
    .order_by(group_members.c.student_number, teaching_groups.c.id)
)


def groups_of(connection: Connection, student_numbers: Sequence[str]) -> Mapping[str, list[GroupNamed]]:
    """The groups of these students."""
    found: dict[str, list[GroupNamed]] = {}
    for row in rows_among(connection, _OF_MEMBERS, group_members.c.student_number, student_numbers):
        found.setdefault(row.student_number, []).append(GroupNamed(row.id, row.display_name))
    return found


def change(
    connection: Connection,
    database: Database,
    group: TeachingGroup,
    *,
    join: Iterable[str] = (),
    leave: Iterable[str] = (),
    named: CalledBy | None = None,
    version: int | None = None,
) -> None:
    """Add and remove members; those already in or out stay so.

    The group's row is locked last, and students' counters in one order: so no two transactions deadlock.

    Args:
        named: the group's new name; None: unchanged.
        version: the one that the group must have; None: any.

    Raises:
        GroupGone, GroupChanged, TooManyGroups: nothing takes effect; the caller's transaction must end.
    """
    now = database.now(connection)
    joining = set(join)
    for number in sorted(joining | set(leave)):
        sequence = _next(connection, database, number, group.year, now)
        if _moved(connection, database, group.id, number, joins=number in joining):
            _publish(connection, number, group.year, sequence, now)
    mine = teaching_groups.c.id == group.id
    those = (mine,) if version is None else (mine, teaching_groups.c.version == version)
    values = {"version": teaching_groups.c.version + 1, "changed_at": now}
    called = {} if named is None else _named(*named)
    if connection.execute(update(teaching_groups).where(*those).values(**values, **called)).rowcount:
        return
    raise GroupGone if find(connection, group.id) is None else GroupChanged


def end(connection: Connection, group: TeachingGroup) -> bool:
    """Remove a group without members; False: it has some, and is left as it is."""
    mine = teaching_groups.c.id == group.id
    connection.execute(update(teaching_groups).where(mine).values(version=teaching_groups.c.version + 1))
    if members(connection, [group.id], limit=1):  # who joins now waits for this row, and finds no group
        return False
    connection.execute(delete(teaching_groups).where(mine))
    return True


def _next(connection: Connection, database: Database, number: str, year: int, now: float) -> int:
    """Reserve the next source sequence of a student's year until the transaction ends.

    At least the time, so that a store rebuilt from the log continues above it.
    """
    at_least = int(now * _MS)
    statement = database.insert(member_lists).values(student_number=number, year=year, sequence=at_least)
    before = member_lists.c.sequence
    statement = statement.on_conflict_do_update(
        index_elements=list(member_lists.primary_key.columns),
        set_={"sequence": case((before >= at_least, before + 1), else_=at_least)},
    )
    return int(connection.execute(statement.returning(member_lists.c.sequence)).scalar_one())


def _moved(connection: Connection, database: Database, group_id: str, number: str, *, joins: bool) -> bool:
    row = {"group_id": group_id, "student_number": number}
    if joins:
        return bool(connection.execute(database.insert_new(group_members), row).rowcount)
    mine = group_members.c.group_id == group_id, group_members.c.student_number == number
    return bool(connection.execute(delete(group_members).where(*mine)).rowcount)


def _publish(connection: Connection, number: str, year: int, sequence: int, now: float) -> None:
    query = (
        select(teaching_groups.c.element, teaching_groups.c.group_code)
        .join(group_members, group_members.c.group_id == teaching_groups.c.id)
        .where(group_members.c.student_number == number, teaching_groups.c.year == year)
        .order_by(teaching_groups.c.element, teaching_groups.c.group_code)
    )
    listed = connection.execute(query).all()
    if len(listed) > TEACHINGS_MAX:
        raise TooManyGroups
    event = TeachingsRecorded(
        student_number=number,
        source=SOURCE,
        source_sequence=sequence,
        year=year,
        teachings=tuple(Teaching(element=element, group=group or None) for element, group in listed),
    )
    identity = event_id(event.type, EMITTER, SOURCE, number, str(year), str(sequence))
    message = Message(identity, SOURCE_PREFIX + EMITTER, datetime.fromtimestamp(now, UTC), event)
    outbox.enqueue(connection, message, ENROLMENTS, Lane.BULK)


def _named(display_name: str, external_id: str | None) -> dict[str, Any]:
    return {
        "display_name": display_name,
        "display_key": display_key(display_name),
        "external_id": external_id,
    }


def _group(row: Row[Any]) -> TeachingGroup:
    values = {name: value for name, value in row._asdict().items() if name != "display_key"}
    return TeachingGroup(group=values.pop("group_code"), **values)
