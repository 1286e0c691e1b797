"""Change the code in small ways; count what the tests notice (`make mutation`).

A run may be ended and begun again: a verdict holds while the function stays as it is, a survivor's while the
group's tests do too. PATTERN names mutants, e.g. `consumers.registry.identity*`: they face every test,
whatever was known. A group that was judged whole gets its line in the page of evidence.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from scripts import evidence
from scripts.mutation.mutants import GROUPS, matching, mutate

ROOT = Path(__file__).resolve().parents[2]
TREE, VERDICTS = ROOT / ".cache/mutation/tree", ROOT / ".cache/mutation/verdicts.jsonl"
SECONDS = 3.0  # of tests, by estimate, that one mutant of a group faces: what a survivor costs

Record = Mapping[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Judge what has no verdict in the groups, and all mutants of the patterns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wanted", nargs="*", metavar="GROUP or PATTERN")
    parser.add_argument("--jobs", type=int, default=1, help="mutants judged at once (default: 1)")
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants, drawn by name (default: 1)")
    options = parser.parse_args(arguments)
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.copytree(ROOT, TREE, symlinks=True, ignore=shutil.ignore_patterns(".git", *ignored))
    unmatched = patterns = [each for each in options.wanted if each not in GROUPS]
    for group, (files, tests) in GROUPS.items():
        whole = not options.wanted or group in options.wanted
        mutants = made(files, ["*"] if whole else patterns, options.share)
        unmatched = [each for each in unmatched if not any(fnmatchcase(m["name"], each) for m in mutants)]
        if mutants:
            judge(mutants, tests, options.jobs, SECONDS if whole else None)
            row = row_of(group, mutants, known(), dt.datetime.now(dt.UTC).date())
            print(row, flush=True)
            if whole and options.share == 1:
                evidence.write("mutation", with_row(evidence.written("mutation"), row))
    if unmatched:
        sys.exit(f"no group ({', '.join(GROUPS)}) and no mutant is called {', '.join(unmatched)}")
    return 0


def made(files: str, patterns: Sequence[str], share: float) -> list[dict[str, Any]]:
    """Mutate files of the copy; return the patterns' mutants, or a share by name."""
    starts = [re.split(r"[*?[]", pattern)[0] for pattern in patterns]
    mutants = []
    for path in matching(TREE, files):
        name = str(path.relative_to(TREE))
        module = name.removesuffix(".py").replace("/", ".")
        if any(module.startswith(start) or start.startswith(module) for start in starts):
            mutants += mutate(path, name)
    named = [each for each in mutants if any(fnmatchcase(each["name"], pattern) for pattern in patterns)]
    return [each for each in named if zlib.crc32(each["name"].encode()) < share * 2**32]


def judge(mutants: Sequence[Record], tests: str, jobs: int, seconds: float | None) -> None:
    """Judge the mutants without a verdict; without a bound of seconds, all."""
    files, kits = matching(TREE / "tests", tests), matching(TREE, "tests/**/[!t]* sesame/testing/**/*")
    seen = hashlib.sha256(b"".join(each.read_bytes() for each in [*files, *kits])).hexdigest()[:16]
    verdicts = known() if seconds else {}
    pending = [each for each in mutants if not holds(verdicts.get(each["name"], {}), each, seen)]
    print(f"{len(mutants)} mutants, {len(pending)} to judge", flush=True)
    job = {"jobs": jobs, "seconds": seconds or float("inf"), "verdicts": str(VERDICTS)}
    job |= {"mutants": pending, "files": [str(each) for each in files], "tests": seen}
    command = ["nice", "-n", "5", sys.executable, "-m", "scripts.mutation.judge"]
    if (
        pending
        and subprocess.run(command, cwd=TREE, input=json.dumps(job), text=True, check=False).returncode
    ):
        sys.exit(1)


def known() -> dict[str, Record]:
    """The last verdict on each mutant, by its name."""
    lines = VERDICTS.read_text(encoding="utf-8").splitlines() if VERDICTS.exists() else []
    return {verdict["name"]: verdict for verdict in map(json.loads, lines)}


def holds(verdict: Record, mutant: Record, tests: str) -> bool:
    """Whether a verdict is on this function; a survivor's, by the same tests."""
    unchanged: bool = verdict.get("digest") == mutant["digest"]
    return unchanged and (verdict["verdict"] != "survived" or verdict["tests"] == tests)


def row_of(group: str, mutants: Sequence[Record], verdicts: Mapping[str, Record], today: dt.date) -> str:
    """The line of a group in the table."""
    found = [(verdicts.get(each["name"]), each) for each in mutants]
    judged = [verdict for verdict, each in found if verdict and verdict["digest"] == each["digest"]]
    survived = [verdict for verdict in judged if verdict["verdict"] == "survived"]
    killed, part = len(judged) - len(survived), sum(verdict["part"] for verdict in survived)
    figures = [len(mutants), len(judged), killed, len(survived), part, f"{100 * killed / len(judged):.1f} %"]
    return f"| {group} | {today:%Y-%m-%d} | {' | '.join(map(str, figures))} |"


def with_row(table: str, row: str) -> str:
    """The table with the new line of one group; the others keep theirs."""
    head, rule, *before = table.splitlines()
    rows = {line.split()[1]: line for line in [*before, row]}
    return "\n".join([head, rule, *(rows[group] for group in GROUPS if group in rows)])


if __name__ == "__main__":
    sys.exit(main())
