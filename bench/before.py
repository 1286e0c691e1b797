"""Which rows became slower since a commit: `make bench BESIDE=COMMIT`.

The commit is taken from git into `.cache/bench-before`, with the environment of its own lock, and both
measure each subject in turn. What disturbs the machine disturbs both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.rows import Row

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.9
"""A row that does less than this of its former work in the same time has fallen."""

_NO_SUCH_SUBJECT = 2  # argparse's

Measured = Mapping[str, Mapping[str, Any]]
"""Rows as `bench --json` writes them, by name."""


class CommitUnknown(ValueError):
    """Git does not know the commit."""


def rows(commit: str, subjects: Iterable[str], runs: int) -> list[Row]:
    """Measure both in turn. Raises CommitUnknown."""
    before = taken(commit)
    trees = {"now": (ROOT, Path(sys.executable)), "before": (before, before / ".venv" / "bin" / "python")}
    found: list[Row] = []
    for subject in subjects:
        measured: dict[str, list[Measured]] = {name: [] for name in trees}
        for _ in range(runs):
            for name, (tree, python) in trees.items():
                measured[name].append(_measure(tree, python, subject))
        found += compared(measured["now"], measured["before"])
    return found


def compared(now: Sequence[Measured], before: Sequence[Measured]) -> list[Row]:
    """The rows that both have; the ratio is the work in the same time, now to before."""
    found = []
    for name in now[0]:
        if not all(name in run for run in [*now, *before]):
            print(f"{name}: left out: not measured each time by both", file=sys.stderr)
            continue
        unit = now[0][name]["unit"]
        mine, theirs = (median(run[name]["ours"] for run in runs) for runs in (now, before))
        ratio = mine / theirs if unit.endswith("/s") else theirs / mine
        found.append(Row(name, unit, mine, limit=LEAST, ratio=ratio, peers={"before": theirs}))
    return found


def taken(commit: str) -> Path:
    """The folder with the commit and its environment, made if it is not there yet."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise CommitUnknown(f"git knows no commit {commit}")
    name = found.stdout.strip()
    tree = ROOT / ".cache" / "bench-before" / name
    tree.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", name], stdout=subprocess.PIPE) as git:
        subprocess.run(["tar", "-x", "-C", str(tree)], stdin=git.stdout, check=True)
    subprocess.run(["make", "-C", str(tree), "python", "VENV=.venv"], check=True, stdout=sys.stderr)
    return tree


def _measure(tree: Path, python: Path, subject: str) -> Measured:
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        file = Path(name) / "rows.json"
        command = [str(python), "-m", "bench", subject, "--runs", "1", "--json", str(file)]
        ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if ended.returncode == _NO_SUCH_SUBJECT:
            return {}
        if not file.exists():
            raise RuntimeError(f"{subject} in {tree}: {ended.stderr[-2000:]}")
        return {each["name"]: each for each in json.loads(file.read_text(encoding="utf-8"))}
