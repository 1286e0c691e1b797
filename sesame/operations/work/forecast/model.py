"""When a queue is done: servers, a quota, and outages, drawn many times.

A target takes students at its workers' rate, and no faster than its quota allows (a token bucket); its
outages come by chance. Each draw has rates that the measurements allow (Student's t), and outages that their
number and lengths allow (Gamma and Poisson, Jeffreys' prior), so that little history means a wide interval.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from sesame.operations.work.forecast.history import Block, TargetHistory

DRAWS: Final = 500
LOW, HIGH = 0.1, 0.9
"""The interval holds the truth in 80 of 100 cases."""
_DAY_SPREAD: Final = 0.04
"""Between two days, where one rush alone is known: the same servers are faster or slower by a twentieth."""
_OUTAGES, _OUTAGE_S, _OUTAGES_OVER_S = 2.0, 60.0, 3600.0
"""What is assumed besides what was seen: restarts of a minute on average, and half of one in an hour."""
_MANY: Final = 50
_SPREAD, _SPREAD_WEIGHT = 0.15, 3.0
"""Likewise of the rate of one block: three of them that differ by so much."""


@dataclass(frozen=True)
class Queue:
    """One target's work.

    Attributes:
        students: who are not done there.
        workers: that take its work.
        follows: the target whose students it gets, if it acts after one.
        is_down: an outage is on.
        faster, quotas: what would change: its workers' rate, and its quota, as factors.
    """

    history: TargetHistory
    students: float
    workers: int
    follows: str | None = None
    is_down: bool = False
    faster: float = 1.0
    quotas: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """Seconds until everything is done, by quantile; and of each target the median."""

    low: float
    median: float
    high: float
    targets: Mapping[str, float]

    @property
    def brake(self) -> str | None:
        """The target that is done last; None: nothing is to do. A leader is, not who only follows it."""
        return max(self.targets, key=lambda name: self.targets[name], default=None)


def rate(queue: Queue, now: float) -> float:
    """Students per second that a target is expected to take; enough must be known."""
    basis = queue.history.basis(now)
    served = fmean(rush.rate for rush in basis) * queue.workers * queue.faster
    quotas = [_wall_rate(rush.after_throttle) for rush in queue.history.bound(now)]
    return min(served, fmean(quotas) * queue.quotas) if quotas else served


def draw(queues: Mapping[str, Queue], now: float, *, draws: int = DRAWS) -> Drawn:
    """When each target is done, and all of them.

    `now`: epoch seconds. Each queue must have a history that is enough and not contradictory.
    """
    if not queues:
        return Drawn(0.0, 0.0, 0.0, {})
    times: dict[str, list[float]] = {}

    def drawn(name: str) -> list[float]:
        """The times of a target, after those of its leader."""
        if name not in times:
            queue = queues[name]
            is_after = queue.follows is not None and queue.follows in queues
            leader = drawn(queue.follows or "") if is_after else [0.0] * draws
            chance = random.Random(name)  # noqa: S311 - the same question has the same answer
            times[name] = [max(_seconds(queue, now, chance), after) for after in leader]
        return times[name]

    for name in queues:
        drawn(name)
    ends = sorted(max(each) for each in zip(*times.values(), strict=True))
    return Drawn(
        _at(ends, LOW),
        _at(ends, 0.5),
        _at(ends, HIGH),
        {name: _at(sorted(of), 0.5) for name, of in times.items()},
    )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _seconds(queue: Queue, now: float, chance: random.Random) -> float:
    """One draw of a target's time."""
    if not queue.students:
        return 0.0
    basis = queue.history.basis(now)
    day = 1.0 if queue.history.current(now) is not None else _day(queue, now, chance)
    served_s = _spent(
        [(block.students, block.work_s) for rush in basis for block in rush.blocks],
        queue.students / (queue.workers * queue.faster * day),
        chance,
    )
    served_s += _outage_s(queue, served_s, chance)
    bound = queue.history.bound(now)
    if not bound:
        return served_s
    burst = min(queue.students, queue.history.burst(now) * queue.quotas)
    blocks = [(block.students, block.wall_s) for rush in bound for block in rush.after_throttle]
    quota_s = _spent(blocks, (queue.students - burst) / queue.quotas, chance)
    return max(served_s, served_s * burst / queue.students + quota_s)


def _day(queue: Queue, now: float, chance: random.Random) -> float:
    """How another day's rate differs, as a factor."""
    rates = [math.log(rush.rate) for rush in queue.history.basis(now)]
    spread = max(_DAY_SPREAD, stdev(rates)) if len(rates) > 1 else _DAY_SPREAD
    return math.exp(chance.gauss(0.0, spread * math.sqrt(1.0 + 1.0 / len(rates))))


def _spent(blocks: Sequence[tuple[int, float]], students: float, chance: random.Random) -> float:
    """Draw the seconds of so many students, by the rate of these blocks and its noise."""
    total, seconds = sum(count for count, _ in blocks), sum(took for _, took in blocks)
    mean, length_s = total / seconds, seconds / len(blocks)
    squares = sum(took / length_s * (count / took / mean - 1) ** 2 for count, took in blocks if took)
    free = len(blocks) - 1 + _SPREAD_WEIGHT
    spread = math.sqrt((squares + _SPREAD_WEIGHT * _SPREAD**2) / free)
    student_t = chance.gauss(0.0, 1.0) / math.sqrt(chance.gammavariate(free / 2, 2.0) / free)
    level = max(0.1, 1.0 + student_t * spread / math.sqrt(len(blocks)))
    took_s = students / (mean * level)
    noise = spread * chance.gauss(0.0, 1.0) / math.sqrt(max(1.0, took_s / length_s))
    return took_s * max(0.1, 1.0 + noise)


def _outage_s(queue: Queue, work_s: float, chance: random.Random) -> float:
    """Seconds of outages within so many of work, and what is left of one that is on."""
    rushes = queue.history.rushes
    outages = [length for rush in rushes for length in rush.outages]
    exposed_s = sum(rush.wall_s for rush in rushes)
    often = chance.gammavariate(len(outages) + 0.5, 1.0 / (exposed_s + _OUTAGES_OVER_S))
    mean_s = (sum(outages) + _OUTAGE_S) / chance.gammavariate(len(outages) + _OUTAGES, 1.0)
    count = _poisson(often * work_s, chance)
    down_s = chance.gammavariate(count, mean_s) if count else 0.0
    return down_s + (chance.expovariate(1.0 / mean_s) if queue.is_down else 0.0)


def _poisson(mean: float, chance: random.Random) -> int:
    """A Poisson draw; of many by the normal distribution."""
    if mean > _MANY:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, sum_ = 0, chance.expovariate(1.0)
    while sum_ < mean:
        count += 1
        sum_ += chance.expovariate(1.0)
    return count


def _wall_rate(blocks: Sequence[Block]) -> float:
    return sum(block.students for block in blocks) / sum(block.wall_s for block in blocks)
