"""Speed and memory of an import: `python -m bench.import_file --lines 1000000`.

A temporary folder has the export, the store and the embedded log. Three imports are measured, each in a
separate process, for its peak memory: of a new file, of the same file again, and a dry run of the file with
one line in ten changed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rows import Row
from examples.generate import write
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.threshold import Threshold
from producers.registrar.enrolments import import_file
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_subject import ImportOptions
from producers.registrar.profiles import apogee
from schemas.catalogue import ENROLMENTS

LINES_PER_STUDENT = 1.11  # of the generator, about
PARTITIONS = 8
TABLE_LINES = 200_000


def imported(folder: Path, *, dry_run: bool) -> dict[str, float | int]:
    """Import the folder's export here; return lines, seconds, rate, and peak MiB."""
    database = Database(f"sqlite:///{folder / 'store.db'}")
    migrate.upgrade(database)
    log = SqliteEventLog(folder / "log.db")
    log.ensure_topics({ENROLMENTS: PARTITIONS})
    producer = log.producer()
    begun = time.perf_counter()
    report = import_file(
        folder / "export.csv",
        ImportOptions(
            rejects_path=folder / "rejects.csv",
            affected_path=folder / "affected.csv",
            dry_run=dry_run,
            threshold=Threshold(share=1.0),
        ),
        profile=apogee(),
        feed=SqlFeedMemory(database),
        producer=producer,
        clock=lambda: datetime.now(UTC),
        progress=lambda _done, _in_all: None,
    )
    elapsed_s = time.perf_counter() - begun
    for each in (producer, log, database):
        each.close()
    return {
        "lines": report.lines,
        "published": report.published,
        "seconds": round(elapsed_s, 1),
        "lines_per_s": round(report.lines / elapsed_s),
        "peak_mib": peak_mib(),
    }


def peak_mib() -> int:
    """This process's peak of resident memory. Linux's `ru_maxrss` begins with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def measured(folder: Path, name: str, *, dry_run: bool = False) -> dict[str, float | int | str]:
    """Import in a separate process."""
    command = [sys.executable, "-m", "bench.import_file", "--child", str(folder)]
    ended = subprocess.run(
        [*command, *(["--dry-run"] if dry_run else [])], stdout=subprocess.PIPE, text=True, check=True
    )
    return {"import": name, **json.loads(ended.stdout)}


def bench(lines: int, show: Callable[[str], None]) -> list[dict[str, float | int | str]]:
    """All three measurements."""
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        folder = Path(name)
        export = folder / "export.csv"
        with export.open("w", encoding="utf-8", newline="") as file:
            write(file, students=max(1, int(lines / LINES_PER_STUDENT)), year=2026)
        show(f"{export.stat().st_size / 2**20:.0f} MiB of export")
        found = [measured(folder, "a new file"), measured(folder, "the same file again")]
        changed = folder / "changed.csv"
        with export.open("rb") as before, changed.open("wb") as after:
            for number, line in enumerate(before):
                after.write(line.replace(b";O\n", b";N\n") if number % 10 == 0 else line)
        changed.replace(export)
        found.append(measured(folder, "a tenth changed, dry run", dry_run=True))
    return found


def rows(_runs: int) -> Sequence[Row]:
    """The rows of the table: the first import of a large export."""
    found = bench(TABLE_LINES, lambda _text: None)
    first = found[0]
    return [
        Row(
            "import-lines",
            "lines/s",
            float(first["lines_per_s"]),
            note=f"an export of {first['lines']:,} lines, one run",
        ),
        Row("import-memory", "MiB", float(first["peak_mib"]), note="the importing process's peak, one run"),
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the import of a large export.")
    parser.add_argument("--lines", type=int, default=1_000_000, help="about how many lines")
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dry-run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(imported(options.child, dry_run=options.dry_run)))
        return 0
    found = bench(options.lines, lambda text: print(text, file=sys.stderr))
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{'import':<26}{'lines':>10}{'published':>11}{'seconds':>9}{'lines/s':>9}{'peak MiB':>10}")
    for row in found:
        print(
            f"{row['import']:<26}{row['lines']:>10}{row['published']:>11}{row['seconds']:>9}"
            f"{row['lines_per_s']:>9}{row['peak_mib']:>10}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
