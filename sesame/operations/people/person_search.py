"""Conditions on persons, which the database answers by an index or a column."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    false,
    func,
    not_,
    or_,
    select,
    true,
    type_coerce,
)

from consumers.registry.identity import LOGIN, MAIL
from consumers.registry.ledger import SqlLedger
from consumers.registry.people import people
from pipeline.accounts import accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from producers.registrar.external_ids import external_ids
from schemas.account import Hold

PERSONS: Final = people.join(accounts, accounts.c.student_number == people.c.student_number).outerjoin(
    external_ids, external_ids.c.student_number == people.c.student_number
)
"""The tables of conditions and order."""

_CHANGED: Final[ColumnElement[float]] = case(
    (external_ids.c.changed_at > accounts.c.changed_at, external_ids.c.changed_at),
    else_=accounts.c.changed_at,
)
_HALF_US: Final = 0.5e-6
"""Half a microsecond: times are compared as they are shown, to the microsecond."""


@dataclass(frozen=True)
class KnownBy:
    """Matches one person by a unique value. Former logins and addresses count."""

    kind: Literal["number", "login", "mail", "external_id"]
    value: str


@dataclass(frozen=True)
class PersonHeld:
    """Shut by an administrative hold."""


@dataclass(frozen=True)
class PersonChanged:
    """Changed at a moment or after it, else (`after` false) before it or at it. `at`: Unix time, in
    seconds."""

    at: float
    after: bool


@dataclass(frozen=True)
class AllOrNobody:
    """Matches every person, or none."""

    everybody: bool


@dataclass(frozen=True)
class AllBut:
    """All others."""

    part: Where


@dataclass(frozen=True)
class Several:
    """Matches persons who meet all parts; with `some`, any part."""

    parts: tuple[Where, ...]
    some: bool = False


Where = KnownBy | PersonHeld | PersonChanged | AllOrNobody | AllBut | Several


@cache
def sorted_by(name: str, *, is_sqlite: bool) -> ColumnElement[Any]:
    """Sort key: a column, or a name of the registrar's in lower case."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    kept = people.c.identity
    identity: Any = type_coerce(kept, JSON) if is_sqlite else cast(kept, JSON)
    return func.lower(identity[name].as_string())


_COLUMNS: Final[Mapping[str, ColumnElement[Any]]] = {
    "number": people.c.student_number,
    "login": accounts.c.login,
    "external_id": external_ids.c.external_id,
    "changed": _CHANGED,
}


def condition(connection: Connection, database: Database, where: Where) -> ColumnElement[bool]:
    """A condition on `people` and `accounts`."""
    found = _holders(connection, database, set(_keys(where)))
    return _condition(where, found)


def _condition(where: Where, found: Mapping[KnownBy, frozenset[str]]) -> ColumnElement[bool]:
    numbers = _numbers(where, found)
    if numbers is not None:
        return people.c.student_number.in_(sorted(numbers))
    match where:
        case PersonHeld():
            return people.c.holds.contains(f'"{Hold.ADMINISTRATIVE.value}"')
        case PersonChanged(after=True):
            return where.at - _HALF_US <= _CHANGED
        case PersonChanged():
            return where.at + _HALF_US > _CHANGED
        case AllBut():
            return not_(_condition(where.part, found))
        case Several():
            parts = [_condition(part, found) for part in where.parts]
            return or_(false(), *parts) if where.some else and_(true(), *parts)
        case AllOrNobody(everybody=True):
            return true()
    return false()


def _numbers(where: Where, found: Mapping[KnownBy, frozenset[str]]) -> frozenset[str] | None:
    """The matching numbers, where unique values alone decide."""
    if isinstance(where, KnownBy):
        return found[where]
    if not isinstance(where, Several):
        return None
    parts = [_numbers(part, found) for part in where.parts]
    sets = [part for part in parts if part is not None]
    if not sets or len(sets) < len(parts):
        return None
    return frozenset.union(*sets) if where.some else frozenset.intersection(*sets)


def _keys(where: Where) -> Collection[KnownBy]:
    match where:
        case KnownBy():
            return [where]
        case AllBut():
            return _keys(where.part)
        case Several():
            return [key for part in where.parts for key in _keys(part)]
    return []


def _holders(
    connection: Connection, database: Database, keys: Collection[KnownBy]
) -> Mapping[KnownBy, frozenset[str]]:
    """The holders of these values: one query per table, however many there are."""
    kinds = {"login": LOGIN, "mail": MAIL}
    named = {key: (kinds[key.kind], key.value.lower()) for key in keys if key.kind in kinds}
    holders = SqlLedger(connection, database, 0.0).holders(set(named.values())) if named else {}
    wanted = [key.value for key in keys if key.kind == "external_id"]
    called: dict[str, set[str]] = {}
    for row in rows_among(connection, _CALLED, external_ids.c.external_id, wanted):
        called.setdefault(row.external_id, set()).add(row.student_number)

    def of(key: KnownBy) -> Collection[str]:
        if key.kind == "number":
            return [key.value]
        if key.kind == "external_id":
            return called.get(key.value, ())
        holder = holders.get(named[key])
        return [] if holder is None or holder.student_number is None else [holder.student_number]

    return {key: frozenset(of(key)) for key in keys}


_CALLED: Final = select(external_ids.c.student_number, external_ids.c.external_id)
