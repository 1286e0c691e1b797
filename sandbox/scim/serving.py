"""scim2-server over HTTP, with a token, durable data, threads for connections."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from scim2_models import (
    Context,
    InvalidValueException,
    Pagination,
    Resource,
    ResourceType,
    ScimProvider,
    UnauthorizedException,
)
from scim2_server.applications.wsgi import WSGIApplication
from scim2_server.memory import InMemoryStorage
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService
from scim2_server.utils import load_default_provider

from sandbox.http_server import HttpServer
from sandbox.scim.quirks import Bent
from sandbox.scim.server import PREFIX, QUIRKS_FILE, REFUSED, REQUESTS

RESOURCES: Final = "resources.json"

_IDLE_TIMEOUT_S: Final = 30.0


class Storage(InMemoryStorage):
    """The data, in memory. Addresses of one domain are refused, for tests of a refusal."""

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """See `ScimStorage.create`."""
        _check(resource)
        return super().create(resource_type, resource)

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """See `ScimStorage.update`."""
        _check(resource)
        return super().update(resource_type, resource, expected_version=expected_version)


class Application(WSGIApplication):
    """scim2-server on a folder's data, with the folder's quirks.

    Args:
        folder: its files are read at each request.
        token: required of each call.
    """

    def __init__(self, folder: Path, token: str, *, record: bool) -> None:
        provider = _provider()
        super().__init__(Storage(), provider, ScimService(provider, secret=token))
        self._folder = folder
        self._token = token
        self._record = record
        self._writing = threading.Lock()
        self._bent = Bent(self.serve)
        self._load()

    def check_auth(self, request: ScimRequest) -> None:
        """Refuse a call without the token."""
        if request.header("Authorization") != f"Bearer {self._token}":
            raise UnauthorizedException

    def answer(self, request: ScimRequest) -> ScimResponse:
        """Serve with quirks, and note it."""
        asked = {"method": request.method, "path": request.path, **dict(request.query)}
        try:
            quirks = json.loads((self._folder / QUIRKS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            quirks = []
        answer = self._bent(request, quirks)
        if self._record:
            text = request.body.decode(errors="replace")
            line = json.dumps({**asked, "status": int(answer.status), "body": text})
            with self._writing, (self._folder / REQUESTS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return answer

    def save(self) -> None:
        """Keep the data for the next start."""
        held = [each.model_dump(mode="json", scim_ctx=Context.DEFAULT) for each in self._memory.resources]
        (self._folder / RESOURCES).write_text(json.dumps(held), encoding="utf-8")

    @property
    def _memory(self) -> InMemoryStorage:
        assert isinstance(self.storage, InMemoryStorage)  # noqa: S101  (for the type checker)
        return self.storage

    def _load(self) -> None:
        file = self._folder / RESOURCES
        if not file.exists():
            return
        models = {each.name: self.service.get_model(each) for each in self.provider.resource_types}
        held = json.loads(file.read_text(encoding="utf-8"))
        self._memory.resources = [models[each["meta"]["resourceType"]].model_validate(each) for each in held]
        self._memory.versions = itertools.count(1_000_000)


class Server(HttpServer):
    """The server."""

    def __init__(self, port: int, application: Application, context: ssl.SSLContext | None) -> None:
        super().__init__(port, _Request, context)
        self.application = application
        self.scheme = "http" if context is None else "https"


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        server = self.server
        assert isinstance(server, Server)  # noqa: S101  (for the type checker)
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        known = parts.path == PREFIX or parts.path.startswith(f"{PREFIX}/")
        request = ScimRequest(
            method=self.command,
            base_url=f"{server.scheme}://{self.headers.get('Host', '127.0.0.1')}{PREFIX}",
            path=unquote(parts.path.removeprefix(PREFIX)),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=list(self.headers.items()),
            body=body,
        )
        answer = server.application.answer(request) if known else ScimResponse(HTTPStatus.NOT_FOUND)
        sent = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  (the library's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Requests are written to the folder, not to standard error."""


def _check(resource: Resource[Any]) -> None:
    for mail in getattr(resource, "emails", None) or ():
        if str(mail.value).endswith(REFUSED):
            raise InvalidValueException


def _provider() -> ScimProvider:
    """All that the library can do: RFC 9865's cursors too, and pages of any size."""
    provider = load_default_provider()
    config: Any = provider.config
    config.filter.max_results = None
    config.pagination = Pagination(cursor=True, index=True, default_pagination_method="index")
    return provider
