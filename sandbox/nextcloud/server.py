"""Serve the stand-in for Nextcloud over HTTP, as OCS wants to be called."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.http_server import HttpServer
from sandbox.nextcloud.cloud import OK, Cloud

ADMINISTRATOR = ("sesame", "app-password")
BASE = "/ocs/v1.php/cloud/"


class OcsRequests(BaseHTTPRequestHandler):
    """Requests of one Nextcloud; `serving` makes a class with its cloud and its login."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cloud: ClassVar[Cloud]
    login: ClassVar[str]

    @classmethod
    def serving(cls, cloud: Cloud, user: str, password: str) -> type[OcsRequests]:
        """Make the handler of this cloud, whose administrator logs in so."""
        login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return type("Requests", (cls,), {"cloud": cloud, "login": login})

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if not url.path.startswith(BASE) or self.headers.get("OCS-APIRequest") != "true":
            return self._send(404 if url.path.startswith(BASE) else 400, 998, [])
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.login.encode()):
            return self._send(401, 997, [])
        form = parse_qs(url.query, keep_blank_values=True)
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            form |= parse_qs(body.decode(), keep_blank_values=True)
        elif body:
            return self._send(200, 101, [])
        path = [unquote(part) for part in url.path.removeprefix(BASE).split("/")]
        return self._send(200, *self.cloud.answer(self.command, path, form), form.get("format", [""])[-1])

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

    def _send(self, status: int, code: int, data: object, form: str = "json") -> None:
        """Answer with HTTP's status, which is 200 whatever OCS's own code says."""
        meta = {"status": "ok" if code == OK else "failure", "statuscode": code, "message": ""}
        content = json.dumps({"ocs": {"meta": meta, "data": data}}).encode()
        if form != "json":
            content = f"<ocs><meta><statuscode>{code}</statuscode></meta></ocs>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if form == "json" else "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def serving(cloud: Cloud) -> Iterator[str]:
    """Serve a cloud from this process; the address, `host:port`. Its administrator is `ADMINISTRATOR`."""
    server = HttpServer(0, OcsRequests.serving(cloud, *ADMINISTRATOR), None)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
