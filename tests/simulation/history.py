"""One history: a world by a seed, so many steps of it, its end, and what is broken then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.simulation.faults import UnflushedFile
from tests.simulation.invariants import Violation, violations
from tests.simulation.world import World

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
class Recipe:
    """What a history is made from. The same recipe gives the same one.

    Attributes:
        without: deeds that never happen, of `tests.simulation.world.OPTIONAL`.
    """

    seed: int
    steps: int
    students: int
    without: frozenset[str] = frozenset()

    @property
    def options(self) -> str:
        """As the command line takes it."""
        without = "".join(f' --without "{deed}"' for deed in sorted(self.without))
        return f"--seed {self.seed} --steps {self.steps} --students {self.students}{without}"


@dataclass(frozen=True)
class History:
    """How one ended.

    Attributes:
        events: records that were on the log at the end.
        faults: how many times something went wrong on purpose.
    """

    recipe: Recipe
    events: int
    faults: int
    violations: tuple[Violation, ...]


def live(recipe: Recipe, *, planted: Callable[[], AbstractContextManager[object]] = nullcontext) -> History:
    """Live a history to its end, and look.

    Args:
        planted: a fault in the shipped code, which holds while the history lasts.

    Raises:
        Exception: the system itself failed with something that no worker catches.
    """
    with _world(recipe) as world, planted():
        for step in range(recipe.steps):
            world.step(evening=step >= recipe.steps * DAY)
        world.settle()
        broken = tuple(violations(world))
        return History(recipe, world.events(), world.weather.struck, broken)


@contextmanager
def _world(recipe: Recipe) -> Iterator[World]:
    with ExitStack() as stack:
        for name, value in SHORT.items():
            stack.enter_context(patch(name, value))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sesame-simulation-"))
        world = World(Path(folder), recipe.seed, recipe.students, recipe.without)
        stack.callback(world.close)
        yield world
