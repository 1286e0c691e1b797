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
    among = json.dumps(list(values)) if is_sqlite else list(values)
    return connection.execute(_narrowed(query, wanted, is_sqlite), {**others, "among": among})


@cache
def _narrowed(query: Select[Any], wanted: Column[Any], is_sqlite: bool) -> Select[Any]:  # noqa: FBT001  # for the cache
    if is_sqlite:
        each = func.json_each(bindparam("among")).table_valued("value")
        return query.where(wanted.in_(select(each.c.value)))
    return query.where(wanted == any_(bindparam("among", type_=_array(wanted.type))))


def given(columns: Mapping[str, TypeEngine[Any]], *, is_sqlite: bool) -> FromClause:
    """Return a table of parameters with these columns, for a statement built once. See `rows_given`."""
    text = bindparam("rows_given", type_=Text())
    fields: list[ColumnElement[Any]]
    if is_sqlite:
        each = func.json_each(text).table_valued("value")
        fields = [
            func.json_extract(each.c.value, f"$[{place}]", type_=kind)
            for place, kind in enumerate(columns.values())
        ]
    else:
        from sqlalchemy.dialects.postgresql import JSONB  # as `_array` says

        each = func.jsonb_array_elements(cast(text, JSONB)).table_valued("value")
        fields = [
            cast(each.c.value.op("->>")(literal_column(str(place))), kind)
            for place, kind in enumerate(columns.values())
        ]
    return select(*map(ColumnElement.label, fields, columns)).subquery("given")


def rows_given(rows: Sequence[Sequence[object]]) -> dict[str, object]:
    """Return these rows, at least one, as the parameter of a statement with `given`."""
    return {"rows_given": json.dumps(rows)}


def _array(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    from sqlalchemy.dialects.postgresql import ARRAY  # it brings a driver's library along

    return ARRAY(kind)
