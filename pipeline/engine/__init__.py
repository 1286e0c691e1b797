"""The engine: a pure state machine. No IO, no threads; the time is passed in.

`Engine` says which students' items may start and which offsets may be committed; the worker
(`pipeline.runner`) does what it says. See DESIGN in ARCHITECTURE.md: level-triggered, one place per student.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.late_names import late_names

if TYPE_CHECKING:
    from pipeline.engine.bell import Batch, Bell, Place, WorkItem, bell_for, topics_for
    from pipeline.engine.circuit import Circuit, CircuitState
    from pipeline.engine.core import Engine
    from pipeline.engine.limits import EngineSettings, Limits
    from pipeline.engine.offsets import OffsetTracker
    from pipeline.engine.retry import Backoff

__all__ = [
    "Backoff",
    "Batch",
    "Bell",
    "Circuit",
    "CircuitState",
    "Engine",
    "EngineSettings",
    "Limits",
    "OffsetTracker",
    "Place",
    "WorkItem",
    "bell_for",
    "topics_for",
]

__getattr__ = late_names(
    __name__,
    {
        "Backoff": "retry",
        "Batch": "bell",
        "Bell": "bell",
        "Circuit": "circuit",
        "CircuitState": "circuit",
        "Engine": "core",
        "EngineSettings": "limits",
        "Limits": "limits",
        "OffsetTracker": "offsets",
        "Place": "bell",
        "WorkItem": "bell",
        "bell_for": "bell",
        "topics_for": "bell",
    },
)
