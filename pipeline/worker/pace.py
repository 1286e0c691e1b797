"""How many batches may wait for their call: as many as will be called soon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from pipeline.engine import Batch
from schemas.account import Lane

_WEIGHT = 0.3  # of the newest call's time in the mean
_CALL_S_MIN = 1e-6


class Pace:
    """Keeps batches from being let in long before their turn: their leases run. Thread-safe.

    A target that answers in milliseconds has as many waiting as the engine's bounds allow; of one that takes
    seconds for a batch only a few wait, the others stay in the engine. Each lane counts for itself, so that a
    person's batch is let in however many bulk ones wait.

    Args:
        slots: calls at once.
        wait_s: how long a batch should wait for its call at most.
        standing: how many slots are free, and how many of each lane were let in and wait.
    """

    def __init__(
        self, slots: int, wait_s: float, standing: Callable[[], tuple[int, Mapping[Lane, int]]]
    ) -> None:
        self._slots = slots
        self._wait_s = wait_s
        self._standing = standing
        self._call_s: float | None = None  # the recent mean; until it is known nobody waits
        self._entering = dict.fromkeys(Lane, 0)
        self._lock = threading.Lock()

    def begun(self, batch: Batch) -> None:
        """A batch is to be let in."""
        with self._lock:
            self._entering[batch.lane] += 1

    def entered(self, batches: Sequence[Batch]) -> None:
        """These were let in, or had nothing to do."""
        with self._lock:
            for batch in batches:
                self._entering[batch.lane] -= 1

    def called(self, seconds: float) -> None:
        """A call took so long."""
        with self._lock:
            before = seconds if self._call_s is None else self._call_s
            self._call_s = before + _WEIGHT * (seconds - before)

    def held(self) -> frozenset[Lane]:
        """The lanes of which enough wait."""
        free, waiting = self._standing()
        with self._lock:
            ahead = 0
            if self._call_s is not None:
                ahead = int(self._slots * self._wait_s / max(self._call_s, _CALL_S_MIN))
            enough = free + ahead
            return frozenset(lane for lane in waiting if self._entering[lane] + waiting[lane] >= enough)
