"""Students that one process carries when the target costs nothing.

The whole order of effects, as shipped: one bell each, the lease and the newest account from the store, the
outcome acknowledged by the log, the applied version recorded, the offset committed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row, middle
from pipeline.engine.limits import Limits
from pipeline.eventlog.sqlite import SqliteEventLog
from sandbox.postgres import Postgres
from sandbox.process import MissingServer
from schemas import catalogue

STUDENTS = 20_000
PARTITIONS = 4
BATCH = 200


def on_sqlite(students: int = STUDENTS, batch_size: int = BATCH) -> float:
    """Students per second on the embedded log and store."""
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        return _through(Path(name), embedded(Path(name)), students, batch_size)


def on_postgres(postgres: Postgres, students: int = STUDENTS, batch_size: int = BATCH) -> float:
    """Students per second on the embedded log, with the store in PostgreSQL. Its commits are on disk."""
    name = f"engine_full_{time.monotonic_ns()}"
    url = postgres.create(name)
    try:
        with TemporaryDirectory(prefix="sesame-bench-") as folder:
            return _through(Path(folder), url, students, batch_size)
    finally:
        postgres.drop(name)


def _through(folder: Path, url: str, students: int, batch_size: int) -> float:
    with migrated(url) as database:
        log = SqliteEventLog(folder / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        chosen = numbers(students)
        fill(database, map(account_of, chosen))
        ring(log, map(bell, chosen))
        handler = Nothing(batch_size)
        begun = time.perf_counter()
        with running(log, database, handler, limits(batch_size)) as observer:
            until(lambda: observer.recorded >= students, observer)
            elapsed_s = time.perf_counter() - begun
        log.close()
    return students / elapsed_s


def limits(batch_size: int) -> Limits:
    """Bounds under which batches fill up."""
    return Limits(batch_size=batch_size, linger_s=0.02, ahead=8, in_hand_max=20 * batch_size)


def rows(runs: int) -> Sequence[Row]:
    """Measure."""
    note = f"{STUDENTS:,} students in calls of {BATCH}; the log is the embedded one"
    found = [Row("engine-full-sqlite", "students/s", middle(on_sqlite, runs), note=note)]
    try:
        with Postgres() as postgres:
            rate = middle(lambda: on_postgres(postgres), runs)
        found.append(Row("engine-full-postgres", "students/s", rate, note=note))
    except MissingServer as missing:
        print(f"engine-full-postgres: left out: {missing}", file=sys.stderr)
    return found


if __name__ == "__main__":
    for each in (10, 50, 200, 500):
        print(each, on_sqlite(batch_size=each))
