"""Faults of kafka-python 3.0.12's sockets, and their workarounds.

- A server that is frozen while TLS begins keeps the library waiting without end, and every later call with
  it.
- What a server sends right before it hangs up is thrown away: mostly that a password is wrong.
- A socket whose connection failed is left to the garbage collector.
- A request over a connection that ended before TLS began fails with the system's error, for which the
  library's loops are not made: the one that follows changes in the cluster ends, and nothing restarts it.

See `workarounds` too.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from kafka import errors as e
from kafka.net import connection, inet, manager
from kafka.net.transport import KafkaSSLTransport

HANDSHAKE_S_MAX = 5.0


class Transport(KafkaSSLTransport):  # type: ignore[misc]
    """The library's TLS transport, with a handshake time-out. Keeps a server's last words."""

    async def handshake(self) -> None:
        """Begin TLS, or close the socket."""
        timer = self._net.call_later(HANDSHAKE_S_MAX, self._hang_up)
        try:
            await super().handshake()
        except BaseException:
            self._close()
            raise
        finally:
            self._net.cancel(timer)

    def _sock_recv(self) -> tuple[bytes, Exception | None]:
        """Return the bytes received; if there are some, the next call reports the end."""
        received, end = super()._sock_recv()
        return received, None if received else end

    def _hang_up(self) -> None:
        if self._sock is not None:  # a waiting task wakes up, and finds it shut
            with suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class Connection(connection.KafkaConnection):  # type: ignore[misc]
    """The library's connection, which always ends with one of the library's errors."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending requests with an error of the library."""
        known = exc is None or isinstance(exc, e.KafkaError)
        super().connection_lost(exc if known else e.KafkaConnectionError(exc))


class NetSocket(inet.KafkaNetSocket):  # type: ignore[misc]
    """The library's socket factory, which closes sockets that failed to connect."""

    SCHEMES = ()  # of proxies: it is none

    async def sock_connect(self, net: Any, sock: socket.socket, *where: Any, **options: Any) -> socket.socket:
        """Connect, or close the socket."""
        try:
            connected: socket.socket = await super().sock_connect(net, sock, *where, **options)
        except BaseException:
            sock.close()
            raise
        return connected


def mend() -> None:
    """Install these classes for every client created from now on."""
    manager.KafkaSSLTransport = Transport
    manager.KafkaConnection = Connection
    inet.KafkaNetSocket = NetSocket
