"""A row of the table of benchmarks: the figure, and its comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

T = TypeVar("T")
_DIGITS = 3

Compared = Literal["at least", "at most"]


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        name: of the row; stable, so that two runs can be compared.
        unit: of `ours` and of the peers.
        limit: what `ratio` (or, without a ratio, `ours`) is to reach or to stay under.
        compared: which of the two.
        ratio: ours against the peer's in the same run, where there is one.
        peers: others' figures, same unit, same run.
        note: what a reader must know to read the figure.
    """

    name: str
    unit: str
    ours: float
    limit: float | None = None
    compared: Compared = "at least"
    ratio: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def wanted(self) -> bool:
        """Whether the figure is within its limit; a row without a limit always is."""
        if self.limit is None:
            return True
        value = self.ours if self.ratio is None else self.ratio
        return value >= self.limit if self.compared == "at least" else value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """The row as `make bench JSON=FILE` writes it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "limit": self.limit,
            "compared": self.compared,
            "peers": {name: rounded(value) for name, value in self.peers.items()},
            "ratio": None if self.ratio is None else rounded(self.ratio),
            "wanted": self.wanted,
            "note": self.note,
        }


def rounded(value: float) -> float:
    """At least three significant digits: as precise as a noisy machine can be."""
    return round(value) if abs(value) >= 10**_DIGITS else float(f"{value:.{_DIGITS}g}")


def middle(measure: Callable[[], float], runs: int) -> float:
    """The median of several runs."""
    return median(measure() for _ in range(runs))


def side_by_side(measures: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """The median of each, as `in_turn`."""
    return {name: median(values) for name, values in in_turn(measures, runs).items()}


def in_turn(measures: Mapping[str, Callable[[], T]], runs: int) -> dict[str, list[T]]:
    """Each measure's runs, taken in turn. What disturbs the machine disturbs all of them."""
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            taken[name].append(measure())
    return taken


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "|Row|Ours|Unit|Beside|Ratio|Wanted||",
        "|---|---:|---|---|---:|---:|---|",
    ]
    for row in rows:
        peers = ", ".join(f"{name} {rounded(value):g}" for name, value in row.peers.items())
        ratio = "" if row.ratio is None else f"{rounded(row.ratio):g}"
        limit = "" if row.limit is None else f"{'≥' if row.compared == 'at least' else '≤'} {row.limit:g}"
        verdict = "" if row.limit is None else ("yes" if row.wanted else "**no**")
        lines.append(f"|`{row.name}`|{rounded(row.ours):g}|{row.unit}|{peers}|{ratio}|{limit}|{verdict}|")
    return "\n".join(lines)


def folded(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, those of one subject under one limit as their worst: `console-* (18)`."""
    alike: dict[object, list[Row]] = {}
    for row in rows:
        limited = row.limit is not None and row.ratio is None
        key = (row.name.partition("-")[0], row.unit, row.limit, row.compared) if limited else row.name
        alike.setdefault(key, []).append(row)
    for some in alike.values():
        choose = min if some[0].compared == "at least" else max
        worst = choose(some, key=lambda row: row.ours)
        if len(some) == 1:
            yield worst
        else:
            subject = worst.name.partition("-")[0]
            note = f"the worst of {len(some)}, `{worst.name}`: {worst.note}"
            yield replace(worst, name=f"{subject}-* ({len(some)})", note=note)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows for a program to read."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n", encoding="utf-8")
