"""Select the students of a replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from pipeline import target_states
from pipeline.accounts import COUNTED, accounts
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters

NUMBERS_PER_QUERY = 500
_FOR_EVER = 1e12  # epoch seconds


@dataclass(frozen=True)
class Selection:
    """Students to replay: named ones, those of a cause, all activated, or by time.

    A cause selects those with an unresolved dead letter of it, or who wait for it. Of students, a cause and
    everybody at most one is given. With a time (epoch seconds; `until` excluded), a cause means dead letters
    recorded and waits begun then, and everybody means students written to the target then (say, if it was
    restored from an older backup); a time alone means both. Named students have no time.
    """

    students: tuple[str, ...] = ()
    cause: str | None = None
    everybody: bool = False
    since: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        given = sum((bool(self.students), self.cause is not None, self.everybody))
        if given > 1 or (given == 0 and not self.timed):
            raise ValueError("give exactly one of: students, a cause, everybody; or a time")
        if self.students and self.timed:
            raise ValueError("named students have no time")

    @property
    def timed(self) -> bool:
        """True if a time is given."""
        return self.since is not None or self.until is not None


@dataclass(frozen=True)
class Selected:
    """The students of a selection.

    Attributes:
        unknown: named ones who have no account.
        not_activated: named ones for whom no target is touched yet.
    """

    students: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    not_activated: tuple[str, ...] = field(default=())


def select_students(database: Database, consumer: str, selection: Selection) -> Selected:
    """Resolve a selection to students."""
    with database.read() as connection:
        if selection.cause is not None or selection.timed:
            return Selected(tuple(_found(connection, consumer, selection)))
        number = accounts.c.student_number
        query = select(number, accounts.c.activated_at).where(COUNTED).order_by(number)
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


def _found(connection: Connection, consumer: str, selection: Selection) -> list[str]:
    since = selection.since or 0.0
    until = selection.until if selection.until is not None else _FOR_EVER
    numbers: list[str] = []
    if not selection.everybody:
        which = dead_letters.Which(consumer, None, selection.cause, since, until)
        numbers += dead_letters.students(connection, which)
    if selection.cause is not None:
        numbers += target_states.waiting_for(connection, consumer, selection.cause, since, until)
    else:
        numbers += target_states.written_between(connection, consumer, since, until)
    return list(dict.fromkeys(numbers))


def _named(students: Sequence[str], activated: dict[str, bool]) -> Selected:
    once = dict.fromkeys(students)
    return Selected(
        students=tuple(number for number in once if activated.get(number)),
        unknown=tuple(number for number in once if number not in activated),
        not_activated=tuple(number for number in once if activated.get(number) is False),
    )


def _pages(numbers: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(numbers), NUMBERS_PER_QUERY):
        yield numbers[start : start + NUMBERS_PER_QUERY]
