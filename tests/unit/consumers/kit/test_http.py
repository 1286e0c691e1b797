"""The HTTP client of connectors: what of a service's answers is about the service as a whole."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from consumers.kit.connector import ConnectorContext, Secret
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.http import HttpClient
from consumers.kit.settings import HttpConnectorSettings
from pipeline.errors import (
    CredentialsRefused,
    Misconfigured,
    SesameError,
    TargetDown,
    Throttled,
    WriteForbidden,
)

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def no_secret(_name: str) -> Secret:
    raise AssertionError


class Service(BaseHTTPRequestHandler):
    status = 200
    headers_said: ClassVar[dict[str, str]] = {}
    body = b"{}"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        for name, value in self.headers_said.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def serving(status: int = 200, body: bytes = b"{}", **headers: Any) -> Iterator[tuple[str, type[Service]]]:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    made = type("Made", (Service,), {"status": status, "headers_said": said, "body": body, "asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", made
    server.shutdown()
    server.server_close()
    thread.join()


def client(
    url: str,
    *,
    read_only: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = lambda _seconds: None,
    **values: Any,
) -> HttpClient:
    settings = HttpConnectorSettings(url=url, **values)
    context = ConnectorContext("library", settings, no_secret, read_only=read_only, monotonic=monotonic)
    return HttpClient(context, url, now=lambda: NOW, pause=pause)


def raised(status: int, method: str = "POST", **headers: Any) -> SesameError:
    with serving(status, **headers) as (url, _), pytest.raises(SesameError) as error:
        client(url).call(method, "/patrons", Deadline.after(60))
    return error.value


@pytest.mark.parametrize(
    ("said", "pause_s"),
    [
        ("7", 7),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60),
        ("Mon, 21 Sep 2026 14:10:00 GMT", 1),
        ("soon", 30),
        ("nan", 30),
        ("-5", 1),
        ("1e9", 3600),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_asks_for_patience_gets_it_within_bounds(
    status: int, said: str, pause_s: float
) -> None:
    error = raised(status, Retry_After=said)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == pause_s
    assert not error.unknown


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_moments_patience_is_had_within_the_call(method: str) -> None:
    paused: list[float] = []
    with serving(429, Retry_After="2") as (url, service):

        def pause(seconds: float) -> None:
            paused.append(seconds)
            service.status = 429 if len(paused) < 2 else 200

        assert client(url, pause=pause).call(method, "/patrons", Deadline.after(60)).ok
    assert paused == [2.0, 2.0]
    assert service.asked == 3


def test_patience_has_an_end() -> None:
    paused: list[float] = []
    with serving(429, Retry_After="1") as (url, service), pytest.raises(Throttled):
        client(url, pause=paused.append).call("POST", "/patrons", Deadline.after(60))
    assert (len(paused), service.asked) == (3, 4)


@pytest.mark.parametrize(("status", "asked", "left_s"), [(429, "3", 60), (429, "2", 1.5), (503, "1", 60)])
def test_a_longer_pause_or_one_without_time_for_it_is_the_engines(
    status: int, asked: str, left_s: float
) -> None:
    paused: list[float] = []
    with serving(status, Retry_After=asked) as (url, service), pytest.raises(Throttled):
        client(url, pause=paused.append).call("POST", "/patrons", Deadline.after(left_s))
    assert (paused, service.asked) == ([], 1)


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize(("method", "unknown"), [("GET", False), ("POST", True)])
def test_a_service_that_is_out_of_order_is_down(status: int, method: str, unknown: bool) -> None:
    error = raised(status, method)
    assert isinstance(error, TargetDown)
    assert error.unknown is unknown


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, CredentialsRefused), (403, Misconfigured), (302, Misconfigured), (308, Misconfigured)],
)
def test_a_service_that_refuses_us_is_told_so(status: int, kind: type[SesameError]) -> None:
    error = raised(status, Location="https://elsewhere.example/")
    assert type(error) is kind
    assert error.remedy or kind is CredentialsRefused  # whose own words say it


@pytest.mark.parametrize("status", [200, 201, 204, 400, 404, 409, 422, 500])
def test_what_may_be_a_student_s_own_is_the_connector_s_to_judge(status: int) -> None:
    with serving(status, b"") as (url, _):
        answer = client(url).call("POST", "/patrons", Deadline.after(60))
    assert (answer.status, answer.ok) == (status, status < 300)


def test_a_status_that_is_expected_is_not_the_service_s() -> None:
    with serving(403) as (url, _):
        assert client(url).call("GET", "/patrons", Deadline.after(60), expect=(403,)).status == 403


def test_a_write_does_not_leave_while_the_target_is_only_observed() -> None:
    with serving() as (url, service):
        observing = client(url, read_only=True)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(WriteForbidden):
                observing.call(method, "/patrons", Deadline.after(60))
        assert service.asked == 0
        assert observing.call("POST", "/search", Deadline.after(60), reads=True).ok


def test_nothing_is_read_beyond_the_bound_and_half_an_answer_is_no_json() -> None:
    with serving(200, b"x" * 5000) as (url, _):
        answer = client(url, bytes_max=1000).call("GET", "/patrons", Deadline.after(60))
    assert answer.body is None
    with pytest.raises(TargetDown):
        answer.json()


def test_after_the_time_nothing_is_begun_and_what_was_begun_has_its_whole_time() -> None:
    with serving() as (url, service):
        now = [0.0]
        made = client(url, monotonic=lambda: now[0])
        deadline = Deadline.after(10.0, lambda: now[0])
        now[0] = 9.9  # a tenth of a second would do for no call
        assert made.call("GET", "/patrons", deadline).ok
        now[0] = 10.0
        with pytest.raises(OutOfTime):
            made.call("GET", "/patrons", deadline)
        assert service.asked == 1


def test_a_service_that_takes_long_at_the_end_of_a_batch_is_not_called_away() -> None:
    """Its time is the time-out's, not what is left of the batch."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made = client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.9, connect_timeout_s=0.9)
        began = Deadline.after(1000)
        with pytest.raises(TargetDown, match="in time"):
            made.call("POST", "/patrons", Deadline.after(0.2))
        assert 1000 - began.left_s() >= 0.9


def test_a_server_that_is_not_there_was_told_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TargetDown) as away:
        client(f"http://127.0.0.1:{port}").call("POST", "/patrons", Deadline.after(60))
    assert not away.value.unknown


def test_a_server_without_tls_is_told_as_that() -> None:
    with serving() as (url, _), pytest.raises(Misconfigured, match="does not speak TLS"):
        client(url.replace("http://", "https://")).call("GET", "/patrons", Deadline.after(60))
