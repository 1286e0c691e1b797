"""Stages: each prints its duration, in the form of `scripts/stage`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run one stage. At its end print its name, `ok` or `FAILED`, and its duration in seconds."""
    started = time.monotonic()
    mark = "FAILED"
    try:
        yield
        mark = "ok"
    finally:
        say(f"== {name:<10} {mark:<6} {time.monotonic() - started:6.1f} s")


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)
