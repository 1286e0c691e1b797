"""Who was let in and waits for a free slot; the order in which they are called."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

from pipeline.engine import Batch, Limits, Precedence
from schemas.account import Lane


class HasBatch(Protocol):
    """What waits here."""

    @property
    def batch(self) -> Batch:
        """Whose lane counts."""


Item = TypeVar("Item", bound=HasBatch)


class Ready(Generic[Item]):
    """Hands what waits to the threads that call the target. Thread-safe.

    A person's batch goes first, also here: some slots never serve bulk work, and bulk has its share.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._precedence = Precedence(limits.bulk_slots, limits.bulk_every)
        self._waiting: dict[Lane, deque[Item]] = {lane: deque() for lane in Lane}
        self._calls = dict.fromkeys(Lane, 0)
        self._changed = threading.Condition()
        self._over = False

    def put(self, item: Item) -> None:
        """Let a batch wait for a slot."""
        with self._changed:
            self._waiting[item.batch.lane].append(item)
            self._changed.notify()

    def waiting(self, lane: Lane) -> int:
        """How many of this lane wait."""
        with self._changed:
            return len(self._waiting[lane])

    def free(self) -> int:
        """How many slots are free."""
        with self._changed:
            return self._limits.slots - sum(self._calls.values())

    def take(self, *, wait: bool = True) -> Item | None:
        """The next to be called, which has a slot until `done`; None: it is over, or nothing may start."""
        with self._changed:
            while not self._over:
                item = self._next()
                if item is not None or not wait:
                    return item
                self._changed.wait()
        return None

    def done(self, item: Item) -> None:
        """Its call has ended, and its slot is free."""
        with self._changed:
            self._calls[item.batch.lane] -= 1
            if self._waiting[Lane.BULK]:  # may have been held back by the number of bulk calls
                self._changed.notify()

    def end(self) -> None:
        """Nobody gets anything any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _next(self) -> Item | None:
        if sum(self._calls.values()) >= self._limits.slots:
            return None
        for lane in self._precedence.order(self._calls[Lane.BULK]):
            if self._waiting[lane]:
                self._precedence.started(lane)
                self._calls[lane] += 1
                return self._waiting[lane].popleft()
        return None
