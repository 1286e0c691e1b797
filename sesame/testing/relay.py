"""A relay between clients and one server, which a test watches and cuts."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

_PIECE_BYTES_MAX = 65_536


class Cut(Exception):  # no error: the wire is cut
    """Raised by a watcher to close this connection at both sides and drop its data.

    Args:
        last: what the client is still sent.
    """

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


class Watcher(Protocol):
    """Watches one connection. Each method returns the bytes to pass on, or raises Cut."""

    def asked(self, piece: bytes) -> bytes:
        """The client sent this."""

    def answered(self, piece: bytes) -> bytes:
        """The server sent this."""


class Relay:
    """Listens on a free port while the `with` lasts. Connects clients with `server` (`host:port`).

    `watcher`: makes one for each connection.
    """

    def __init__(self, server: str, watcher: Callable[[Relay], Watcher]) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._watcher = watcher
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]
        self._connections: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def die(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in accept
        self._listener.close()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._threads[0].join()
        for each in self._connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connections.append(client)
                self._threads.append(threading.Thread(target=self._carry, args=(client,)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._server) as server:
            try:
                self._pass_on(client, server, self._watcher(self))
            except Cut as cut:
                client.sendall(cut.last)

    def _pass_on(self, client: socket.socket, server: socket.socket, watcher: Watcher) -> None:
        while True:
            for side in select.select([client, server], [], [])[0]:
                piece = side.recv(_PIECE_BYTES_MAX)
                if not piece:
                    return
                if side is client:
                    server.sendall(watcher.asked(piece))
                else:
                    client.sendall(watcher.answered(piece))
