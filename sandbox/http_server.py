"""The sandbox's own HTTP services: loopback, TLS, and an end by SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol


class HttpServer(ThreadingHTTPServer):
    """A server on loopback. Each connection has a thread, which ends its handshake."""

    daemon_threads = True
    request_queue_size = 128  # a connection waits: the library's five are few on a busy machine

    def __init__(
        self, port: int, requests: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None
    ) -> None:
        super().__init__(("127.0.0.1", port), requests)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log an error; a client that hangs up, or does not trust us, is no event."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class Serving(Protocol):
    """The part of a `socketserver` that serves and ends."""

    def serve_forever(self, poll_interval: float = ...) -> None:
        """Serve until `shutdown`."""

    def shutdown(self) -> None:
        """Stop taking requests."""

    def server_close(self) -> None:
        """Give the port back."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the port and certificate options."""
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--certificate", type=Path, help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--key", type=Path, help="the certificate's private key (PEM)")


def context_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    """TLS by the options of `add_arguments`; None: plain HTTP."""
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    return context


def serve_until_told(server: Serving, *, started: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; `server` listens already. `started`: called once it serves."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    started()
    stop.wait()
    server.shutdown()
    server.server_close()
