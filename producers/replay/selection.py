"""Whom a replay is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from pipeline.store import dead_letters
from pipeline.store.database import Database
from pipeline.store.tables import accounts

NUMBERS_PER_QUERY = 500


@dataclass(frozen=True)
class Selection:
    """Whom: named students, those with an unresolved dead letter of a cause, or everybody who has activated.

    Exactly one of the three is given.
    """

    students: tuple[str, ...] = ()
    cause: str | None = None
    everybody: bool = False

    def __post_init__(self) -> None:
        if sum((bool(self.students), self.cause is not None, self.everybody)) != 1:
            raise ValueError("give exactly one of: students, a cause, everybody")


@dataclass(frozen=True)
class Selected:
    """The students of a selection.

    Attributes:
        students: those who will be replayed.
        unknown: named ones who have no account.
        not_activated: named ones for whom no target is touched yet.
    """

    students: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    not_activated: tuple[str, ...] = field(default=())


def select_students(database: Database, consumer: str, selection: Selection) -> Selected:
    """Look the selection up."""
    with database.read() as connection:
        if selection.cause is not None:
            letters = dead_letters.unresolved(connection, consumer=consumer, cause=selection.cause)
            numbers = dict.fromkeys(
                letter.student_number for letter in letters if letter.student_number is not None
            )
            return Selected(tuple(numbers))
        query = select(accounts.c.student_number, accounts.c.activated_at).order_by(accounts.c.student_number)
        pages = [query]
        if selection.students:
            named = sorted(set(selection.students))
            pages = [query.where(accounts.c.student_number.in_(page)) for page in _pages(named)]
        activated = {
            row.student_number: row.activated_at is not None
            for page in pages
            for row in connection.execute(page)
        }
    if selection.everybody:
        return Selected(tuple(number for number, active in activated.items() if active))
    return _named(selection.students, activated)


def _named(students: Sequence[str], activated: dict[str, bool]) -> Selected:
    once = dict.fromkeys(students)
    return Selected(
        students=tuple(number for number in once if activated.get(number)),
        unknown=tuple(number for number in once if number not in activated),
        not_activated=tuple(number for number in once if activated.get(number) is False),
    )


def _pages(numbers: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as one query takes."""
    for start in range(0, len(numbers), NUMBERS_PER_QUERY):
        yield numbers[start : start + NUMBERS_PER_QUERY]
