"""A statement's result without SQLAlchemy's: as much of it as the stores use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy.exc import MultipleResultsFound, NoResultFound


class Rows:
    """A statement's result, fetched at once; see `sqlalchemy.CursorResult`. `rowcount`: changed rows."""

    __slots__ = ("_make", "_names", "_values", "rowcount")

    def __init__(
        self, names: Sequence[str], make: Callable[[Any], Any], values: list[Any], rowcount: int
    ) -> None:
        self._names, self._make, self._values, self.rowcount = names, make, values, rowcount

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, self._values)

    def all(self) -> list[Any]:
        """See `sqlalchemy.Result.all`, and so on."""
        return list(self)

    def fetchall(self) -> list[Any]:
        return list(self)

    def first(self) -> Any:
        return self._make(self._values[0]) if self._values else None

    def one_or_none(self) -> Any:
        if len(self._values) > 1:
            raise MultipleResultsFound("multiple rows were found when one or none was wanted")
        return self.first()

    def one(self) -> Any:
        if len(self._values) != 1:
            raise NoResultFound(f"{len(self._values)} rows were found when exactly one was wanted")
        return self.first()

    def scalars(self) -> Rows:
        return Rows((), _itself, [row[0] for row in self._values], self.rowcount)

    def scalar(self) -> Any:
        return self._values[0][0] if self._values else None

    def scalar_one(self) -> Any:
        if len(self._values) != 1:
            return self.one()  # raises the fitting error
        return self._values[0][0]

    def scalar_one_or_none(self) -> Any:
        return self.scalar_one() if self._values else None

    def mappings(self) -> Rows:
        names = self._names
        return Rows((), _itself, [dict(zip(names, row, strict=True)) for row in self._values], self.rowcount)


def _itself(value: Any) -> Any:
    return value
