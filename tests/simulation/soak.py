"""Histories without end.

By hand: `python -m tests.simulation.soak [--seconds N] [--json FILE] [--seed N --events M]`.

Lives one seed after the other until it is stopped (`--seconds`, or Ctrl-C), after it has made sure that the
checker sees every planted fault. A seed that fails is shrunk, and how to live it again is printed.

`--seconds` covers all of it, but for what is under way when the time is over: half of it at most goes to
planted faults, of which each has one history at least, by the seed that is known to show it; and a round of
histories is lived whatever the time.
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
from contextlib import nullcontext
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

from scripts import evidence
from tests.simulation.history import EVENTS, STUDENTS, Recipe, live
from tests.simulation.page import section
from tests.simulation.planted import PLANTED, caught
from tests.simulation.shrinking import shrunk
from tests.simulation.tally import Lived, Seen, Tally
from tests.simulation.weather import KINDS

ROUND = 8
"""Histories for each process between two looks at the time."""


def planted(jobs: int, *, until: float) -> Iterator[tuple[str, Seen | None]]:
    """The history that showed each planted fault, if any. After `until`, one history each is all."""
    with ProcessPoolExecutor(jobs) as pool:
        for name, seen in zip(PLANTED, pool.map(_caught, PLANTED, repeat(until)), strict=True):
            print(f"planted: {name}: {'caught' if seen else 'NOT CAUGHT'}", file=sys.stderr)
            yield name, seen


def soak(recipe: Recipe, jobs: int, *, until: float) -> Iterator[Tally]:
    """Live seeds from the recipe's on, so many at once. Yield the findings after each round.

    There is one round at least: where nothing was lived, nothing is known.
    """
    tally, started = Tally(recipe), time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for first in count(recipe.seed, ROUND * jobs):
            recipes = [replace(recipe, seed=first + n) for n in range(ROUND * jobs)]
            for each, lived in zip(recipes, pool.map(_lived, recipes), strict=True):
                tally.add(lived)
                if lived.broken:
                    tally.failed.append(_told(each, lived.broken, until))
            tally.busy_s = time.monotonic() - started
            yield tally
            if time.monotonic() >= until:
                return


def main() -> int:
    """The command line."""
    options = _options()
    recipe = Recipe(options.seed or 0, options.events, options.students, frozenset(options.without))
    if options.once:
        broken = _lived(recipe, options.planted).broken
        print("\n".join(broken) or "nothing is broken")
        return 1 if broken else 0
    started, seconds = time.monotonic(), options.seconds or math.inf
    found: dict[str, Seen | None] = dict.fromkeys(PLANTED)
    tally = Tally(recipe)
    try:
        found |= planted(options.jobs, until=started + seconds / 2)
        for tally in soak(recipe, options.jobs, until=started + seconds):
            print(tally.line, file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    report = tally.report(found)
    told = json.dumps(report, indent=2)
    print(told)
    if options.json is not None:
        options.json.write_text(told + "\n", encoding="utf-8")
    if options.docs:
        evidence.write("soak", section(report))
    return 0 if tally.violations == 0 and all(found.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description="Live simulated histories until told to stop.")
    parser.add_argument("--seconds", type=float, help="end after about so many; default: at Ctrl-C")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/reference/evidence.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many processes at once")
    parser.add_argument("--seed", type=int, help="the first one")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--without", action="append", default=[], choices=KINDS, help="never happens")
    parser.add_argument("--once", action="store_true", help="this seed only, and say what is broken")
    parser.add_argument("--planted", choices=PLANTED, help="with --once: with this fault in the shipped code")
    return parser.parse_args()


def _told(recipe: Recipe, broken: tuple[str, ...], until: float) -> str:
    """Print what is broken, and the smallest history that shows it."""
    print(f"seed {recipe.seed}:", *broken, sep="\n  ", file=sys.stderr)

    def fails(smaller: Recipe) -> bool:
        return time.monotonic() < until and bool(
            _lived(smaller).broken
        )  # when time is over: as small as it is

    least = shrunk(recipe, fails)
    print(f"live it again: python -m tests.simulation.soak --once {least.options}", file=sys.stderr)
    return least.options


def _lived(recipe: Recipe, fault: str | None = None) -> Lived:
    """Live a history; one that breaks off has the reason."""
    started = time.process_time()
    try:
        history = live(recipe, planted=PLANTED[fault] if fault else nullcontext)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other seeds are lived
        return Lived((f"it runs: {type(error).__name__}: {error}",))
    broken = tuple(f"{each.invariant}: {each.what}" for each in history.violations)
    return Lived(
        broken,
        processor_s=time.process_time() - started,
        simulated_s=history.simulated_s,
        events=history.events,
        choices=history.choices,
        faults=history.faults,
    )


def _caught(name: str, until: float) -> Seen | None:
    history = caught(name, until=until)
    if history is None:
        return None
    return Seen(history.recipe.options, history.violations[0].invariant)


if __name__ == "__main__":
    sys.exit(main())
