"""Connections on which a request must come soon: who opens many and says little on them keeps nobody out.

The HTTP server has a deadline between two requests, but none for the first one, nor for one that has begun
and does not go on. A body has the guard's.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S_MAX: Final = 15.0
"""How long a request's head may take to arrive, from the connection or from its first byte."""


class PromptProtocol(H11Protocol):
    """HTTP/1.1 with a deadline for each request's head."""

    head_s_max: float = HEAD_S_MAX
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: a request is due."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Some bytes: of a head, which must be whole in time, or of a request that is under way."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._head_has_come()
        elif self._due is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """A request was answered: until the next one the server's own deadline holds."""
        self._head_has_come()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the connection."""
        self._head_has_come()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._due = self.loop.call_later(self.head_s_max, self.transport.abort)

    def _head_has_come(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
