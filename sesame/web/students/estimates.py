"""A service's usual and present time, from the last hours' measurements.

A student's time at a target is counted from the opening of the window to the read-back, as the propagation
consumer does. Only personal acts count, as bulk work waits for them; what the registrar's next import would
change takes as long as imports did. Now means: those finished in the last
minutes, and those waiting, with their wait so far, which is a lower bound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from consumers.propagation.rows import propagation, propagation_targets
from pipeline.target_states import State
from schemas.account import Account, Lane
from sesame.acts.ports import Following
from sesame.operations.work.forecast.places import QueuePlaces, places

USUAL_OVER_S = 24 * 3600.0
PRESENT_OVER_S = 600.0
MEASURED_MIN = 3
KEPT_S = 5.0
FORECAST_KEPT_S: Final = 20.0
SOON: Final = timedelta(seconds=90)
"""Nobody looks at a clock for less."""
ROWS_MAX = 5_000


@dataclass(frozen=True)
class Expected:
    """Seconds; None where too little was measured.

    Attributes:
        within_s: 95 of 100 personal acts took at most so long.
        within_bulk_s: likewise, of what the registrar's imports changed.
        done_at: of a queue that takes longer, when it has come to this student.
    """

    usual_s: float | None
    present_s: float | None
    within_s: float | None = None
    within_bulk_s: float | None = None
    done_at: datetime | None = None


class Expectations:
    """The expected time of each target, measured every few seconds. Thread-safe."""

    def __init__(self, site: Following, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._site = site
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._known: Mapping[str, Expected] = {}
        self._until = float("-inf")
        self._places: QueuePlaces | None = None
        self._places_until = float("-inf")

    def all(self) -> Mapping[str, Expected]:
        """The expected time of each target."""
        with self._turn:
            if self._monotonic() >= self._until:
                database = self._site.database
                with database.read() as connection:
                    now = database.now(connection)
                    self._known = measure(connection, self._site.settings.targets, now)
                self._until = self._monotonic() + KEPT_S
            return self._known

    def of(self, account: Account) -> Mapping[str, Expected]:
        """The same for one student, who has a place in the queue."""
        known = self.all()
        if account.opened_at is None:
            return known
        with self._turn:
            if self._monotonic() >= self._places_until:
                self._places = places(self._site)
                self._places_until = self._monotonic() + FORECAST_KEPT_S
            queue = self._places
        if queue is None:
            return known
        opened_at, mine = account.opened_at.timestamp(), dict(known)
        for target, expected in known.items():
            done_at = queue.done_at(target, account.lane, opened_at)
            if done_at is not None and done_at - queue.found.at > SOON:
                mine[target] = replace(expected, done_at=done_at)
        return mine


def measure(connection: Connection, targets: Sequence[str], now: float) -> dict[str, Expected]:
    """Measure every target."""
    done, in_bulk = (_done(connection, lane, now) for lane in (Lane.PERSONAL, Lane.BULK))
    waiting = _waiting(connection, targets, now)
    found = {}
    for target in targets:
        mine = [(finished_at, elapsed_s) for name, finished_at, elapsed_s in done if name == target]
        recent = [elapsed_s for finished_at, elapsed_s in mine if finished_at > now - PRESENT_OVER_S]
        every = [elapsed_s for _, elapsed_s in mine]
        found[target] = Expected(
            usual_s=_share(every, 0.5),
            present_s=_share([*recent, *waiting.get(target, ())], 0.5),
            within_s=_share(every, 0.95),
            within_bulk_s=_share([elapsed_s for name, _, elapsed_s in in_bulk if name == target], 0.95),
        )
    return found


def _done(connection: Connection, lane: Lane, now: float) -> Sequence[Row[Any, Any, Any]]:
    return connection.execute(
        select(
            propagation_targets.c.target,
            propagation_targets.c.finished_at,
            propagation_targets.c.finished_at - propagation.c.opened_at,
        )
        .join(propagation, propagation.c.student_number == propagation_targets.c.student_number)
        .where(
            propagation.c.lane == lane,
            propagation_targets.c.state == State.PROVISIONED,
            propagation_targets.c.finished_at > now - USUAL_OVER_S,
            propagation_targets.c.finished_at >= propagation.c.opened_at,
        )
        .order_by(propagation_targets.c.finished_at.desc())
        .limit(ROWS_MAX)
    ).all()


def _waiting(connection: Connection, targets: Sequence[str], now: float) -> dict[str, list[float]]:
    under_way = connection.execute(
        select(propagation.c.student_number, propagation.c.version, propagation.c.opened_at)
        .where(propagation.c.lane == Lane.PERSONAL, propagation.c.state == "in_progress")
        .limit(ROWS_MAX)
    ).all()
    seen = connection.execute(
        select(
            propagation_targets.c.student_number, propagation_targets.c.target, propagation_targets.c.version
        )
        .join(propagation, propagation.c.student_number == propagation_targets.c.student_number)
        .where(propagation.c.lane == Lane.PERSONAL, propagation.c.state == "in_progress")
        .limit(ROWS_MAX * max(1, len(targets)))
    ).all()
    finished = {(number, target): version for number, target, version in seen}
    waiting: dict[str, list[float]] = {}
    for number, version, opened_at in under_way:
        for target in targets:
            if finished.get((number, target), 0) < version:
                waiting.setdefault(target, []).append(max(0.0, now - opened_at))
    return waiting


def _share(values: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed."""
    if len(values) < MEASURED_MIN:
        return None
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
