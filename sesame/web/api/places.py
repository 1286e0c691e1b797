"""Concurrency limits of the API, for one token and for all.

Reads have places apart: a write may wait for the registry, and no read waits behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from sesame.web.api.problems import ApiError

AT_ONCE: Final = 16
"""Requests served at once, each in a thread: so many reads, and so many writes."""

OF_ONE: Final = AT_ONCE // 2
"""Requests of one token worked on at once."""

WAIT_S_MAX: Final = 5.0
"""How long a request waits for a place."""


class NoPlace(ApiError):
    """All places for such requests are taken, by this token or by all. Ask again after as many seconds as
    `Retry-After` says."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Places:
    """The places of one kind of requests. Owned by the server's loop."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._of: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        """Hold a place for the token of this name. Raises `NoPlace`: none was free in time."""
        own = self._of.setdefault(name, asyncio.Semaphore(OF_ONE))
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await own.acquire()
                try:
                    await self._all.acquire()
                except BaseException:
                    own.release()
                    raise
        except TimeoutError:
            raise NoPlace from None
        try:
            yield
        finally:
            self._all.release()
            own.release()
