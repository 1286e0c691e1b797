"""SQLAlchemy's connection without its ceremony, on SQLite's own cursor.

The library compiles a statement that is used again, once. Half of a history's time was its work around each
of 5,000 statements. What is not plain (several rows at once, text, defaults that are functions) goes the
library's way. `tests/simulation/test_again.py` shows that a history is the same either way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Argument = tuple[str | None, Any, Callable[[Any], Any] | None]
"""What is sent for one `?`: of which given parameter, or else what; how that is converted before."""

_KEPT = "_planned_for_the_simulation"
"""Where a statement keeps its plans, by the names of the parameters that are given; None: used once."""


class Rows(IteratorResult[Any]):
    """What a statement gave, fetched at once; see `sqlalchemy.CursorResult`.

    Attributes:
        rowcount: rows that were changed.
    """

    rowcount = -1


class Plan:
    """How one statement object is executed.

    Attributes:
        plain: False: the library executes it.
        columns: of its rows; None: there are no rows.
    """

    def __init__(self, statement: Any, dialect: Any, given: Mapping[str, Any]) -> None:
        self._compiled = compiled = statement.compile(dialect=dialect, column_keys=list(given) or None)
        defaults = {column.key: column.default for column in compiled.insert_prefetch}
        columns = compiled._result_columns
        binds = compiled.bind_names
        self.plain = (
            all(default is not None and default.is_scalar for default in defaults.values())
            and not any(bind.callable or (bind.required and bind.key not in given) for bind in binds)
            and not (compiled.effective_returning and not columns)
            and not (compiled.update_prefetch or compiled.literal_execute_params)
        )
        if not self.plain:
            return
        processors = [each.type._cached_result_processor(dialect, None) for each in columns]
        names = [each.keyname for each in columns]
        self.columns = SimpleResultMetaData(names, _processors=processors if any(processors) else None)
        self.has_rows = bool(columns)
        self._values = {
            name: (bind.key, defaults[bind.key].arg if bind.key in defaults else bind.value)
            for bind, name in binds.items()
        }
        self._lists = [self._values[binds[bind]] for bind in compiled.post_compile_params]
        self._texts: dict[tuple[int, ...], tuple[str, list[Argument]]] = {}

    def text(self, given: Mapping[str, Any]) -> tuple[str, list[Argument]]:
        """The statement's text for lists of these lengths, and what is sent for each `?`."""
        sizes = tuple([len(given.get(key, value)) for key, value in self._lists])
        try:
            return self._texts[sizes]
        except KeyError:
            made = self._texts[sizes] = self._made(given)
            return made

    def _made(self, given: Mapping[str, Any]) -> tuple[str, list[Argument]]:
        compiled, places = self._compiled, dict[str, tuple[str, int | None]]()
        sql, names = compiled.string, compiled.positiontup or ()
        if self._lists:
            values = {name: given.get(key, value) for name, (key, value) in self._values.items()}
            expanded = compiled._process_parameters_for_postcompile(values)
            sql, names = expanded.statement, expanded.positiontup
            for whole, several in expanded.parameter_expansion.items():
                places |= {name: (whole, index) for index, name in enumerate(several)}
        return sql, [self._argument(places.get(name, (name, None)), given) for name in names]

    def _argument(self, place: tuple[str, int | None], given: Mapping[str, Any]) -> Argument:
        name, index = place
        key, value = self._values[name]
        processor = self._compiled._bind_processors.get(name)

        def converted(whole: Any) -> Any:
            one = whole if index is None else whole[index]
            return one if processor is None else processor(one)

        if key not in given:
            return None, converted(value), None
        return key, None, None if index is None and processor is None else converted


class Statements:
    """Executes on one SQLite connection. `library`: the same connection, as SQLAlchemy has it."""

    def __init__(self, raw: sqlite3.Connection, library: Connection) -> None:
        self._raw, self._library = raw, library
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
        plan = plans.get(names)
        if plan is None:
            plans[names] = Plan(statement, self.dialect, given) if names in plans else None
        if plan is None or not plan.plain:
            return self._library.execute(statement, parameters)
        sql, arguments = plan.text(given)
        values = [
            value if key is None else given[key] if convert is None else convert(given[key])
            for key, value, convert in arguments
        ]
        try:
            cursor = self._raw.execute(sql, values)
            rows = Rows(plan.columns, iter(cursor.fetchall() if plan.has_rows else ()))
        except sqlite3.Error as error:
            raise DBAPIError.instance(sql, None, error, sqlite3.Error, dialect=self.dialect) from error
        rows.rowcount = cursor.rowcount
        return rows

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
