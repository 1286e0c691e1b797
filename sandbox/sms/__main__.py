"""`python -m sandbox.sms`: take text messages until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sandbox.http_server import HttpServer, add_arguments, context_of, serve_until_told
from sandbox.sms import FAULTS, REQUESTS, SENT, TOKEN


class Gateway(HttpServer):
    """The server, and what it has sent, by key."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.port, _Request, context_of(options))
        self.folder: Path = options.folder
        self.charges_twice: bool = options.charges_twice
        self.known: dict[str, str] = {}
        self.turn = threading.Lock()

    def fault(self) -> dict[str, Any]:
        """The next request's fault; empty: none."""
        file = self.folder / FAULTS
        said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        first, *others = said or [{}]
        if others:
            file.write_text(json.dumps(others), encoding="utf-8")
        else:
            file.unlink(missing_ok=True)
        return dict(first)

    def note(self, name: str, **line: Any) -> None:
        """Add a line to a record."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30.0
    server: Gateway

    def do_GET(self) -> None:
        """Nothing can be read here."""
        with self.server.turn:
            fault = self.server.fault()
        self._answer(fault.get("status") or (HTTPStatus.METHOD_NOT_ALLOWED if self._allowed() else 401), {})

    def do_POST(self) -> None:
        """Take one message."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.turn:
            self.server.note(REQUESTS, headers=dict(self.headers.items()), body=body.decode())
            fault = self.server.fault()
            status = fault.get("status") or self._taken(body)
        if fault.get("hang_up"):
            self.close_connection = True
            return
        self._answer(status, fault.get("headers", {}))

    def _taken(self, body: bytes) -> int:
        if not self._allowed():
            return HTTPStatus.UNAUTHORIZED
        message = json.loads(body)
        if not re.fullmatch(r"\+[1-9][0-9]{6,14}", message["to"]) or not message["text"]:
            return HTTPStatus.UNPROCESSABLE_ENTITY
        key, text = self.headers.get("Idempotency-Key", ""), json.dumps(message, sort_keys=True)
        known = None if self.server.charges_twice else self.server.known.get(key)
        if known is None:
            self.server.known[key] = text
            self.server.note(SENT, **message)
        return HTTPStatus.ACCEPTED if known in (None, text) else HTTPStatus.UNPROCESSABLE_ENTITY

    def _allowed(self) -> bool:
        token = (self.server.folder / TOKEN).read_text(encoding="utf-8")
        return self.headers.get("Authorization") == f"Bearer {token}"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Requests are written to the folder, not to standard error."""

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": "2", "Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")


def main() -> int:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.sms", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the token and the records")
    parser.add_argument("--charges-twice", action="store_true", help="disregard Idempotency-Key")
    serve_until_told(Gateway(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
