"""Many values, or many rows, as few parameters: the statement's text does not depend on how many there are.

A list of `IN` and an INSERT of many rows are another text for each length. To compile it in SQLAlchemy, parse
it in psycopg and plan it in the server costs more than the statement itself (docs/adr/0027).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, FromClause, any_, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine


def among(connection: Connection, wanted: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """The condition that a column is one of these values."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(_bound(json.dumps(list(values)))).table_valued("value")
        return wanted.in_(select(each.c.value))
    return wanted == any_(_bound(list(values), ARRAY(wanted.type)))


def given(
    connection: Connection, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]
) -> FromClause:
    """These rows, to select from, in their order; `columns` are their names and types."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(_bound(json.dumps([list(row) for row in rows]))).table_valued("value")
        fields = [
            func.json_extract(each.c.value, f"$[{index}]", type_=kind).label(name)
            for index, (name, kind) in enumerate(columns.items())
        ]
        return select(*fields).subquery("given")
    arrays = zip(columns.values(), zip(*rows, strict=True), strict=True)
    values = [_bound(list(array), ARRAY(kind)) for kind, array in arrays]
    unnested = func.unnest(*values).table_valued(*(column(name, kind) for name, kind in columns.items()))
    return unnested.render_derived(name="given")


def _bound(value: object, kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    return bindparam(None, value, type_=kind, unique=True)
