"""A person's wait for a target, idle or during a resynchronisation.

From the bell on the log to the target's answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row
from pipeline.db.database import Database
from pipeline.engine.limits import Limits
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import HandlerOutcome, Task
from schemas import catalogue
from schemas.account import Lane

BULK, PERSONS = 40_000, 200
BATCH, SLOTS = 50, 4
CALL_S = 0.1  # so that the bulk outlasts the persons
EVERY_S = 0.05  # a person every so often, as on a busy morning
LIMITS = Limits(batch_size=BATCH, linger_s=0.02, slots=SLOTS, slots_personal=1, ahead=2 * SLOTS)


class Timed(Nothing):
    """A target that notes when each person was served."""

    def __init__(self) -> None:
        super().__init__(BATCH, lambda _tasks: time.sleep(CALL_S))
        self.served: dict[str, float] = {}

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `pipeline.target.Handler`."""
        outcomes = super().handle(tasks)
        now = time.perf_counter()
        self.served |= {
            task.account.student_number: now for task in tasks if task.account.lane is Lane.PERSONAL
        }
        return outcomes


def waits_ms(bulk: Sequence[str], persons: Sequence[str]) -> list[float]:
    """Each person's wait, with this much in bulk waiting from the start."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 4))
        _prepare(database, bulk, persons)
        ring(log, (bell(number, Lane.BULK) for number in bulk))
        handler, producer = Timed(), log.producer()
        rang: dict[str, float] = {}
        with running(log, database, handler, LIMITS) as observer:
            for number in persons:
                rang[number] = time.perf_counter()
                producer.append([bell(number)])
                time.sleep(EVERY_S)
            until(lambda: rang.keys() <= handler.served.keys(), observer)
        producer.close()
        log.close()
        if bulk and handler.done >= len(bulk) + len(persons):
            raise RuntimeError("the batch had ended before the last person came: make it longer")
    return [(handler.served[number] - rang[number]) * 1000 for number in persons]


def _prepare(database: Database, bulk: Iterable[str], persons: Iterable[str]) -> None:
    fill(database, (account_of(number, Lane.BULK) for number in bulk))
    fill(database, map(account_of, persons))


def rows(runs: int) -> Sequence[Row]:
    """Measure both, in turn."""
    busy, idle = [], []
    everybody = numbers(BULK + PERSONS)
    persons, bulk = everybody[:PERSONS], everybody[PERSONS:]
    for _ in range(runs):
        idle += waits_ms([], persons)
        busy += waits_ms(bulk, persons)
    return [
        Row(
            f"person-during-{BULK}-bulk-{name}",
            "ms",
            _at(busy, percent),
            ratio=_at(busy, percent) / _at(idle, percent),
            peers={"idle": _at(idle, percent)},
            note=f"one target of {CALL_S * 1000:g} ms a call of {BATCH}",
        )
        for name, percent in (("p50", 50), ("p99", 99))
    ]


def _at(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]
