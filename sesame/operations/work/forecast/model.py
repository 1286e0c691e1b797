"""When a queue is done: servers, a quota, and outages, drawn many times.

A target takes students at its workers' rate, and no faster than its quota allows (a token bucket); its
outages come by chance. Targets that share a machine slow one another: `company` of them are slower by a power
of it. Each draw has rates that the measurements allow (Student's t), a power likewise (a regression), and
outages that their number and lengths allow (Gamma and Poisson, Jeffreys' prior), so that little history means
a wide interval.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import Final

from sesame.operations.work.forecast.history import BLOCKS_MIN, Block, TargetHistory

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
_DRIFT: Final = 0.3
"""Halves of a rush whose rates differ by more are not alike: something else came or went."""
_SHARED, _SHARED_SPREAD = 0.8, 0.3
"""How much one process's targets slow one another, before it is seen: 1 means that they share all of it."""
_APART, _APART_SPREAD = 0.0, 0.1
"""Likewise of targets that have processes of their own."""
_HIDDEN: Final = 0.4
"""How much rates of blocks differ by what else the machine does: imports are not measured."""


@dataclass(frozen=True)
class Queue:
    """One target's work.

    Attributes:
        students: who are not done there.
        workers: that take its work.
        follows: the target whose students it gets, if it acts after one.
        arrivals: of whom some come later: after so many seconds, so many; in the order of time.
        outages: planned ones, in the order of time: after how many seconds, and how long.
        is_down: an outage is on.
        faster, quotas: what would change: its workers' rate, and its quota, as factors.
    """

    history: TargetHistory
    students: float
    workers: int
    follows: str | None = None
    arrivals: Sequence[tuple[float, float]] = ()
    outages: Sequence[tuple[float, float]] = ()
    is_down: bool = False
    faster: float = 1.0
    quotas: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """Seconds until everything is done, by quantile; and of each target the median.

    Attributes:
        wait: the longest wait of one who comes; `waits`: at each target.
    """

    low: float
    median: float
    high: float
    wait: float
    targets: Mapping[str, float]
    waits: Mapping[str, float]

    @property
    def brake(self) -> str | None:
        """The target with the longest wait; None: nothing is to do. A leader is, not who only follows it."""
        busy = [name for name, seconds in self.waits.items() if seconds]
        return max(busy, key=lambda name: self.waits[name], default=None)


def rates(queues: Mapping[str, Queue], now: float) -> dict[str, float]:
    """Students per second that each target takes beside the others with work.

    Enough must be known of each.
    """
    power, _ = sharing([queue.history for queue in queues.values()])
    company = max(1, sum(queue.students > 0 for queue in queues.values()))
    found = {}
    for name, queue in queues.items():
        alone = _alone_rate(_telling(queue, now, power), power)
        served = alone * queue.workers * queue.faster / company**power
        quotas = [_wall_rate(rush.after_throttle) for rush in queue.history.bound(now)]
        found[name] = min(served, fmean(quotas) * queue.quotas) if quotas else served
    return found


def draw(queues: Mapping[str, Queue], now: float, *, draws: int = DRAWS) -> Drawn:
    """When each target is done, and all of them.

    `now`: epoch seconds. Each queue with students must have a history that is enough and not contradictory.
    """
    if not queues:
        return Drawn(0.0, 0.0, 0.0, 0.0, {}, {})
    queues = {name: queues[name] for name in sorted(queues, key=lambda name: _depth(queues, name))}
    chances = {name: random.Random(name) for name in queues}  # noqa: S311 - as often as it is asked, one answer
    mean, spread = sharing([queue.history for queue in queues.values()])
    powers = random.Random("sharing")  # noqa: S311
    every = [_once(queues, now, max(0.0, powers.gauss(mean, spread)), chances) for _ in range(draws)]
    ends, waits = zip(*every, strict=True)
    all_ends = sorted(max(once.values()) for once in ends)
    return Drawn(
        _at(all_ends, LOW),
        _at(all_ends, 0.5),
        _at(all_ends, HIGH),
        _at(sorted(max(once.values()) for once in waits), 0.5),
        {name: _at(sorted(once[name] for once in ends), 0.5) for name in queues},
        {name: _at(sorted(once[name] for once in waits), 0.5) for name in queues},
    )


def sharing(histories: Sequence[TargetHistory]) -> tuple[float, float]:
    """By which power of their number targets slow one another: its mean and spread."""
    together = sum(len(each.processes) for each in histories)
    is_shared = len(frozenset[str]().union(*(each.processes for each in histories))) < together
    mean, spread = (_SHARED, _SHARED_SPREAD) if is_shared else (_APART, _APART_SPREAD)
    weight, sum_ = 1.0 / spread**2, mean / spread**2
    for rush in chain.from_iterable(each.rushes for each in histories):
        points = [
            (math.log(block.company), math.log(block.students / block.work_s))
            for block in rush.blocks
            if block.students and block.work_s
        ]
        if len(points) > 1:
            middle, level = (fmean(each) for each in zip(*points, strict=True))
            weight += sum((x - middle) ** 2 for x, _ in points) / _HIDDEN**2
            sum_ -= sum((x - middle) * (y - level) for x, y in points) / _HIDDEN**2
    return max(0.0, sum_ / weight), 1.0 / math.sqrt(weight)


def _once(
    queues: Mapping[str, Queue], now: float, power: float, chances: Mapping[str, random.Random]
) -> tuple[dict[str, float], dict[str, float]]:
    """One draw: the seconds until each target is done, and its longest wait. Leaders come first."""
    alone = {name: _alone_s(queue, now, power, chances[name]) for name, queue in queues.items()}
    served = over_s = 0.0
    company, found = sum(each > 0 for each in alone.values()), dict[str, float]()
    for name in sorted(alone, key=lambda name: alone[name]):  # who is done leaves the others more
        if alone[name]:
            over_s += (alone[name] - served) * company**power
            served, company = alone[name], company - 1
        found[name] = _seconds(queues[name], now, over_s, chances[name])
    done = dict[str, list[float]]()
    ends, waits = dict[str, float](), dict[str, float]()
    for name, queue in queues.items():
        done[name] = _done(queue, found[name], done.get(queue.follows or "", ()))
        ends[name] = done[name][-1]
        waits[name] = max(at - came for at, (came, _) in zip(done[name], _arrivals(queue), strict=True))
    return ends, waits


def _arrivals(queue: Queue) -> list[tuple[float, float]]:
    """After how many seconds how many students come; who are there already come first."""
    return [(0.0, queue.students - sum(count for _, count in queue.arrivals)), *queue.arrivals]


def _done(queue: Queue, work_s: float, leader: Sequence[float]) -> list[float]:
    """When those of each arrival are done. `leader`: when they are at whom it follows."""
    each_s = work_s / queue.students if queue.students else 0.0
    at, found = 0.0, list[float]()
    for place, (came, count) in enumerate(_arrivals(queue)):
        begins = max(at, came if count else 0.0)
        at = begins + each_s * count
        for down, down_s in queue.outages:
            if count and begins < down + down_s and down < at:
                at += down + down_s - max(begins, down)
        found.append(max(at if count else 0.0, leader[place] if place < len(leader) else 0.0))
    return found


def _depth(queues: Mapping[str, Queue], name: str) -> int:
    """How many targets a target comes after."""
    leader = queues[name].follows
    return 1 + _depth(queues, leader) if leader is not None and leader in queues else 0


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _alone_s(queue: Queue, now: float, power: float, chance: random.Random) -> float:
    """One draw of the seconds that a target's work takes if no other has any."""
    if not queue.students:
        return 0.0
    day = 1.0 if queue.history.current(now) is not None else _day(queue, now, chance)
    return _spent(
        [(block.students, block.alone_s(power)) for block in _telling(queue, now, power)],
        queue.students / (queue.workers * queue.faster * day),
        chance,
    )


def _telling(queue: Queue, now: float, power: float) -> list[Block]:
    """The blocks to judge by: the latest ones of a rush whose rate has changed much."""
    current = queue.history.current(now)
    if current is None:
        return [block for rush in queue.history.basis(now) for block in rush.blocks]
    blocks = current.blocks
    while len(blocks) >= 2 * BLOCKS_MIN:
        earlier, later = blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]
        if abs(math.log(_alone_rate(later, power) / _alone_rate(earlier, power))) < _DRIFT:
            break
        blocks = later
    return blocks


def _seconds(queue: Queue, now: float, served_s: float, chance: random.Random) -> float:
    """One draw of a target's time: with outages, and no faster than its quota."""
    if not queue.students:
        return 0.0
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


def _alone_rate(blocks: Sequence[Block], power: float) -> float:
    alone_s = sum(block.alone_s(power) for block in blocks)
    return max(1, sum(block.students for block in blocks)) / max(alone_s, 1e-3)


def _wall_rate(blocks: Sequence[Block]) -> float:
    return sum(block.students for block in blocks) / sum(block.wall_s for block in blocks)
