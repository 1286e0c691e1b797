"""Histories' findings, added up."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.simulation.history import Recipe

HOUR_S = 3600.0
YEAR_S = 365.25 * 24 * HOUR_S


class Seen(NamedTuple):
    """The history that showed a planted fault, and the first invariant that it broke."""

    options: str
    invariant: str


@dataclass(frozen=True)
class Lived:
    """One history's findings.

    Attributes:
        broken: promises that were not kept, in words.
        processor_s: its cost.
        simulated_s: its length on its own clock.
        choices: how many times chance decided which actor is next.
    """

    broken: tuple[str, ...]
    processor_s: float = 0.0
    simulated_s: float = 0.0
    events: int = 0
    choices: int = 0
    faults: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """The findings so far.

    Attributes:
        recipe: the first history's.
        failed: the shrunk options of those that broke a promise.
    """

    recipe: Recipe
    histories: int = 0
    violations: int = 0
    busy_s: float = 0.0
    processor_s: float = 0.0
    simulated_s: float = 0.0
    events: int = 0
    choices: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, lived: Lived) -> None:
        self.histories += 1
        self.violations += len(lived.broken)
        self.processor_s += lived.processor_s
        self.simulated_s += lived.simulated_s
        self.events += lived.events
        self.choices += lived.choices
        self.faults.update(lived.faults)

    @property
    def histories_per_s(self) -> float:
        """Over all processes."""
        return self.histories / self.busy_s if self.busy_s else 0.0

    @property
    def line(self) -> str:
        hours, years = self.simulated_s / HOUR_S, self.simulated_s / YEAR_S
        return (
            f"{self.histories} histories, {self.violations} violations,"
            f" {self.histories_per_s:.2f} histories/s, {hours:.1f} simulated hours ({years:.4f} years)"
        )

    def report(self, planted: dict[str, Seen | None]) -> dict[str, Any]:
        """Every figure, for a program and for the page."""
        return {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "histories": self.histories,
            "violations": self.violations,
            "failed": self.failed,
            "histories_per_s": round(self.histories_per_s, 3),
            "processor_s": round(self.processor_s, 1),
            "simulated_hours": round(self.simulated_s / HOUR_S, 1),
            "simulated_years": round(self.simulated_s / YEAR_S, 4),
            "first_seed": self.recipe.seed,
            "last_seed": self.recipe.seed + max(0, self.histories - 1),
            "events_wanted": self.recipe.events,
            "students": self.recipe.students,
            "events": self.events,
            "choices": self.choices,
            "faults": dict(sorted(self.faults.items())),
            "planted": {name: seen is not None for name, seen in planted.items()},
            "shown_by": {name: seen._asdict() for name, seen in planted.items() if seen is not None},
        }


def machine() -> str:
    """The machine of a measurement."""
    python, load = platform.python_version(), os.getloadavg()[2]
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {python}, load {load:.1f} over 15 minutes"
