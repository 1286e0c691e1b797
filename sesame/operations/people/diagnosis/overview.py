"""Overview of all students: counts by state, causes, and durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from pipeline import parking, target_states
from pipeline.dead_letters import rows as dead_letters
from pipeline.target_states import State
from sesame.acts.acts import Actor, Report, act, shown
from sesame.acts.ports import Following
from sesame.operations.people.diagnosis import observed as observation
from sesame.operations.people.diagnosis import population, processes
from sesame.operations.people.diagnosis.people import PersonTargets, everybody
from sesame.operations.people.diagnosis.reasons import for_operator


class Bar(Report):
    """Completed propagations that lasted up to `upto_s` seconds (None: longer than all others' edges), and
    longer than those of the bar before."""

    upto_s: float | None
    students: int


class Overview(Report):
    """Everybody who has activated.

    Attributes:
        accounts: how many the registry has made, activated or not.
        within_15_min, within_60_min, beyond: completed propagations of persons' acts, each counted once.
        late, breached: propagations under way that have lasted longer than 15 and 60 minutes.
        durations: how long persons' propagations lasted that were completed last.
        for_operator: what an operator must mend, by consumer and reason or cause: students who wait, and dead
            letters.
        retrying: who is tried again after failures, by consumer and cause: how many `students`, and for how
            long the one who failed first (`oldest_s`).
        seconds: quantiles of the time since the window opened, per target and in all, of those who were
            completed last: `diagnosis.population.MEASURED_MAX` at most.
        targets: how many students are in which state, per target; `after`: nothing is due there, since the
            target that it follows waits or has given up.
        consumers: state and reason of each, and its processes: see `diagnosis.processes`.
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
    late: int
    breached: int
    durations: Sequence[Bar]
    waiting_by_reason: Mapping[str, int]
    for_operator: Mapping[str, int]
    dead_letters_by_cause: Mapping[str, int]
    retrying: Mapping[str, Mapping[str, int | float]]
    seconds: Mapping[str, Mapping[str, float]]
    targets: Mapping[str, Mapping[str, int]]
    consumers: Mapping[str, Mapping[str, Any]]
    observed: Mapping[str, Mapping[str, Any]]
    people: Sequence[PersonTargets] | None = Field(None, exclude_if=lambda people: people is None)


@act("overview.show")
def show(site: Following, _actor: Actor) -> Overview:
    """Counts of all students."""
    return _overview(site, with_people=False)


@act("overview.people", shows=lambda overview: shown(each.student_number for each in overview.people or ()))
def show_people(site: Following, _actor: Actor) -> Overview:
    """Counts of all students, with each of them listed."""
    return _overview(site, with_people=True)


def _overview(site: Following, *, with_people: bool) -> Overview:
    """Build the overview of all activated students from the store as it is now.

    Args:
        site: whose store and targets.
        with_people: list everybody, too: this alone takes memory for each student.
    """
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
        targets=counted.targets,
        consumers={name: one.model_dump() for name, one in consumers.items()},
        observed={name: asdict(one) for name, one in seen.items() if name in targets},
        people=people,
    )
