"""The HTTP server of pages and API."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.errors import SesameError
from sandbox.process import accepts_tcp
from sandbox.tls import ThrowawayCA
from sesame.testing.servers.waiting import until
from sesame.web.kit.server import Listening, WebServer

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_small_answer_does_not_wait_for_its_reader_s_acknowledgement() -> None:
    server = WebServer("test", Starlette(), Listening(host="127.0.0.1", port=0, taken=SesameError, remedy=""))
    server.start()
    try:
        listening = server._socket  # noqa: SLF001
        assert listening is not None
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # every connection inherits it
    finally:
        server.stop()


def test_who_connects_while_it_ends_is_let_go(tmp_path: Path) -> None:
    """A browser connects before it has something to ask, and asks there later: it must not wait for ever."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        begun.set()
        go_on.wait(30)
        return Response()

    ca = ThrowawayCA(tmp_path)
    certificate = ca.issue("server")
    server = WebServer(
        "test",
        Starlette(routes=[Route("/", slow)]),
        Listening(
            host="127.0.0.1",
            port=0,
            tls_cert_file=certificate.cert_file,
            tls_key_file=certificate.key_file,
            taken=SesameError,
            remedy="",
        ),
    )
    server.start()
    port = server.port
    trusting = ssl.create_default_context(cafile=str(ca.ca_file))
    ending = threading.Thread(target=server.stop)
    early = socket.create_connection(("127.0.0.1", port), timeout=30)
    asked = socket.create_connection(("127.0.0.1", port), timeout=30)
    with trusting.wrap_socket(asked, server_hostname="localhost") as asking:
        asking.sendall(GET)
        assert begun.wait(30)  # it is later than the early one, which has been accepted
        ending.start()
        until(lambda: not accepts_tcp(port))
        connected = trusting.wrap_socket(early, server_hostname="localhost")
        go_on.set()
    with connected:
        ending.join()
        try:
            connected.sendall(GET)
            answer = connected.recv(1)
        except (ConnectionError, ssl.SSLError):
            answer = b""
        assert answer == b""
