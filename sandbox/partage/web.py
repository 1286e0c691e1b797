"""HTTP: BSS at `/service/domain`, and `/_control`, with a key, for its state.

`POST /_control` (header `X-Control-Key`) takes a JSON object; its keys, all optional, in this order: `reset`
(true), `set` (`conditions.Conditions`), `faults` (a list of `conditions.Fault`), `expire` (true: every
token), `clear` (true: every account), `create` (a list of accounts: `name`, `aliases`, attributes), `modify`
(name to attributes; any status may be set). It and `GET` show `calls` (of BSS) and `accounts` (all).
"""

from __future__ import annotations

import hmac
import json
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from sandbox.http_server import HttpServer
from sandbox.partage.accounts import Accounts
from sandbox.partage.conditions import Fault, State
from sandbox.partage.service import SUCCESS, Node, Refusal, Service
from sandbox.server import CONTROL

PREFIX: Final = "/service/domain"

_IDLE_TIMEOUT_S: Final = 60.0
_BODY_MAX: Final = 1_000_000
_REFUSED: Final = 2


class WebServer(HttpServer):
    """The server."""

    def __init__(
        self,
        port: int,
        service: Service,
        accounts: Accounts,
        state: State,
        *,
        control_key: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(port, _Request, context)
        self.service = service
        self.accounts = accounts
        self.state = state
        self.control_key = control_key

    def control(self, wish: Mapping[str, Any]) -> None:
        """Carry out a wish."""
        if wish.get("reset"):
            self.state.reset()
        self.state.change(wish.get("set", {}))
        for fault in wish.get("faults", ()):
            self.state.add(Fault(**fault))
        if wish.get("expire"):
            self.service.expire()
        with self.accounts.lock:
            for account in list(self.accounts.all()) if wish.get("clear") else ():
                self.accounts.delete(account)
            for each in wish.get("create", ()):
                given = dict(each)
                aliases = given.pop("aliases", ())
                account = self.accounts.create(given.pop("name"), {"zimbraAccountStatus": "active", **given})
                for alias in aliases:
                    self.accounts.add_alias(account, alias)
            for name, attributes in wish.get("modify", {}).items():
                found = self.accounts.find(name)
                if found is None:
                    raise ValueError(f"no such account: {name}")
                self.accounts.modify(found, attributes)

    def shown(self) -> dict[str, Any]:
        """Past calls, and all accounts."""
        with self.accounts.lock:
            accounts = {
                one.name: {"id": one.id, "aliases": list(one.aliases), **one.attributes}
                for one in self.accounts.all()
            }
        return {"calls": list(self.state.calls), "accounts": accounts}


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S
    disable_nagle_algorithm = True
    server: WebServer

    def do_GET(self) -> None:
        """Answer: BSS takes its parameters from the address too."""
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Answer a form."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BODY_MAX:
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"", "text/html")
            return
        self._answer(self.rfile.read(length).decode("utf-8", "replace"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Write nothing: the state has the calls."""

    def _answer(self, body: str) -> None:
        path = urlsplit(self.path).path
        if path == CONTROL:
            self._control(body)
            return
        method, _, token = path.removeprefix(PREFIX).strip("/").partition("/")
        if not path.startswith(PREFIX) or not self.server.service.knows(method):
            self._page(HTTPStatus.NOT_FOUND)
            return
        form = dict(parse_qsl(body, keep_blank_values=True))
        name = form.get("name", "")
        state = self.server.state
        state.note(method, name)
        fault = state.fault_of(method, name)
        if not state.waited(state.conditions.latency_s + (fault.delay_s if fault is not None else 0.0)):
            self.close_connection = True  # of an earlier test, whose client is gone
            return
        if state.conditions.down:
            self._page(HTTPStatus.SERVICE_UNAVAILABLE)
        elif fault is None or fault == Fault(
            method=fault.method, name=fault.name, calls=fault.calls, delay_s=fault.delay_s
        ):
            self._send(HTTPStatus.OK, self._called(method, token, form))
        else:
            self._struck(fault, method, token, form)

    def _called(self, method: str, token: str, form: Mapping[str, str]) -> bytes:
        try:
            return _response(0, SUCCESS, self.server.service.call(method, token, form))
        except Refusal as refusal:
            return _response(_REFUSED, str(refusal), [])

    def _struck(self, fault: Fault, method: str, token: str, form: Mapping[str, str]) -> None:
        if fault.after_commit:
            self._called(method, token, form)
        if fault.hang_up:
            self.close_connection = True
        elif fault.http:
            self._page(HTTPStatus(fault.http), fault.headers)
        elif fault.body:
            self._send(HTTPStatus.OK, fault.body.encode())
        else:
            self._send(HTTPStatus.OK, _response(_REFUSED, fault.message, []))

    def _control(self, body: str) -> None:
        given = self.headers.get("X-Control-Key", "")
        if not hmac.compare_digest(given.encode(), self.server.control_key.encode()):
            self._send(HTTPStatus.FORBIDDEN, b"{}", "application/json")
            return
        try:
            if self.command == "POST":
                self.server.control(json.loads(body))
            status, shown = HTTPStatus.OK, self.server.shown()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is answered)
            status, shown = HTTPStatus.BAD_REQUEST, {"error": repr(error)}
        self._send(status, json.dumps(shown).encode(), "application/json")

    def _page(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        page = f"<html><body><h1>{status.value} {status.phrase}</h1></body></html>".encode()
        self._send(status, page, "text/html", headers)

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: str = "text/xml; charset=utf-8",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _response(status: int, message: str, nodes: Sequence[Node]) -> bytes:
    inside: list[Node] = [("status", str(status), "integer"), ("message", message, ""), *nodes]
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + _xml(("Response", inside, "")) + "\n").encode()


def _xml(node: Node) -> str:
    name, content, kind = node
    inside = escape(content) if isinstance(content, str) else "".join(_xml(each) for each in content)
    return f"<{name}{f' type={chr(34)}{kind}{chr(34)}' if kind else ''}>{inside}</{name}>"
