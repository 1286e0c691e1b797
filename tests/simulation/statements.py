"""SQLAlchemy's connection without its ceremony: statements are compiled by the library, once, and executed on
SQLite's own cursor. Half of a history's time was the library's work around each of its 5,000 statements.

What is not plain (several rows at once, text, defaults that are functions) goes the library's own way.
`tests/simulation/test_again.py` shows that a history is the same either way.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import SQLCompiler

from tests.simulation.rows import Rows

Processor = Callable[[Any], Any] | None
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


Text = tuple[str, tuple[tuple[str, int | None, Processor], ...]]
"""A statement's text for lists of some lengths; for each `?` which parameter it is, of a list which value."""


class Bound(NamedTuple):
    """Where one parameter's value comes from.

    Attributes:
        key: its name among the parameters that are given.
        place: its place in the statement's cache key; None: it is always `value`.
    """

    name: str
    key: str
    place: int | None
    value: Any
    processor: Processor


@dataclass(frozen=True)
class Prepared:
    """A statement as it is executed.

    Attributes:
        lists: how many values each list of an `IN` has.
        names: what the columns are called; none: there are no rows.
        make: makes a row of its values.
    """

    compiled: SQLCompiler
    bound: tuple[Bound, ...]
    lists: tuple[str, ...]
    texts: dict[tuple[int, ...], Text]
    names: tuple[str, ...]
    make: Callable[[Any], Any]
    processors: tuple[Processor, ...] | None


Kept = dict[Any, dict[tuple[str, ...], Prepared | None]]
"""What was prepared: by a statement's key, and by the names of the parameters that are given."""


class Statements:
    """Executes on one SQLite connection.

    Args:
        library: the same connection, as SQLAlchemy has it.
    """

    def __init__(self, raw: sqlite3.Connection, library: Connection, kept: Kept) -> None:
        self._raw, self._library, self._kept = raw, library, kept
        self.dialect = library.dialect
        self.exec_driver_sql = library.exec_driver_sql
        self._savepoints = 0

    def execute(self, statement: Any, parameters: Parameters = None, **options: Any) -> Any:
        """See `sqlalchemy.Connection.execute`."""
        key = statement._generate_cache_key()  # kept by a statement that is made once
        if key is None or options or isinstance(parameters, list | tuple):
            return self._library.execute(statement, parameters, **options)
        given: Mapping[str, Any] = parameters or {}  # type: ignore[assignment]  # it is no sequence
        kept = statement.__dict__.get(_KEPT)
        if kept is None:
            kept = self._kept.setdefault(key.key, {})
            statement._set_memoized_attribute(_KEPT, kept)  # so that what is made of it does not inherit it
        names = tuple(given)
        try:
            prepared = kept[names]
        except KeyError:
            prepared = kept[names] = self._prepare(statement, key, given)
        if prepared is None:
            return self._library.execute(statement, parameters)
        return self._executed(prepared, key, given)

    def scalars(self, statement: Any, parameters: Parameters = None) -> Any:
        """See `sqlalchemy.Connection.scalars`."""
        return self.execute(statement, parameters).scalars()

    @contextmanager
    def begin_nested(self) -> Iterator[None]:
        """See `sqlalchemy.Connection.begin_nested`."""
        self._savepoints += 1
        name = f"s{self._savepoints}"
        self._raw.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute(f"ROLLBACK TO {name}")
                self._raw.execute(f"RELEASE {name}")
            raise
        self._raw.execute(f"RELEASE {name}")

    def _prepare(self, statement: Any, key: CacheKey, given: Mapping[str, Any]) -> Prepared | None:
        compiled = statement.compile(dialect=self.dialect, column_keys=list(given) or None)
        places = {each.key: place for place, each in enumerate(key.bindparams)}
        defaults = {column.key: column.default for column in compiled.insert_prefetch}
        plain = all(default is not None and default.is_scalar for default in defaults.values())
        untold = (compiled.effective_returning and not compiled._result_columns) or any(
            bind.required and bind.key not in given for bind in compiled.bind_names
        )
        if not plain or untold or compiled.update_prefetch or compiled.literal_execute_params:
            return None
        processors = compiled._bind_processors
        bound = []
        for bind, name in compiled.bind_names.items():
            default = defaults.get(bind.key)
            value = default.arg if default is not None else bind.value
            bound.append(Bound(name, bind.key, places.get(bind.key), value, processors.get(name)))
        lists = tuple(compiled.bind_names[bind] for bind in compiled.post_compile_params)
        return Prepared(compiled, tuple(bound), lists, {}, *self._columns(compiled))

    def _columns(
        self, compiled: SQLCompiler
    ) -> tuple[tuple[str, ...], Callable[[Any], Any], tuple[Processor, ...] | None]:
        columns = compiled._result_columns
        processors = tuple(each.type._cached_result_processor(self.dialect, None) for each in columns)
        names = tuple(each.keyname for each in columns)
        row = namedtuple("row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024  # made at run time
        return names, row._make, processors if any(processors) else None

    def _executed(self, prepared: Prepared, key: CacheKey, given: Mapping[str, Any]) -> Rows:
        extracted = key.bindparams
        values: dict[str, Any] = {
            name: given[own]
            if own in given
            else (fixed if place is None else extracted[place].effective_value)
            for name, own, place, fixed, _ in prepared.bound
        }
        sizes = tuple(len(values[name]) for name in prepared.lists) if prepared.lists else ()
        if sizes not in prepared.texts:
            prepared.texts[sizes] = _text(prepared, values)
        sql, places = prepared.texts[sizes]
        try:
            cursor = self._raw.execute(sql, [_sent(values, *place) for place in places])
            return _rows(prepared, cursor)
        except sqlite3.Error as error:
            raise DBAPIError.instance(sql, None, error, sqlite3.Error, dialect=self.dialect) from error


def _sent(values: Mapping[str, Any], name: str, index: int | None, processor: Processor) -> object:
    value = values[name] if index is None else values[name][index]
    return value if processor is None else processor(value)


def _text(prepared: Prepared, values: Mapping[str, Any]) -> Text:
    compiled = prepared.compiled
    processors = {each.name: each.processor for each in prepared.bound}
    if not prepared.lists:
        return compiled.string, tuple((name, None, processors[name]) for name in compiled.positiontup or ())
    expanded = compiled._process_parameters_for_postcompile(dict(values))
    of_lists = {
        name: (whole, index, processors[whole])
        for whole, names in expanded.parameter_expansion.items()
        for index, name in enumerate(names)
    }
    return expanded.statement, tuple(
        of_lists[name] if name in of_lists else (name, None, processors[name])
        for name in expanded.positiontup or ()
    )


def _rows(prepared: Prepared, cursor: sqlite3.Cursor) -> Rows:
    found = cursor.fetchall() if prepared.names else []
    if prepared.processors is not None:
        found = [
            tuple(
                value if processor is None else processor(value)
                for value, processor in zip(row, prepared.processors, strict=True)
            )
            for row in found
        ]
    return Rows(prepared.names, prepared.make, found, cursor.rowcount)


_KEPT = "_prepared_for_the_simulation"
"""Where a statement that is made once keeps what was prepared: to find it by its key costs as much again."""
