"""Students' teaching units and groups, by the registrar's feeds.

A fact holds the whole list of a student's year in one feed, so the newest fact alone counts; lists of several
feeds (one per component, say) add up. A list is kept even if its student is unknown, as a cancelled enrolment
is: it takes effect once there is an enrolment of that year.

Every unit and group ever taught is remembered separately and permanently: the cohort of a group without
members must still be known as ours, or its last member would stay in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, Text, bindparam, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody, rows_of

if TYPE_CHECKING:
    from schemas.events import TeachingsRecorded

teachings = Table(
    "teachings",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("source", String(64), primary_key=True),
    Column("source_sequence", BigInteger, nullable=False),  # the highest wins
    Column("document", Text, nullable=False),  # JSON list of [element, group, label]
    info=rows_of("student_number"),
)

known_teachings = Table(
    "known_teachings",
    metadata,
    Column("year", Integer, primary_key=True),
    Column("element", String(64), primary_key=True),
    Column("group_code", String(64), primary_key=True),  # empty: the unit without a group
    info=of_nobody("teaching units and groups"),
)

# Built once: building a statement for each version costs more than the database does.
_HELD: Final = (
    select(teachings.c.year, teachings.c.document)
    .where(teachings.c.student_number.in_(bindparam("numbers", expanding=True)))
    .order_by(teachings.c.source_sequence)
)


class HeldTeaching(NamedTuple):
    """A teaching unit of a student's academic year. `group`: empty without one; `label`: else the code."""

    year: int
    element: str
    group: str
    label: str


def record(connection: Connection, database: Database, fact: TeachingsRecorded) -> bool:
    """Keep a feed's list of a student's year if it is newer; return whether it was."""
    document = [[each.element, each.group or "", each.label or ""] for each in fact.teachings]
    values = {
        "source_sequence": fact.source_sequence,
        "document": json.dumps(sorted(document), ensure_ascii=False),
    }
    statement = database.insert(teachings).values(
        student_number=fact.student_number, year=fact.year, source=fact.source, **values
    )
    done = connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(teachings.primary_key.columns),
            set_=values,
            where=teachings.c.source_sequence < fact.source_sequence,
        )
    )
    if not done.rowcount:
        return False
    _remember(connection, database, fact)
    return True


def _remember(connection: Connection, database: Database, fact: TeachingsRecorded) -> None:
    """Add units and groups never taught before; most facts add none. Sorted, so writers meet in one order."""
    known = known_teachings.c
    elements = {each.element for each in fact.teachings}
    query = select(known.element, known.group_code).where(
        known.year == fact.year, known.element.in_(elements)
    )
    there = {(element, group) for element, group in connection.execute(query)}
    if new := sorted({each.key for each in fact.teachings} - there):
        statement = database.insert(known_teachings).on_conflict_do_nothing(
            index_elements=list(known_teachings.primary_key.columns)
        )
        rows = [{"year": fact.year, "element": element, "group_code": group} for element, group in new]
        connection.execute(statement, rows)


def held(connection: Connection, *student_numbers: str) -> tuple[HeldTeaching, ...]:
    """All that one person's numbers follow in any year; each unit and group once."""
    found: dict[tuple[int, str, str], HeldTeaching] = {}
    for year, document in connection.execute(_HELD, {"numbers": student_numbers}):
        for element, group, label in json.loads(document):
            found[year, element, group] = HeldTeaching(year, element, group, label or element)
    return tuple(found[key] for key in sorted(found))


def held_among(connection: Connection, owners: Mapping[str, str]) -> dict[str, tuple[HeldTeaching, ...]]:
    """As `held`, of many persons at once. `owners`: whose each of their numbers is."""
    found: dict[str, dict[tuple[int, str, str], HeldTeaching]] = {}
    numbers = teachings.c.student_number
    query = select(numbers, teachings.c.year, teachings.c.document).where(numbers.in_(owners))
    for number, year, document in connection.execute(query.order_by(teachings.c.source_sequence)):
        mine = found.setdefault(owners[number], {})
        for element, group, label in json.loads(document):
            mine[year, element, group] = HeldTeaching(year, element, group, label or element)
    return {owner: tuple(mine[key] for key in sorted(mine)) for owner, mine in found.items()}


def ever_known(connection: Connection) -> list[tuple[int, str, str]]:
    """Year, unit and group (or an empty text) of everything ever taught."""
    rows: Any = connection.execute(select(*known_teachings.primary_key.columns))
    return [(year, element, group) for year, element, group in rows]
