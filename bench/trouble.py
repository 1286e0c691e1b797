"""What one student's trouble costs the others: the same work with and without one key that always fails."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.engine_full import limits
from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row, side_by_side
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import HandlerOutcome, Retry, Task
from schemas import catalogue

STUDENTS = 10_000
BATCH = 50
SHARE_LEFT = 0.98
PAIRS = 5  # for each run: what is looked for is smaller than what two runs differ by
_EVERY = 200  # of the others' bells: how often the failing student's rings once more


class OneFails(Nothing):
    """A target that takes everybody but one."""

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
    """How many of the others are brought over each second."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 4))
        one, *others = numbers(STUDENTS + 1)
        fill(database, map(account_of, (one, *others)))
        bells = []
        for index, number in enumerate(others):
            if index % _EVERY == 0:  # without trouble these bells are rung as well, and find nothing to do
                bells.append(bell(one, tell_apart=index))
            bells.append(bell(number))
        ring(log, bells)
        handler = OneFails(BATCH, one if failing else None)
        wanted = STUDENTS if failing else STUDENTS + 1
        begun = time.perf_counter()
        with running(log, database, handler, limits(BATCH)) as observer:
            until(lambda: handler.done >= wanted, observer)
            elapsed_s = time.perf_counter() - begun
        log.close()
    return STUDENTS / elapsed_s


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
