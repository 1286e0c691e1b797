"""A store with years of records: the students of a morning, copied into many.

The console's scene (`sesame.testing.servers.console_scene`) makes one student of each sort by the product's
code; PostgreSQL then copies their rows, without our code, under other numbers, logins and names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

FIRST: Final = 40_000_000
"""The number of the first copy."""

SHARES: Final = {"complete": 960, "waiting": 20, "failed": 10, "late": 6, "retried": 4}
"""Students of the scene, and how many of a thousand are like them."""

_SURNAMES: Final = (
    "Abadie",
    "Benali",
    "Caron",
    "Diallo",
    "Faure",
    "Garnier",
    "Hamel",
    "Joly",
    "Keller",
    "Le Du",
)
_COPIED: Final = (
    "people",
    "enrolments",
    "accounts",
    "ledger",
    "activation_requests",
    "propagation",
    "propagation_targets",
    "target_states",
    "dead_letters",
    "parked",
    "attempts",
)
_SENT: Final = """
    INSERT INTO imports (id, source, file_name, started_at, finished_at, superseded, confirmed_through)
    SELECT last.id + place, 'api', 'person.jsonl', last.at + place / 1000.0, last.at, FALSE, 0
    FROM (SELECT max(id) AS id, max(started_at) - 90000 AS at FROM imports) AS last,
         generate_series(1, %(many)s::bigint) AS place
"""
"""A program sent each of them once, a day and an hour ago; the registrar's files are older."""

_OWN_KEY: Final = {"dead_letters": "id"}
"""Columns that are keys alone."""


@dataclass(frozen=True)
class Sort:
    """Students of one sort: the copied student, and the share in a thousand."""

    number: str
    of_thousand: int


def fill(url: str, sorts: Sequence[Sort], accounts: int, *, rounds: int = 1) -> Mapping[str, int]:
    """Copy, then analyse the database; return how many rows each table has.

    Args:
        url: of PostgreSQL, as its owner.
        sorts: their shares are a thousand together.
        accounts: how many copies.
        rounds: how often each has lived through the same attempts; those of one student lie far apart.
    """
    with psycopg.connect(url, autocommit=True) as server:
        columns = {table: _columns(server, table) for table in _COPIED}
        server.execute("SET synchronous_commit = off")
        for sort, first, last in _shares(sorts, accounts):
            login = _login(server, sort.number)
            for table, names in columns.items():
                for _ in range(rounds if table == "attempts" else 1):
                    _copy(server, table, names, (sort.number, login), (first, last))
        server.execute(_SENT, {"many": accounts})
        server.execute("VACUUM ANALYZE")
        return {table: _count(server, table) for table in _COPIED}


def number_of(at: int) -> str:
    """The student number of a copy."""
    return str(FIRST + at)


def _shares(sorts: Sequence[Sort], accounts: int) -> Iterator[tuple[Sort, int, int]]:
    first = 0
    for sort in sorts:
        last = first + accounts * sort.of_thousand // 1000
        yield sort, first, last - 1
        first = last


def _columns(server: psycopg.Connection[Any], table: str) -> dict[str, str]:
    rows = server.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        " AND table_schema = 'public' AND coalesce(column_default, '') NOT LIKE 'nextval%%'"
        " ORDER BY ordinal_position",
        (table,),
    )
    return dict(rows.fetchall())


def _login(server: psycopg.Connection[Any], number: str) -> str:
    row = server.execute("SELECT login FROM accounts WHERE student_number = %s", (number,)).fetchone()
    return row[0] if row and row[0] else number


def _copy(
    server: psycopg.Connection[Any],
    table: str,
    columns: Mapping[str, str],
    model: tuple[str, str],
    places: tuple[int, int],
) -> None:
    """Copy the model's rows of a table to each place, under the copy's names."""
    number, login = model

    def value(column: str, kind: str) -> sql.Composable:
        name = sql.Identifier(column)
        if column == _OWN_KEY.get(table):
            return sql.SQL("md5({} || place::text) || md5(place::text)").format(name)
        if kind not in ("text", "character varying"):
            return _moved(column, name)
        copied = sql.SQL("replace(replace({}, {}, ({} + place)::text), {}, 'copie' || place)").format(
            name, sql.Literal(number), sql.Literal(FIRST), sql.Literal(login)
        )
        if column in ("identity", "document") and table in ("people", "accounts"):
            return _named(copied)
        return copied

    statement = sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {values} FROM {table},"
        " generate_series({first}::bigint, {last}::bigint) AS place WHERE student_number = {number}"
    ).format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(value(*each) for each in columns.items()),
        first=sql.Literal(places[0]),
        last=sql.Literal(places[1]),
        number=sql.Literal(number),
    )
    server.execute(statement)


def _moved(column: str, name: sql.Identifier) -> sql.Composable:
    """Times of completions and attempts lie in the years before: one a minute."""
    if column in ("completed_at", "opened_at", "at"):
        return sql.SQL("{} - 60.0 * place").format(name)
    return name


def _named(copied: sql.Composable) -> sql.Composable:
    """Give a copy one name of many. A scene's student is called by the number, `Essai22000001`."""
    surnames = sql.SQL(", ").join(map(sql.Literal, _SURNAMES))
    many = sql.Literal(len(_SURNAMES))
    return sql.SQL(
        "replace({}, 'Essai' || ({} + place), (ARRAY[{}])[1 + place % {}] || (place / {}) % 997)"
    ).format(copied, sql.Literal(FIRST), surnames, many, many)


def _count(server: psycopg.Connection[Any], table: str) -> int:
    row = server.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0
