"""The HTTP client of connectors: what of a service's answers is about the service as a whole."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import httpx
import pytest

from consumers.kit.connector import ConnectorContext, Secret
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.http import AnswerLost, HttpClient, HttpLimits
from consumers.kit.settings import HttpConnectorSettings
from pipeline.errors import (
    CredentialsRefused,
    Misconfigured,
    OutOfOrder,
    SesameError,
    TargetDown,
    Throttled,
    WriteForbidden,
)
from sandbox.process import PATIENCE_S
from sesame.testing.servers.http_kit import transport_to
from sesame.testing.servers.narrowing import expect

OWN = ("service", "setting", "limits", "transport", "pause")
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
    connections_max: int = 9,
    **more: Any,
) -> HttpClient:
    """Of what more is given, the client's own is the client's, and the rest are settings."""
    own = {name: more.pop(name) for name in OWN if name in more}
    context = ConnectorContext(
        "library",
        HttpConnectorSettings(url=url, **more),
        no_secret,
        read_only=read_only,
        connections_max=connections_max,
        monotonic=monotonic,
    )
    return HttpClient(context, url, **{"now": lambda: NOW, "pause": lambda _seconds: None, **own})


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
    error = expect(Throttled, raised(status, Retry_After=said))
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


@pytest.mark.parametrize("status", [502, 503])
def test_what_only_reads_is_asked_again_when_one_server_of_several_is_away(status: int) -> None:
    answers = Answers(httpx.Response(status), httpx.Response(status), httpx.Response(200))
    assert client_of(answers).call("GET", "/patrons", Deadline.after(60)).ok
    answers = Answers(httpx.Response(status), httpx.Response(200))
    with pytest.raises(OutOfOrder):
        client_of(answers).call("POST", "/patrons", Deadline.after(60))
    assert client_of(answers).call("GET", "/patrons", Deadline.after(60), expect=[status]).ok


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
    assert expect(TargetDown, raised(status, method)).unknown is unknown


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


def test_nothing_is_read_beyond_the_bound_and_half_an_answer_is_no_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HttpConnectorSettings, "bytes_max", 1000)
    with serving(200, b"x" * 5000) as (url, _):
        answer = client(url).call("GET", "/patrons", Deadline.after(60))
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


def test_a_server_that_hangs_up_at_tls_may_have_none() -> None:
    """As PHP's own server and others that speak plain HTTP do."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection = server.accept()[0]
            connection.recv(65_536)  # with something unread, its end would be a reset
            connection.close()

        hangs_up = threading.Thread(target=hang_up)
        hangs_up.start()
        with pytest.raises(TargetDown, match="hung up where TLS begins") as refused:
            client(f"https://127.0.0.1:{server.getsockname()[1]}").call("GET", "/", Deadline.after(60))
        hangs_up.join()
    assert "library.url may say https for a port that speaks plain HTTP" in refused.value.remedy


@pytest.mark.parametrize(
    "page",
    [
        b"<center>The plain HTTP request was sent to HTTPS port</center>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ],
    ids=["nginx", "Apache"],
)
def test_a_port_for_tls_that_is_spoken_to_without_it_is_told_as_that(page: bytes) -> None:
    with pytest.raises(Misconfigured, match="speaks TLS on this port") as refused:
        client_of(Answers(httpx.Response(400, content=page))).call("GET", "/patrons", Deadline.after(60))
    assert refused.value.remedy == "Write https in library.url."
    assert client_of(Answers(httpx.Response(400))).call("GET", "/p", Deadline.after(60)).status == 400


# --- below the client: what no server does on demand --------------------------------------------------


class Answers:
    """Gives one answer after the other, or raises it; remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.left = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


HOST = "https://library.example"


def client_of(answers: Callable[[httpx.Request], httpx.Response], **more: Any) -> HttpClient:
    return client(HOST, transport=transport_to(answers), **more)


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError])
@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({"method": "GET"}, 2),
        ({"method": "GET", "again": False}, 1),
        ({"method": "POST"}, 1),
        ({"method": "POST", "reads": True}, 2),
        ({"method": "POST", "again": True}, 2),
    ],
)
def test_what_may_be_repeated_is_sent_again_once_when_its_connection_breaks(
    kind: type[httpx.TransportError], how: dict[str, Any], asked: int
) -> None:
    paused: list[float] = []
    answers = Answers(kind("gone"), httpx.Response(200))
    made = client_of(answers, pause=paused.append)
    if asked == 2:
        assert made.call(path="/patrons", deadline=Deadline.after(60), **how).ok
        assert all(0 <= pause <= 0.5 for pause in paused)
    else:
        with pytest.raises(AnswerLost, match=kind.__name__) as lost:
            made.call(path="/patrons", deadline=Deadline.after(60), **how)
        assert lost.value.unknown is (how["method"] == "POST")
    assert (len(answers.requests), len(paused)) == (asked, asked - 1)


@pytest.mark.parametrize("then", [httpx.ReadError, httpx.ConnectError, httpx.ConnectTimeout, None])
@pytest.mark.parametrize("writes", [True, False])
def test_whoever_is_not_answered_after_a_hang_up_may_have_carried_it_out(
    then: type[httpx.TransportError] | None, *, writes: bool
) -> None:
    now = [0.0]

    def pause(_seconds: float) -> None:
        now[0] = 0.0 if then else 60.0  # there is no time for another attempt

    answers = Answers(httpx.ReadError("gone"), *([then("no")] if then else []))
    deadline = Deadline(60.0, lambda: now[0])
    with pytest.raises(AnswerLost) as lost:
        client_of(answers, pause=pause).call("POST", "/patrons", deadline, reads=not writes, again=True)
    assert lost.value.unknown is deadline.unanswered is writes


@pytest.mark.parametrize(
    ("answer", "unanswered"),
    [
        (httpx.ReadTimeout("late"), True),
        (httpx.WriteTimeout("late"), True),
        (httpx.DecodingError("no gzip"), True),
        (httpx.Response(502), True),
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("late"), False),
        (httpx.Response(401), False),
        (httpx.Response(429), False),
    ],
)
def test_a_batch_remembers_that_a_write_of_it_went_unanswered(
    answer: httpx.Response | Exception, *, unanswered: bool
) -> None:
    for method, before in (("POST", False), ("POST", True), ("GET", False)):
        deadline = Deadline(60.0, lambda: 0.0, unanswered=before)
        with pytest.raises(SesameError) as error:
            client_of(Answers(*[answer] * 4)).call(method, "/patrons", deadline)
        assert deadline.unanswered is (before or (unanswered and method == "POST"))
        if isinstance(error.value, TargetDown):
            assert error.value.unknown is (unanswered and method == "POST")


def test_when_there_is_no_place_for_a_call_nothing_is_begun_and_places_are_given_back() -> None:
    made: HttpClient

    def busy(_request: httpx.Request) -> httpx.Response:
        for act in (made.call, made.stream):
            with pytest.raises(OutOfTime), ExitStack() as stack:
                stack.enter_context(act("GET", "/patrons", Deadline.after(0.06, lambda: 0.0)))  # type: ignore[arg-type]
        return httpx.Response(500)

    made = client_of(busy, connections_max=1)
    for _ in range(2):
        assert made.call("GET", "/patrons", Deadline.after(60)).status == 500
        with made.stream("GET", "/patrons", Deadline.after(60)) as (answer, _):
            assert answer.status == 500


def test_no_more_calls_are_under_way_than_there_may_be() -> None:
    lock, most, now = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def serve(_request: httpx.Request) -> httpx.Response:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        both.wait(PATIENCE_S)
        with lock:
            now -= 1
        return httpx.Response(200)

    made = client_of(serve, connections_max=2)
    threads = [
        threading.Thread(target=made.call, args=("GET", "/patrons", Deadline.after(60))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert most == 2


def test_connections_are_verified_and_bounded_and_go_through_nothing_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(httpx, "Client", lambda **settings: made.update(settings))
    client(HOST, connections_max=3)
    assert (made["verify"].verify_mode, made["verify"].check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made["limits"] == httpx.Limits(
        max_connections=3, max_keepalive_connections=3, keepalive_expiry=4.0
    )
    assert (made["trust_env"], made["follow_redirects"]) == (False, False)


def test_a_file_of_authorities_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"library\.ca_file .* FileNotFoundError") as refused:
        client(HOST, ca_file=tmp_path / "absent.pem")
    assert "PEM" in refused.value.remedy


@pytest.mark.parametrize("cause", [True, False])
def test_a_certificate_that_is_not_trusted_is_a_fault_of_the_settings_and_a_hang_up_is_none(
    *, cause: bool
) -> None:
    def chained(innermost: Exception) -> httpx.ConnectError:
        """As the library raises it: two exceptions around the true one."""
        outer, middle = httpx.ConnectError(f"no, said {HOST}"), OSError("no")
        outer.__context__ = middle
        setattr(middle, "__cause__" if cause else "__context__", innermost)
        return outer

    untrusted = ssl.SSLCertVerificationError("no")
    untrusted.verify_message = "self-signed certificate"
    with pytest.raises(Misconfigured, match="self-signed certificate") as refused:
        client_of(Answers(chained(untrusted))).call("GET", "/patrons", Deadline.after(60))
    assert "library.ca_file" in refused.value.remedy
    for hung_up, words in ((ConnectionResetError("no"), "ConnectError"), (ssl.SSLEOFError("no"), "hung up")):
        with pytest.raises(TargetDown, match=words) as down:
            client_of(Answers(chained(hung_up))).call("POST", "/patrons", Deadline.after(60))
        assert down.value.unknown is False
        assert HOST not in str(down.value)


def test_an_answer_that_trickles_is_not_waited_for_for_ever() -> None:
    times = iter([0.0, 14.9, 15.0])
    trickle = httpx.Response(200, content=iter([b"[", b"[", b"["]))
    with pytest.raises(AnswerLost, match="in time"):
        client_of(Answers(trickle), monotonic=lambda: next(times)).call(
            "POST", "/patrons", Deadline.after(60)
        )
    assert list(times) == []


def test_a_form_keeps_its_order_and_a_connector_may_say_what_it_accepts() -> None:
    answers = Answers(httpx.Response(200), httpx.Response(200))
    made, pairs = client_of(answers), [("b", "é&"), ("a", "1"), ("b", "2")]
    made.call("POST", "/patrons", Deadline.after(60), form=pairs, headers={"Accept": "text/xml"})
    with made.stream("POST", "/patrons", Deadline.after(60), form=pairs):
        pass
    first, second = answers.requests
    assert first.content == second.content == b"b=%C3%A9%26&a=1&b=2"
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (first.headers["accept"], second.headers["accept"]) == ("text/xml", "application/json")


def test_an_answer_of_any_length_comes_in_pieces_and_is_not_held_in_memory() -> None:
    sent: list[int] = []

    def content() -> Iterator[bytes]:
        for number in range(9):
            sent.append(number)
            yield b"%d" % number

    made = client_of(Answers(httpx.Response(200, content=content())))
    with made.stream("GET", "/patrons", Deadline.after(60)) as (answer, pieces):
        assert (answer.status, next(pieces)) == (200, b"0")
        assert sent == [0]


def test_an_answer_in_pieces_that_breaks_off_is_said() -> None:
    def broken_off() -> Iterator[bytes]:
        yield b"["
        raise httpx.ReadError("reset")

    for answer in (httpx.Response(200, content=broken_off()), httpx.ReadTimeout("late")):
        made = client_of(Answers(answer))
        with (
            pytest.raises(AnswerLost) as lost,
            made.stream("GET", "/patrons", Deadline.after(60)) as (_, pieces),
        ):
            list(pieces)
        assert not lost.value.unknown


def test_operators_are_told_which_service_it_is_and_which_setting_names_it() -> None:
    made = client_of(
        Answers(httpx.ReadTimeout("late"), httpx.Response(302)), service="the shelf", setting="shelf_url"
    )
    with pytest.raises(AnswerLost, match="the shelf does not answer in time"):
        made.call("GET", "/patrons", Deadline.after(60))
    with pytest.raises(Misconfigured) as moved:
        made.call("GET", "/patrons", Deadline.after(60))
    assert "library.shelf_url" in moved.value.remedy


def test_a_section_with_other_names_says_its_bounds_itself() -> None:
    answers = Answers(httpx.Response(200, content=b"x" * 11))
    made = client_of(answers, limits=HttpLimits(1.0, 2.0, 3.0, 10))
    assert made.call("GET", "/patrons", Deadline.after(0.2)).body is None
    waits = {"connect": 1.0, "write": 2.0, "read": 3.0, "pool": 3.0}
    assert answers.requests[0].extensions["timeout"] == waits


def test_a_place_is_waited_for_within_the_time_that_is_left_which_is_looked_at_again() -> None:
    now, waited, places = [0.0], [], [1]

    class Slots:
        def __init__(self, _count: int) -> None:
            """As many as are counted."""

        def acquire(self, timeout: float) -> bool:
            waited.append(timeout)
            now[0] += timeout
            places[0] -= 1
            return True

        def release(self) -> None:
            places[0] += 1

    answers = Answers()
    with patch("consumers.kit.http.threading.BoundedSemaphore", Slots):
        made = client_of(answers)
    with pytest.raises(OutOfTime):
        made.call("POST", "/patrons", Deadline(7.0, lambda: now[0]))
    assert (waited, places, answers.requests) == ([7.0], [1], [])
