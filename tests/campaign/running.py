"""One campaign, from the import to the counts."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.demo import play, progress
from sandbox.demo.finding import COMPLETED
from sandbox.demo.play import Cast
from sandbox.demo.sweep import sweep
from sandbox.demo.sweep_mail import WELCOME
from sandbox.demo.world import World
from sandbox.process import SandboxError, wait_until
from sesame.app.event_log import open_log
from sesame.settings import load
from tests.acceptance.reading import completions, outcomes, versions_went_back
from tests.campaign.burst import Burst
from tests.campaign.supervisor import KINDS, SERVERS, Supervisor, Victim, victims_of
from tests.campaign.watching import Watch
from tests.simulation.tally import machine

_DOWN_AT_ONCE_MAX = 3
_LONG_SHARE = 0.15
_LONG_S = (5.0, 12.0)
"""Now and then a server is away for longer than the retries within a call take."""
_SHORT_S = (0.0, 1.5)
_UP_S_MAX = 600.0
_SHARE_SETTLED, _PATIENCE_S = 0.8, 15.0
"""The kills keep step with the work: before each, so much of its share is settled, or so long was waited."""
_LISTS_OUT_AT = 0.95
"""Of the campaign, when the last list of students is given."""
_BROKEN = (
    "lost",
    "dead_letters",
    "reordered",
    "directory_went_back",
    "welcome_not_once",
    "completed_twice",
    "completed_unsaid",
    "disagreements",
)
"""What must be nothing."""


@dataclass(frozen=True)
class Plan:
    """What a campaign does.

    Attributes:
        processes: of each consumer.
        every_s: between two kills, on average.
        seconds: after so many no more are begun, however many are left; 0: no bound.
    """

    kills: int
    students: int
    seed: int
    processes: int
    every_s: float
    seconds: float = 0.0

    def order(self, chance: random.Random) -> list[str]:
        """The kinds in the order of their kills: as many of each, in turns of their own order."""
        turns = -(-self.kills // len(KINDS))
        return [kind for _ in range(turns) for kind in chance.sample(KINDS, len(KINDS))][: self.kills]


@dataclass(frozen=True)
class Kill:
    """One kill: when, of what, for how long it stayed away; how many students were under way, and settled."""

    at_s: float
    victim: str
    down_s: float
    under_way: int
    settled: int


def run(plan: Plan, records: Path | None = None) -> dict[str, Any]:
    """Live a campaign; what it came to. `held` says whether nothing was lost, reordered or done twice.

    Raises:
        SandboxError, TimeoutError: somebody was not settled in time; the logs are kept beside the records.
    """
    with World(records, brokers=1, processes=plan.processes) as world, _logs_kept(world):
        play.prepare(world)
        cast = play.enrol(world, plan.students)
        _tell(f"{len(cast.students)} students imported")
        report = _disturbed(plan, world, cast)
        overview = play.follow(world, len(cast.students), view=_Told())
        report |= _counted(world, cast, overview)
        report["held"] = not any(report[name] for name in _BROKEN)
        if not report["held"]:
            _tell(f"logs: {', '.join(map(str, play.keep_logs(world)))}")
    return report


def _disturbed(plan: Plan, world: World, cast: Cast) -> dict[str, Any]:
    """Activate everybody, and kill meanwhile; everything runs again at the end."""
    kills: list[Kill] = []
    begun = time.monotonic()

    def share() -> float:
        over_s = (time.monotonic() - begun) / plan.seconds if plan.seconds else 0.0
        return max(len(kills) / plan.kills, over_s) / _LISTS_OUT_AT

    burst = Burst(world, cast, random.Random(plan.seed + 1), share)
    with Supervisor(victims_of(world)) as supervisor, Watch(world.slapd) as watch:
        with burst.going():
            for kill in _kills(plan, random.Random(plan.seed), supervisor, burst):
                kills.append(kill)
                if len(kills) % 10 == 0:
                    students = f"{kill.under_way} under way, {kill.settled} settled"
                    _tell(f"{len(kills)} kills after {kill.at_s:.0f} s: {students}")
        took_s = time.monotonic() - begun
        wait_until(lambda: supervisor.down == 0, "everything to run again", _UP_S_MAX)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        **asdict(plan),
        "planned": plan.kills,
        "kills": len(kills),
        "killed": dict(Counter(kill.victim.split()[0] for kill in kills)),
        "asked": asdict(burst.asked),
        "settled_at_last_kill": kills[-1].settled if kills else 0,
        "kills_with_work_under_way": sum(kill.under_way > 0 for kill in kills),
        "under_way_median": sorted(kill.under_way for kill in kills)[len(kills) // 2],
        "long_outages": sum(kill.down_s >= _LONG_S[0] for kill in kills),
        "failed_starts": dict(supervisor.failed_starts),
        "ended_unasked": dict(supervisor.ended),
        "looks_at_the_directory": watch.looks,
        "directory_went_back": watch.back,
        "burst_s": round(took_s, 1),
    }


def _kills(plan: Plan, chance: random.Random, supervisor: Supervisor, burst: Burst) -> Iterator[Kill]:
    begun, pause = time.monotonic(), threading.Event()
    left = plan.order(chance)
    while left and not (plan.seconds and time.monotonic() - begun > plan.seconds):
        pause.wait(chance.uniform(0.0, 2.0 * plan.every_s))
        long = chance.random() < _LONG_SHARE
        wait_until(lambda: supervisor.down < _DOWN_AT_ONCE_MAX, "something to run again", _UP_S_MAX)
        _in_step(burst, _SHARE_SETTLED * plan.students * (1 - len(left) / plan.kills))
        victim = _next(left, supervisor, chance)
        if victim is None:
            continue
        down_s = chance.uniform(*(_LONG_S if long and victim.kind in SERVERS else _SHORT_S))
        settled, under_way = burst.settled(), burst.under_way()
        supervisor.kill(victim, down_s)
        yield Kill(time.monotonic() - begun, victim.name, down_s, under_way, settled)


def _in_step(burst: Burst, settled: float) -> None:
    """Let the work come so far, if it does in time, and let there be some under way."""
    for reached, what in (
        (lambda: burst.settled() >= settled, "as much of the work to be done"),
        (lambda: burst.under_way() > 0, "work to be under way"),
    ):
        with contextlib.suppress(TimeoutError):
            wait_until(reached, what, _PATIENCE_S)


def _next(left: list[str], supervisor: Supervisor, chance: random.Random) -> Victim | None:
    """One of the first kind of what is left to kill that runs; its kind is taken off the list."""
    up = supervisor.up()
    kinds = {victim.kind for victim in up}
    kind = next((kind for kind in left if kind in kinds), None)
    if kind is None:
        return None
    left.remove(kind)
    return chance.choice([victim for victim in up if victim.kind == kind])


def _counted(world: World, cast: Cast, overview: Mapping[str, Any]) -> dict[str, Any]:
    """What was lost, reordered or done twice; and what each server shows, by the sweep."""
    said = play.announced(world)
    swept = sweep(world, cast.students, said, cast.passwords, _tell)
    found = play.result(world, cast, overview, said)
    with closing(open_log(load(world.settings_file))) as log:
        announced = outcomes(log)
        done = completions(log)
    complete = {number for number, one in said.items() if one.state == COMPLETED}
    welcome = [each for each in swept.disagreements if each.what.endswith(WELCOME)]
    return {
        "completed": found.completed,
        "waiting": found.waiting_students,
        "dead_letters": found.dead_students,
        "dead_letters_by_cause": dict(found.dead_letters),
        "lost": found.unaccounted,
        "outcomes": len(announced),
        "reordered": versions_went_back(announced),
        "welcome_not_once": [str(each) for each in welcome],
        "completions": len(done),
        "completed_twice": [key for key, ids in done.items() if len(ids) > 1],
        "completed_unsaid": sorted(complete - {number for number, _ in done}),
        "disagreements": [str(each) for each in swept.disagreements if each not in welcome],
        "sweep": dict(swept.looked),
        "seconds": {name: dict(some) for name, some in found.seconds.items()},
    }


class _Told:
    """A view that says now and then how far everybody is."""

    def show(self, overview: progress.Overview) -> None:
        """Say it."""
        counts = ("students", "completed", "waiting", "failed", "in_progress")
        _tell(", ".join(f"{overview[name]} {name}" for name in counts))

    def close(self) -> None:
        """Nothing more will come."""


@contextlib.contextmanager
def _logs_kept(world: World) -> Iterator[None]:
    try:
        yield
    except (SandboxError, TimeoutError, AssertionError):
        _tell(f"logs: {', '.join(map(str, play.keep_logs(world)))}")
        raise


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
