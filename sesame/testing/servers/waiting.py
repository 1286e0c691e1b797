"""Waiting for what other threads and processes do."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.process import wait_until


def until(what: Callable[[], bool], said: Callable[[], object] = lambda: "") -> None:
    """Wait for something to come true; `said` is shown when it does not."""
    try:
        wait_until(what, "it")
    except TimeoutError as error:
        raise AssertionError(f"did not happen; {said()}") from error
