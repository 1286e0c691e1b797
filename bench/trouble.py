"""The cost of one student's trouble to others: work with and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.engine_full import limits
from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row, side_by_side
from pipeline.eventlog.port import NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import HandlerOutcome, Retry, Task
from schemas import catalogue

FIRST, STUDENTS = 1_000, 20_000
BATCH = 50
SHARE_LEFT = 0.98
PAIRS = 5  # for each run: the effect is smaller than two runs' difference
_EVERY = 200  # of the others' bells: how often the failing student's rings once more


class OneFails(Nothing):
    """A target that takes all students but one."""

    def __init__(self, batch_size: int, failing: str | None) -> None:
        super().__init__(batch_size)
        self._failing = failing

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `pipeline.target.Handler`."""
        well = [task for task in tasks if task.account.student_number != self._failing]
        outcomes = dict(super().handle(well))
        if len(well) < len(tasks) and self._failing is not None:
            outcomes[self._failing] = Retry("target_busy", "always")
        return outcomes


def others_per_second(*, failing: bool) -> float:
    """Other students brought over each second, after some that are not counted."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 4))
        one, *others = numbers(1 + FIRST + STUDENTS)
        fill(database, map(account_of, (one, *others)))
        handler = OneFails(BATCH, one if failing else None)
        elapsed_s = 0.0
        for some in (others[:FIRST], others[FIRST:]):
            # Without trouble that student's bells are rung as well: after the first they find nothing to do.
            ring(log, _bells(one, some))
            wanted = handler.done + len(some) + (handler.done == 0 and not failing)
            begun = time.perf_counter()
            with running(log, database, handler, limits(BATCH)) as observer:
                until(partial(_over, handler, wanted), observer)
                elapsed_s = time.perf_counter() - begun
        log.close()
    return STUDENTS / elapsed_s


def _bells(one: str, others: Sequence[str]) -> Iterator[NewRecord]:
    for index, number in enumerate(others):
        if index % _EVERY == 0:
            yield bell(one, tell_apart=number)
        yield bell(number)


def _over(handler: OneFails, wanted: int) -> bool:
    return handler.done >= wanted


def rows(runs: int) -> Sequence[Row]:
    """Measure both, in turn."""
    found = side_by_side(
        {
            "nobody fails": lambda: others_per_second(failing=False),
            "one fails": lambda: others_per_second(failing=True),
        },
        PAIRS * runs,
    )
    well, ill = found["nobody fails"], found["one fails"]
    return [
        Row(
            "one-failing-key",
            "students/s",
            ill,
            limit=SHARE_LEFT,
            ratio=ill / well,
            peers={"nobody fails": well},
            note=f"the others' rate while one student's work always fails; medians of {PAIRS * runs} pairs",
        )
    ]
