"""People who log in through CAS as a browser does, and a service on loopback that they come back to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import requests

from sandbox.cas import CasServer
from sandbox.ports import free_port
from sandbox.process import PATIENCE_S, wait_until


class Browser:
    """One browser: it keeps cookies, and fills in the login form."""

    def __init__(self, cas: CasServer) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = str(cas.ca_file)
        self._cas = cas

    def close(self) -> None:
        """Give its connections back."""
        self._http.close()

    def get(self, url: str) -> requests.Response:
        """Ask for a page, and follow nothing."""
        return self._http.get(url, allow_redirects=False, timeout=PATIENCE_S)

    def log_in(self, url: str, login: str, password: str) -> requests.Response:
        """Open the login page at `url` and send the form; what the server answers, not followed."""
        page = self.get(url)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        return self._http.post(
            url,
            data={**hidden, "username": login, "password": password},
            headers={"Referer": url},
            allow_redirects=False,
            timeout=PATIENCE_S,
        )

    def ticket(self, url: str, login: str, password: str) -> str:
        """The ticket with which the server sends the browser back."""
        return ticket_of(self.log_in(url, login, password))

    def log_out(self) -> None:
        """Log out of the CAS server: it tells every service that it gave a ticket for."""
        assert self.get(f"{self._cas.url}logout").ok


def ticket_of(answer: requests.Response) -> str:
    """The ticket in a redirection back to the service."""
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
        """Its address."""
        return f"http://127.0.0.1:{self.port}/cas"

    def logout_request(self) -> bytes:
        """Wait for a single logout's request, and return it."""
        wait_until(lambda: bool(self.posted), "the CAS server to announce a logout")
        return parse_qs(self.posted[0].decode())["logoutRequest"][0].encode()


@contextmanager
def site() -> Iterator[Site]:
    """Such a server."""
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
