"""SQLAlchemy's connection without its ceremony, on SQLite's own cursor.

The library compiles statements, once. Half of a history's time was its work around each of its 5,000
statements. What is not plain (several rows at once, text, defaults that are functions) goes the library's
way. `tests/simulation/test_again.py` shows that a history is the same either way.
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
"""A statement's text for lists of some lengths, with the parameter (and a list's place) of each `?`."""


class Argument(NamedTuple):
    """The value of one `?`.

    Attributes:
        key: the given parameter; None: always `value`.
        plain: it is sent as given.
        place: in a list.
    """

    key: str | None
    value: Any
    plain: bool
    place: int | None
    processor: Processor


class Bound(NamedTuple):
    """The origin of one parameter's value.

    Attributes:
        key: its name among the given parameters.
        place: its place in the statement's cache key; None: always `value`.
    """

    name: str
    key: str
    place: int | None
    value: Any
    processor: Processor


@dataclass(frozen=True)
class Prepared:
    """A statement ready to execute.

    Attributes:
        lists: how many values each list of an `IN` has.
        names: of the columns; none: there are no rows.
        make: makes a row of its values.
    """

    compiled: SQLCompiler
    bound: tuple[Bound, ...]
    lists: tuple[str, ...]
    texts: dict[tuple[int, ...], Text]
    names: tuple[str, ...]
    make: Callable[[Any], Any]
    processors: tuple[Processor, ...] | None


class Plan(NamedTuple):
    """One statement object with its own values; a statement that is made once has one.

    Attributes:
        fixed: the values that are not given, by parameter.
        lists: the given lists.
        texts: for lists of these lengths, the text and its arguments.
    """

    prepared: Prepared
    fixed: dict[str, Any]
    lists: tuple[str, ...]
    texts: dict[tuple[int, ...], tuple[str, tuple[Argument, ...]]]


Kept = dict[Any, dict[tuple[str, ...], Prepared | None]]
"""Prepared statements, by a statement's key, and by the names of the given parameters."""


class Statements:
    """Executes on one SQLite connection. `library`: the same connection, as SQLAlchemy has it."""

    def __init__(self, raw: sqlite3.Connection, library: Connection, kept: Kept) -> None:
        self._raw, self._library, self._kept = raw, library, kept
        self.dialect = library.dialect
        self.exec_driver_sql = library.exec_driver_sql
        self._savepoints = 0

    def execute(self, statement: Any, parameters: Parameters = None, **options: Any) -> Any:
        if options or isinstance(parameters, list | tuple):
            return self._library.execute(statement, parameters, **options)
        given: Mapping[str, Any] = parameters or {}  # type: ignore[assignment]  # it is no sequence
        plans = statement.__dict__.get(_KEPT)
        if plans is None:
            plans = {}
            statement._set_memoized_attribute(_KEPT, plans)  # so that what is made of it does not inherit it
        names = tuple(given)
        try:
            plan = plans[names]
        except KeyError:
            plan = plans[names] = self._plan(statement, names, given)
        if plan is None:
            return self._library.execute(statement, parameters)
        return self._executed(plan, given)

    def scalars(self, statement: Any, parameters: Parameters = None) -> Any:
        return self.execute(statement, parameters).scalars()

    @contextmanager
    def begin_nested(self) -> Iterator[None]:
        name = f"s{self._savepoints}"  # the same ones again: the driver has compiled these statements
        self._raw.execute(f"SAVEPOINT {name}")
        self._savepoints += 1
        try:
            yield
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute(f"ROLLBACK TO {name}")
                self._raw.execute(f"RELEASE {name}")
            raise
        finally:
            self._savepoints -= 1
        self._raw.execute(f"RELEASE {name}")

    def _plan(self, statement: Any, names: tuple[str, ...], given: Mapping[str, Any]) -> Plan | None:
        key = statement._generate_cache_key()
        if key is None or any(each.callable is not None for each in key.bindparams):
            return None
        kept = self._kept.setdefault(key.key, {})
        if names not in kept:
            kept[names] = self._prepare(statement, key, given)
        prepared = kept[names]
        if prepared is None:
            return None
        fixed = {
            each.name: each.value if each.place is None else key.bindparams[each.place].value
            for each in prepared.bound
            if each.key not in given
        }
        keys = {each.name: each.key for each in prepared.bound}
        return Plan(prepared, fixed, tuple(keys[name] for name in prepared.lists if name not in fixed), {})

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

    def _executed(self, plan: Plan, given: Mapping[str, Any]) -> Rows:
        sizes = tuple([len(given[key]) for key in plan.lists]) if plan.lists else ()
        try:
            sql, arguments = plan.texts[sizes]
        except KeyError:
            sql, arguments = plan.texts[sizes] = _planned(plan, given)
        values = [
            value if key is None else given[key] if plain else _sent(given[key], index, processor)
            for key, value, plain, index, processor in arguments
        ]
        try:
            cursor = self._raw.execute(sql, values)
            return _rows(plan.prepared, cursor)
        except sqlite3.Error as error:
            raise DBAPIError.instance(sql, None, error, sqlite3.Error, dialect=self.dialect) from error


def _sent(value: Any, index: int | None, processor: Processor) -> object:
    one = value if index is None else value[index]
    return one if processor is None else processor(one)


def _planned(plan: Plan, given: Mapping[str, Any]) -> tuple[str, tuple[Argument, ...]]:
    prepared, fixed = plan.prepared, plan.fixed
    keys = {each.name: each.key for each in prepared.bound}
    values = {name: fixed[name] if name in fixed else given[key] for name, key in keys.items()}
    sizes = tuple(len(values[name]) for name in prepared.lists)
    if sizes not in prepared.texts:
        prepared.texts[sizes] = _text(prepared, values)
    sql, places = prepared.texts[sizes]
    return sql, tuple(
        Argument(None, _sent(fixed[name], index, processor), True, index, processor)
        if name in fixed
        else Argument(keys[name], None, index is None and processor is None, index, processor)
        for name, index, processor in places
    )


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


_KEPT = "_planned_for_the_simulation"
"""The plans of a statement that is made once: to find them by its key costs as much again."""
