"""The page of the reference that a soak writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulation.weather import KINDS

_TEXT = """# Simulated histories

<!-- written by `make soak DOCS=1` -->

Lived on {date}: {machine}.

[The simulation](../explanation/simulation.md) says what a history is, what is real in it and what must hold
at its end. Each is the whole pipeline, every process at least twice, {students}
students and at least {events_wanted} events, in one thread; its seed decides who goes on next and what goes
wrong.

| Lived | |
|---|---:|
| histories | {histories:,} |
| seeds | {first_seed} to {last_seed} |
| schedules: a history has its own, decided so many times | {choices:,} |
| simulated time, in hours | {simulated_hours:,} |
| the same in years | {simulated_years} |
| events on the logs | {events:,} |
| faults | {faults_in_all:,} |
| processor time of one history, in seconds | {cost_s:.2f} |
| **promises that were not kept** | **{violations}** |

{failed}

## What went wrong on purpose

| Kind | | Times |
|---|---|---:|
{faults}

## To live one again

A history is the same wherever and whenever it is lived with the same code. Any of the seeds above:

```console
$ python -m tests.simulation.soak --once --seed {first_seed} --events {events_wanted} --students {students}
```

says `nothing is broken`, or what is. `--without kill` leaves a kind of trouble out. The whole again, and this
page: `make soak SEED={first_seed} SECONDS=600 DOCS=1`.

## How it is known to find anything

Each of these {planted} faults was put into the shipped code, by itself, and histories were lived until an
invariant was broken. {missed}

| Planted fault | First invariant broken | Live it again with `--once --planted` and |
|---|---|---|
{shown}
"""


def page(report: Mapping[str, Any]) -> str:
    """The page, from what a soak came to."""
    faults, shown_by = report["faults"], report["shown_by"]
    missed = [name for name, seen in report["planted"].items() if not seen]
    cost_s = report["processor_s"] / report["histories"] if report["histories"] else 0.0
    return _TEXT.format(
        **{name: value for name, value in report.items() if name not in _WRITTEN},
        cost_s=cost_s,
        faults_in_all=sum(faults.values()),
        faults="\n".join(f"| `{kind}` | {KINDS[kind]} | {times:,} |" for kind, times in faults.items()),
        failed=_failed(report["failed"]),
        planted=len(report["planted"]),
        missed="All were seen." if not missed else f"**Not seen: {', '.join(missed)}.**",
        shown="\n".join(
            f"| {name} | {seen['invariant']} | `{seen['options']}` |" for name, seen in shown_by.items()
        ),
    )


_WRITTEN = ("faults", "failed", "planted", "shown_by")


def _failed(options: list[str]) -> str:
    if not options:
        return "Nothing was broken in any of them."
    again = "\n".join(f"python -m tests.simulation.soak --once {each}" for each in options)
    return (
        f"Something was broken in {len(options)}, each as small as it was found:\n\n```console\n{again}\n```"
    )
