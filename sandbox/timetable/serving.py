"""The server's answers: calendars from a folder, or those of `behaviours.json`."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sandbox.http_server import HttpServer

BEHAVIOURS: Final = "behaviours.json"
CALENDARS: Final = "calendars"
REQUESTS: Final = "requests.jsonl"
EVERYBODY: Final = "*"

_PREFIX, _SUFFIX = "/ical/", ".ics"
_IDLE_TIMEOUT_S: Final = 30.0
_DRIP_EVERY_S: Final = 0.05

CALENDAR: Final = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//univ-exemple//EDT 1.0//FR\r\n"
    "BEGIN:VEVENT\r\nUID:{uid}@edt.univ-exemple.fr\r\nDTSTAMP:20260825T060000Z\r\n"
    "DTSTART:20260907T060000Z\r\nDTEND:20260907T080000Z\r\nSUMMARY:Cours magistral\r\n"
    "LOCATION:Amphithéâtre A\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
"""A calendar of one lecture; `{uid}` is left to be filled in."""


class Folder:
    """The served folder, read at each request, and the record of requests."""

    def __init__(self, path: Path, *, everybody: bool) -> None:
        self._path = path
        self._everybody = everybody
        self._writing = threading.Lock()

    def behaviour(self, name: str) -> dict[str, Any]:
        """The behaviour of this name, else of `*`."""
        try:
            said = json.loads((self._path / BEHAVIOURS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        behaviour: dict[str, Any] = said.get(name, said.get(EVERYBODY, {}))
        return behaviour

    def calendar(self, name: str) -> bytes | None:
        """The calendar of this name; None: there is none."""
        if not name or "/" in name or name.startswith("."):
            return None
        file = self._path / CALENDARS / f"{name}{_SUFFIX}"
        if file.is_file():
            return file.read_bytes()
        return CALENDAR.replace("{uid}", name).encode() if self._everybody else None

    def note(self, request: BaseHTTPRequestHandler) -> None:
        """Note a request."""
        line = json.dumps({"path": request.path, "headers": dict(request.headers.items())})
        with self._writing, (self._path / REQUESTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Server(HttpServer):
    """The server."""

    def __init__(self, port: int, folder: Folder, context: ssl.SSLContext | None) -> None:
        super().__init__(port, _Request, context)
        self.folder = folder


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with the calendar, or by the behaviour."""
        server = self.server
        assert isinstance(server, Server)  # noqa: S101  (for the type checker)
        server.folder.note(self)
        path = urlsplit(self.path).path
        known = path.startswith(_PREFIX) and path.endswith(_SUFFIX)
        name = unquote(path[len(_PREFIX) : -len(_SUFFIX)]) if known else ""
        how = server.folder.behaviour(name)
        if how.get("hang_up"):
            self.close_connection = True
            return
        time.sleep(float(how.get("delay_s", 0.0)))
        body = server.folder.calendar(name)
        if "body" in how:
            body = str(how["body"]).encode("latin-1")
        if "padding_bytes" in how and body is not None:
            body += b"X" * int(how["padding_bytes"])
        status = int(how.get("status", HTTPStatus.OK if body is not None else HTTPStatus.NOT_FOUND))
        self._answer(status, body or b"", how)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Requests are written to the folder, not to standard error."""

    def _answer(self, status: int, body: bytes, how: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", str(how.get("content_type", "text/calendar; charset=utf-8")))
        self.send_header("Content-Length", str(len(body)))
        for name, value in how.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        if not how.get("drip"):
            self.wfile.write(body)
            return
        for at in range(len(body)):
            self.wfile.write(body[at : at + 1])
            time.sleep(_DRIP_EVERY_S)
