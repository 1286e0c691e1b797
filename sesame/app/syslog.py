"""Sends lines to a syslog receiver (RFC 5424): TLS (RFC 5425), TCP (RFC 6587), UDP or a unix socket."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 10.0
DATAGRAM_BYTES_MAX: Final = 8_192
_PRIORITY: Final = 13 * 8 + 5  # log audit, notice
_NOT_PRINTED = re.compile(r"[^\x21-\x7e]")


class Syslog:
    """A receiver, with a new connection for each batch.

    Over TCP and TLS a batch is ended and the receiver's own end awaited: a receiver that reads to the end and
    closes has read all of it. One that dies before resets the connection, and the batch is sent again.
    Datagrams are sent without any confirmation.

    Args:
        address: `tls://HOST:PORT`, `tcp://…`, `udp://…` or `unix:/PATH`.
        ca_file: of `tls`; None: the system's.
    """

    def __init__(self, address: str, *, ca_file: Path | None = None, host: str | None = None) -> None:
        self._kind, _, rest = address.partition(":")
        self._path = rest
        self._place = urlsplit(address)
        self._ca_file = ca_file
        self._host = host or socket.gethostname()

    def send(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Send entries of the audit; raises OSError: some may have arrived, send all again."""
        lines = [self._line(each) for each in documents]
        if self._kind in {"tcp", "tls"}:
            self._stream(b"".join(b"%d %s" % (len(line), line) for line in lines))
            return
        with self._datagrams() as out:
            for line, document in zip(lines, documents, strict=True):
                fits = len(line) <= DATAGRAM_BYTES_MAX
                out.send(line if fits else self._line(_short(document)))

    def _line(self, document: Mapping[str, Any]) -> bytes:
        act = _NOT_PRINTED.sub("", document["action"])[:32] or "-"
        host = _NOT_PRINTED.sub("", self._host)[:255] or "-"
        head = f"<{_PRIORITY}>1 {document['at']} {host} sesame - {act} - "
        return (head + json.dumps(document)).encode("ascii")  # which escapes what is not ASCII

    def _stream(self, data: bytes) -> None:
        address = (self._place.hostname or "", self._place.port or 0)
        with socket.create_connection(address, timeout=TIMEOUT_S) as plain:
            if self._kind == "tcp":
                plain.sendall(data)
                plain.shutdown(socket.SHUT_WR)
                _await_end(plain)
                return
            context = ssl.create_default_context(cafile=self._ca_file)
            with context.wrap_socket(plain, server_hostname=self._place.hostname) as sealed:
                sealed.sendall(data)
                with suppress(ssl.SSLEOFError):  # it has closed without a word of TLS, and has not reset
                    _await_end(sealed.unwrap())

    def _datagrams(self) -> socket.socket:
        if self._kind == "unix":
            out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            address: Any = self._path
        else:
            place = (self._place.hostname or "", self._place.port or 0)
            family, _, _, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
            out = socket.socket(family, socket.SOCK_DGRAM)
        out.settimeout(TIMEOUT_S)
        try:
            out.connect(address)
        except OSError:
            out.close()
            raise
        return out


def _short(document: Mapping[str, Any]) -> dict[str, Any]:
    """Shorten an entry that is too long for a datagram: enough to notice it, and to look it up."""
    return {name: value for name, value in document.items() if name not in {"detail", "persons"}} | {
        "cut": True
    }


def _await_end(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass
