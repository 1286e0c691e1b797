"""Simulated rentrées: targets with quotas and outages, and what workers measure.

Calls are simulated, and nothing of the forecast's model is used: it is told no rate, no quota and no outage,
and sees the stretches that a reporter keeps.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from pipeline.throughput import Stretch

REPORT_S = 6.0
PROBE_S_MAX = 8.0


@dataclass(frozen=True)
class Server:
    """One target. A call takes `base_s` and `each_s` a student; `quota_s`: a second."""

    name: str
    follows: str | None
    workers: int
    slots: int
    batch: int
    base_s: float
    each_s: float
    noise: float
    outages_s: float
    outage_s: float
    quota_s: float | None = None
    burst: int = 0


@dataclass
class Lived:
    """One target's day: when students were done, and what was measured."""

    done: list[tuple[float, int]] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)

    @property
    def end(self) -> float:
        return max(at for at, _ in self.done)

    def is_down(self, at: float) -> bool:
        return any(begins <= at < ends for begins, ends in self.outages)

    def left(self, students: int, at: float) -> int:
        return students - sum(count for when, count in self.done if when <= at)


@dataclass(frozen=True)
class Rentree:
    """A site and its days.

    Attributes:
        before: earlier rushes' stretches by target.
        today: what happens today, from `began` on.
        asked_at: when the forecast is asked for.
    """

    servers: tuple[Server, ...]
    students: int
    before: dict[str, list[Stretch]]
    today: dict[str, Lived]
    began: float
    asked_at: float

    def known(self, target: str) -> list[Stretch]:
        """The stretches that are known when the forecast is asked for."""
        now = [each for each in self.today[target].stretches if each.until <= self.asked_at]
        return [*self.before[target], *now]

    @property
    def end(self) -> float:
        return max(lived.end for lived in self.today.values())


def rentree(seed: int) -> Rentree:
    """The rentrée of this seed."""
    chance = random.Random(f"rentree {seed}")  # noqa: S311
    servers = _servers(chance)
    students = round(10 ** chance.uniform(3.5, 4.6))
    before: dict[str, list[Stretch]] = {server.name: [] for server in servers}
    for year in range(chance.choice((1, 1, 2, 3))):
        lived = _day(servers, round(students * chance.uniform(0.6, 1.1)), 1e9 + year * 3e7, chance)
        for name, of in lived.items():
            before[name] += of.stretches
    began = 2e9
    today = _day(servers, students, began, chance)
    end = max(lived.end for lived in today.values())
    share = chance.choice((0.0, chance.uniform(0.1, 0.6)))
    return Rentree(servers, students, before, today, began, began + share * (end - began))


def _servers(chance: random.Random) -> tuple[Server, ...]:
    names: list[tuple[str, str | None]] = [("directory", None), ("mailbox", "directory"), ("moodle", None)]
    if chance.random() < 0.4:
        names.append(("cloud", None))
    found = []
    for name, follows in names:
        batch = chance.choice((10, 25, 50))
        per_s = chance.uniform(4.0, 60.0)  # students a second and worker
        slots = 3
        call_s = batch * slots / per_s
        base = chance.uniform(0.1, 0.8)
        quota = per_s * chance.uniform(0.6, 1.2) if name == "cloud" else None
        found.append(
            Server(
                name,
                follows,
                workers=chance.choice((1, 1, 2, 3)),
                slots=slots,
                batch=batch,
                base_s=call_s * base,
                each_s=call_s * (1 - base) / batch,
                noise=chance.uniform(0.1, 0.6),
                outages_s=chance.uniform(600.0, 7200.0),
                outage_s=chance.uniform(10.0, 90.0),
                quota_s=quota,
                burst=round(150 * quota) if quota else 0,
            )
        )
    return tuple(found)


def _day(servers: Sequence[Server], students: int, began: float, chance: random.Random) -> dict[str, Lived]:
    lived: dict[str, Lived] = {}
    for server in servers:
        ready = [(began, students)] if server.follows is None else lived[server.follows].done
        lived[server.name] = _Target(server, sorted(ready), began, chance).live()
    return lived


class _Target:
    """One target's day."""

    def __init__(
        self, server: Server, ready: list[tuple[float, int]], began: float, chance: random.Random
    ) -> None:
        self.server, self.ready, self.began, self.chance = server, ready, began, chance
        self.slow = chance.lognormvariate(0.0, 0.05)  # a day's servers are not last year's
        self.outages = self._outages()
        self.calls: list[tuple[float, float, int, int]] = []  # began, ended, students, worker
        self.throttled: list[tuple[float, float]] = []

    def _outages(self) -> list[tuple[float, float]]:
        found, at = [], self.began
        while at < self.began + 200_000.0:
            at += self.chance.expovariate(1.0 / self.server.outages_s)
            lasts = self.chance.expovariate(1.0 / self.server.outage_s)
            found.append((at, at + lasts + self.chance.uniform(0.5, PROBE_S_MAX)))
            at = found[-1][1]
        return found

    def _outage(self, begins: float, ends: float) -> tuple[float, float] | None:
        place = bisect_right(self.outages, (begins, float("inf"))) - 1
        for outage in self.outages[max(0, place) : place + 2]:
            if outage[0] < ends and begins < outage[1]:
                return outage
        return None

    def live(self) -> Lived:
        server, left = self.server, sum(count for _, count in self.ready)
        free = [(self.began, slot % server.workers) for slot in range(server.workers * server.slots)]
        heapq.heapify(free)
        tokens, filled_at, waiting, place = float(server.burst), self.began, 0, 0
        lived = Lived(outages=self.outages)
        while left:
            at, worker = heapq.heappop(free)
            while place < len(self.ready) and self.ready[place][0] <= at:
                waiting += self.ready[place][1]
                place += 1
            if not waiting:
                if place == len(self.ready):  # the others finish what is left
                    continue
                heapq.heappush(free, (self.ready[place][0], worker))
                continue
            count = min(server.batch, waiting)
            if server.quota_s is not None:
                tokens = min(server.burst, tokens + (at - filled_at) * server.quota_s)
                filled_at = at
                if tokens < count:
                    until = at + self.chance.uniform(1.0, 2.0) + (count - tokens) / server.quota_s
                    self.throttled.append((at, until))
                    heapq.heappush(free, (until, worker))
                    continue
            took_s = (server.base_s + server.each_s * count) * self.slow
            took_s *= self.chance.lognormvariate(-(server.noise**2) / 2, server.noise)
            if (outage := self._outage(at, at + took_s)) is not None:
                heapq.heappush(free, (max(outage[1], at), worker))
                continue
            tokens -= count
            waiting -= count
            left -= count
            self.calls.append((at, at + took_s, count, worker))
            lived.done.append((at + took_s, count))
            heapq.heappush(free, (at + took_s, worker))
        lived.done.sort()
        lived.stretches = sorted(self._stretches(lived), key=lambda each: each.until)
        return lived

    def _stretches(self, lived: Lived) -> Iterator[Stretch]:
        """What each worker's reporter would keep, every few seconds."""
        self._come, self._gone = (
            [0, *accumulate(count for _, count in each)] for each in (self.ready, lived.done)
        )
        throttled = _merged(self.throttled)
        for worker in range(self.server.workers):
            mine = sorted((call for call in self.calls if call[3] == worker), key=lambda call: call[1])
            ends = [call[1] for call in mine]
            begins = self.began + self.chance.uniform(0.0, 1.0)
            while begins < lived.end:
                until = begins + REPORT_S
                calls = mine[bisect_right(ends, begins) : bisect_right(ends, until)]
                students = sum(call[2] for call in calls)
                queued = min(self._queued(lived, begins), self._queued(lived, until)) / self.server.workers
                stretch = Stretch(
                    self.server.name,
                    f"host:{self.server.name}:{worker}",
                    until,
                    REPORT_S,
                    queued >= max(20, students, 8 * self.server.batch),
                    students,
                    len(calls),
                    students,
                    sum(call[1] - call[0] for call in calls),
                    _overlap(self.outages, begins, until),
                    _overlap(throttled, begins, until),
                )
                if stretch.is_busy:
                    yield stretch
                begins = until

    def _queued(self, lived: Lived, at: float) -> int:
        come = self._come[bisect_right(self.ready, (at, 1 << 30))]
        return come - self._gone[bisect_right(lived.done, (at, 1 << 30))]


def _overlap(spans: Sequence[tuple[float, float]], begins: float, until: float) -> float:
    """Seconds of `spans`, which are in order and apart, within a time."""
    first = max(0, bisect_right(spans, (begins, 0.0)) - 1)
    near = spans[first : bisect_right(spans, (until, 0.0))]
    return sum(max(0.0, min(end, until) - max(start, begins)) for start, end in near)


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
