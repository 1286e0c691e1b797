"""An HTTP server in a thread of its own: uvicorn on a socket that was opened first, so that a port that is
taken is an error of the start."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from pipeline.errors import SesameError
from sesame.settings.served import Networks
from sesame.web.kit.connections import Crowd, PromptProtocol, listener

START_S_MAX: Final = 10.0
STOP_S_MAX: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where to listen, and how much at once.

    Attributes:
        host, port: port 0 takes a free one.
        tls_cert_file, tls_key_file: a certificate chain and its key (PEM); None: without TLS.
        connections_max: requests at once; more are answered 503, and those of one address before all places
            are taken: see `Crowd`.
        proxies: reverse proxies in front, which say who asks.
        waiting_max: connections that may wait to be accepted.
        stalled_s_max: how long who is sent something may take nothing of it; None: as the system has it.
        grace_s: how long requests under way may go on at the end.
        idle_s_max: how long a connection without a request is kept.
        taken, remedy: the error that says that it cannot be listened there, and what to do.
    """

    host: str
    port: int
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    connections_max: int = 64
    proxies: Networks = ()
    waiting_max: int = 64
    stalled_s_max: float | None = None
    grace_s: int = 3
    idle_s_max: int = 15
    taken: type[SesameError]
    remedy: str


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and leave no connection open that nobody serves: one made while it ends, or one whose other
        side does not take its leave. Who asked there would wait for as long as the process lives."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # they are closed by the loop


class WebServer:
    """Serves an ASGI application until told to stop. Who asks is in no log line: addresses of pages have
    secrets in them."""

    def __init__(self, name: str, app: ASGIApp, listening: Listening) -> None:
        self._listening = listening
        crowd = Crowd(listening.connections_max, listening.proxies)
        self._protocol: type[PromptProtocol] = type("_Protocol", (PromptProtocol,), {"crowd": crowd})
        self._server = _Server(
            uvicorn.Config(
                crowd.admitting(app),
                access_log=False,
                http=self._protocol,
                log_config=None,
                lifespan="off",
                server_header=False,
                proxy_headers=False,  # whom to believe is said by `trusted_proxies`
                timeout_graceful_shutdown=listening.grace_s,
                timeout_keep_alive=listening.idle_s_max,
                ssl_certfile=listening.tls_cert_file,
                ssl_keyfile=None if listening.tls_key_file is None else str(listening.tls_key_file),
            )
        )
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it serves; not before `start`, nor once it has ended by itself."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            SesameError: of `listening`: the address cannot be listened on.
        """
        wanted = self._listening
        self._socket = listener(
            wanted.host,
            wanted.port,
            waiting_max=wanted.waiting_max,
            taken=wanted.taken,
            remedy=wanted.remedy,
        )
        if wanted.stalled_s_max is not None:
            # Who takes nothing is noticed by the system, which has room for minutes of answers before we
            # would be told (tcp(7)); every connection inherits it.
            self._socket.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(wanted.stalled_s_max * 1000)
            )
        # An answer is sent as head and body: without this a small body waits 40 ms for the reader's ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread.start()
        give_up_at = time.monotonic() + START_S_MAX
        while not self._server.started and self.alive and time.monotonic() < give_up_at:
            time.sleep(0.01)

    def stop(self) -> None:
        """Answer what was asked, stop listening, and return; harmless when it was never started."""
        self._server.should_exit = True
        if self.alive:
            self._thread.join(timeout=STOP_S_MAX)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _serve(self) -> None:
        config = self._server.config
        config.load()
        self._protocol.tls, config.ssl = config.ssl, None  # each connection begins TLS once it is counted
        self._server.run(sockets=[self._socket] if self._socket is not None else None)
