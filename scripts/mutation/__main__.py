"""Change the code in small ways, and see whether the tests notice.

    python -m scripts.mutation run [GROUP…] [PATTERN…]   judge what is not judged yet, then write the report
    python -m scripts.mutation report                    write docs/reference/evidence.md's section from them

mutmut makes the mutants (mutants.py); judge.py runs the tests that reach the changed statement. A run works
on copies of the checkout in `.cache/mutation`. It can be ended and begun again: a verdict holds while the
function and the test that killed the mutant stay as they are; a survivor faces the tests that are new.
GROUP is one of groups.py; without any, all are judged, one after the other. PATTERN names mutants, e.g.
`consumers.registry.identity*`; those are judged whatever was known.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts import evidence
from scripts.mutation.groups import GROUPS, Group
from scripts.mutation.judge import KILLED, SURVIVED, UNDECIDED
from scripts.mutation.mutants import Mutant, mutate
from scripts.mutation.page import section

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "mutation"
PLAIN, MUTATED = CACHE / "plain", CACHE / "mutated"
VERDICTS = CACHE / "verdicts.jsonl"

ROUND_S = 1.0
"""Estimated time limit of one mutant's tests in a round: a little for all mutants, then more."""
LEAST_S = 0.004


@dataclass(frozen=True)
class Trial:
    """A mutant, the tests that reach it, and those that it has survived already."""

    mutant: Mutant
    tests: list[str]
    faced: list[str] = field(default_factory=list)

    def left(self) -> list[str]:
        """The tests that it has not faced."""
        return [test for test in self.tests if test not in self.faced]

    def says(self, number: dict[str, int]) -> dict[str, Any]:
        """The beginning of a verdict."""
        faced = [number[test] for test in self.faced]
        return {"name": self.mutant.name, "digest": self.mutant.digest, "of": len(self.tests), "faced": faced}


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Return 1 if the tests fail on the code as it is, or without verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("wanted", nargs="*", metavar="GROUP or PATTERN")
    parser.add_argument("--children", type=int, default=1, help="mutants judged at once (default: 1)")
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants, drawn by name (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="each: a second of tests more for survivors")
    options = parser.parse_intermixed_args(arguments)
    if options.command == "run":
        run(options.wanted, options.children, options.rounds, options.share)
    if not VERDICTS.exists():
        print(f"no verdicts in {CACHE.relative_to(ROOT)}: run it first", file=sys.stderr)
        return 1
    mutants, verdicts = {group: known_mutants(group) for group in GROUPS}, known_verdicts()
    today, before = dt.datetime.now(dt.UTC).date(), evidence.written("mutation")
    evidence.write("mutation", section(mutants, verdicts, today, before))
    print(f"wrote {evidence.PAGE.relative_to(ROOT)}")
    return 0


def run(wanted: list[str], children: int, rounds: int, share: float) -> None:
    """Judge what has no verdict, of all groups or the named ones.

    Mutants of patterns are judged by every test.
    """
    copy()
    named = [group for group in GROUPS if group.name in wanted]
    patterns = [each for each in wanted if each not in {group.name for group in named}]
    unmatched = set(patterns)
    for group in named if named and not patterns else GROUPS:
        mutants = prepare(group)
        if not wanted or group in named:
            reach = reached(group, children)
            drawn = [mutant for mutant in mutants if _draw(mutant.name) < share]
            for _ in range(rounds):
                judge(group, pending(group, drawn, reach), reach, ROUND_S, children)
        matched = [
            mutant for mutant in mutants if any(fnmatch.fnmatch(mutant.name, each) for each in patterns)
        ]
        unmatched -= {each for each in unmatched if any(fnmatch.fnmatch(m.name, each) for m in mutants)}
        if matched:
            reach = reached(group, children)
            judge(
                group, [Trial(mutant, reaching(mutant, reach)) for mutant in matched], reach, None, children
            )
    if unmatched:
        groups = ", ".join(group.name for group in GROUPS)
        sys.exit(f"no group ({groups}) and no mutant is called {', '.join(sorted(unmatched))}")


def _draw(name: str) -> float:
    """A number from 0 to 1 that is the same in each run."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def copy() -> None:
    """Copy what git knows, twice: as it is, and for the mutants."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    wanted = [name for name in listed if name and (ROOT / name).is_file()]
    for tree in (PLAIN, MUTATED):
        shutil.rmtree(tree, ignore_errors=True)
        for name in wanted:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def prepare(group: Group) -> list[Mutant]:
    """Put the group's mutants into the second copy."""
    mutants: list[Mutant] = []
    for path in group.paths(PLAIN):
        mutants += _mutated(path, (PLAIN / path).read_text(encoding="utf-8"))
    _made(group).write_text(json.dumps([mutant.stored() for mutant in mutants]), encoding="utf-8")
    print(f"{group.name}: {len(mutants)} mutants", flush=True)
    return mutants


def _mutated(path: str, source: str) -> list[Mutant]:
    """Put the mutants of one file into their tree. They are cached: making them takes a while."""
    kept = CACHE / "files" / hashlib.sha256(f"{path}\0{source}".encode()).hexdigest()
    if not kept.exists():
        code, mutants = mutate(path, source)
        kept.parent.mkdir(exist_ok=True)
        stored = {"code": code, "mutants": [mutant.stored() for mutant in mutants]}
        kept.write_text(json.dumps(stored), encoding="utf-8")
    known = json.loads(kept.read_text(encoding="utf-8"))
    (MUTATED / path).write_text(known["code"], encoding="utf-8")
    return [Mutant.of(stored) for stored in known["mutants"]]


def digests(group: Group) -> dict[str, str]:
    """Digests of each test file, and of their shared files as `kits`."""
    found = {name: _digest([PLAIN / name]) for name in group.judges(PLAIN)}
    kits = [file for file in PLAIN.glob("tests/**/*.py") if not file.name.startswith("test_")]
    kits += PLAIN.glob("sesame/testing/**/*.py")
    return {**found, "kits": _digest(sorted(kits))}


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def reached(group: Group, children: int) -> dict[str, Any]:
    """The seconds and lines of each test on the code as it is. Only changed ones are run."""
    kept = CACHE / f"reach-{group.name}.json"
    code, now = _digest(PLAIN / path for path in group.paths(PLAIN)), digests(group)
    known: dict[str, Any] = {"code": "", "tests": {}, "reach": {}}
    if kept.exists():
        known = json.loads(kept.read_text(encoding="utf-8"))
    if known["code"] != code or known["tests"].get("kits") != now["kits"]:
        known["tests"] = {}
    stale = [file for file in group.judges(PLAIN) if known["tests"].get(file) != now[file]]
    reach = {test: each for test, each in known["reach"].items() if file_of(test) in {*now} - {*stale}}
    if stale:
        answer = CACHE / "answer.json"
        files = [str(PLAIN / path) for path in group.paths(PLAIN)]
        work("reach", PLAIN, {"children": children, "files": files, "tests": stale}, answer)
        reach |= json.loads(answer.read_text(encoding="utf-8"))
        kept.write_text(json.dumps({"code": code, "tests": now, "reach": reach}), encoding="utf-8")
    print(
        f"{group.name}: {len(reach)} tests take {sum(each['seconds'] for each in reach.values()):.0f} s",
        flush=True,
    )
    return reach


def reaching(mutant: Mutant, reach: dict[str, Any]) -> list[str]:
    """The tests that reach the changed statement; if none does, those of the function."""
    for first, last in (mutant.statement, mutant.body):
        lines = set(range(first, last + 1))
        found = [
            test for test, each in reach.items() if not lines.isdisjoint(each["lines"].get(mutant.path, ()))
        ]
        if found:
            return found
    return []


def pending(group: Group, mutants: list[Mutant], reach: dict[str, Any]) -> list[Trial]:
    """Mutants without a valid verdict, or that survived and have not faced every test."""
    known, now = known_verdicts(), digests(group)
    trials = []
    for mutant in mutants:
        tests, verdict = reaching(mutant, reach), known.get(mutant.name)
        if verdict is None or verdict["digest"] != mutant.digest or verdict["verdict"] == UNDECIDED:
            trials.append(Trial(mutant, tests))
        elif verdict["verdict"] == SURVIVED:
            faced = [test for test in tests if test in verdict["faced"] and _same(test, verdict, now)]
            if len(faced) < len(tests):
                trials.append(Trial(mutant, tests, faced))
        elif verdict["verdict"] == KILLED and verdict["by"] and not _same(verdict["by"], verdict, now):
            trials.append(Trial(mutant, tests))
    return trials


def _same(test: str, verdict: dict[str, Any], now: dict[str, str]) -> bool:
    """Whether the test, and what the tests share, are as they were when it judged."""
    then = verdict["tests"]
    return all(then.get(name) == now.get(name) for name in (file_of(test), "kits"))


def file_of(test: str) -> str:
    """The file that a test is in."""
    return test.split("::", maxsplit=1)[0]


def judge(
    group: Group, trials: list[Trial], reach: dict[str, Any], seconds_max: float | None, children: int
) -> None:
    """Let the tests judge; append the verdicts one by one."""
    print(f"{len(trials)} to judge", flush=True)
    known = known_verdicts()
    names = list(reach)
    number = {test: index for index, test in enumerate(names)}
    least_s = min(each["seconds"] for each in reach.values())  # the fork's and the tracer's own, about
    with VERDICTS.open("a", encoding="utf-8") as verdicts:
        verdicts.write(json.dumps({"tests": digests(group), "names": names}) + "\n")
        for trial in trials:
            if not trial.tests:
                verdicts.write(json.dumps({**trial.says(number), "verdict": SURVIVED}) + "\n")
    job = {
        "children": children,
        "seconds_max": seconds_max,
        "names": names,
        "seconds": [max(each["seconds"] - least_s, LEAST_S) for each in reach.values()],
        "kills": [
            (number[killer], _places(mutant))
            for mutant in known_mutants(group)
            if (killer := known.get(mutant.name, {}).get("by")) in number
        ],
        "mutants": [
            {**trial.says(number), "places": _places(trial.mutant), "tests": [number[test] for test in left]}
            for trial in trials
            if (left := trial.left())
        ],
    }
    if job["mutants"]:
        work("verdict", MUTATED, {**job, "tests": group.judges(PLAIN)}, VERDICTS)


def _places(mutant: Mutant) -> list[str]:
    """Its places, from the narrowest to the widest: what kills there may kill it too."""
    return [f"{mutant.path}:{mutant.statement}", f"{mutant.path}:{mutant.function}", mutant.path]


def work(what: str, tree: Path, job: dict[str, Any], answer: Path) -> None:
    """Run judge.py in a tree, at low priority."""
    file = CACHE / "job.json"
    file.write_text(json.dumps({**job, "answer": str(answer)}), encoding="utf-8")
    command = ["nice", "-n", "5", sys.executable, str(Path(__file__).with_name("judge.py")), what, str(file)]
    # Derandomised: the lines that a test reaches are the same each time.
    subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=True)


def _made(group: Group) -> Path:
    return CACHE / f"mutants-{group.name}.json"


def known_mutants(group: Group) -> list[Mutant]:
    """The mutants of the group's last run."""
    made = _made(group)
    stored = json.loads(made.read_text(encoding="utf-8")) if made.exists() else []
    return [Mutant.of(each) for each in stored]


def known_verdicts() -> dict[str, dict[str, Any]]:
    """The last verdict on each mutant, with its tests and their digests then."""
    found: dict[str, dict[str, Any]] = {}
    header: dict[str, Any] = {}
    if VERDICTS.exists():
        for line in VERDICTS.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            if "names" in said:
                header = said
            else:
                faced = {header["names"][number] for number in said["faced"]}
                found[said["name"]] = {**said, "faced": faced, "tests": header["tests"]}
    return found


if __name__ == "__main__":
    sys.exit(main())
