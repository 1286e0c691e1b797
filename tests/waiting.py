"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

from sandbox.process import PATIENCE_S


def until(what: Callable[[], bool], said: Callable[[], object] = lambda: "") -> None:
    """Wait for something to come true; `said` is shown when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, f"did not happen; {said()}"
        time.sleep(0.01)
