"""The work that goes on while processes are killed: activations by lists, access shut and opened again.

Whoever asks is killed too, or fails since the log or the database is away; then the same is asked for again,
as an operator would. So a student is *asked for* once a command has said so by its exit code.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from consumers.propagation.rows import propagation
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.holds import HoldRequest, lift, place
from sandbox.demo import play
from sandbox.demo.play import Cast
from sandbox.demo.program import CommandFailed
from sandbox.demo.world import World
from schemas.account import Hold
from sesame.app.wiring import Application, build
from sesame.settings import load

LISTS_MAX = 20
_HELD = 40  # students whose access is shut at once, when little else is under way
_FLOOR = 60  # students under way, below which something is added
_AHEAD = 1
_KILLED_SHARE = 0.4
_LOOK_EVERY_S = 0.5
_TRIES, _AGAIN_S = 200, 0.25


@dataclass
class Asked:
    """What was asked for so far: students, commands killed and failed, and times that access was shut."""

    students: int = 0
    commands: int = 0
    commands_killed: int = 0
    commands_failed: int = 0
    holds: int = 0


class Burst:
    """Asks, in a thread of its own, for everybody's account, while `going`.

    Args:
        world: where it happens; its pipeline runs.
        cast: everybody.
        chance: decides who, when, and which command is killed.
        share: how much of the campaign is over, from 0 to 1; the lists go out in step with it, two ahead.
    """

    def __init__(self, world: World, cast: Cast, chance: random.Random, share: Callable[[], float]) -> None:
        self.asked = Asked()
        self._world, self._cast, self._chance, self._share = world, cast, chance, share
        numbers = sorted(cast.students)
        chance.shuffle(numbers)
        size = max(50, -(-len(numbers) // LISTS_MAX))
        self._lists = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        self._count = len(self._lists)
        self._active: list[str] = []
        self._held: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="burst")
        self._trouble: BaseException | None = None
        assert world.postgres is not None
        self._database = Database(world.postgres.url())
        self._settled = 0

    def under_way(self) -> int:
        """How many students are neither complete nor waiting.

        Raises whatever ended the thread: nothing would be under way any more.
        """
        if self._trouble is not None:
            raise self._trouble
        return len(self._active) - self.settled()

    def settled(self) -> int:
        """How many students are complete or waiting; as last known while the database is away."""
        with contextlib.suppress(SesameError), self._database.read() as connection:
            at_rest = propagation.c.state.in_(["completed", "waiting"])
            rows = connection.execute(select(func.count()).select_from(propagation).where(at_rest))
            self._settled = rows.scalar_one()
        return self._settled

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Ask while the body runs; then for whatever is left, and open every access again.

        Raises whatever ended the thread.
        """
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self._database.close()
        if self._trouble is not None:
            raise self._trouble

    def _run(self) -> None:
        try:
            with contextlib.closing(build(load(self._world.settings_file))) as application:
                while not self._ended.wait(_LOOK_EVERY_S):
                    self._step(application)
                for numbers in self._lists:
                    self._activate(numbers, kill=False)
                self._open(application)
        except BaseException as error:  # noqa: BLE001  # told by `under_way` and `going`
            self._trouble = error

    def _step(self, application: Application) -> None:
        due = self._count - len(self._lists) <= self._share() * self._count + _AHEAD
        if self._lists and due:
            numbers = self._lists.pop(0)
            self._activate(numbers, kill=self._chance.random() < _KILLED_SHARE)
        elif self._held:
            self._open(application)
        elif self._active and self.under_way() < _FLOOR:
            opened = [number for number in self._active if self._cast.students[number].opened]
            chosen = self._chance.sample(opened, min(_HELD, len(opened)))
            self._held = chosen
            self._each(place, chosen, application)
            self.asked.holds += len(chosen)

    def _activate(self, numbers: Sequence[str], *, kill: bool) -> None:
        """Ask by a command until one says that it was done."""
        self._active += numbers
        if kill:
            with play.begin_activation(self._world, self._cast, numbers) as command:
                self._ended.wait(self._chance.uniform(0.5, 6.0))
                self.asked.commands_killed += command.running  # leaving kills it
        for _ in range(_TRIES):
            self.asked.commands += 1
            try:
                play.activate(self._world, self._cast, numbers)
            except CommandFailed:
                self.asked.commands_failed += 1
            else:
                self.asked.students += len(numbers)
                return
        raise AssertionError(f"{_TRIES} commands failed one after the other")

    def _open(self, application: Application) -> None:
        self._each(lift, self._held, application)
        self._held = []

    def _each(self, act: Callable[..., None], numbers: Sequence[str], application: Application) -> None:
        for number in numbers:
            for _ in range(_TRIES):
                request = HoldRequest(number, Hold.TECHNICAL, "campaign", "campaign", datetime.now(UTC))
                with contextlib.suppress(SesameError):
                    act(request, database=application.database, producer=application.producer)
                    break
                time.sleep(_AGAIN_S)  # what is away refuses at once, and comes back in some seconds
            else:
                raise AssertionError(f"{_TRIES} acts failed one after the other")
