"""The time that one batch may take in all, whatever the number of its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consumers.moodle.errors import OutOfTime

_LEAST_S: Final = 0.05  # with less left, a call could only end with an unknown outcome


@dataclass(frozen=True)
class Deadline:
    """A moment on a monotonic clock.

    Attributes:
        at: the moment, in seconds of `clock`.
        clock: monotonic seconds.
    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
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
