"""The stand-in's HTTP/1.1. Keep-alive, bodies by length or chunks, a thread per connection.

Requests and replies are plain values; what answers them knows nothing of sockets.
"""

from __future__ import annotations

import contextlib
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedIOBase
from typing import Final

_LINE_MAX_BYTES: Final = 64 * 1024
_HEADERS_MAX: Final = 100
_BODY_MAX_BYTES: Final = 128 * 1024 * 1024
_IDLE_TIMEOUT_S: Final = 75.0  # nginx's keepalive_timeout
_CONNECTIONS_MAX: Final = 512  # nginx's worker_connections


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client_address: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `hang_up`: none; the connection is closed without a byte."""

    status: int
    content_type: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


HANG_UP: Final = Reply(0, "", hang_up=True)

Answer = Callable[[Request], Reply]


def error_page(
    status: HTTPStatus, phrase: str | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """The page of nginx for a status; nginx hyphenates "Time-out"."""
    title = f"{status.value} {phrase or status.phrase}"
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx/1.26.3</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, "text/html", body.encode(), headers or {})


class _BadRequest(Exception):
    """The client does not speak HTTP/1.1 as nginx understands it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    timeout = _IDLE_TIMEOUT_S

    def handle(self) -> None:
        server = self.server
        if not isinstance(server, HttpServer):
            raise TypeError("a connection belongs to an HttpServer")
        # Others wait for a slot. When the client goes away, its request is done all the same.
        with server.slots, contextlib.suppress(OSError):
            while self._serve_one(server):
                pass

    def _serve_one(self, server: HttpServer) -> bool:
        try:
            request = self._read()
        except _BadRequest as error:
            self.wfile.write(_encoded(error_page(error.status), keep_alive=False))
            return False
        if request is None:
            return False
        with server.in_flight():
            reply = _answered(server.answer, request)
            if reply.hang_up:
                return False
            keep_alive = request.headers.get("connection", "").lower() != "close"
            self.wfile.write(_encoded(reply, keep_alive=keep_alive))
        return keep_alive

    def _read(self) -> Request | None:
        line = self.rfile.readline(_LINE_MAX_BYTES)
        if not line.strip():
            return None
        parts = line.decode("latin-1").split()
        if len(parts) != len(("method", "target", "version")) or not parts[2].startswith("HTTP/1."):
            raise _BadRequest(HTTPStatus.BAD_REQUEST)
        headers = self._read_headers()
        if parts[2] == "HTTP/1.0":
            headers.setdefault("connection", "close")
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        path, _, query = parts[1].partition("?")
        body = _read_body(self.rfile, headers)
        return Request(parts[0], path, query, headers, body, str(self.client_address[0]))

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_HEADERS_MAX):
            line = self.rfile.readline(_LINE_MAX_BYTES).decode("latin-1").rstrip("\r\n")
            if not line:
                return headers
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        raise _BadRequest(HTTPStatus.BAD_REQUEST)


def _answered(answer: Answer, request: Request) -> Reply:
    """Return the reply, or nginx's page for a fault of the stand-in, which is logged."""
    try:
        return answer(request)
    except Exception:  # noqa: BLE001  (whatever it is, the client gets an answer and the others go on)
        traceback.print_exc(file=sys.stderr)
        return error_page(HTTPStatus.INTERNAL_SERVER_ERROR)


def _read_body(stream: BufferedIOBase, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _read_chunks(stream)
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise _BadRequest(HTTPStatus.BAD_REQUEST)
    if int(length) > _BODY_MAX_BYTES:
        raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = stream.read(int(length))
    if len(body) < int(length):
        raise ConnectionError("the client left in the middle of a request")
    return body


def _read_chunks(stream: BufferedIOBase) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while True:
        try:
            size = int(stream.readline(_LINE_MAX_BYTES).split(b";")[0], 16)
        except ValueError:
            raise _BadRequest(HTTPStatus.BAD_REQUEST) from None
        total += size
        if total > _BODY_MAX_BYTES:
            raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if size == 0:
            while stream.readline(_LINE_MAX_BYTES).strip():
                pass  # trailers
            return b"".join(chunks)
        chunks.append(stream.read(size))
        stream.readline(_LINE_MAX_BYTES)


def _encoded(reply: Reply, *, keep_alive: bool) -> bytes:
    status = HTTPStatus(reply.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Server: nginx/1.26.3",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


class HttpServer(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1 and lets `answer` reply. Takes the port again at once after a crash."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, answer: Answer) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.answer = answer
        self.slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._idle = threading.Condition()
        self._running = 0

    @property
    def port(self) -> int:
        """The bound port, also if 0 was requested."""
        return int(self.server_address[1])

    @contextlib.contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as running until its reply is written."""
        with self._idle:
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for the running requests; False if some still run after `timeout_s`."""
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, timeout_s)
