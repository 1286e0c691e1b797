"""Histories without end: `python -m tests.simulation.soak [--seconds N] [--json FILE] [--seed N --events M]`.

Lives one seed after the other until it is told to stop (`--seconds`, or Ctrl-C), after it has made sure that
the checker sees every planted fault. A seed that fails is shrunk, and how to live it again is printed.

`--seconds` covers all of it, but for what is under way when the time is over: half of it at most goes to
planted faults, of which each has one history at least, by the seed that is known to show it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, repeat
from pathlib import Path

from tests.simulation.history import EVENTS, STUDENTS, Recipe, live
from tests.simulation.planted import PLANTED, caught
from tests.simulation.shrinking import shrunk
from tests.simulation.weather import KINDS

ROUND = 4
"""Histories for each process between two looks at the time."""


@dataclass
class Tally:
    """What was found so far."""

    histories: int = 0
    violations: int = 0
    busy_s: float = 0.0

    @property
    def histories_per_s(self) -> float:
        """Over all processes."""
        return self.histories / self.busy_s if self.busy_s else 0.0


def planted(jobs: int, *, until: float) -> Iterator[tuple[str, bool]]:
    """For each planted fault, whether the checker sees it; after `until`, one history each is all."""
    with ProcessPoolExecutor(jobs) as pool:
        for name, seen in zip(PLANTED, pool.map(_is_caught, PLANTED, repeat(until)), strict=True):
            print(f"planted: {name}: {'caught' if seen else 'NOT CAUGHT'}", file=sys.stderr)
            yield name, seen


def soak(recipe: Recipe, jobs: int, *, until: float) -> Iterator[Tally]:
    """Live seeds from the recipe's on, so many at once; what is found so far, after each round."""
    tally, started = Tally(), time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for first in count(recipe.seed, ROUND * jobs):
            if time.monotonic() >= until:
                return
            recipes = [replace(recipe, seed=first + n) for n in range(ROUND * jobs)]
            for each, broken in zip(recipes, pool.map(_broken, recipes), strict=True):
                tally.histories += 1
                tally.violations += len(broken)
                if broken:
                    _tell(each, broken, until)
            tally.busy_s = time.monotonic() - started
            yield tally


def main() -> int:
    """The command line."""
    options = _options()
    recipe = Recipe(options.seed or 0, options.events, options.students, frozenset(options.without))
    if options.once:
        broken = _broken(recipe)
        print("\n".join(broken) or "nothing is broken")
        return 1 if broken else 0
    started, seconds = time.monotonic(), options.seconds or math.inf
    found, tally = dict.fromkeys(PLANTED, False), Tally()
    try:
        found |= planted(options.jobs, until=started + seconds / 2)
        for tally in soak(recipe, options.jobs, until=started + seconds):
            rate = f"{tally.histories_per_s:.2f} histories/s"
            print(f"{tally.histories} histories, {tally.violations} violations, {rate}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    report = {
        "histories": tally.histories,
        "violations": tally.violations,
        "histories_per_s": round(tally.histories_per_s, 3),
        "planted": found,
    }
    print(json.dumps(report, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if tally.violations == 0 and all(found.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description="Live simulated histories until told to stop.")
    parser.add_argument("--seconds", type=float, help="end after about so many; default: at Ctrl-C")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many processes at once")
    parser.add_argument("--seed", type=int, help="the first one")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--without", action="append", default=[], choices=KINDS, help="never happens")
    parser.add_argument("--once", action="store_true", help="this seed only, and say what is broken")
    return parser.parse_args()


def _tell(recipe: Recipe, broken: list[str], until: float) -> None:
    print(f"seed {recipe.seed}:", *broken, sep="\n  ", file=sys.stderr)

    def fails(smaller: Recipe) -> bool:
        return time.monotonic() < until and bool(_broken(smaller))  # when time is over: as small as it is

    least = shrunk(recipe, fails)
    print(f"live it again: python -m tests.simulation.soak --once {least.options}", file=sys.stderr)


def _broken(recipe: Recipe) -> list[str]:
    """What is broken at the end of a history, in words; a history that does not get there says why."""
    try:
        return [f"{each.invariant}: {each.what}" for each in live(recipe).violations]
    except Exception as error:  # noqa: BLE001  # whatever it is, the other seeds are lived
        return [f"it runs: {type(error).__name__}: {error}"]


def _is_caught(name: str, until: float) -> bool:
    return caught(name, until=until) is not None


if __name__ == "__main__":
    sys.exit(main())
