"""What the tests of the embedded log share: a clock that stands still, and a log that is closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.eventlog.port import TopicPartition
from pipeline.eventlog.sqlite import SqliteEventLog

RENTREE = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
TOPIC = "sesame.enrolments"
TP = TopicPartition(TOPIC, 0)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = RENTREE

    def __call__(self) -> float:
        return self.now.timestamp()

    def pass_(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@contextmanager
def opened(path: Path, clock: Clock | None = None, *, busy_timeout_s: float = 5) -> Iterator[SqliteEventLog]:
    log = SqliteEventLog(
        path,
        clock=clock or Clock(),
        session_timeout_s=10,
        busy_timeout_s=busy_timeout_s,
        retention_s={TOPIC: 14 * 86_400},
    )
    with closing(log):
        yield log
