"""Rate limits of tokens (requests, processor time), kept in this process's memory.

A table would make each read a write. Each further copy of this process allows a token more requests, never
fewer: the limit protects one process.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sesame.web.api.problems import ApiError

PER_MINUTE: Final = 600
PROCESSOR_S: Final = 20.0
"""Processor time of one token's searches in a minute: a third of a processor."""

_WINDOW_S: Final = 60


class TooManyRequests(ApiError):
    """This token has asked too often, or for too much. Wait for as many seconds as `Retry-After` says."""

    status = HTTPStatus.TOO_MANY_REQUESTS


@dataclass
class _Window:
    """The start of a count, its requests, and the time they took."""

    since: float
    count: int = 0
    spent_s: float = 0.0


class Rates:
    """Counts by the minute. Thread-safe.

    `clock`: seconds, of any origin; `per_minute`: limit of one token's requests.
    """

    def __init__(self, clock: Callable[[], float], *, per_minute: int = PER_MINUTE) -> None:
        self._clock = clock
        self._most = per_minute
        self._turn = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def take(self, name: str) -> dict[str, str]:
        """Count one more request. Return its answer's headers (draft-ietf-httpapi-ratelimit-headers-10).

        Raises `TooManyRequests`: it was one too many, and is not counted.
        """
        now = self._clock()
        with self._turn:
            window = self._windows.get(name)
            if window is None or now - window.since >= _WINDOW_S:
                over = [each for each, one in self._windows.items() if now - one.since >= _WINDOW_S]
                for each in over:
                    del self._windows[each]
                window = self._windows[name] = _Window(now)
            refused = window.count >= self._most or window.spent_s >= PROCESSOR_S
            window.count += not refused
            left = self._most - window.count
        wait_s = math.ceil(window.since + _WINDOW_S - now)
        said = {
            "RateLimit-Policy": f'"token";q={self._most};w={_WINDOW_S}',
            "RateLimit": f'"token";r={left};t={wait_s}',
        }
        if refused:
            raise TooManyRequests(headers=said | {"Retry-After": str(wait_s)})
        return said

    def spend(self, name: str, seconds: float) -> None:
        """Count the processor time that a request took."""
        with self._turn:
            if (window := self._windows.get(name)) is not None:
                window.spent_s += seconds
