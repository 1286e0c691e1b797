"""Who was let in and waits for a free slot; the order in which they are called."""

from __future__ import annotations

import queue
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
        self._slots = limits.slots
        self._precedence = Precedence(limits.bulk_slots, limits.bulk_every)
        self._waiting: dict[Lane, deque[Item]] = {lane: deque() for lane in Lane}
        self._calls = dict.fromkeys(Lane, 0)
        self._lock = threading.Lock()
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each that waits, or was withheld
        self._withheld = 0  # rings that found nothing that may start now
        self._over = False

    def put(self, item: Item) -> None:
        """Let a batch wait for a slot."""
        with self._lock:
            self._waiting[item.batch.lane].append(item)
        self._rings.put(None)

    def free(self) -> int:
        """How many slots are free."""
        return self._slots - sum(self._calls.values())

    def standing(self) -> tuple[int, dict[Lane, int]]:
        """How many slots are free, and how many of each lane wait for one."""
        with self._lock:
            return self.free(), {lane: len(waiting) for lane, waiting in self._waiting.items()}

    def take(self, *, wait: bool = True) -> Item | None:
        """The next to be called, which has a slot until `done`; None: it is over, or nothing may start."""
        while True:
            try:
                self._rings.get(block=wait)
            except queue.Empty:
                return None
            with self._lock:
                if self._over:
                    self._rings.put(None)  # for the next thread
                    return None
                if (item := self._next()) is not None:
                    return item
                self._withheld += 1

    def done(self, item: Item) -> None:
        """Its call has ended, and its slot is free."""
        with self._lock:
            self._calls[item.batch.lane] -= 1
            if self._withheld:
                self._withheld -= 1
                self._rings.put(None)

    def end(self) -> None:
        """Nobody gets anything any more."""
        with self._lock:
            self._over = True
        self._rings.put(None)

    def _next(self) -> Item | None:
        if self.free() <= 0:
            return None
        for lane in self._precedence.order(self._calls[Lane.BULK]):
            if self._waiting[lane]:
                self._precedence.started(lane)
                self._calls[lane] += 1
                return self._waiting[lane].popleft()
        return None
