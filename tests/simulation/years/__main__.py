"""Five years: `python -m tests.simulation.years [--students N] [--seed N] [--docs FILE]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.simulation.tally import machine
from tests.simulation.years.history import LARGE, five_years
from tests.simulation.years.looks import table
from tests.simulation.years.planted import PLANTED

_PAGE = """# Five years of a university

<!-- written by `make soak YEARS={size} DOCS=1` -->

Lived on {date}: {machine}.

A university of {size:,} students from September {first} to August {last}, by seed {seed}: the
shipped registry, propagation, engine and connectors' handler, two processes of each, on a simulated
clock, over three targets in memory ([the simulation](../explanation/simulation.md)). {students:,}
persons in all, {records:,} events on the log, in {minutes:.1f} min of one processor.

{table}

*entries, returns, changes* (of a name), *leaves* (in the middle of a year): what people do. *holds*:
accounts that the office shut, for six weeks.
*expired, erased*: accounts that time shut, and erased. *held*: plans of the guard that an operator
looked at. *kept_open*: students whom a wrong file had left out for longer than their grace, and who
lost nothing. *drift*: objects that a hand changed or deleted, and that the night's comparison
found, no other, and had repaired. *killed*: processes, where they stood. *records*: events on the
log. *wrong*: promises that were not kept.

In the second year a file forgets a step of one year for eleven weeks; in the fourth one student in
a hundred is lost each day for twenty days, and found in April. At each rentrée the directory and
Moodle are away.

Looked at each week, or from {large:,} students on each fourth week: every object of every target
against what the registrar's truth says of that day; each version applied everywhere; no target back
at an older version; nothing announced that was not read back; names never given twice; nobody who
is enrolled was ever shut out but by a hold, and whoever has one is shut everywhere until it is
lifted; one completion for each version; no name of a person on the log but in the registrar's facts.

Each of these faults, planted into the shipped code, is found: {planted}.
"""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="years", description="Five years of a university.")
    parser.add_argument("--students", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docs", type=Path, help="write the page to this file")
    options = parser.parse_args()
    missed = [name for name in PLANTED if not found(name)]
    started = time.process_time()
    lived = five_years(options.seed, options.students)
    took_s = time.process_time() - started
    told = table(lived.years)
    print(told, *lived.wrong[:50], *(f"NOT CAUGHT: {name}" for name in missed), sep="\n")
    print(f"{len(lived.students)} persons, {took_s:.0f} s", file=sys.stderr)
    if options.docs is not None:
        text = _PAGE.format(
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            machine=machine(),
            size=options.students,
            first=lived.years[0].year,
            last=lived.years[-1].year + 1,
            seed=options.seed,
            students=len(lived.students),
            records=sum(year.records for year in lived.years),
            minutes=took_s / 60,
            large=LARGE,
            table=told,
            planted=", ".join(f"*{name}*" for name in PLANTED),
        )
        options.docs.write_text(text, encoding="utf-8")
    return 1 if lived.wrong or missed else 0


SMALL = 1, 30, 2
"""Seed, students and years in which a fault shows, and nothing does without one. In a smaller university a
class of two is no crowd, and the guard lets it go."""


def found(name: str) -> bool:
    """Whether two years show a fault, in its own words."""
    planted, words = PLANTED[name]
    return any(words in what for what in five_years(*SMALL, planted).wrong)


if __name__ == "__main__":
    sys.exit(main())
