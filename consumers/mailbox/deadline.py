"""How long a call may still take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import TargetDown


@dataclass(frozen=True, slots=True)
class CallDeadline:
    """A moment on a monotonic clock, in seconds."""

    at: float
    monotonic: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, monotonic: Callable[[], float]) -> CallDeadline:
        """The moment that many seconds from now."""
        return cls(monotonic() + seconds, monotonic)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.monotonic() >= self.at

    def left_s(self) -> float:
        """Seconds until then.

        Raises:
            TargetDown: it has passed, before anything was begun.
        """
        left = self.at - self.monotonic()
        if left <= 0:
            raise TargetDown("the mail server is too slow: the call's time was used up", unknown=False)
        return left
