"""The row `status-help`: the processor time of a command that only shows its help."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rows import Row, side_by_side

SHARE_MAX = 1.6
PAIRS = 3  # for each run: it takes a tenth of a second

_HELP = (str(Path(sys.executable).with_name("sesame")), "status", "--help")
_LIBRARY = (sys.executable, "-c", "import sqlalchemy")


def cpu_ms(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The processor time of a process, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def rows(runs: int) -> Sequence[Row]:
    """Measure it with bytecode, and where none was compiled and none can be written."""
    found = []
    with TemporaryDirectory(prefix="sesame-bench-") as compiled, TemporaryDirectory() as empty:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        there = environment | {"PYTHONPYCACHEPREFIX": compiled}
        without = environment | {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        for command in (_HELP, _LIBRARY):
            cpu_ms(command, there)  # writes the bytecode
        for name, where in (("status-help", there), ("status-help-uncompiled", without)):
            ways = {"ours": partial(cpu_ms, _HELP, where), "library": partial(cpu_ms, _LIBRARY, where)}
            took = side_by_side(ways, PAIRS * runs)
            found.append(
                Row(
                    name,
                    "ms",
                    took["ours"],
                    limit=SHARE_MAX,
                    compared="at most",
                    ratio=took["ours"] / took["library"],
                    peers={"import sqlalchemy": took["library"]},
                    note=f"processor time of `sesame status --help`, medians of {PAIRS * runs}"
                    + ("" if where is there else "; no bytecode, of Python's own library neither"),
                )
            )
    return found
