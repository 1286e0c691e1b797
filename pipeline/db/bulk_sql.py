"""SQL with a fixed text for any number of values or rows.

An `IN` list and an INSERT of many rows have another text for each length. To compile it in SQLAlchemy, parse
it in psycopg and plan it in the server costs more than the statement itself (docs/adr/0028).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    FromClause,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.types import TypeEngine


def rows_among(
    connection: Connection, query: Select[Any], wanted: Column[Any], values: Sequence[str], **others: object
) -> CursorResult[Any]:
    """Return the rows of `query`, built once, whose column is among the values. `others`: parameters."""
    is_sqlite = connection.dialect.name == "sqlite"
    return connection.execute(
        _narrowed(query, wanted, is_sqlite), {**others, **values_given(values, is_sqlite=is_sqlite)}
    )


@cache
def _narrowed(query: Select[Any], wanted: Column[Any], is_sqlite: bool) -> Select[Any]:  # noqa: FBT001  # for the cache
    return query.where(is_among(wanted, is_sqlite=is_sqlite))


def is_among(wanted: ColumnElement[Any], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Return the condition that a column is among the `values_given`."""
    if is_sqlite:
        return wanted.in_(select(each(wanted.type, is_sqlite=True)))
    return wanted == any_(bindparam("among", type_=_array(wanted.type)))


def each(kind: TypeEngine[Any], *, is_sqlite: bool) -> ColumnElement[Any]:
    """Return the column of a table that has the `values_given`.

    In a join also say `is_among`: else a plan that PostgreSQL made while a table was small reads all of it
    later.
    """
    if is_sqlite:
        return func.json_each(bindparam("among")).table_valued("value").c.value
    array = func.unnest(bindparam("among", type_=_array(kind)))
    return array.table_valued(column("value", kind)).render_derived().c.value


def values_given(values: Sequence[str], *, is_sqlite: bool) -> dict[str, object]:
    """Return these values as the parameter of `is_among` and `each`."""
    return {"among": json.dumps(list(values)) if is_sqlite else list(values)}


def given(columns: Mapping[str, TypeEngine[Any]], *, is_sqlite: bool) -> FromClause:
    """Return a table of parameters with these columns, for a statement built once. See `rows_given`."""
    text = bindparam("rows_given", type_=Text())
    fields: list[ColumnElement[Any]]
    if is_sqlite:
        given = func.json_each(text).table_valued("value")
        fields = [
            func.json_extract(given.c.value, f"$[{place}]", type_=kind)
            for place, kind in enumerate(columns.values())
        ]
    else:
        from sqlalchemy.dialects.postgresql import JSONB  # as `_array` says

        given = func.jsonb_array_elements(cast(text, JSONB)).table_valued("value")
        fields = [
            cast(given.c.value.op("->>")(literal_column(str(place))), kind)
            for place, kind in enumerate(columns.values())
        ]
    return select(*map(ColumnElement.label, fields, columns)).subquery("given")


def rows_given(rows: Sequence[Sequence[object]]) -> dict[str, object]:
    """Return these rows, at least one, as the parameter of a statement with `given`."""
    return {"rows_given": json.dumps(rows)}


def _array(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    from sqlalchemy.dialects.postgresql import ARRAY  # it brings a driver's library along

    return ARRAY(kind)
