"""A soak's figures, for the page of evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

_TEXT = """\
Lived on {date}: {machine}. {histories:,} histories of {students} students and at least {events_wanted}
events, seeds {first_seed} to {last_seed}; the whole again: `make soak SEED={first_seed} SECONDS=600
DOCS=1`.

| Lived | |
|---|---:|
| decisions of schedules | {choices:,} |
| simulated hours (years) | {simulated_hours:,} ({simulated_years}) |
| events on the logs | {events:,} |
| faults | {faults_in_all:,} |
| processor seconds of one history | {cost_s:.2f} |
| **promises that were not kept** | **{violations}** |

{failed}

{planted} faults were planted into the shipped code, each alone, until an invariant was broken. {missed}
The invariants that they broke first: {shown}.
"""


def section(report: Mapping[str, Any]) -> str:
    faults = report["faults"]
    missed = [name for name, seen in report["planted"].items() if not seen]
    cost_s = report["processor_s"] / report["histories"] if report["histories"] else 0.0
    return _TEXT.format(
        **{name: value for name, value in report.items() if name not in _WRITTEN},
        cost_s=cost_s,
        faults_in_all=sum(faults.values()),
        failed=_failed(report["failed"]),
        planted=len(report["planted"]),
        missed="All were seen." if not missed else f"**Not seen: {', '.join(missed)}.**",
        shown=_by_invariant(report["shown_by"]),
    )


_WRITTEN = ("faults", "failed", "planted", "shown_by")


def _by_invariant(shown_by: Mapping[str, Mapping[str, str]]) -> str:
    found = Counter(seen["invariant"] for seen in shown_by.values())
    return ", ".join(f"{invariant} {count}" for invariant, count in found.items())


def _failed(options: list[str]) -> str:
    if not options:
        return "Nothing was broken in any of them."
    again = "\n".join(f"python -m tests.simulation.soak --once {each}" for each in options)
    return (
        f"Something was broken in {len(options)}, each as small as it was found:\n\n```console\n{again}\n```"
    )
