"""The time that one batch may take in all, and the rule of used-up time: nothing is begun that could not
end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

_LEAST_S: Final = 0.05
"""With less left, a call could only end with an unknown outcome."""


class OutOfTime(Exception):
    """The time is used up, and the call was not begun: nothing of it was carried out. The kit's handler has
    whoever is left tried again; nobody else needs to catch it."""


@dataclass(slots=True)
class Deadline:
    """A moment on a monotonic clock, for the calls of one batch in one thread.

    Attributes:
        at: the moment, in seconds of `monotonic`.
        unanswered: a write of this batch went unanswered, so it may still have an effect.
    """

    at: float
    monotonic: Callable[[], float] = time.monotonic
    unanswered: bool = False

    @classmethod
    def after(cls, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> Self:
        """The moment that many seconds from now."""
        return cls(monotonic() + seconds, monotonic)

    def left_s(self) -> float:
        """Seconds left.

        Raises:
            OutOfTime: none worth beginning anything for.
        """
        left = self.at - self.monotonic()
        if left < _LEAST_S:
            raise OutOfTime
        return left
