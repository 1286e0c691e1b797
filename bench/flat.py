"""Whether a target slows down: the last 800 of 8,000 students against the first.

Two of a kind: one that was brought 7,200 students, and a new one. Each is brought 800 more, in turns of 80,
so that what disturbs the machine disturbs both. Every student is new, and each has to be done, or the row
fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.engine_full import BATCH, PARTITIONS, limits
from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row
from bench.saturation import (
    Target,
    active_directory_target,
    carried,
    dovecot_target,
    moodle_target,
    scim_target,
    slapd_target,
)
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import Task
from sandbox.process import MissingServer
from schemas import catalogue

EARLIER, EACH, TURN = 7_200, 800, 80
PARALLEL = 4
WANTED = 0.9

_THEIRS = {
    "scim": "; the sandbox's server looks through all that it holds, in Python, and our client takes as much"
    " processor time for the last as for the first"
}
"""Kinds whose own server slows down: their row has no limit."""

Bring = Callable[[int], float]
"""Bring so many new students; return the seconds that it took."""


@contextmanager
def by_handler(started: Callable[[], AbstractContextManager[Target]]) -> Iterator[Bring]:
    """A server, and the target's own handler, called from four threads."""
    with started() as target, ThreadPoolExecutor(PARALLEL) as pool:
        handler = target.handler(None)

        def bring(students: int) -> float:
            tasks = [Task(account) for account in target.people(students)]
            begun = time.perf_counter()
            carried(target, handler, tasks, pool)
            return time.perf_counter() - begun

        yield bring
        handler.close()


@contextmanager
def by_store() -> Iterator[Bring]:
    """Our own store and log, embedded, and a target that does nothing."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        left = iter(numbers(EARLIER + EACH))
        with running(log, database, Nothing(BATCH), limits(BATCH)) as observer:

            def bring(students: int) -> float:
                chosen = [next(left) for _ in range(students)]
                fill(database, map(account_of, chosen))
                recorded = observer.recorded + students
                begun = time.perf_counter()
                ring(log, map(bell, chosen))
                until(lambda: observer.recorded >= recorded, observer)
                return time.perf_counter() - begun

            yield bring
        log.close()


def row(name: str, opened: Callable[[], AbstractContextManager[Bring]], runs: int) -> Row:
    """Measure one kind."""
    first, last, ratios = [], [], []
    for _ in range(runs):
        with opened() as full, opened() as new:
            full(EARLIER)
            turns = [(new(TURN), full(TURN)) for _ in range(EACH // TURN)]
        of_new, of_full = (sum(each) for each in zip(*turns, strict=True))
        first.append(EACH / of_new)
        last.append(EACH / of_full)
        ratios.append(of_new / of_full)
    return Row(
        f"{name}-flat",
        "students/s",
        median(last),
        limit=None if name in _THEIRS else WANTED,
        ratio=median(ratios),
        peers={f"the first {EACH}": median(first)},
        note=f"the last {EACH} of {EARLIER + EACH:,}, in turns of {TURN} with the first of a new one"
        + _THEIRS.get(name, ""),
    )


KINDS: dict[str, Callable[[], AbstractContextManager[Bring]]] = {
    "mailbox": partial(by_handler, dovecot_target),
    "directory": partial(by_handler, slapd_target),
    "moodle": partial(by_handler, partial(moodle_target, one_cohort=True)),
    "active-directory": partial(by_handler, active_directory_target),
    "scim": partial(by_handler, scim_target),
    "store": by_store,
}


def rows(runs: int) -> Sequence[Row]:
    """Measure. A third of the runs, since each brings some 9,000 students to every kind."""
    found = []
    for name, opened in KINDS.items():
        try:
            found.append(row(name, opened, max(1, runs // 3)))
        except MissingServer as missing:
            print(f"{name}-flat: left out: {missing}", file=sys.stderr)
    return found


if __name__ == "__main__":
    for chosen in sys.argv[1:] or KINDS:
        print(row(chosen, KINDS[chosen], 1).as_json(), flush=True)
