"""Whether a target slows down: students at one that holds many already, against a new one.

Two of a kind: a full one and a new one. Each is brought 800 students, in turns of 80, so that what disturbs
the machine disturbs both. Every student is new, and each has to be done, or the row fails. The rows `-flat`
were brought 7,200 before, so that our own processes are as old, too; the rows `-at-scale` hold a large
university's copies of one student.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.copies import Copies, fill_directory, fill_moodle, fill_store
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
AT_SCALE = {"directory": 200_000, "moodle": 40_000, "store": 1_000_000}
"""What the full one of a kind holds: entries, members of the one cohort, accounts."""

_REMARKS = {
    "active-directory": "; Samba itself adds a user more slowly to a domain of many",
    "directory": "; slapd in memory",
    "scim": "; the sandbox's server looks through all that it holds; our client takes no more for the last",
}
_THEIRS = ("active-directory", "scim")
"""Kinds whose own server slows down: their row has no limit."""

Bring = Callable[[int], float]
"""Bring so many new students; return the seconds that it took."""


@contextmanager
def by_handler(
    started: Callable[[], AbstractContextManager[Target]],
    fill: Callable[[Any, Copies, int], None] | None,
    copies: int,
) -> Iterator[Bring]:
    """A server that holds so many copies, and the target's own handler, called from four threads."""
    with started() as target, ThreadPoolExecutor(PARALLEL) as pool:
        if copies:
            assert fill is not None
            [first] = target.people(1)
            with closing(target.handler(None)) as handler:
                carried(target, handler, [Task(first)], pool)
            fill(target.server, Copies(first.student_number, str(first.login)), copies)

        def bring(students: int) -> float:
            tasks = [Task(account) for account in target.people(students)]
            begun = time.perf_counter()
            carried(target, handler, tasks, pool)
            return time.perf_counter() - begun

        with closing(target.handler(None)) as handler:
            yield bring


@contextmanager
def slapd_in_memory() -> Iterator[Target]:
    """OpenLDAP without a disk: ext4 with large folios is slow at a file that slapadd wrote."""
    with TemporaryDirectory(prefix="sl-", dir="/dev/shm") as name, slapd_target(folder=Path(name)) as target:
        yield target


@contextmanager
def by_store(copies: int) -> Iterator[Bring]:
    """Our own store and log, embedded, and a target that does nothing."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        left = iter(numbers(1 + EARLIER + EACH + TURN))
        with running(log, database, Nothing(BATCH), limits(BATCH)) as observer:

            def bring(students: int) -> float:
                chosen = [next(left) for _ in range(students)]
                fill(database, map(account_of, chosen))
                recorded = observer.recorded + students
                begun = time.perf_counter()
                ring(log, map(bell, chosen))
                until(lambda: observer.recorded >= recorded, observer)
                return time.perf_counter() - begun

            if copies:
                first = account_of(numbers(1)[0])
                bring(1)
                fill_store(Path(name) / "store.db", Copies(first.student_number, str(first.login)), copies)
            yield bring
        log.close()


def row(name: str, runs: int, copies: int = 0) -> Row:
    """Measure one kind: with so many copies, or with as many new students as a worker brings in a while."""
    opened = KINDS[name]
    first, last, ratios = [], [], []
    for _ in range(runs):
        with opened(copies) as full, opened(0) as new:
            full(TURN if copies else EARLIER)
            new(TURN if copies else 0)
            turns = [(new(TURN), full(TURN)) for _ in range(EACH // TURN)]
        of_new, of_full = (sum(each) for each in zip(*turns, strict=True))
        first.append(EACH / of_new)
        last.append(EACH / of_full)
        ratios.append(of_new / of_full)
    held = f"beside {copies:,} held" if copies else f"the last {EACH} of {EARLIER + EACH:,}"
    return Row(
        f"{name}-{'at-scale' if copies else 'flat'}",
        "students/s",
        median(last),
        limit=None if name in _THEIRS else WANTED,
        ratio=median(ratios),
        peers={f"the first {EACH}": median(first)},
        note=held + _REMARKS.get(name, ""),
    )


KINDS: dict[str, Callable[[int], AbstractContextManager[Bring]]] = {
    "mailbox": partial(by_handler, dovecot_target, None),
    "directory": partial(by_handler, slapd_in_memory, fill_directory),
    "moodle": partial(by_handler, partial(moodle_target, one_cohort=True), fill_moodle),
    "active-directory": partial(by_handler, active_directory_target, None),
    "scim": partial(by_handler, scim_target, None),
    "store": by_store,
}


def _sizes(name: str) -> list[int]:
    return [0, AT_SCALE[name]] if name in AT_SCALE else [0]


def rows(runs: int) -> Sequence[Row]:
    """Measure. A third of the runs, since each brings some 9,000 students to every kind."""
    found = []
    for name in KINDS:
        try:
            found += [row(name, max(1, runs // 3), copies) for copies in _sizes(name)]
        except MissingServer as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
    return found


if __name__ == "__main__":
    for chosen in sys.argv[1:] or KINDS:
        for size in _sizes(chosen):
            print(row(chosen, 1, size).as_json(), flush=True)
