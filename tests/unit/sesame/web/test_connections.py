"""Who takes all connections of a server, or all its requests, shuts nobody else out."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.errors import SesameError
from sandbox.tls import ThrowawayCA
from sesame.testing.servers.waiting import until
from sesame.web.kit.connections import PromptProtocol
from sesame.web.kit.server import Listening, WebServer

ONE, OTHER, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
PLACES, OF_ONE = 8, 2
"""A quarter of the places is one address's."""


class Slow:
    """A server whose `/slow` is answered when the test says so; `ca`: it speaks TLS."""

    def __init__(self, ca: ThrowawayCA | None = None) -> None:
        certificate = ca.issue("server") if ca is not None else None
        self._trusting = ssl.create_default_context(cafile=str(ca.ca_file)) if ca is not None else None
        self.go_on = threading.Event()
        self._begun = 0
        routes = [Route("/", lambda _: Response("there")), Route("/slow", self._wait)]
        wanted = Listening(
            host="127.0.0.1",
            port=0,
            connections_max=PLACES,
            proxies=(ip_network(PROXY),),
            tls_cert_file=certificate.cert_file if certificate is not None else None,
            tls_key_file=certificate.key_file if certificate is not None else None,
            taken=SesameError,
            remedy="",
        )
        self.server = WebServer("test", Starlette(routes=routes), wanted)

    def _wait(self, _: Request) -> Response:
        self._begun += 1
        self.go_on.wait(60)
        return Response("late")

    def connect(self, source: str) -> socket.socket:
        """A connection on which nothing is said."""
        return socket.create_connection(("127.0.0.1", self.server.port), 30, source_address=(source, 0))

    def ask(self, source: str, path: str = "/", headers: Mapping[str, str] | None = None) -> HTTPConnection:
        """A request that is under way."""
        where, port, come_from = "127.0.0.1", self.server.port, (source, 0)
        asked = (
            HTTPConnection(where, port, timeout=30, source_address=come_from)
            if self._trusting is None
            else HTTPSConnection(where, port, timeout=30, source_address=come_from, context=self._trusting)
        )
        begun = self._begun
        asked.request("GET", path, headers=dict(headers or {}))
        if path == "/slow":
            until(lambda: self._begun > begun)
        return asked

    def answer(self, source: str, path: str = "/", headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """A request's answer."""
        return self.ask(source, path, headers).getresponse()


@contextmanager
def started(ca: ThrowawayCA | None = None) -> Iterator[Slow]:
    made = Slow(ca)
    made.server.start()
    try:
        yield made
    finally:
        made.go_on.set()
        made.server.stop()


@pytest.fixture
def slow() -> Iterator[Slow]:
    with started() as made:
        yield made


@pytest.fixture(params=["plain", "TLS"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slow]:
    with started(ThrowawayCA(tmp_path) if request.param == "TLS" else None) as made:
        yield made


@contextmanager
def silent(slow: Slow, source: str, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as open_:
        yield [open_.enter_context(slow.connect(source)) for _ in range(count)]


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def assert_busy(answered: HTTPResponse) -> None:
    assert (answered.status, answered.headers["content-type"]) == (503, "application/problem+json")
    assert int(answered.headers["retry-after"]) > 0
    said = json.loads(answered.read())
    assert (said["type"], said["status"]) == ("urn:sesame:error:ServerBusy", 503)


def test_who_connects_three_hundred_times_and_says_nothing_shuts_nobody_out(either: Slow) -> None:
    """Where the server speaks TLS, they are counted before they begin it."""
    with silent(either, ONE, 300) as connections:
        until(lambda: sum(map(is_open, connections)) == 2 * OF_ONE)
        assert either.answer(OTHER).status == 200
        assert either.answer(ONE).status == 200


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_begin_tls_is_hung_up_on_and_counted_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(PromptProtocol, "head_s_max", 0.5)
    with started(ThrowawayCA(tmp_path)) as server:
        for _ in range(3):
            with silent(server, ONE, 2 * OF_ONE) as connections:
                for each in connections:
                    each.sendall(begun)
                until(lambda: not any(map(is_open, connections)))
        monkeypatch.undo()
        with silent(server, ONE, 2 * OF_ONE) as connections:
            assert all(map(is_open, connections))
            assert server.answer(OTHER).status == 200


def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(tmp_path: Path) -> None:
    ca = ThrowawayCA(tmp_path)
    trusting = ssl.create_default_context(cafile=str(ca.ca_file))
    with started(ca) as server, server.connect(ONE) as plain:
        read, written = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting.wrap_bio(read, written, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        plain.sendall(written.read())
        while not written.pending:
            read.write(plain.recv(65_536))
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
        client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        plain.sendall(written.read())  # the handshake's last words and the request
        answer = b""
        while not answer:
            read.write(plain.recv(65_536))
            with suppress(ssl.SSLWantReadError):
                answer = client.read(65_536)
        assert answer.startswith(b"HTTP/1.1 200")


def test_from_many_addresses_likewise_and_what_is_under_way_is_not_ended(slow: Slow) -> None:
    asked = slow.ask(OTHER, "/slow")
    with ExitStack() as open_:
        for each in range(10, 10 + 3 * PLACES):
            open_.enter_context(silent(slow, f"127.0.0.{each}", 2 * OF_ONE))
        assert slow.answer(ONE).status == 200
        slow.go_on.set()
        assert asked.getresponse().read() == b"late"


def test_one_address_has_a_quarter_of_the_requests_and_the_next_is_told_when_to_come_back(slow: Slow) -> None:
    under_way = [slow.ask(ONE, "/slow") for _ in range(OF_ONE)]
    assert_busy(slow.answer(ONE))
    assert slow.answer(OTHER).status == 200
    slow.go_on.set()
    assert [each.getresponse().read() for each in under_way] == [b"late"] * OF_ONE
    assert slow.answer(ONE).status == 200


def test_behind_a_proxy_the_address_that_it_forwards_is_counted_and_not_its_own(slow: Slow) -> None:
    one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    with silent(slow, PROXY, PLACES) as connections:
        under_way = [slow.ask(PROXY, "/slow", one) for _ in range(OF_ONE)]
        assert_busy(slow.answer(PROXY, headers=one))
        assert slow.answer(PROXY, headers=other).status == 200
        assert slow.answer(ONE, headers=one).status == 200  # no proxy of ours: it is not believed
        assert all(map(is_open, connections))
        slow.go_on.set()
        assert [each.getresponse().status for each in under_way] == [200] * OF_ONE


def test_when_every_place_is_taken_the_next_is_told_when_to_come_back(slow: Slow) -> None:
    under_way = [slow.ask(f"127.0.0.{10 + n // OF_ONE}", "/slow") for n in range(PLACES)]
    assert_busy(slow.answer(ONE))
    slow.go_on.set()
    assert [each.getresponse().read() for each in under_way] == [b"late"] * PLACES
