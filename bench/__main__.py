"""The table of benchmarks. `python -m bench [SUBJECT…] [--runs N] [--json FILE] [--docs] [--beside COMMIT]`.

Each figure is the median of several runs; compared figures are measured in turn in the same run. Rows whose
server is absent are left out, and named on stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    activate_by_pages,
    api_requests,
    backlog,
    before,
    beside,
    console_pages,
    engine_full,
    flat,
    import_beside_run,
    import_file,
    outage,
    priority,
    reconcile_population,
    saturation,
    scaling,
    startup,
    trouble,
)
from bench.rows import Row, folded, table, write_json
from sandbox.process import MissingServer
from scripts import evidence

SUBJECTS: dict[str, Callable[[int], Sequence[Row]]] = {
    "engine-lanes": beside.lanes,
    "engine-full": engine_full.rows,
    "handlers": beside.handlers,
    "one-failing-key": trouble.rows,
    "drain-after-outage": outage.rows,
    "saturation": saturation.rows,
    "flat": flat.rows,
    "person-during-bulk": priority.rows,
    "person-alone": activate_by_pages.rows,
    "memory-backlog": backlog.rows,
    "scaling": scaling.rows,
    "import": import_file.rows,
    "import-beside-run": import_beside_run.rows,
    "reconcile": reconcile_population.rows,
    "console": console_pages.rows,
    "api": api_requests.rows,
    "status-help": startup.rows,
}


def machine() -> str:
    """The machine that was measured on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {python}"


def section(rows: Sequence[Row], *, runs: int) -> str:
    """The rows' section of the page of evidence."""
    shown = list(folded(rows))
    notes: dict[str, list[str]] = {}
    for row in shown:
        if row.note:
            notes.setdefault(row.note, []).append(f"`{row.name}`")
    listed = "\n".join(f"- {', '.join(names)}: {note}." for note, names in notes.items())
    return f"""\
Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()};
medians of {runs} runs.

{table(shown)}

{listed}
"""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Sésame.")
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; default: all"
    )
    parser.add_argument("--runs", type=int, default=3, help="the figures are medians of so many")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/reference/evidence.md")
    parser.add_argument("--beside", metavar="COMMIT", help="measure this commit, too: what became slower?")
    options = parser.parse_args()
    if unknown := [name for name in options.subjects if name not in SUBJECTS]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(SUBJECTS)}")
    if options.beside:
        return _beside(options.beside, options.subjects or SUBJECTS, options.runs, options.json)
    rows: list[Row] = []
    failed: list[str] = []
    for name in options.subjects or SUBJECTS:
        begun = time.monotonic()
        try:
            rows += SUBJECTS[name](options.runs)
        except MissingServer as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
        except Exception:  # noqa: BLE001  # what the others measured is not lost with it
            failed.append(name)
            traceback.print_exc()
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(table(rows))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if options.json is not None:
        write_json(options.json, rows)
    if options.docs:
        evidence.write("bench", section(rows, runs=options.runs))
    return 1 if failed or not all(row.wanted for row in rows) else 0


def _beside(commit: str, subjects: Iterable[str], runs: int, file: Path | None) -> int:
    try:
        rows = before.rows(commit, subjects, runs)
    except before.CommitUnknown as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    if file is not None:
        write_json(file, rows)
    fallen = [row.name for row in rows if not row.wanted]
    if fallen:
        print(
            f"slower by more than {1 - before.LEAST:.0%} than {commit}: {', '.join(fallen)}", file=sys.stderr
        )
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
