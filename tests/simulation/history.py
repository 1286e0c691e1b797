"""One history: a world by a seed, so many steps of it, its end, and what is broken then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.simulation.invariants import Violation, violations
from tests.simulation.world import UnflushedFile, World

DAY = 0.8  # of the steps; the rest is the evening
SHORT = {
    "pipeline.worker.loop.POLL_S": 0.0,
    "pipeline.worker.loop.IDLE_POLL_S": 0.0,
    "pipeline.facts.POLL_S": 0.0,
    "pipeline.outbox.ROWS_PER_PAGE": 2,  # so that pages end in the middle of what waits
    "pipeline.eventlog.sqlite.LogFile": UnflushedFile,
}
"""What a world changes in the shipped modules: no real waiting, no flushing, small pages."""


@dataclass(frozen=True)
class History:
    """How one ended.

    Attributes:
        events: records that were on the log at the end.
        faults: how many times something went wrong on purpose.
    """

    seed: int
    steps: int
    students: int
    events: int
    faults: int
    violations: tuple[Violation, ...]


def run(
    seed: int,
    steps: int,
    *,
    students: int,
    planted: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> History:
    """Live a history. The same arguments give the same one.

    Args:
        planted: a fault in the shipped code, which holds while the history lasts.

    Raises:
        Exception: the system itself failed with something that no worker catches.
    """
    with _world(seed, students) as world, planted():
        for step in range(steps):
            world.step(evening=step >= steps * DAY)
        world.settle()
        broken = tuple(violations(world))
        return History(seed, steps, students, world.events(), world.weather.struck, broken)


@contextmanager
def _world(seed: int, students: int) -> Iterator[World]:
    with ExitStack() as stack:
        for name, value in SHORT.items():
            stack.enter_context(patch(name, value))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sesame-simulation-"))
        world = World(Path(folder), seed, students)
        stack.callback(world.close)
        yield world
