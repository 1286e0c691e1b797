"""Connections of our HTTP servers: listening socket, deadlines and limits.

Many silent connections must not keep others out: uvicorn has a deadline between two requests, but none for
the first one, nor for one that has begun and stalls. The guard has one for bodies. A connection is counted
before it begins TLS: asyncio allows that a minute, and names no connection until then. Of too many
connections, the one that was silent longest is closed; too many requests get 503 with a time to come back.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from pipeline.errors import SesameError, meaning
from schemas.language import gettext
from sesame.settings.served import Networks
from sesame.web.kit.addresses import client_address, counted_as, is_in

HEAD_S_MAX: Final = 15.0
"""How long a request's head may take to arrive, from the connection or from its first byte."""

SHARE_OF_ONE: Final = 4
"""One address has a quarter of all places at most."""

AGAIN_S: Final = 5
"""When to come back to a server without a place: most requests end within a second."""


class ServerBusy(SesameError):
    """The server has no place for one more request, in all or from this address. Ask again after as many
    seconds as `Retry-After` says."""


class Crowd:
    """Counts open connections and running requests. Owned by the server's loop.

    Args:
        most: requests at once; there may be twice as many connections.
        proxies: these forward for others, and are exempt from the limit of one address.
    """

    def __init__(self, most: int, proxies: Networks) -> None:
        self._most = most
        self._of_one = max(1, most // SHARE_OF_ONE)
        self._proxies = proxies
        self._open: dict[PromptProtocol, str] = {}
        self._connections: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()

    def enter(self, connection: PromptProtocol) -> None:
        """Count a new connection; if it is one too many, end a silent one."""
        whose = self._whose(connection.client, ())
        self._open[connection] = whose
        self._connections[whose] += 1
        if whose and self._connections[whose] > 2 * self._of_one:
            self._end_silent(whose)
        elif len(self._open) > 2 * self._most:
            self._end_silent(max(self._connections, key=self._connections.__getitem__))

    def silent(self, connection: PromptProtocol) -> None:
        """Put a connection last among the silent ones: its request was answered."""
        if (whose := self._open.pop(connection, None)) is not None:
            self._open[connection] = whose

    def leave(self, connection: PromptProtocol) -> None:
        """Stop counting a connection."""
        if (whose := self._open.pop(connection, None)) is not None:
            self._connections -= Counter([whose])

    def _end_silent(self, whose: str) -> None:
        """End the connection of an address that has been silent longest, if one is."""
        for connection, of in self._open.items():
            if of == whose and not connection.is_asked:
                self.leave(connection)
                connection.transport.abort()
                return

    def _whose(self, peer: tuple[str, int] | None, forwarded: Any) -> str:
        """An address as limits count it; empty: a proxy's."""
        address = client_address(peer[0] if peer else None, forwarded, self._proxies)
        return "" if is_in(address, self._proxies) else counted_as(address)

    def admitting(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: refuse requests beyond the limit."""

        async def admit(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = Headers(scope=scope)
            whose = self._whose(scope["client"], headers.getlist("x-forwarded-for"))
            full = self._requests.total() >= self._most
            if full or (whose and self._requests[whose] >= self._of_one):
                await _busy(headers)(scope, receive, send)
                return
            self._requests[whose] += 1
            try:
                await app(scope, receive, send)
            finally:
                self._requests -= Counter([whose])

        return admit


def _busy(headers: Headers) -> Response:
    from sesame.web.kit.languages import speak_for, spoken  # it loads Babel, which no worker needs

    speak_for(spoken(None, headers.get("accept-language", "")))
    said = {"type": f"urn:sesame:error:{ServerBusy.__name__}", "title": gettext(meaning(ServerBusy))}
    return Response(
        json.dumps(said | {"status": 503}),
        503,
        headers={"Retry-After": str(AGAIN_S), "Connection": "close"},
        media_type="application/problem+json",
    )


def listener(
    host: str, port: int, *, waiting_max: int, taken: type[SesameError], remedy: str
) -> socket.socket:
    """A listening socket.

    Args:
        host, port: port 0 takes a free one.
        waiting_max: how many connections may wait to be accepted.
        taken, remedy: the error raised when it cannot listen there, and what to do.
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
    """HTTP/1.1 with a deadline for each request's head. The first one's includes the TLS handshake."""

    head_s_max: float = HEAD_S_MAX
    crowd: Crowd
    tls: ssl.SSLContext | None = None
    _handshake: asyncio.Task[None] | None = None
    _early: bytes = b""
    _due: asyncio.TimerHandle | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a request is under way."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline for a request; it includes TLS where there is a certificate."""
        if self.tls is None:
            super().connection_made(transport)
        else:
            self.transport, self.client = transport, get_remote_addr(transport)
            transport.pause_reading()
            self._handshake = self.loop.create_task(self._begin_tls(transport, self.tls))
        self._await_head()
        self.crowd.enter(self)

    async def _begin_tls(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        try:
            encrypted = await self.loop.start_tls(transport, self, context, server_side=True)
        except OSError:  # the other side speaks no TLS, or went away
            encrypted = None
        self._handshake = None
        if encrypted is None:
            self.connection_lost(None)
            return
        super().connection_made(encrypted)
        if early := self._early:
            self._early = b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a head, which must be whole in time, or of a running request."""
        if self._handshake is not None:  # they came with the handshake's last ones
            self._early += data
            return
        super().data_received(data)
        if self.is_asked:
            self._head_has_come()
        elif self._due is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """After an answer, leave the deadline until the next request to the server."""
        self._head_has_come()
        self.crowd.silent(self)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection no more."""
        if self._handshake is not None:
            self._handshake.cancel()
        self._head_has_come()
        self.crowd.leave(self)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._due = self.loop.call_later(self.head_s_max, self.transport.abort)

    def _head_has_come(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
