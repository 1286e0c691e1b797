"""The time limit of one batch: no call begins that could not end in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from pipeline.errors import TargetDown

_LEAST_S: Final = 0.05
"""With less left, a call could only end with an unknown outcome."""


class OutOfTime(TargetDown):
    """The target was too slow: the time for this work was used up, and nothing more was begun. Within a
    batch, the rest is tried again, and the others are as they are."""

    remedy = "Find out why it is slow; `call_s_max` of its section is the longest time for one batch."

    def __init__(self, message: str = "the target is too slow: the time for this work is used up") -> None:
        super().__init__(message, unknown=False)


@dataclass(slots=True)
class Deadline:
    """A moment on a monotonic clock, for the calls of one batch in one thread.

    Attributes:
        at: in seconds of `monotonic`.
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
        """Seconds left. Raises OutOfTime: none worth beginning anything for."""
        left = self.at - self.monotonic()
        if left < _LEAST_S:
            raise OutOfTime
        return left
