"""The stand-in's server: `/api/v1/patrons` over HTTP, with Basic authentication."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from sandbox.http_server import HttpServer
from sandbox.koha.library import Library, Patron, Refusal, fold

PAGE = 20
"""Patrons on a page for a caller that names no number (`RESTdefaultPageSize`)."""


class KohaServer:
    """Koha on a port.

    Attributes:
        library: what it knows.
        login: who may call, as `login:password`.
        calls: method and path of each call.
        maintenance: answer all with 503.
        may_write: the caller has the permission `edit_borrowers`.
        lies: answer writes with 200 and an error, and do nothing.
        cut: show so many patrons of a page, at most, and say nothing of it.
    """

    def __init__(self, login: str = "sesame:secret", port: int = 0) -> None:
        self.library = Library()
        self.login = login
        self.calls: list[str] = []
        self.maintenance = self.lies = False
        self.may_write = True
        self.cut: int | None = None
        self._server = HttpServer(port, type("Bound", (_Handler,), {"koha": self}), None)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    koha: KohaServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815
    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        self.koha.calls.append(f"{self.command} {split.path}")
        try:
            self._admit()
            asked = {key: values[0] for key, values in parse_qs(split.query, keep_blank_values=True).items()}
            self._route(split.path, asked, json.loads(content or b"null"))
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body)

    def _admit(self) -> None:
        if self.koha.maintenance:
            raise Refusal(503, error="System is under maintenance.")
        wanted = "Basic " + base64.b64encode(self.koha.login.encode()).decode()
        if self.headers.get("Authorization") != wanted:
            raise Refusal(401, error="Authentication failure.")

    def _route(self, path: str, asked: dict[str, str], body: Patron) -> None:
        library = self.koha.library
        found = re.fullmatch(r"/api/v1/patrons(?:/(\d+))?", path)
        if found is None:
            raise Refusal(404, error="Not found")
        if self.command != "GET" and not self.koha.may_write:
            error = "Authorization failure. Missing required permission(s)."
            raise Refusal(403, error=error, required_permissions={"borrowers": "edit_borrowers"})
        if self.command != "GET" and self.koha.lies:
            return self._answer(200, {"error": "Something went wrong, check Koha logs for details."})
        key = int(found[1] or 0)
        if self.command == "GET" and not key:
            return self._list(asked)
        if self.command == "GET":
            if key not in library.patrons:
                raise Refusal(404, error="Patron not found.")
            return self._answer(200, library.shown(library.patrons[key]))
        if self.command == "POST":
            return self._answer(201, library.shown(library.create(body)))
        if self.command == "PUT":
            return self._answer(200, library.shown(library.replace(key, body)))
        library.delete(key)
        return self._answer(204, None)

    def _list(self, asked: dict[str, str]) -> None:
        match = asked.get("_match", "contains")
        with self.koha.library.lock:
            all_of_them = list(self.koha.library.patrons.values())
        found = [each for each in all_of_them if _meets(each, json.loads(asked.get("q", "{}")))]
        for name, value in asked.items():
            if name[0] != "_" and name != "q":
                found = [each for each in found if _like(each.get(name), value, match)]
        order = asked.get("_order_by", "patron_id")
        found.sort(key=lambda each: each[order.lstrip("+-")], reverse=order.startswith("-"))
        size = int(asked.get("_per_page", PAGE))
        begin = (int(asked.get("_page", 1)) - 1) * size
        page = found[begin : begin + size][: self.koha.cut]
        self._answer(
            200, [self.koha.library.shown(each) for each in page], {"X-Total-Count": str(len(found))}
        )

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        content = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def _meets(patron: Patron, query: Any) -> bool:
    """Whether a patron meets a `q`: a list is any of, an object is all of."""
    if isinstance(query, list):
        return any(_meets(patron, each) for each in query)
    return all(
        _meets(patron, value) if name == "-or" else _compares(patron.get(name), value)
        for name, value in query.items()
    )


def _compares(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return value is not None and fold(value) == fold(wanted)
    ((operator, bound),) = wanted.items()
    return value is not None and (value > bound if operator == ">" else value >= bound)


def _like(value: object, wanted: str, match: str) -> bool:
    """As named parameters compare: `contains` by default, with wildcards % and _."""
    mine, theirs = str(fold(value or "")), str(fold(wanted))
    if match == "exact":
        return mine == theirs
    pattern = "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in theirs)
    return re.search(pattern, mine) is not None
