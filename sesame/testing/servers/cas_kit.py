"""People who log in through CAS as a browser does, and a service on loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from sandbox.cas import CasDirectory, CasServer, Service
from sandbox.ports import free_port
from sandbox.process import PATIENCE_S, wait_until
from sandbox.slapd import Slapd
from sandbox.tls import ThrowawayCA
from sesame.testing.relay import Cut, Relay
from sesame.testing.servers import require_service

STAFF = "http://127.0.0.1:7/staff"
"""A service that admits staff only."""

SERVICES = (
    Service("staff", r"^http://127[.]0[.]0[.]1:7/", only_if={"eduPersonAffiliation": "^staff$"}),
    Service("tests", r"^http://127[.]0[.]0[.]1:[0-9]+/"),
)
PORTALS = Service("portals", r"^https://localhost:[0-9]+/cas$")
CONSOLES = Service("consoles", r"^https://localhost:[0-9]+/console/login$")


class Program(Protocol):
    """Makes a CAS server, which does not run yet."""

    def __call__(
        self, directory: CasDirectory, services: Sequence[Service], *, logout_ca_file: Path
    ) -> CasServer:
        """One that does not run yet."""


class Wire(Relay):
    """The connection between a CAS server and its directory. `cut`: nothing passes."""

    def __init__(self, slapd: Slapd) -> None:
        super().__init__(f"127.0.0.1:{slapd.ldaps_port}", lambda _relay: self)
        self.cut = False

    def asked(self, piece: bytes) -> bytes:
        if self.cut:
            raise Cut
        return piece

    def answered(self, piece: bytes) -> bytes:
        return piece

    @contextmanager
    def severed(self) -> Iterator[None]:
        self.cut = True
        try:
            yield
        finally:
            self.cut = False


@dataclass(frozen=True)
class LoginServer:
    """A CAS server for the people of a directory.

    Attributes:
        wire: to the directory.
        ca: certifies the services that it notifies of logouts.
    """

    cas: CasServer
    wire: Wire
    ca: ThrowawayCA


@contextmanager
def login_server_of(
    slapd: Slapd, folder: Path, program: Program, services: Sequence[Service] = (*SERVICES, PORTALS, CONSOLES)
) -> Iterator[LoginServer]:
    """A running CAS server."""
    ca = ThrowawayCA(folder)
    with Wire(slapd) as wire:
        directory = replace(CasDirectory.of(slapd), uri=f"ldaps://{wire.address}")
        made = require_service(lambda: program(directory, services, logout_ca_file=ca.ca_file))
        with made as cas:
            yield LoginServer(cas, wire, ca)


class Browser:
    """One browser: it keeps cookies, and fills in the login form."""

    def __init__(self, cas: CasServer) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = str(cas.ca_file)
        self._cas = cas

    def close(self) -> None:
        self._http.close()

    def get(self, url: str) -> requests.Response:
        """Request a page, without following redirects."""
        return self._http.get(url, allow_redirects=False, timeout=PATIENCE_S)

    def log_in(self, url: str, login: str, password: str) -> requests.Response:
        """Send the login form at `url`; return the answer, redirects not followed."""
        hidden = _hidden(self.get(url).text)
        return self._post(url, {**hidden, "username": login, "password": password})

    def go_on(self, url: str, page: requests.Response) -> requests.Response:
        """Send the form of a page between the login and the ticket."""
        (form,) = re.findall(r"<form(?:(?!<form).)*?proceed.*?</form>", page.text, re.DOTALL)
        (action,) = re.findall(r'action="([^"]*)"', form)
        return self._post(urljoin(url, action), _hidden(form))

    def _post(self, url: str, data: dict[str, str]) -> requests.Response:
        return self._http.post(
            url, data=data, headers={"Referer": url}, allow_redirects=False, timeout=PATIENCE_S
        )

    def ticket(self, url: str, login: str, password: str) -> str:
        return ticket_of(self.log_in(url, login, password))

    def log_out(self) -> None:
        """Log out of the CAS server. It notifies every service that it gave a ticket for."""
        assert self.get(f"{self._cas.url}logout").ok


def _hidden(text: str) -> dict[str, str]:
    tags = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<input[^>]*>", text)]
    return {tag["name"]: unescape(tag.get("value", "")) for tag in tags if tag.get("type") == "hidden"}


def ticket_of(answer: requests.Response) -> str:
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["Location"]).query)["ticket"][0]


@dataclass
class Site:
    """A server on loopback that gives one prepared answer, and keeps what it was sent.

    Attributes:
        status, body, location: of its answer; `silent`: it gives none until it is closed.
        posted: bodies of POST requests.
    """

    port: int
    status: int = 200
    body: bytes = b""
    location: str | None = None
    silent: bool = False
    posted: list[bytes] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cas"

    def logout_request(self) -> bytes:
        wait_until(lambda: bool(self.posted), "the CAS server to announce a logout")
        return parse_qs(self.posted[0].decode())["logoutRequest"][0].encode()


@contextmanager
def site() -> Iterator[Site]:
    made = Site(free_port())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if made.silent:
                made.closing.wait(PATIENCE_S)
                return
            self.send_response(made.status)
            if made.location is not None:
                self.send_header("Location", made.location)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def do_POST(self) -> None:
            made.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", made.port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
