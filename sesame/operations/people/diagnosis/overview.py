"""Overview of all students: counts by state, causes, and durations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import Field
from sqlalchemy import Connection, select

from consumers.propagation.rows import propagation, propagation_targets
from pipeline import parking, target_states
from pipeline.accounts import accounts, numbers_after
from pipeline.db.bulk_sql import rows_among
from pipeline.dead_letters import rows as dead_letters
from pipeline.target_states import State
from schemas.account import Account
from sesame.acts.acts import DESK, EVERYBODY, Actor, ActPath, Report, act, shown
from sesame.acts.ports import Following
from sesame.operations.people.diagnosis import figures, population, processes
from sesame.operations.people.diagnosis import observed as observation
from sesame.operations.people.diagnosis.figures import Windows
from sesame.operations.people.diagnosis.population import AFTER, IN_PROGRESS, OUTSTANDING
from sesame.operations.people.diagnosis.reasons import for_operator

ACTIVATED: Final = accounts.c.activated_at.is_not(None)
"""The condition for rows of activated students."""

_ROWS_PER_PAGE = 500
_ACCOUNTS: Final = select(accounts)
_PROGRESS: Final = select(propagation)
_SEEN: Final = select(propagation_targets)


@dataclass(frozen=True)
class PersonTargets:
    """One activated student, over all targets. `targets`: state, reason and pending names by target."""

    student_number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]


def everybody(
    connection: Connection, targets: Sequence[str], follows: Mapping[str, str]
) -> Iterator[PersonTargets]:
    """Every activated student, by number."""
    last = ""
    while numbers := numbers_after(connection, ACTIVATED, after=last, limit=_ROWS_PER_PAGE):
        yield from people(connection, numbers, targets, follows)
        last = numbers[-1]


def people(
    connection: Connection, numbers: Sequence[str], targets: Sequence[str], follows: Mapping[str, str]
) -> list[PersonTargets]:
    """These students, with what each target has of them."""
    rows: dict[str, _Rows] = {}
    for row in rows_among(connection, _ACCOUNTS, accounts.c.student_number, numbers).mappings():
        rows[row["student_number"]] = _Rows(dict(row))
    for row in rows_among(connection, _PROGRESS, propagation.c.student_number, numbers).mappings():
        rows[row["student_number"]].progress = dict(row)
    for row in rows_among(connection, _SEEN, propagation_targets.c.student_number, numbers).mappings():
        rows[row["student_number"]].seen[row["target"]] = dict(row)
    return [_person(rows[number], targets, follows) for number in numbers]


@dataclass
class _Rows:
    """One activated student's rows."""

    account: Mapping[str, Any]
    progress: Mapping[str, Any] | None = None
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The newest account version."""
        return int(self.account["version"])

    def state(self) -> str:
        """completed, waiting, failed or in_progress, for the newest version."""
        if self.progress is None or self.progress["version"] < self.version:
            return IN_PROGRESS
        given_up = any(self.target(name) == State.FAILED for name in self.seen)
        return str(State.FAILED if given_up else self.progress["state"])

    def target(self, name: str, leader: str | None = None) -> str:
        """State of one target at the newest version.

        One of: provisioned, waiting, failed, outstanding, or after (its leader waits or has given up).
        """
        seen = self.seen.get(name)
        if seen is not None and seen["version"] >= self.version:
            return str(seen["state"])
        held = leader is not None and self.target(leader) in (State.WAITING, State.FAILED)
        return AFTER if held else OUTSTANDING


def _person(rows: _Rows, targets: Sequence[str], follows: Mapping[str, str]) -> PersonTargets:
    account = Account.model_validate_json(rows.account["document"])
    found: dict[str, dict[str, Any]] = {}
    for name in targets:
        seen, state = rows.seen.get(name), rows.target(name, follows.get(name))
        known = seen is not None and state not in (OUTSTANDING, AFTER)
        found[name] = {
            "state": state,
            "reason": seen["reason"] if known and seen is not None else None,
            "pending": json.loads(seen["pending"] or "[]") if known and seen is not None else [],
        }
    return PersonTargets(account.student_number, account.login, account.mail, rows.state(), found)


class Bar(Report):
    """Completed propagations of up to `upto_s` seconds, beyond the bar before.

    None: longer than all others' edges.
    """

    upto_s: float | None
    students: int


class Overview(Report):
    """State of all activated students.

    Attributes:
        accounts: how many the registry has made, activated or not.
        within_15_min, within_60_min, beyond: completed propagations of persons' acts, each counted once.
        late, breached: propagations under way that have lasted longer than 15 and 60 minutes.
        durations: of the persons' propagations that were completed last.
        for_operator: an operator's work, by consumer and reason or cause: waiting students, and dead letters.
        retrying: retried students, by consumer and cause: how many `students`, and for how long the one who
            failed first (`oldest_s`).
        seconds: quantiles of the time since the window opened, per target and in all, of those who were
            completed last: `diagnosis.population.MEASURED_MAX` at most.
        windows: quantiles over the last hour, day and year: see `figures.PropagationFigures`.
        targets: students by state, per target; `after`: nothing is due there, since the target that it
            follows waits or has given up.
        consumers: state and reason of each, and its processes: see `diagnosis.processes`.
        observed: what would be written to the targets that are only observed, per target: students, unchanged
            ones, students per field, and examples.
        people: only on request.
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
    late: int
    breached: int
    durations: Sequence[Bar]
    waiting_by_reason: Mapping[str, int]
    for_operator: Mapping[str, int]
    dead_letters_by_cause: Mapping[str, int]
    retrying: Mapping[str, Mapping[str, int | float]]
    seconds: Mapping[str, Mapping[str, float]]
    windows: Windows
    targets: Mapping[str, Mapping[str, int]]
    consumers: Mapping[str, Mapping[str, Any]]
    observed: Mapping[str, Mapping[str, Any]]
    people: Sequence[PersonTargets] | None = Field(None, exclude_if=lambda people: people is None)


@act("overview.show", EVERYBODY, path=ActPath("show_overview", "GET", "/overview"))
def show(site: Following, _actor: Actor) -> Overview:
    """Counts of all students."""
    return _overview(site, with_people=False)


@act(
    "overview.people",
    DESK,
    shows=lambda overview: shown(each.student_number for each in overview.people or ()),
)
def show_people(site: Following, _actor: Actor) -> Overview:
    """Counts of all students, with each of them listed."""
    return _overview(site, with_people=True)


def _overview(site: Following, *, with_people: bool) -> Overview:
    """Build the overview of all activated students. `with_people` takes memory for each of them."""
    database, targets, objectives = site.database, site.settings.targets, site.settings.propagation
    with database.read() as connection:
        counted = population.population(connection, targets, site.follows)
        windows = population.windows(connection, objectives.late_s, objectives.breach_s)
        late, breached = population.overdue(connection)
        ends = population.edges(objectives.late_s, objectives.breach_s)
        bars = population.histogram(connection, ends)
        seconds = population.seconds(connection, targets)
        letters = dead_letters.counts(connection)
        waiting = target_states.waiting_counts(connection)
        retries, now = parking.retries(connection), database.now(connection)
        spans = figures.windows(connection, now)
        consumers = processes.consumers(connection, database, site.settings.consumers)
        seen = observation.observed(connection)
        people = list(everybody(connection, targets, site.follows)) if with_people else None
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
        late=late,
        breached=breached,
        durations=[Bar(upto_s=end, students=n) for end, n in zip((*ends, None), bars, strict=True)],
        waiting_by_reason=counted.waiting_by_reason,
        for_operator={
            f"{consumer} {reason}": count
            for (consumer, reason), count in for_operator(waiting, letters).items()
        },
        dead_letters_by_cause={f"{consumer} {cause}": n for (consumer, cause), n in sorted(letters.items())},
        retrying={
            f"{one.consumer} {one.cause}": {
                "students": one.students,
                "oldest_s": round(max(0.0, now - one.oldest_at), 1),
            }
            for one in retries
        },
        seconds=seconds,
        windows=spans,
        targets=counted.targets,
        consumers={name: one.model_dump() for name, one in consumers.items()},
        observed={name: asdict(one) for name, one in seen.items() if name in targets},
        people=people,
    )
