"""What was measured of a target: its rate, its quota, and its outages."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean, linear_regression
from typing import Final, NamedTuple

from pipeline.throughput import Stretch

PAUSE_S: Final = 60.0
"""A rush ends when no work waited for so long: what comes later may be work of another kind."""
BLOCK_S_MIN: Final = 10.0
BLOCKS_MAX: Final = 40
"""A rush is cut into so many blocks, so that what comes and goes within minutes is inside one."""
BLOCKS_MIN: Final = 3
"""A rush that is on decides once it has lasted for half a minute."""
_NOTABLE: Final = 0.1
"""Nightly files say little of a rentrée: rushes count that had a tenth of the largest one's students."""
_CALLS_MIN: Final = 10
CONTRADICTION: Final = 3.0
"""Two rushes whose rates differ by more have no mean."""
THROTTLED_SHARE_MIN: Final = 0.02
TOGETHER_S: Final = 1.0
"""Stretches of an outage follow one another closer than that."""


class Block(NamedTuple):
    """One part of a rush.

    Attributes:
        work_s: seconds of all workers together in which the target took work.
        wall_s: seconds in which it did not fail, throttled ones included.
        company: targets that had work then, with this one; one that waited half of the time counts half.
    """

    students: int
    work_s: float
    wall_s: float
    company: float = 1.0

    def alone_s(self, power: float) -> float:
        """Seconds that its work would take alone, where company slows by this power of it."""
        return self.work_s / math.pow(self.company, power)


@dataclass
class Rush:
    """A time in which the target was busy. Times are epoch seconds.

    Attributes:
        outages: the lengths of those that ended, in seconds.
        after_throttle: blocks from the first throttled one on; empty: its quota did not bind.
        burst: students before it was throttled first.
    """

    began: float
    ended: float
    blocks: list[Block]
    outages: list[float]
    after_throttle: list[Block]
    burst: int

    @property
    def students(self) -> int:
        """Who were done in its blocks."""
        return sum(block.students for block in self.blocks)

    @property
    def rate(self) -> float:
        """Students per second and worker while the target took work; 0: it took none."""
        work_s = sum(block.work_s for block in self.blocks)
        return self.students / work_s if work_s else 0.0

    @property
    def wall_s(self) -> float:
        """Seconds in which an outage could have begun."""
        return sum(block.wall_s for block in self.blocks)


@dataclass
class TargetHistory:
    """One target's rushes, the oldest first.

    Attributes:
        call_s: of a call with so many students, as measured; empty: no calls.
        processes: that worked for it.
    """

    rushes: list[Rush] = field(default_factory=list)
    call_s: list[tuple[float, float]] = field(default_factory=list)
    processes: frozenset[str] = frozenset()

    def current(self, now: float) -> Rush | None:
        """The rush that is on, if it tells enough."""
        on = self._on(now)
        return on if on is not None and on.rate and len(on.blocks) >= BLOCKS_MIN else None

    def basis(self, now: float) -> list[Rush]:
        """The rushes to judge by: the one that is on; else all of note. Empty: too little was measured."""
        current, on = self.current(now), self._on(now)
        if current is not None:
            return [current]
        over = [rush for rush in self.rushes if rush is not on]
        largest = max((rush.students for rush in over), default=0)
        return [rush for rush in over if rush.rate and rush.students >= _NOTABLE * largest]

    def _on(self, now: float) -> Rush | None:
        return self.rushes[-1] if self.rushes and now - self.rushes[-1].ended < PAUSE_S else None

    def bound(self, now: float) -> list[Rush]:
        """The rushes that tell the quota: today's, or else all that were throttled."""
        throttled = [rush for rush in self.rushes if any(block.students for block in rush.after_throttle)]
        return throttled[-1:] if throttled[-1:] == [self.current(now)] else throttled

    def burst(self, now: float) -> float:
        """Students that the quota lets pass at once now."""
        current = self.current(now)
        done = current.students if current is not None else 0
        return max(0.0, fmean(rush.burst for rush in self.bound(now)) - done)

    def contradictory(self, now: float) -> tuple[Rush, Rush] | None:
        """The two rushes that contradict each other most, if none of today decides."""
        basis = sorted(self.basis(now), key=lambda rush: rush.rate)
        if not basis or basis[-1].rate <= CONTRADICTION * basis[0].rate:
            return None
        return basis[0], basis[-1]

    def longer_batch(self) -> float | None:
        """How much faster the target would be with calls twice as long; None: cannot tell."""
        sizes = [size for size, _ in self.call_s]
        if len(sizes) < _CALLS_MIN or max(sizes) <= 1.5 * min(sizes):
            return None
        each_s, base_s = linear_regression(*zip(*self.call_s, strict=True))
        size = fmean(sizes)
        now_s, then_s = base_s + each_s * size, base_s + each_s * 2 * size
        return max(1.0, 2 * now_s / then_s) if min(base_s, each_s, then_s) > 0 else None


def histories(stretches: Mapping[str, Sequence[Stretch]], slots: int) -> dict[str, TargetHistory]:
    """What the targets' stretches say, which come in the order of time.

    `slots`: calls at once that serve bulk work. Where no work waited, the workers' time is that of the calls,
    spread over them.
    """
    shares = {target: _Shares(of, slots) for target, of in stretches.items()}
    return {target: _history(of, slots, shares) for target, of in stretches.items()}


class _Shares:
    """How busy one target was: 1 with a queue; else the share of its slots."""

    def __init__(self, stretches: Sequence[Stretch], slots: int) -> None:
        self._stretches, self._slots = stretches, slots
        self._ends = [each.until for each in stretches]

    def at(self, moment: float) -> float:
        place = bisect_left(self._ends, moment)
        if place == len(self._ends):
            return 0.0
        each = self._stretches[place]
        return _work_s(each, self._slots) / each.seconds if each.until - each.seconds <= moment else 0.0


def _history(stretches: Sequence[Stretch], slots: int, shares: Mapping[str, _Shares]) -> TargetHistory:
    found = TargetHistory(processes=frozenset(each.process for each in stretches))
    for several in _rushes(stretches):
        queued = _in_earnest([each for each in several if each.queued])
        busy = queued or [each for each in several if each.calls]
        if busy:
            found.rushes.append(_rush(busy, slots, shares))
        found.call_s += [(each.called / each.calls, each.call_s / each.calls) for each in busy if each.calls]
    return found


def _rushes(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    rush: list[Stretch] = []
    for each in stretches:
        if rush and each.until - each.seconds - rush[-1].until > PAUSE_S:
            yield rush
            rush = []
        rush.append(each)
    if rush:
        yield rush


def _in_earnest(queued: Sequence[Stretch]) -> list[Stretch]:
    """Leave out what was before the target was met: records that concern nobody. A call may be long."""
    met = next((each for each in queued if each.is_met), None)
    if met is None:
        return []
    begins = met.until - met.seconds - met.call_s / max(1, met.calls)
    return [each for each in queued if each.until > begins]


def _rush(busy: Sequence[Stretch], slots: int, shares: Mapping[str, _Shares]) -> Rush:
    began, ended = min(each.until - each.seconds for each in busy), busy[-1].until
    throttled_s, spent_s = sum(each.throttled_s for each in busy), sum(each.seconds for each in busy)
    first = len(busy)
    if throttled_s >= THROTTLED_SHARE_MIN * spent_s:
        first = next(place for place, each in enumerate(busy) if each.throttled_s)
    free, bound = busy[:first], busy[first:]
    return Rush(
        began,
        ended,
        _blocks(free or bound, slots, shares),  # while throttled it waits with calls under way
        _outages(busy),
        _blocks(bound, slots, shares) if bound else [],
        sum(each.students for each in free) if bound else 0,
    )


def _blocks(busy: Sequence[Stretch], slots: int, shares: Mapping[str, _Shares]) -> list[Block]:
    began, ended = busy[0].until - busy[0].seconds, busy[-1].until
    length_s = max(BLOCK_S_MIN, (ended - began) / BLOCKS_MAX)

    def place(each: Stretch) -> int:
        return math.floor((each.until - each.seconds / 2 - began) / length_s)

    blocks = []
    for _, group in groupby(sorted(busy, key=place), key=place):
        several = list(group)
        workers = len({each.process for each in several})
        up_s = sum(max(0.0, each.seconds - each.down_s) for each in several)
        work_s = sum(_work_s(each, slots) for each in several)
        if up_s:
            company = fmean(_company(each, shares) for each in several)
            blocks.append(Block(sum(each.students for each in several), work_s, up_s / workers, company))
    return blocks


def _company(each: Stretch, shares: Mapping[str, _Shares]) -> float:
    middle = each.until - each.seconds / 2
    return 1.0 + sum(of.at(middle) for target, of in shares.items() if target != each.target)


def _work_s(each: Stretch, slots: int) -> float:
    if not each.queued:
        return min(each.seconds, each.call_s / slots)
    return max(0.0, each.seconds - each.down_s - each.throttled_s)


def _outages(busy: Sequence[Stretch]) -> list[float]:
    """The lengths of the outages that ended. All workers see the same ones."""
    ends: list[float] = []
    lengths: list[defaultdict[str, float]] = []  # by worker
    for each in sorted(busy, key=lambda each: each.until - each.seconds):
        if not each.down_s:
            continue
        if not ends or each.until - each.seconds > ends[-1] + TOGETHER_S:
            ends.append(each.until)
            lengths.append(defaultdict(float))
        ends[-1] = max(ends[-1], each.until)
        lengths[-1][each.process] += each.down_s
    found = [max(each.values()) for each in lengths]
    lasts = busy[-1].down_s > 0.5 * busy[-1].seconds
    return found[:-1] if lasts else found
