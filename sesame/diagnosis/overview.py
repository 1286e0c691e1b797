"""Everybody, in one look: how many are where, why, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from pipeline.store import dead_letters, parking, population, status
from pipeline.store import observed as observation
from pipeline.store.database import Database
from pipeline.store.many import rows_among
from pipeline.store.tables import accounts, propagation, propagation_targets
from pipeline.store.target_states import State
from schemas.account import Account

_ROWS_PER_PAGE = 500
_PROGRESS: Final = select(propagation)
_SEEN: Final = select(propagation_targets)


@dataclass(frozen=True)
class Person:
    """One activated student, over all targets. `targets` holds state, reason and pending names by target."""

    student_number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Overview:
    """Everybody who has activated.

    Attributes:
        accounts: how many the registry has made, activated or not.
        within_15_min, within_60_min, beyond: completed propagations of persons' acts, each counted once.
        retrying: who is tried again after failures, by consumer and cause: how many `students`, and for how
            long the one who failed first (`oldest_s`).
        seconds: quantiles of the time since the window opened, per target and in all, of those who were
            completed last: `pipeline.store.population.MEASURED_MAX` at most.
        targets: how many students are in which state, per target; `after`: nothing is due there, since the
            target that it follows waits or has given up.
        observed: what would be written to the targets that are only observed, per target: students, unchanged
            ones, students per field, and examples.
        people: only if asked for.
    """

    accounts: int
    students: int
    completed: int
    waiting: int
    failed: int
    in_progress: int
    dead_letters: int
    within_15_min: int
    within_60_min: int
    beyond: int
    waiting_by_reason: Mapping[str, int] = field(default_factory=dict)
    dead_letters_by_cause: Mapping[str, int] = field(default_factory=dict)
    retrying: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    consumers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    observed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    people: Sequence[Person] | None = None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        document = asdict(self)
        if self.people is None:
            del document["people"]
        return document


@dataclass(frozen=True)
class _Row:
    """One activated student's rows."""

    account: Mapping[str, Any]
    progress: Mapping[str, Any] | None
    seen: Mapping[str, Mapping[str, Any]]

    @property
    def version(self) -> int:
        """The newest account version."""
        return int(self.account["version"])

    def state(self) -> str:
        """completed, waiting, failed or in_progress, for the newest version."""
        if self.progress is None or self.progress["version"] < self.version:
            return population.IN_PROGRESS
        given_up = any(self.target(name) == State.FAILED for name in self.seen)
        return str(State.FAILED if given_up else self.progress["state"])

    def target(self, name: str, leader: str | None = None) -> str:
        """provisioned, waiting, failed, outstanding, or after: its leader's turn comes first, which waits or
        has given up; for the newest version."""
        seen = self.seen.get(name)
        if seen is not None and seen["version"] >= self.version:
            return str(seen["state"])
        held = leader is not None and self.target(leader) in (State.WAITING, State.FAILED)
        return population.AFTER if held else population.OUTSTANDING


def overview(
    database: Database,
    *,
    targets: tuple[str, ...],
    late_s: float,
    breach_s: float,
    follows: Mapping[str, str] | None = None,
    with_people: bool = False,
) -> Overview:
    """Where everybody who has activated stands, from the store as it is now.

    Args:
        database: the store.
        targets: those of the settings.
        late_s: the first edge of a person's window.
        breach_s: the second one.
        follows: targets that act only after another one, by name.
        with_people: list everybody, too: this alone takes memory for each student.
    """
    followed = {
        name: leader for name, leader in (follows or {}).items() if name in targets and leader in targets
    }
    with database.read() as connection:
        counted = population.population(connection, targets, followed)
        windows = population.windows(connection, late_s, breach_s)
        seconds = population.seconds(connection, targets)
        letters = dead_letters.counts(connection)
        retries, now = parking.retries(connection), database.now(connection)
        consumers = status.statuses(connection)
        seen = observation.observed(connection)
        people = [_person(row, targets, followed) for row in _rows(connection)] if with_people else None
    within_15_min, within_60_min, beyond = windows
    return Overview(
        accounts=counted.accounts,
        students=counted.students,
        completed=counted.states.get(population.COMPLETED, 0),
        waiting=counted.states.get(State.WAITING, 0),
        failed=counted.states.get(State.FAILED, 0),
        in_progress=counted.states.get(population.IN_PROGRESS, 0),
        dead_letters=sum(letters.values()),
        within_15_min=within_15_min,
        within_60_min=within_60_min,
        beyond=beyond,
        waiting_by_reason=counted.waiting_by_reason,
        dead_letters_by_cause={f"{consumer} {cause}": n for (consumer, cause), n in sorted(letters.items())},
        retrying={
            f"{one.consumer} {one.cause}": {
                "students": one.students,
                "oldest_s": round(max(0.0, now - one.oldest_at), 1),
            }
            for one in retries
        },
        seconds=seconds,
        targets=counted.targets,
        consumers={one.consumer: {"state": one.state, "reason": one.reason} for one in reversed(consumers)},
        observed={name: asdict(one) for name, one in seen.items() if name in targets},
        people=people,
    )


def _rows(connection: Connection) -> Iterator[_Row]:
    """Everybody who has activated, by number."""
    last = ""
    activated = (
        select(accounts).where(accounts.c.activated_at.is_not(None)).order_by(accounts.c.student_number)
    )
    while (
        page := connection.execute(activated.where(accounts.c.student_number > last).limit(_ROWS_PER_PAGE))
        .mappings()
        .all()
    ):
        numbers = [str(row["student_number"]) for row in page]
        last = numbers[-1]
        progress = {
            row["student_number"]: dict(row)
            for row in rows_among(connection, _PROGRESS, propagation.c.student_number, numbers).mappings()
        }
        seen: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in rows_among(connection, _SEEN, propagation_targets.c.student_number, numbers).mappings():
            seen.setdefault(row["student_number"], {})[row["target"]] = dict(row)
        for row in page:
            number = str(row["student_number"])
            yield _Row(dict(row), progress.get(number), seen.get(number, {}))


def _person(row: _Row, targets: tuple[str, ...], follows: Mapping[str, str]) -> Person:
    account = Account.model_validate_json(row.account["document"])
    found: dict[str, dict[str, Any]] = {}
    for name in targets:
        seen, state = row.seen.get(name), row.target(name, follows.get(name))
        known = seen is not None and state not in (population.OUTSTANDING, population.AFTER)
        found[name] = {
            "state": state,
            "reason": seen["reason"] if known and seen is not None else None,
            "pending": json.loads(seen["pending"] or "[]") if known and seen is not None else [],
        }
    return Person(account.student_number, account.login, account.mail, row.state(), found)
