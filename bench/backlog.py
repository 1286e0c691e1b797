"""Memory of a worker by its backlog, which stays in the log."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.engine_full import limits
from bench.import_file import peak_mib
from bench.plant import Nothing, account_of, bell, embedded, fill, migrated, numbers, ring, running, until
from bench.rows import Row, middle
from pipeline.eventlog.sqlite import SqliteEventLog
from schemas import catalogue

STUDENTS = 10_000
BATCH = 50
SMALL, LARGE = 10_000, 1_000_000
SHARE_MORE = 1.1
_ENOUGH = 5_000  # students brought over before the peak is read


def prepare(folder: Path, backlog: int) -> None:
    """A log with that many bells."""
    with migrated(embedded(folder)) as database:
        fill(database, map(account_of, numbers(STUDENTS)))
    log = SqliteEventLog(folder / "log.db")
    log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 4))
    bells = [bell(number) for number in numbers(STUDENTS)]
    ring(
        log, (bells[index % STUDENTS] for index in range(backlog))
    )  # students that ring twice are read twice
    log.close()


def peak_of_a_worker(folder: Path) -> int:
    """Work on the backlog here for a while; return this process's peak, in MiB."""
    with migrated(embedded(folder)) as database:
        log = SqliteEventLog(folder / "log.db")
        handler = Nothing(BATCH)
        with running(log, database, handler, limits(BATCH)) as observer:
            until(lambda: handler.done >= _ENOUGH, observer)
        log.close()
    return peak_mib()


def measured(backlog: int) -> float:
    """The peak of a worker in a separate process."""
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        prepare(Path(name), backlog)
        command = [sys.executable, "-m", "bench.backlog", "--child", name]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return float(json.loads(ended.stdout))


def rows(runs: int) -> Sequence[Row]:
    """Measure."""
    small = middle(lambda: measured(SMALL), runs)
    large = middle(lambda: measured(LARGE), max(1, runs // 3))
    return [
        Row(
            "memory-backlog",
            "MiB",
            large,
            limit=SHARE_MORE,
            compared="at most",
            ratio=large / small,
            peers={f"{SMALL:,} waiting": small},
            note=f"a worker's peak with {LARGE:,} records waiting",
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", type=Path, required=True)
    print(json.dumps(peak_of_a_worker(parser.parse_args().child)))
