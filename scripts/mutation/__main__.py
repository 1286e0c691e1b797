#!/usr/bin/env python3
"""Change the code of identity and import in small ways, and see whether the tests notice.

    scripts/mutation.py run [PATTERN…]   run mutmut (config: pyproject.toml), then write the report; hours
    scripts/mutation.py report           write docs/reference/mutation.md from the results there are

A run works on a copy of the checkout in `.cache/mutation`, in one process, at low priority. It can be ended
and begun again: what was judged is remembered while the code and its tests stay as they are. PATTERN names
mutants, e.g. `consumers.registry.identity*`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / ".cache" / "mutation"
MUTANTS = COPY / "mutants"
PAGE = ROOT / "docs" / "reference" / "mutation.md"
SURVIVED, UNSEEN = (0, 33)  # mutmut's exit codes: all tests passed; no test runs the function

HEAD = """\
# Mutation run: identity and import

<!-- Written by `scripts/mutation.py`. -->

[mutmut](https://mutmut.readthedocs.io) changes one expression of the code at a time and runs the tests that
reach it. A *mutant* that fails a test, or never ends, is killed; one that passes them all survives, and is
listed below. Mutated are `producers/registrar` and, of `consumers/registry`, `identity`, `recognition`,
`doubts`, `holders` and `decisions`; the tests are the unit tests of both, with few examples per property.

`make mutation` runs it again, in one process at low priority; it takes hours.
`make mutation MUTANTS="PATTERN"` judges some of them, e.g. `consumers.registry.identity*`.
"""
PARTIAL = """\
**This run was ended before its end.** Mutants are judged in the order of how long their tests take, so those
that were judged are the quick ones: the shares above say nothing of the others."""
TAIL = """\
Many survivors change a text for people, a default that every caller gives, or a bound that no input reaches
from outside. One that changes a decision deserves a test.
"""


@dataclass(frozen=True)
class Module:
    """What became of one module's mutants: exit codes by name, None for those not judged."""

    path: str
    codes: dict[str, int | None]

    @property
    def judged(self) -> int:
        """How many were judged."""
        return sum(code is not None for code in self.codes.values())

    @property
    def survivors(self) -> list[str]:
        """The names of those that no test noticed."""
        return [name for name, code in self.codes.items() if code in (SURVIVED, UNSEEN)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the status is mutmut's, or 1 where there are no results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    options = parser.parse_args(arguments)
    status = run(options.patterns) if options.command == "run" else 0
    if not MUTANTS.is_dir():
        print(f"no results in {COPY.relative_to(ROOT)}: run it first", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return status


def run(patterns: list[str]) -> int:
    """Bring the copy up to date and let mutmut judge."""
    copy()
    mutmut = Path(sys.executable).with_name("mutmut")
    command = ["nice", "-n", "10", str(mutmut), "run", "--max-children", "1", *patterns]
    environment = {**os.environ, "CI": ""}
    return subprocess.run(command, cwd=COPY, env=environment, check=False).returncode


def copy() -> None:
    """Copy what git knows; files that are the same keep their time, so that their results stay good."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in wanted:
        here, there = ROOT / name, COPY / name
        if not there.exists() or there.read_bytes() != here.read_bytes():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, there)
    for file in COPY.rglob("*.py"):
        name = str(file.relative_to(COPY))
        if not name.startswith("mutants/") and name not in wanted:
            file.unlink()


def modules() -> Iterator[Module]:
    """Every module that has mutants."""
    for meta in sorted(MUTANTS.rglob("*.meta")):
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            yield Module(str(meta.relative_to(MUTANTS)).removesuffix(".meta"), codes)


def page() -> str:
    """The report, in Markdown."""
    os.chdir(COPY)  # where mutmut looks for its settings and its results
    found = list(modules())
    lines = [HEAD, f"## Result of {dt.datetime.now(dt.UTC):%Y-%m-%d}", ""]
    lines += [
        "| Module | Mutants | Judged | Killed | Survived | Killed, of those judged |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    every = Module("**all**", {name: code for module in found for name, code in module.codes.items()})
    lines += [_row(module) for module in (*found, every)]
    if every.judged < len(every.codes):
        lines += ["", PARTIAL]
    lines += ["", "## Survivors", "", TAIL]
    for module in found:
        if module.survivors:
            lines += [f"### {module.path}", "", "| Function | Instead of | Survives |", "|---|---|---|"]
            lines += [_survivor(name, module.path) for name in module.survivors]
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(module: Module) -> str:
    survived, judged = len(module.survivors), module.judged
    share = f"{100 * (judged - survived) / judged:.1f} %" if judged else "–"
    return f"| {module.path} | {len(module.codes)} | {judged} | {judged - survived} | {survived} | {share} |"


def _survivor(name: str, path: str) -> str:
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    function = name.rsplit(".", 1)[-1].rsplit("__mutmut_", 1)[0]
    function = function.replace("xǁ", "").replace("ǁ", ".").removeprefix("x_")
    changed = get_diff_for_mutant(name, path=path).splitlines()[2:]
    before = " ".join(line[1:].strip() for line in changed if line.startswith("-"))
    after = " ".join(line[1:].strip() for line in changed if line.startswith("+"))
    return f"| `{function}` | {_code(before)} | {_code(after)} |"


def _code(text: str) -> str:
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
