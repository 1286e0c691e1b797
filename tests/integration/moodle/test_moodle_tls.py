"""The site's certificate is verified, always."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.moodle.rest import RestClient
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured
from sandbox.process import PATIENCE_S
from sandbox.tls import ThrowawayCA
from sesame.settings import LiveSecret


class _Null(BaseHTTPRequestHandler):
    """Answers `null`, as Moodle does after a removal."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"null")

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


class _Quiet(HTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the handshake is what some of these tests are about."""


Serve = Callable[..., str]


@pytest.fixture
def ca(tmp_path: Path) -> ThrowawayCA:
    return ThrowawayCA(tmp_path)


@pytest.fixture
def serve(ca: ThrowawayCA) -> Iterator[Serve]:
    """Start an HTTPS server with a certificate for these names; returns its address."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(hosts: list[str] | None = None) -> str:
        certificate = ca.issue("moodle", hosts=hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert_file, certificate.key_file)
        server = _Quiet(("127.0.0.1", 0), _Null)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"https://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(PATIENCE_S)
        server.server_close()


def call(base_url: str, ca_file: Path | None) -> object:
    settings = MoodleSettings(
        base_url=base_url, token=SecretStr("jeton-d-essai"), ca_file=ca_file, timeout_s=5
    )
    context = ConnectorContext("moodle", settings, lambda name: LiveSecret(settings, name))
    client = RestClient(context)
    try:
        return client.read("core_webservice_get_site_info", {}, Deadline.after(20))
    finally:
        client.close()


def test_a_site_whose_authority_is_named_is_trusted(serve: Serve, ca: ThrowawayCA) -> None:
    assert call(serve(), ca.ca_file) is None


def test_a_certificate_of_an_unknown_authority_is_refused_with_a_remedy(serve: Serve) -> None:
    with pytest.raises(Misconfigured) as caught:
        call(serve(), None)
    assert "moodle.ca_file" in caught.value.remedy


def test_a_certificate_for_another_host_is_refused(serve: Serve, ca: ThrowawayCA) -> None:
    with pytest.raises(Misconfigured):
        call(serve(["moodle.univ-exemple.fr"]), ca.ca_file)


def test_a_site_that_does_not_speak_tls_gets_no_token(moodle_port: int, ca: ThrowawayCA) -> None:
    with pytest.raises(Misconfigured, match="does not speak TLS"):
        call(f"https://127.0.0.1:{moodle_port}", ca.ca_file)


@pytest.fixture
def moodle_port() -> Iterator[int]:
    server = _Quiet(("127.0.0.1", 0), _Null)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(PATIENCE_S)
    server.server_close()
