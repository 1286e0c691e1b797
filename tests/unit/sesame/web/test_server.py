"""The HTTP server of pages and API."""

from __future__ import annotations

import socket

from starlette.applications import Starlette

from pipeline.errors import SesameError
from sesame.web.kit.server import Listening, WebServer


def test_a_small_answer_does_not_wait_for_its_reader_s_acknowledgement() -> None:
    server = WebServer("test", Starlette(), Listening(host="127.0.0.1", port=0, taken=SesameError, remedy=""))
    server.start()
    try:
        listening = server._socket  # noqa: SLF001
        assert listening is not None
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # every connection inherits it
    finally:
        server.stop()
