"""Retries of a parked student: their delays, and their limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential delays with jitter, bounded by attempts and by age.

    Attributes:
        delay_s_min, delay_s_max: the first delay and the longest one.
        attempts_max: items before the work goes to the dead letters.
        age_s_max: seconds since the first failure, counted only while the target is up.
        jitter: a delay is shortened by up to this share, so that failures of one moment spread out.
    """

    delay_s_min: float = 5.0
    delay_s_max: float = 1200.0
    attempts_max: int = 12
    age_s_max: float = 4 * 3600.0
    jitter: float = 0.3

    def delay_s(self, attempts: int, chance: float) -> float:
        """Return the delay after `attempts` failures; `chance` is random, in [0, 1)."""
        longest = min(self.delay_s_max, self.delay_s_min * 2.0 ** min(attempts - 1, 32))
        return longest * (1.0 - self.jitter * chance)

    def exhausted(self, attempts: int, age_s: float) -> bool:
        """Return whether the retries have reached a limit."""
        return attempts >= self.attempts_max or age_s >= self.age_s_max
