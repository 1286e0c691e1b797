"""An HTTP server in a thread: uvicorn on an open socket. So a port that is taken is an error of the start."""

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
    """The listening address, and the limits.

    Attributes:
        host, port: port 0 takes a free one.
        tls_cert_file, tls_key_file: a certificate chain and its key (PEM); None: without TLS.
        connections_max: requests at once; more are answered 503, and those of one address before all places
            are taken: see `Crowd`.
        proxies: reverse proxies in front, which give the client's address.
        waiting_max: connections that may wait to be accepted.
        stalled_s_max: how long a client may take nothing of its answer; None: the system's default.
        grace_s: how long running requests may last at the end.
        idle_s_max: how long a connection without a request is kept.
        taken, remedy: the error raised when the port cannot be listened on, and its remedy.
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
        """Shut down, and close every connection.

        Connections made meanwhile, and those whose client does not close, would keep clients waiting for as
        long as the process lives.
        """
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the loop closes them


class WebServer:
    """Serves an ASGI application until stopped.

    Requests are not logged: addresses of pages have secrets in them.
    """

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
                proxy_headers=False,  # `trusted_proxies` names those to believe
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
        """Whether it serves; False before `start`, and after it has ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises `listening.taken`: the address cannot be listened on.
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
            # The kernel buffers minutes of answers before a write would block, so let it notice clients that
            # take nothing (tcp(7)); every connection inherits it.
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
        """Finish running requests, stop listening, and return; harmless before `start`."""
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
