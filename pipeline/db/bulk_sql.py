"""Many values, or many rows, as few parameters: the statement's text does not depend on how many there are.

A list of `IN` and an INSERT of many rows are another text for each length. To compile it in SQLAlchemy, parse
it in psycopg and plan it in the server costs more than the statement itself (docs/adr/0029).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    FromClause,
    Select,
    any_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.types import TypeEngine


def rows_among(
    connection: Connection, query: Select[Any], wanted: Column[Any], values: Sequence[str], **others: object
) -> CursorResult[Any]:
    """The rows of a query whose column is one of these values.

    Args:
        query: one that is made once: that takes longer than to execute it.
        others: its other parameters.
    """
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
    """Rows to select from, in their order; `columns` are their names and types. The statement is executed
    with `rows_given`, so that it can be built once: that takes longer than to execute it."""
    if is_sqlite:
        each = func.json_each(bindparam("rows_given")).table_valued("value")
        fields = [
            func.json_extract(each.c.value, f"$[{index}]", type_=kind).label(name)
            for index, (name, kind) in enumerate(columns.items())
        ]
        return select(*fields).subquery("given")
    arrays = (bindparam(f"given_{name}", type_=_array(kind)) for name, kind in columns.items())
    unnested = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in columns.items()))
    return unnested.render_derived(name="given")


def rows_given(
    columns: Iterable[str], rows: Sequence[Sequence[object]], *, is_sqlite: bool
) -> dict[str, object]:
    """These rows, at least one, as the parameters of a statement with `given`."""
    if is_sqlite:
        return {"rows_given": json.dumps(rows)}
    return {
        f"given_{name}": list(values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)
    }


def _array(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    from sqlalchemy.dialects.postgresql import ARRAY  # it brings a driver's library along

    return ARRAY(kind)
