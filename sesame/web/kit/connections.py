"""Connections of our HTTP servers: the socket that listens, and a deadline for each request's head.

Who opens many connections and says little on them keeps nobody out: uvicorn has a deadline between two
requests, but none for the first one, nor for one that has begun and does not go on. A body has the guard's.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.errors import SesameError

HEAD_S_MAX: Final = 15.0
"""How long a request's head may take to arrive, from the connection or from its first byte."""


def listener(
    host: str, port: int, *, waiting_max: int, taken: type[SesameError], remedy: str
) -> socket.socket:
    """A socket that listens.

    Args:
        host, port: where; port 0 takes a free one.
        waiting_max: how many connections may wait to be accepted.
        taken, remedy: the error that says that it cannot be listened there, and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(waiting_max)
    except OSError as error:
        made.close()
        message = f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}"
        raise taken(message, remedy=remedy) from error
    return made


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
