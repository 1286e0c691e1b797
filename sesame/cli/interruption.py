"""Ctrl-C and SIGTERM, the system's word to end, are taken alike: what is under way says how far it came."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """In here SIGTERM raises KeyboardInterrupt. Only the main thread is told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """In here the first SIGINT or SIGTERM is only remembered, so that no step is cut in two; a second one
    ends it as usual. Yields whether one came."""
    asked = False
    before: dict[int, Any] = {}

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            before[each] = signal.signal(each, stop)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
