"""One thread, many actors: a seeded chance decides which is next, and the time.

The same seed gives the same order of everything. An actor is a greenlet: the loop of a worker, a call in its
pool, a student, the operator. It runs until it sleeps, or lets others go first at a port (`breathe`). Time
passes only while all sleep, and by a few milliseconds with each step: no ready actor waits for long, so that
a lease is longer than a call here as it is in life.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from greenlet import getcurrent, greenlet

from schemas.account import Account

STEP_S_MAX = 0.004
"""The longest step of an actor."""


class Crash(BaseException):
    """The process is killed here. Nothing in the shipped code catches it."""


@dataclass(eq=False)
class Life:
    """One life of one process.

    Attributes:
        name: for leases; unique.
        host: its member's name in consumer groups, which a restart has again.
        immune: whether nothing kills it.
    """

    name: str
    host: str = ""
    immune: bool = False
    alive: bool = True
    actors: list[Actor] = field(default_factory=list)


@dataclass(eq=False)
class Actor:
    """An actor that does one thing after the other.

    Attributes:
        accounts: for the witness: those it is writing, by number.
        call_ends_at: when its call to a target has to be over; see `Directory.within`.
        unanswered: whether a write of its verb has had no answer.
    """

    life: Life
    thread: greenlet
    waits_for: object = None
    turn: int = 0  # of its sleep: an older entry among the sleepers is no news
    accounts: dict[str, Account] = field(default_factory=dict)
    call_ends_at: float = float("inf")
    unanswered: bool = False


class Schedule:
    """The clock, and the order of actors. `start`: of the clock, in seconds.

    `choices`: how many times there were several to choose from.
    """

    def __init__(self, chance: random.Random, start: float) -> None:
        self.chance = chance
        self.now = start
        self._hub = getcurrent()
        self._current: Actor | None = None
        self._ready: list[Actor] = []
        self._sleepers: list[tuple[float, int, Actor, int]] = []
        self._waiting: dict[object, list[Actor]] = {}
        self._dying: list[Life] = []
        self.choices = 0
        self._numbers = count()

    # --- what an actor says -----------------------------------------------------------------------

    @property
    def current(self) -> Actor | None:
        """The running actor; None: the world is only looked at."""
        return self._current

    def sleep(self, seconds: float, signal: object = None) -> None:
        """Let others run, until this time has passed or `signal` rings."""
        actor = self._living()
        if actor is None:
            return
        if seconds <= 0:
            self._ready.append(actor)
        else:
            actor.turn += 1
            heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), actor, actor.turn))
            if signal is not None:
                actor.waits_for = signal
                self._waiting.setdefault(signal, []).append(actor)
        self._hub.switch()
        self._living()

    def breathe(self, probability: float = 0.3) -> None:
        """Perhaps let others run first."""
        if self._living() is not None and self.chance.random() < probability:
            self.sleep(0.0)

    def ring(self, signal: object, number: int | None = None) -> None:
        """Wake those who wait for this, or so many who have waited longest."""
        waiting = self._waiting.get(signal, [])
        for actor in waiting[:number]:
            actor.waits_for = None
            actor.turn += 1
            self._ready.append(actor)
        del waiting[:number]
        if not waiting:
            self._waiting.pop(signal, None)

    def die(self) -> None:
        """Kill the running actor's process here, with all of its threads.

        Raises `Crash`, unless the process is immune or there is none.
        """
        actor = self._living()
        if actor is None or actor.life.immune:
            return
        self.kill(actor.life)
        raise Crash

    def _living(self) -> Actor | None:
        actor = self._current
        if actor is not None and not actor.life.alive:
            raise Crash
        return actor

    # --- lives ------------------------------------------------------------------------------------

    def spawn(self, life: Life, work: Callable[[], object]) -> None:
        """Let a life do something more, in parallel."""

        def whole() -> None:
            try:
                work()
            except Crash:
                if life.alive:
                    raise
            finally:
                if actor in life.actors:
                    life.actors.remove(actor)

        actor = Actor(life, greenlet(whole, self._hub))
        life.actors.append(actor)
        self._ready.append(actor)

    def kill(self, life: Life) -> None:
        """End a life: from now on its acts have no effect."""
        if life.alive:
            life.alive = False
            self._dying.append(life)

    # --- going on ---------------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """Run all actors until this time."""
        ready, chance = self._ready, self.chance
        while self.now <= until:
            if self._dying:
                self._bury()
            if ready:
                index = chance.randrange(len(ready))
                self.choices += len(ready) > 1
                ready[index], ready[-1] = ready[-1], ready[index]
                self.now += STEP_S_MAX * chance.random()
                self._resume(ready.pop())
            elif self._sleepers and self._sleepers[0][0] <= until:
                self._wake_next()
            else:
                break
        self._bury()
        self.now = max(self.now, until)

    def end(self) -> None:
        """End every life that is left, so that nothing of this world lives on."""
        lives = {actor.life for _, _, actor, _ in self._sleepers} | {actor.life for actor in self._ready}
        for life in sorted(lives, key=lambda life: life.name):
            self.kill(life)
        self._bury()

    def _wake_next(self) -> None:
        wake_at, _, actor, turn = heapq.heappop(self._sleepers)
        if actor.turn != turn or actor.thread.dead:
            return
        self.now = max(self.now, wake_at)
        if actor.waits_for is not None:
            self._waiting[actor.waits_for].remove(actor)
            actor.waits_for = None
        self._ready.append(actor)

    def _bury(self) -> None:
        while self._dying:
            life = self._dying.pop()
            for actor in list(life.actors):
                if actor.waits_for is not None:
                    self._waiting[actor.waits_for].remove(actor)
                    actor.waits_for = None
                if actor in self._ready:
                    self._ready.remove(actor)
                actor.turn += 1
                self._resume(actor, Crash())

    def _resume(self, actor: Actor, crash: Crash | None = None) -> None:
        if actor.thread.dead:
            return
        self._current = actor
        try:
            if crash is None:
                actor.thread.switch()
            elif actor.thread:
                actor.thread.throw(crash)
            else:  # it never began
                actor.life.actors.remove(actor)
        finally:
            self._current = None
