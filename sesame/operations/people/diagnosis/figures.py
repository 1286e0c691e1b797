"""Public figures of how fast accounts are made: quantiles without persons.

A university may publish them, so readers need no rights; a named group has at least `COHORT_MIN` students.
"""

from __future__ import annotations

import json
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from consumers.propagation import times
from consumers.propagation.rows import propagation as p
from consumers.propagation.rows import propagation_targets as pt
from consumers.propagation.settings import PropagationSettings
from pipeline.accounts import accounts as a
from pipeline.db.database import Database
from schemas.account import Lane
from sesame.acts.acts import Report, utc
from sesame.operations.people.diagnosis.population import COMPLETED, MEASURED_MAX

OVER_S: Final = 24 * 3600.0
SPANS_S: Final = {"hour": 3600.0, "day": OVER_S, "year": 365 * OVER_S}
COHORT_MIN: Final = 10
"""Smallest cohort that is named: in a smaller one a time could identify a student."""

KEPT_S: Final = 60.0
PERCENTS: Final = (50, 95, 99)


class Quantiles(Report):
    """Nearest-rank quantiles, in seconds since the window opened, of so many students."""

    students: int
    p50: float
    p95: float
    p99: float


class LaneFigures(Report):
    """Figures of one lane: persons' own acts, or batches.

    Attributes:
        all: until every target was observed; None: no propagation was completed.
        within_late, within_breach, beyond: students by the objectives' two times.
        targets, cohorts: of each target; of each cohort that has enough students.
        at_least: there were more, and only the newest are counted.
    """

    all: Quantiles | None
    within_late: int
    within_breach: int
    beyond: int
    targets: Mapping[str, Quantiles]
    cohorts: Mapping[str, Quantiles]
    at_least: bool


class SpanFigures(Report):
    """Quantiles of a span, to 2.5 %: whole, of targets, of cohorts of enough students."""

    all: Quantiles | None
    targets: Mapping[str, Quantiles]
    cohorts: Mapping[str, Quantiles]


Windows = Mapping[str, Mapping[str, SpanFigures]]
"""By what opened the window (`times.Start`), then by span: `hour`, `day`, `year`."""


class PropagationFigures(Report):
    """Public figures of propagation times.

    Attributes:
        at: when they were made (RFC 3339).
        over_s: lanes count students whose newest propagation was completed within so many seconds before.
        late_s, breach_s: the objectives.
        windows: from activation, and from the registrar's facts about an active student, to completion.
    """

    at: datetime
    over_s: float
    late_s: float
    breach_s: float
    lanes: Mapping[str, LaneFigures]
    windows: Windows


class Figures:
    """Builds the figures at most once every `KEPT_S` seconds. Thread-safe."""

    def __init__(
        self,
        database: Database,
        targets: Sequence[str],
        objectives: PropagationSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._targets = tuple(targets)
        self._objectives = objectives
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._known: PropagationFigures | None = None
        self._until = float("-inf")

    def now(self) -> PropagationFigures:
        """The figures, at most `KEPT_S` seconds old. Raises `StoreUnavailable`: retry."""
        with self._turn:
            if self._known is None or self._monotonic() >= self._until:
                with self._database.read() as connection:
                    now = self._database.now(connection)
                    self._known = measure(connection, self._targets, self._objectives, now)
                self._until = self._monotonic() + KEPT_S
            return self._known


def measure(
    connection: Connection, targets: Sequence[str], objectives: PropagationSettings, now: float
) -> PropagationFigures:
    """Compute the figures. `now`: Unix time, in seconds."""
    return PropagationFigures(
        at=utc(now),
        over_s=OVER_S,
        late_s=objectives.late_s,
        breach_s=objectives.breach_s,
        lanes={lane.value: _of_lane(connection, lane, targets, objectives, now) for lane in Lane},
        windows=windows(connection, now),
    )


def windows(connection: Connection, now: float) -> Windows:
    """Quantiles of what was completed within the last hour, day and year. `now`: Unix time, in seconds."""
    counted = times.counted(connection, SPANS_S, now, least=COHORT_MIN)
    return {start.value: {span: _span(of, start) for span, of in counted.items()} for start in times.Start}


def _span(counted: times.Counted, start: times.Start) -> SpanFigures:
    found: dict[str, dict[str, Quantiles]] = {times.ALL: {}, times.TARGET: {}, times.COHORT: {}}
    for (opened_by, kind, name), buckets in counted.items():
        if opened_by == start:
            found[kind][name] = _of_buckets(buckets)
    return SpanFigures(all=found[times.ALL].get(""), targets=found[times.TARGET], cohorts=found[times.COHORT])


def _of_buckets(buckets: Sequence[tuple[int, int]]) -> Quantiles:
    """Nearest-rank quantiles of students in buckets, the shortest first."""
    ranks = list(accumulate(students for _, students in buckets))

    def at(percent: int) -> float:
        rank = max(1, math.ceil(percent * ranks[-1] / 100))
        return round(times.seconds_of(buckets[bisect_left(ranks, rank)][0]), 3)

    p50, p95, p99 = map(at, PERCENTS)
    return Quantiles(students=ranks[-1], p50=p50, p95=p95, p99=p99)


@dataclass(frozen=True, slots=True)
class CompletedPropagation:
    """A student's completed propagation: total time, time to each target, cohorts."""

    elapsed_s: float
    targets: Mapping[str, float]
    cohorts: Sequence[str]


def _of_lane(
    connection: Connection, lane: Lane, targets: Sequence[str], objectives: PropagationSettings, now: float
) -> LaneFigures:
    day = (now - OVER_S, math.inf)
    done = list(completed(connection, lane, targets, day, most=MEASURED_MAX))
    took = [each.elapsed_s for each in done]
    late = sum(1 for elapsed_s in took if elapsed_s <= objectives.late_s)
    breach = sum(1 for elapsed_s in took if elapsed_s <= objectives.breach_s)
    at_each = {name: [each.targets[name] for each in done if name in each.targets] for name in targets}
    of_cohorts: dict[str, list[float]] = {}
    for each in done:
        for cohort in each.cohorts:
            of_cohorts.setdefault(cohort, []).append(each.elapsed_s)
    return LaneFigures(
        all=quantiles(took),
        within_late=late,
        within_breach=breach - late,
        beyond=len(took) - breach,
        targets={name: found for name, values in at_each.items() if (found := quantiles(values))},
        cohorts={
            name: found
            for name, values in sorted(of_cohorts.items())
            if len(values) >= COHORT_MIN and (found := quantiles(values))
        },
        at_least=len(done) == MEASURED_MAX,
    )


def completed(
    connection: Connection,
    lane: Lane,
    targets: Sequence[str],
    within: tuple[float, float],
    *,
    most: int | None = None,
) -> Iterator[CompletedPropagation]:
    """Completed propagations, the newest first. `within`: Unix times, only the second included."""
    begins, ends = within
    newest = (
        select(p.c.student_number, p.c.opened_at, func.coalesce(p.c.elapsed_s, 0.0).label("elapsed_s"))
        .where(p.c.state == COMPLETED, p.c.lane == lane, p.c.completed_at > begins, p.c.completed_at <= ends)
        .order_by(p.c.completed_at.desc())
        .limit(most)
        .cte("newest")
    )
    at_each = [
        select(pt.c.finished_at)
        .where(pt.c.student_number == newest.c.student_number, pt.c.target == target)
        .scalar_subquery()
        for target in targets
    ]
    document = select(a.c.document).where(a.c.student_number == newest.c.student_number).scalar_subquery()
    query = select(newest.c.opened_at, newest.c.elapsed_s, document, *at_each)
    for row in connection.execute(query):
        yield _done(row, targets)


def _done(row: Row[Any], targets: Sequence[str]) -> CompletedPropagation:
    opened_at, elapsed_s, document, *finished = tuple(row)
    cohorts = () if document is None else json.loads(document).get("cohorts", ())
    return CompletedPropagation(
        elapsed_s,
        # Work repeated in a later pass does not count beyond the completion.
        {
            name: min(max(at - opened_at, 0.0), elapsed_s)
            for name, at in zip(targets, finished, strict=True)
            if at is not None
        },
        [cohort["key"] for cohort in cohorts],
    )


def quantiles(seconds: Sequence[float]) -> Quantiles | None:
    """Quantiles of these times; None: there are no times."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    ranks = [max(1, math.ceil(percent * len(ordered) / 100)) for percent in PERCENTS]
    p50, p95, p99 = (round(ordered[rank - 1], 3) for rank in ranks)
    return Quantiles(students=len(ordered), p50=p50, p95=p95, p99=p99)
