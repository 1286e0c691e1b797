"""HTTP: `/authn-app`, `/ins`, `/chc` and `/idt` as at Pégase, and `/_control`.

`POST /_control`, with a key (header `X-Control-Key`), takes a JSON object, see `state.State.wish`; it and
`GET` show the calls.
"""

from __future__ import annotations

import hmac
import json
import re
import ssl
import time
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from sandbox.http_server import HttpServer
from sandbox.pegase.state import Fault, State
from sandbox.server import CONTROL

USER: Final = "svc-sesame"
_TICKETS: Final = "/authn-app/cas/v1/tickets"
_FLOW: Final = "/ins/api/ins/ext/v2/gestion/flux-inscriptions/pagine"
_GROUPS: Final = "/chc/api/ext/chc/v1/groupes/"
_IDENTITIES: Final = re.compile(r"/idt/api/idt/ext/v1/etablissements/([^/]+)/identites/apprenants")
_MAIL: Final = re.compile(
    r"/idt/api/idt/ext/v1/etablissements/([^/]+)/identite/([^/]+)/courriel-institutionnel"
)
_PAGE_MAX: Final = 500
_BODY_MAX: Final = 100_000_000
_ERRORS: Final = "json/application"  # as the real one: the words are the wrong way round


class Server(HttpServer):
    """The server."""

    def __init__(self, port: int, state: State, control_key: str, context: ssl.SSLContext | None) -> None:
        super().__init__(port, _Request, context)
        self.state = state
        self.control_key = control_key


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60.0
    server: Server

    def do_GET(self) -> None:
        """Answer."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a form, or JSON."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BODY_MAX:
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"")
            return
        self._answer(self.rfile.read(length))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Write nothing: the state has the calls."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header's value, by the server's clock."""
        return formatdate(self.server.state.now() if timestamp is None else timestamp, usegmt=True)

    def _answer(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        if parts.path == CONTROL:
            self._control(body)
            return
        state, module = self.server.state, parts.path.split("/")[1]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        page = int(query["page"]) if "page" in query else None
        state.note(module, parts.query)
        fault = state.fault_of(module, page, parts.path)
        time.sleep(fault.delay_s + state.conditions.latency_s)
        if fault.hang_up:
            self.close_connection = True
        elif fault.status:
            self._refuse(fault.status, "panne")
        elif fault.html:
            self._send(HTTPStatus.OK, b"<html><title>Maintenance</title></html>", "text/html")
        elif parts.path == _TICKETS:
            self._ticket(query, dict(parse_qsl(body.decode("utf-8", "replace"))))
        elif self._is_admitted(module):
            self._serve(parts.path, query, fault)

    def _ticket(self, query: dict[str, str], form: dict[str, str]) -> None:
        state = self.server.state
        right = hmac.compare_digest(form.get("password", "").encode(), state.password.encode())
        if form.get("username") != USER or not right:
            self._refuse(HTTPStatus.UNAUTHORIZED, "authentification")
            return
        asked = form if state.conditions.token_in == "form" else query
        token = state.token() if asked.get("token") == "true" else "TGT-1-form"
        self._send(HTTPStatus.CREATED, token.encode(), "text/plain")

    def _is_admitted(self, module: str) -> bool:
        state = self.server.state
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not state.admits(token):
            late = HTTPStatus.FORBIDDEN if module == "chc" else HTTPStatus.UNAUTHORIZED
            self._refuse(late, "jeton")
            return False
        if module not in state.conditions.rights:
            self._refuse(HTTPStatus.FORBIDDEN, "droits")
            return False
        return True

    def _serve(self, path: str, query: dict[str, str], fault: Fault) -> None:
        if path == _FLOW:
            self._flow(query, fault)
        elif path.startswith(_GROUPS) and self.command == "POST":
            found = self.server.state.groups.get(path.removeprefix(_GROUPS), [])
            self._send(HTTPStatus.OK, json.dumps(found).encode())
        elif (asked := _IDENTITIES.fullmatch(path)) and self.command == "GET" and self._is_here(asked[1]):
            whose = query.get("codeApprenant", ""), query.get("etatIneMaitre", "")
            self._page(self.server.state.identities(*whose), query, fault, under="items")
        elif (asked := _MAIL.fullmatch(path)) and self.command == "POST" and self._is_here(asked[1]):
            known = self.server.state.set_mail(unquote(asked[2]), query.get("emailInstitutionnel", ""))
            if known:
                self._send(HTTPStatus.OK, b"")
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "identite")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "route")

    def _is_here(self, establishment: str) -> bool:
        return establishment == self.server.state.conditions.establishment

    def _flow(self, query: dict[str, str], fault: Fault) -> None:
        since, until = int(query.get("depuis", "0")), int(query.get("jusqua", "0"))
        student = query.get("codeApprenant", "")
        self._page(self.server.state.window(since, until, student, stale_s=fault.stale_s), query, fault)

    def _page(
        self, rows: list[dict[str, Any]], query: dict[str, str], fault: Fault, *, under: str = "resultats"
    ) -> None:
        size = int(query.get("taille", "50"))
        if "page" not in query or not 1 <= size <= _PAGE_MAX:
            self._refuse(HTTPStatus.BAD_REQUEST, "pagination")
            return
        state, page = self.server.state, int(query["page"]) + fault.skip
        size = min(size, state.conditions.page_max)
        told: dict[str, Any] = {
            "taille": size,
            under: rows[page * size : (page + 1) * size],
            "totalElements": len(rows),
            "page": page,
            "totalPages": -(-len(rows) // size),
        }
        self._send(HTTPStatus.OK, json.dumps(told).encode())
        state.touch(fault.touch)

    def _control(self, body: bytes) -> None:
        given = (self.headers.get("X-Control-Key") or "").encode()
        if not hmac.compare_digest(given, self.server.control_key.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "key")
            return
        self.server.state.wish(json.loads(body or b"{}"))
        self._send(
            HTTPStatus.OK,
            json.dumps({"calls": self.server.state.calls, "mails": self.server.state.mails}).encode(),
        )

    def _refuse(self, status: int, what: str) -> None:
        body = json.dumps({"errors": [{"code": what, "message": what}]}).encode()
        self._send(status, body, _ERRORS)

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
