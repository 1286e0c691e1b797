"""Who is told what a worker does."""

from __future__ import annotations

from typing import Protocol

from pipeline.eventlog.port import TopicPartition
from pipeline.target import HandlerOutcome
from schemas.account import Lane


class Observer(Protocol):
    """Told what happens, for metrics, logs and the consumer's status. Must not raise."""

    def batch(self, target: str, students: int, seconds: float) -> None:
        """The target was called for so many students, and took so long."""

    def outcome(self, target: str, outcome: HandlerOutcome, lane: Lane) -> None:
        """A student's item ended, and everything about it is recorded."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """The consumer's state is this now; called from time to time even when it did not change."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Records that were not committed yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """Something went wrong that will be tried again."""
