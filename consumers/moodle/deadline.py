"""The time that one batch may take in all, and whether one of its writes went unanswered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consumers.moodle.errors import OutOfTime

_LEAST_S: Final = 0.05  # with less left, a call could only end with an unknown outcome


@dataclass
class BatchDeadline:
    """A moment on a monotonic clock, for the calls of one batch in one thread.

    Attributes:
        at: the moment, in seconds of `clock`.
        clock: monotonic seconds.
        lost: a write of this batch went unanswered, so it may still have an effect.
    """

    at: float
    clock: Callable[[], float] = time.monotonic
    lost: bool = False

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> BatchDeadline:
        """The moment `seconds` from now."""
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        """Seconds left.

        Raises:
            OutOfTime: none worth starting a call for.
        """
        left = self.at - self.clock()
        if left < _LEAST_S:
            raise OutOfTime("the time of this batch is used up")
        return left
