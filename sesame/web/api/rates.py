"""Rate limits of tokens, in this process's memory: requests, bulks, processor time.

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

BULK_PER_MINUTE: Final = 3_000
"""Operations that one token's bulk requests carry in a minute: more than the registry takes from one."""

_WINDOW_S: Final = 60


class TooManyRequests(ApiError):
    """This token has asked too often, or for too much. Wait for as many seconds as `Retry-After` says."""

    status = HTTPStatus.TOO_MANY_REQUESTS


@dataclass
class _Window:
    """A minute's counts. `carried`: operations in bulk; `spent_s`: processor time."""

    since: float
    count: int = 0
    carried: int = 0
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
            window = self._window(name, now)
            refused = window.count >= self._most or window.spent_s >= PROCESSOR_S
            window.count += not refused
            left = self._most - window.count
        return _said("token", self._most, left, window.since + _WINDOW_S - now, refused=refused)

    def carry(self, name: str, operations: int) -> None:
        """Count the operations of a bulk request. Raises `TooManyRequests`: too many; none is counted."""
        now = self._clock()
        with self._turn:
            window = self._window(name, now)
            refused = window.carried + operations > BULK_PER_MINUTE
            window.carried += 0 if refused else operations
            left = BULK_PER_MINUTE - window.carried
        _said("bulk", BULK_PER_MINUTE, left, window.since + _WINDOW_S - now, refused=refused)

    def spend(self, name: str, seconds: float) -> None:
        """Count the processor time that a request took."""
        with self._turn:
            if (window := self._windows.get(name)) is not None:
                window.spent_s += seconds

    def _window(self, name: str, now: float) -> _Window:
        window = self._windows.get(name)
        if window is None or now - window.since >= _WINDOW_S:
            over = [each for each, one in self._windows.items() if now - one.since >= _WINDOW_S]
            for each in over:
                del self._windows[each]
            window = self._windows[name] = _Window(now)
        return window


def _said(policy: str, most: int, left: int, wait_s: float, *, refused: bool) -> dict[str, str]:
    """The headers of an answer. Raises `TooManyRequests`, with them and `Retry-After`, if it is refused."""
    seconds = math.ceil(wait_s)
    said = {
        "RateLimit-Policy": f'"{policy}";q={most};w={_WINDOW_S}',
        "RateLimit": f'"{policy}";r={left};t={seconds}',
    }
    if refused:
        raise TooManyRequests(headers=said | {"Retry-After": str(seconds)})
    return said
