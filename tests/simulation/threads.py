"""Threads, events, conditions and queues on the simulated schedule."""

from __future__ import annotations

import importlib
import pkgutil
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, Self
from weakref import WeakKeyDictionary

from greenlet import getcurrent

import pipeline.runner
from consumers.moodle import cohorts, members, rights
from tests.simulation.schedule import Life, Schedule


class Thread:
    """A thread of the life that makes it; see `threading.Thread`."""

    def __init__(self, schedule: Schedule, *, target: Callable[[], object], **_named: object) -> None:
        self._schedule, self._target = schedule, target

    def start(self) -> None:
        current = self._schedule.current
        self._schedule.spawn(current.life if current is not None else Life("nobody"), self._target)


class Queue:
    """A queue between the actors of one life; see `queue.SimpleQueue`."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._schedule.ring(self)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        give_up_at = self._schedule.now + (timeout if timeout is not None else 1e9)
        while not self._items:
            left = give_up_at - self._schedule.now
            if left <= 0 or not block:
                raise queue.Empty
            self._schedule.sleep(left, self)
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)


class Condition:
    """See `threading.Condition`. Actors give way where they wait, and nowhere else under a lock."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        self._schedule.sleep(timeout if timeout is not None else 1e9, self)
        return True

    def notify(self, number: int = 1) -> None:
        self._schedule.ring(self, number)

    def notify_all(self) -> None:
        self._schedule.ring(self)


class Stop(threading.Event):
    """Tells a loop to come to its end; waiting for it takes simulated time."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule

    def set(self) -> None:
        super().set()
        self._schedule.ring(self)

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._schedule.sleep(timeout if timeout is not None else 1e9, self)
        return self.is_set()


class Local:
    """An actor's own values; see `threading.local`."""

    def __init__(self) -> None:
        self.__dict__["of"] = WeakKeyDictionary()

    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = self.__dict__["of"].setdefault(getcurrent(), {})
        return own

    def __getattr__(self, name: str) -> Any:
        try:
            return self._own()[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self._own()[name] = value

    def __delattr__(self, name: str) -> None:
        del self._own()[name]


def simulated(schedule: Schedule) -> Iterator[tuple[str, Any]]:
    """The replacements of threads and queues in the worker's modules, by name."""
    stands_in = {
        "threading": SimpleNamespace(
            Thread=partial(Thread, schedule),
            Condition=partial(Condition, schedule),
            Lock=nullcontext,
            Event=partial(Stop, schedule),
        ),
        "queue": SimpleNamespace(SimpleQueue=partial(Queue, schedule), Empty=queue.Empty),
    }
    for module in _modules():
        for name, stand_in in stands_in.items():
            if hasattr(module, name):
                yield f"{module.__name__}.{name}", stand_in
    for name in ("connector", "ldap"):
        yield f"consumers.kit.{name}.threading", SimpleNamespace(local=Local, Lock=nullcontext)


def _modules() -> Iterator[ModuleType]:
    yield from (cohorts, members, rights)
    for found in pkgutil.iter_modules(pipeline.runner.__path__):
        yield importlib.import_module(f"{pipeline.runner.__name__}.{found.name}")
