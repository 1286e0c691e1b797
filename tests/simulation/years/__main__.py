"""Five years. `python -m tests.simulation.years [--students N] [--seed N] [--docs]`."""

from __future__ import annotations

import argparse
import sys
import time

from scripts import evidence
from tests.simulation.tally import machine
from tests.simulation.years.history import five_years
from tests.simulation.years.looks import table
from tests.simulation.years.planted import PLANTED, WORDS

_SECTION = """\
Lived on {date}: {machine}. {size:,} students from September {first} to August {last}, by seed {seed}:
{students:,} persons in all, {records:,} events on the log, in {minutes:.1f} min of one processor.
Again: `make soak YEARS={size} DOCS=1`.

{table}

Each of these faults, planted into the shipped code, is found: {planted}.
"""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="years", description="Five years of a university.")
    parser.add_argument("--students", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/reference/evidence.md")
    options = parser.parse_args()
    missed = [name for name in PLANTED if not found(name)]
    started = time.process_time()
    lived = five_years(options.seed, options.students)
    took_s = time.process_time() - started
    told = table(lived.years)
    print(told, *lived.wrong[:50], *(f"NOT CAUGHT: {name}" for name in missed), sep="\n")
    print(f"{len(lived.students)} persons, {took_s:.0f} s", file=sys.stderr)
    if options.docs:
        text = _SECTION.format(
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            machine=machine(),
            size=options.students,
            first=lived.years[0].year,
            last=lived.years[-1].year + 1,
            seed=options.seed,
            students=len(lived.students),
            records=sum(year.records for year in lived.years),
            minutes=took_s / 60,
            table=told,
            planted=", ".join(f"*{name}*" for name in PLANTED),
        )
        evidence.write("years", text)
    return 1 if lived.wrong or missed else 0


SMALL = 1, 30, 2
"""Seed, students and years that show each fault, and nothing without one.

In a smaller university a class of two is no crowd, and the guard passes it.
"""


def found(name: str) -> bool:
    """Whether two years show a fault, in its own words."""
    return any(WORDS[name] in what for what in five_years(*SMALL, PLANTED[name]).wrong)


if __name__ == "__main__":
    sys.exit(main())
