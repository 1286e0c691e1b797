"""What the engine gives, as the tests of the engine read it."""

from __future__ import annotations

from pipeline.engine.bell import Batch
from pipeline.engine.core import Engine


def taken(engine: Engine, now: float = 0.0) -> Batch:
    """The next batch: there is one."""
    batch = engine.take(now)
    assert batch is not None
    return batch


def numbers(batch: Batch) -> list[str]:
    """Its students."""
    return [item.student_number for item in batch.items]
