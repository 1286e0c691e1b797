"""Waiting for other threads and processes."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.process import wait_until


def until(what: Callable[[], bool], said: Callable[[], object] = lambda: "") -> None:
    """Wait until `what` holds; if it does not, the error shows the text."""
    try:
        wait_until(what, "it")
    except TimeoutError as error:
        raise AssertionError(f"did not happen; {said()}") from error
