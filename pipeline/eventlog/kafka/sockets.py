"""Faults of kafka-python 3.0.12 around its sockets, and what is done about each: see `mends` too.

A server that is frozen while TLS begins keeps the library waiting for ever, and every call that comes after
with it. What a server says right before it hangs up is thrown away: mostly that a password is wrong. And a
socket whose connection failed is left to the garbage collector.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from kafka.net import inet, manager
from kafka.net.transport import KafkaSSLTransport

HANDSHAKE_S_MAX = 5.0


class Transport(KafkaSSLTransport):  # type: ignore[misc]
    """The library's, with an end to the handshake, and an ear for a server's last words."""

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
        """What has come. That nothing more will is told by the next call, if something has."""
        received, end = super()._sock_recv()
        return received, None if received else end

    def _hang_up(self) -> None:
        if self._sock is not None:  # whoever waits for it is woken, and finds it shut
            with suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class NetSocket(inet.KafkaNetSocket):  # type: ignore[misc]
    """The library's, which closes what could not be connected."""

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
    """Let every client that is made from now on use these."""
    manager.KafkaSSLTransport = Transport
    inet.KafkaNetSocket = NetSocket
