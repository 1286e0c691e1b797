"""One history: a world by a seed, its day, its end, and what is broken then."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from pkgutil import resolve_name
from typing import Any

from schemas.account import Account
from schemas.envelope import from_record
from tests.simulation.faults import Planted
from tests.simulation.invariants import Violation, violations
from tests.simulation.threads import simulated
from tests.simulation.world import START, World

EVENTS = 200
STUDENTS = 20


_READERS = (
    "pipeline.facts.from_record",
    "pipeline.runner.loop.from_record",
    "tests.simulation.world.from_record",
)
"""The readers of the log: several read one record, and again, with the same result each time."""


def changed_for(world: World) -> dict[str, Any]:
    """A world's changes in the shipped modules.

    Threads and queues are simulated; pages are small; idle loops look less often, since looking at nothing is
    most of an idle process's work.
    """
    chance = world.chance
    return {
        **dict(simulated(world.schedule)),
        "pipeline.runner.loop.POLL_S": 1.0,
        "pipeline.runner.loop.IDLE_POLL_S": 15.0,
        "pipeline.runner.loop.REPORT_EVERY_S": 20.0,
        "pipeline.parking.parking_lot.LOOK_EVERY_S": 2.0,
        "pipeline.parking.parking_lot.LOOK_IDLE_S_MAX": 15.0,
        "pipeline.facts.POLL_S": 15.0,
        "pipeline.facts.REPORT_EVERY_S": 20.0,
        "pipeline.outbox.ROWS_PER_PAGE": 6,  # so that pages end in the middle of what waits
        **dict.fromkeys(_READERS, lru_cache(maxsize=None)(from_record)),
        "schemas.account.Account.model_validate_json": lru_cache(maxsize=None)(Account.model_validate_json),
        "pipeline.vault.secrets.token_urlsafe": lambda _bytes: f"{chance.getrandbits(96):024x}",
    }


@dataclass(frozen=True)
class Recipe:
    """The ingredients of a history. The same recipe gives the same one.

    Attributes:
        events: on the log at its end, at least.
        without: kinds of trouble that never happen; see `tests.simulation.weather.KINDS`.
    """

    seed: int
    events: int = EVENTS
    students: int = STUDENTS
    without: frozenset[str] = frozenset()

    @property
    def options(self) -> str:
        without = "".join(f" --without {kind}" for kind in sorted(self.without))
        return f"--seed {self.seed} --events {self.events} --students {self.students}{without}"


@dataclass(frozen=True)
class History:
    """The outcome of a history.

    Attributes:
        events: records that were on the log at the end.
        faults: injected faults, by kind.
        digest: of all events on the log: equal if the history was the same.
        simulated_s: its length on its own clock.
        choices: how many times chance decided which actor is next.
    """

    recipe: Recipe
    events: int
    faults: dict[str, int]
    violations: tuple[Violation, ...]
    digest: str
    simulated_s: float
    choices: int

    @property
    def faults_in_all(self) -> int:
        return sum(self.faults.values())


def live(recipe: Recipe, *, planted: Planted = nullcontext) -> History:
    """Live a history to its end, and check it.

    `planted`: a fault in the shipped code, during the history. Raises any error of the system that no loop
    catches.
    """
    with _world(recipe, planted) as world:
        world.live(recipe.events)
        broken = tuple(violations(world))
        return History(
            recipe,
            world.events,
            dict(world.weather.struck),
            broken,
            world.digest(),
            simulated_s=world.schedule.now - START,
            choices=world.schedule.choices,
        )


def _change(stack: ExitStack, name: str, value: object) -> None:
    """Set a name of a module, or of a class in one, until the stack unwinds."""
    owner, attribute = _place(name)
    if attribute in vars(owner):
        stack.callback(setattr, owner, attribute, vars(owner)[attribute])
    else:  # it is inherited
        stack.callback(delattr, owner, attribute)
    setattr(owner, attribute, value)


@cache
def _place(name: str) -> tuple[Any, str]:
    owner, _, attribute = name.rpartition(".")
    return resolve_name(owner), attribute


@contextmanager
def _world(recipe: Recipe, planted: Planted) -> Iterator[World]:
    with ExitStack() as stack:
        world = World(recipe.seed, recipe.students, recipe.without)
        stack.callback(world.close)
        for name, value in changed_for(world).items():
            _change(stack, name, value)
        stack.enter_context(planted())
        if gc.isenabled():  # a short life with much garbage
            gc.disable()
            stack.callback(gc.enable)
        yield world
