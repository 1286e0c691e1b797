"""The order of calls: persons first, a share for bulk, at most the target's slots."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from pipeline.engine.bell import Batch
from pipeline.engine.limits import Limits
from schemas.account import Lane


@dataclass
class Precedence:
    """Order of the lanes: persons first, with a minimum share for bulk.

    Bulk work never takes the last slots.

    Attributes:
        bulk_max: how many bulk batches may have a slot at once.
        bulk_every: while both lanes have work, at least every n-th batch is a bulk one.
    """

    bulk_max: int
    bulk_every: int
    _since_bulk: int = 0

    def order(self, bulk_running: int) -> tuple[Lane, ...]:
        """Return the lanes that may have a slot now, in order of preference."""
        if bulk_running >= self.bulk_max:
            return (Lane.PERSONAL,)
        if self._since_bulk + 1 >= self.bulk_every:
            return (Lane.BULK, Lane.PERSONAL)
        return (Lane.PERSONAL, Lane.BULK)

    def started(self, lane: Lane) -> None:
        """A batch of this lane has a slot."""
        self._since_bulk = 0 if lane is Lane.BULK else self._since_bulk + 1


class CallQueue:
    """Batches that wait for a slot of the target, and those that have one. Thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._slots = limits.slots
        self._precedence = Precedence(limits.bulk_slots, limits.bulk_every)
        self._waiting: dict[Lane, deque[Batch]] = {lane: deque() for lane in Lane}
        self._running = dict.fromkeys(Lane, 0)
        self._changed = threading.Condition()
        self._idle = threading.Event()  # no slot is taken, nor about to be
        self._idle.set()
        self._over = False

    def put(self, batch: Batch) -> None:
        """Queue a batch for a slot."""
        with self._changed:
            self._waiting[batch.lane].append(batch)
            self._changed.notify()

    def take(self, *, wait: bool = True) -> Batch | None:
        """Return the next batch, which has a slot until `done`.

        None: the queue has ended, or (not `wait`) no batch may start.
        """
        with self._changed:
            while not self._over:
                if (batch := self._next()) is not None or not wait:
                    return batch
                self._changed.wait()
            return None

    def done(self, batch: Batch) -> None:
        """Its call has ended, and its slot is free."""
        with self._changed:
            self._running[batch.lane] -= 1
            if not any(self._running.values()) and not any(self._waiting.values()):
                self._idle.set()
            self._changed.notify()

    def wait_idle(self, timeout_s: float) -> None:
        """Return when no slot is taken or waited for, or after this time."""
        self._idle.wait(timeout_s)

    def end(self) -> None:
        """End the queue: `take` returns None from now on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _next(self) -> Batch | None:
        if sum(self._running.values()) >= self._slots:
            return None
        for lane in self._precedence.order(self._running[Lane.BULK]):
            if self._waiting[lane]:
                self._precedence.started(lane)
                self._running[lane] += 1
                self._idle.clear()
                return self._waiting[lane].popleft()
        return None
