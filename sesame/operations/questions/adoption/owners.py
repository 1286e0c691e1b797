"""Likely owners of users in Moodle or a connector, by login or address; no links.

The directory is consulted first; then the ledger, for active accounts with the same names. The names of an
account that was never activated are left to `ledger_comparison`: they may be given up.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.registry.doubts import recognisable
from consumers.registry.identity import LOGIN, SHORT_LOGIN
from consumers.registry.ledger import SqlLedger
from consumers.registry.people import KnownPerson, People
from pipeline import accounts
from pipeline.db.database import Database
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing


def owners_of(
    sheet: Sheet, database: Database, connection: Connection, rows: Sequence[FoundObject]
) -> tuple[dict[int, str], dict[str, str | None]]:
    """Find the holders of these users' names.

    Returns:
        By row, the student who has its login or address; and those of these logins that are short ones,
            with the student who has each.
    """
    names = {row.id: _telling_names(sheet, row) for row in rows}
    wanted = {name for several in names.values() for name in several}
    wanted |= {(SHORT_LOGIN, value) for kind, value in wanted if kind == LOGIN}
    held = SqlLedger(connection, database, 0.0).holders(wanted)
    students = sorted({each.student_number for each in held.values() if each.student_number})
    active = accounts.active_logins(connection, students)
    known = People(database).known_among(connection, students)
    owners: dict[int, str] = {}
    for row in rows:
        holders = [held[name].student_number or "" for name in names[row.id] if name in held]
        people = (known[each] for each in holders if each in active and each in known)
        named = (each.student_number for each in people if same_names(row, each))
        if owner := _owner_of_entry(sheet, names[row.id]) or next(named, ""):
            owners[row.id] = owner
    return owners, {value: one.student_number for (kind, value), one in held.items() if kind == SHORT_LOGIN}


def same_names(row: FoundObject, person: KnownPerson) -> bool:
    """Whether an object's family and given name, if any, may be this person's."""
    names = [name for name in (row.family, row.given) if name.strip()]
    return all(recognisable(person.identity, [name]) for name in names)


def _telling_names(sheet: Sheet, row: FoundObject) -> list[tuple[str, str]]:
    """Names that may tell a user's owner, logins first.

    With a student number, only the logins if there are any.
    """
    names = sheet.names_of(row)
    logins = [name for name in names if name[0] == LOGIN]
    return logins if row.number and logins else logins + [name for name in names if name not in logins]


def _owner_of_entry(sheet: Sheet, names: Sequence[tuple[str, str]]) -> str:
    found = (entry for name in names for entry in sheet.with_name(DIRECTORY, *name))
    return next((entry.student for entry in found if entry.standing is not Standing.STRANGER), "")
