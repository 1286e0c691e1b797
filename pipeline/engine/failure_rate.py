"""The share of recent work given up: the trigger of a quarantine. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from pipeline.engine.limits import Limits


class FailureRate:
    """Work items that ended within the window, and the causes of those given up.

    Separate from the target's health: it answers, and refuses. When it refuses nearly all students, the fault
    concerns all of them, and continuing would only fill the dead letters.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ends: deque[tuple[float, int, tuple[str, ...]]] = deque()  # when, how many items, causes
        self._turns = 0
        self._causes: Counter[str] = Counter()

    def note(self, now: float, items: int, causes: Sequence[str]) -> None:
        """Note that `items` items ended; `causes`: of those given up."""
        self._ends.append((now, items, tuple(causes)))
        self._turns += items
        self._causes.update(causes)
        while self._ends[0][0] <= now - self._limits.quarantine_window_s:
            _, old, gone = self._ends.popleft()
            self._turns -= old
            self._causes.subtract(gone)

    def too_many(self) -> str:
        """Return why too many were given up, in words; empty: not too many."""
        failed = self._causes.total()
        limits = self._limits
        if failed < limits.quarantine_failed_min or failed < limits.quarantine_share * self._turns:
            return ""
        cause, count = self._causes.most_common(1)[0]
        return (
            f"{failed} of the last {self._turns} turns were given up for good within "
            f"{limits.quarantine_window_s:g} s, {count} of them by {cause}"
        )

    def forget(self) -> None:
        """Restart with an empty window."""
        self._ends.clear()
        self._turns = 0
        self._causes.clear()
