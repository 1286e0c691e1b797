"""Drain rate of a backlog once a target is back, against the undisturbed rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plant import (
    Nothing,
    account_of,
    bell,
    embedded,
    fill,
    migrated,
    numbers,
    replay,
    ring,
    running,
    until,
)
from bench.rows import Row, side_by_side
from pipeline.engine.limits import EngineSettings, Limits
from pipeline.errors import TargetDown
from pipeline.eventlog.port import NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import HandlerOutcome, Task
from schemas import catalogue

STUDENTS = 5_000
BATCH = 50
CALL_S, STUDENT_S = 0.1, 0.002  # a call is dear, for one student or many
SHARE_WANTED = 0.9
PAIRS = 3  # for each run


class Away(Nothing):
    """A target that may be away, and takes a while for each call.

    Attributes:
        away: no call is answered, nor a probe.
        refused: calls that failed.
        first_at: when the first call since it is back was answered; `time.perf_counter`.
    """

    def __init__(self, *, away: bool) -> None:
        super().__init__(BATCH)
        self.away = away
        self.refused = self.probes = 0
        self.first_at: float | None = None

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `pipeline.target.Handler`."""
        if self.away:
            self.refused += 1
            raise TargetDown("away", unknown=False)
        time.sleep(CALL_S + STUDENT_S * len(tasks))
        outcomes = super().handle(tasks)
        if self.first_at is None:
            self.first_at = time.perf_counter()
        return outcomes

    def probe(self) -> None:
        """See `pipeline.target.Handler`."""
        self.probes += 1
        if self.away:
            raise TargetDown("away", unknown=False)


def per_second(bells: Callable[[str], NewRecord], *, outage: bool, applied: bool) -> float:
    """Students per second, from the first answer on (after an outage, if any).

    Args:
        bells: the record that rings for a student.
        outage: the target is away when the work begins, and comes back after a while.
        applied: all students have been brought over before.
    """
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 4))
        students = numbers(STUDENTS)
        fill(database, map(account_of, students))
        if applied:
            ring(log, map(bell, students))
            with running(log, database, Nothing(BATCH), limits()) as observer:
                until(lambda: observer.recorded >= STUDENTS, observer)
        ring(log, map(bells, students))
        handler = Away(away=outage)
        with running(log, database, handler, limits(), owner="drain") as observer:
            if outage:
                until(lambda: handler.refused > 0 and handler.probes > 0, observer)
                handler.away = False
            until(lambda: observer.recorded >= STUDENTS, observer)
            over_at = time.perf_counter()
        log.close()
        if handler.first_at is None:
            raise RuntimeError("nobody was called for")
    return (STUDENTS - BATCH) / (over_at - handler.first_at)


def limits() -> Limits:
    """Bounds as shipped, with quick probes: the outage's length does not matter here."""
    delays = {"probe_delay_s_min": 0.1, "probe_delay_s_max": 0.1}
    return EngineSettings().limits(batch_size=BATCH).model_copy(update=delays)


def rows(runs: int) -> Sequence[Row]:
    """Measure activations and replays, each with and without an outage, in turn."""
    found = side_by_side(
        {
            f"{work}, {'after an outage' if outage else 'undisturbed'}": partial(
                per_second, bells, outage=outage, applied=work == "replays"
            )
            for work, bells in (("activations", bell), ("replays", replay))
            for outage in (False, True)
        },
        PAIRS * runs,
    )
    return [_row(work, found) for work in ("activations", "replays")]


def _row(work: str, found: Mapping[str, float]) -> Row:
    drained, undisturbed = found[f"{work}, after an outage"], found[f"{work}, undisturbed"]
    return Row(
        f"drain-after-outage-{work}",
        "students/s",
        drained,
        limit=SHARE_WANTED,
        ratio=drained / undisturbed,
        peers={"undisturbed": undisturbed},
        note=f"{STUDENTS:,} {work} in calls of {BATCH} that take {1000 * CALL_S:g} ms and "
        f"{1000 * STUDENT_S:g} ms a student, from the first answer after the outage on",
    )
