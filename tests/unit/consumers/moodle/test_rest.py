"""Moodle's protocol over HTTP: form, retries, time-outs, and what is never repeated."""

from __future__ import annotations

import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from consumers.moodle.answers import members
from consumers.moodle.errors import (
    BatchDeadline,
    Broken,
    MoodleRefused,
    NoTimeLeft,
    OutcomeUnknown,
    WriteRefused,
)
from consumers.moodle.rest import RestClient, flatten
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled, WriteForbidden
from sandbox.process import PATIENCE_S

TOKEN = "9c1d-jeton-d-essai"


class Clock:
    """A monotonic clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Server:
    """Answers what it is told to, one thing after the other, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(value: object) -> httpx.Response:
    return httpx.Response(200, json=value)


def exception(code: str, kind: str = "dml_write_exception") -> httpx.Response:
    return ok({"exception": kind, "errorcode": code, "message": "…"})


def settings(**changes: Any) -> MoodleSettings:
    return MoodleSettings(base_url="https://moodle.univ-exemple.fr", token=SecretStr(TOKEN), **changes)


def client_for(server: Callable[[httpx.Request], httpx.Response], **changes: Any) -> RestClient:
    chance = random.Random(7)  # noqa: S311  (pauses, not secrets)
    transport = httpx.MockTransport(server)
    return RestClient(settings(**changes), pause=lambda _: None, chance=chance, transport=transport)


@pytest.fixture
def deadline() -> BatchDeadline:
    return BatchDeadline.after(60, Clock())


def test_token_function_and_format_come_first_in_the_body_and_nowhere_else(deadline: BatchDeadline) -> None:
    server = Server(ok([]))
    client_for(server).read(
        "core_user_get_users_by_field", {"field": "idnumber", "values": ["1", "2"]}, deadline
    )
    (request,) = server.requests
    assert request.method == "POST"
    assert str(request.url) == "https://moodle.univ-exemple.fr/webservice/rest/server.php"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(request.content.decode()) == [
        ("wstoken", TOKEN),
        ("wsfunction", "core_user_get_users_by_field"),
        ("moodlewsrestformat", "json"),
        ("field", "idnumber"),
        ("values[0]", "1"),
        ("values[1]", "2"),
    ]


@given(st.dictionaries(st.sampled_from(["firstname", "lastname"]), st.text(st.characters(codec="utf-8"))))
def test_any_name_survives_the_form(fields: dict[str, str]) -> None:
    pairs = list(flatten({"users": [fields]}))
    assert pairs == [(f"users[0][{name}]", value) for name, value in fields.items()]


def test_booleans_are_zero_and_one_and_numbers_are_numbers() -> None:
    assert dict(flatten({"a": True, "b": [False, 7]})) == {"a": "1", "b[0]": "0", "b[1]": "7"}


def test_a_read_is_tried_again_when_its_answer_is_lost(deadline: BatchDeadline) -> None:
    server = Server(httpx.ReadError("reset"), httpx.Response(504), httpx.Response(200), ok(["Élodie"]))
    assert client_for(server, read_attempts=4).read("f", {}, deadline) == ["Élodie"]


def test_a_site_that_never_answers_reads_is_down(deadline: BatchDeadline) -> None:
    server = Server(*[httpx.ReadTimeout("slow")] * 3)
    with pytest.raises(TargetDown, match="ReadTimeout") as down:
        client_for(server).read("f", {}, deadline)
    assert down.value.unknown is False
    assert len(server.requests) == 3
    assert not deadline.lost


class Highest(random.Random):
    """Draws the highest number; remembers between what."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.drawn.append((a, b))
        return b


@pytest.mark.parametrize("how", ["read", "write"])
def test_the_pauses_between_attempts_are_drawn_under_a_ceiling_that_doubles(
    deadline: BatchDeadline, how: str
) -> None:
    answer = exception("dmlwriteexception") if how == "write" else httpx.Response(500)
    pauses: list[float] = []
    chance = Highest()
    client = RestClient(
        settings(read_attempts=7, write_attempts=7, retry_wait_s_max=3.0),
        pause=pauses.append,
        chance=chance,
        transport=httpx.MockTransport(Server(*[answer] * 7)),
    )
    with pytest.raises((TargetDown, WriteRefused)):
        getattr(client, how)("f", {}, deadline)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.0, 3.0])
    assert {low for low, _ in chance.drawn} == {0}


def test_without_a_source_of_chance_it_draws_its_own(deadline: BatchDeadline) -> None:
    pauses: list[float] = []
    server = Server(httpx.Response(500), ok([]))
    RestClient(settings(), pause=pauses.append, transport=httpx.MockTransport(server)).read("f", {}, deadline)
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= 0.2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.ReadTimeout("slow"), OutcomeUnknown),
        (httpx.ReadError("reset"), OutcomeUnknown),
        (httpx.RemoteProtocolError("closed"), OutcomeUnknown),
        (httpx.WriteTimeout("slow"), OutcomeUnknown),
        (httpx.Response(504), OutcomeUnknown),
        (httpx.Response(500), Broken),
        (httpx.Response(200, html=""), Broken),
        (httpx.ConnectError("refused"), TargetDown),
        (httpx.ConnectTimeout("slow"), TargetDown),
        (httpx.Response(502), TargetDown),
        (httpx.DecodingError("not gzip"), OutcomeUnknown),
        (httpx.PoolTimeout("busy"), NoTimeLeft),
        (httpx.Response(302, headers={"location": "https://ailleurs.example/"}), Misconfigured),
    ],
)
def test_a_write_that_was_not_answered_is_sent_once(
    answer: httpx.Response | Exception, error: type[Exception], deadline: BatchDeadline
) -> None:
    server = Server(answer)
    with pytest.raises(error) as caught:
        client_for(server).write("f", {}, deadline)
    assert len(server.requests) == 1
    if isinstance(answer, Exception):
        says = "no connection came free" if error is NoTimeLeft else type(answer).__name__
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (httpx.ReadTimeout("slow"), True),
        (httpx.Response(504), True),
        (httpx.Response(502), True),
        (httpx.ConnectError("refused"), False),
        (httpx.Response(503), False),
        (exception("sitemaintenance", "moodle_exception"), False),
        (exception("invalidparameter", "moodle_exception"), False),
        (httpx.Response(500), False),
    ],
)
def test_the_batch_remembers_that_a_write_of_it_may_still_land(
    answer: httpx.Response | Exception, *, lost: bool
) -> None:
    for before in (False, True):
        deadline = BatchDeadline(1060.0, Clock(), lost=before)
        with pytest.raises(SesameError):
            client_for(Server(answer)).write("f", {}, deadline)
        assert deadline.lost is (before or lost)


def test_a_site_that_is_only_observed_is_sent_no_write(deadline: BatchDeadline) -> None:
    server = Server(ok(["read"]))
    client = client_for(server, mode="observe")
    with pytest.raises(WriteForbidden):
        client.write("f", {}, deadline)
    assert client.read("f", {}, deadline) == ["read"]
    assert len(server.requests) == 1


def test_a_deadlock_is_tried_again_a_bounded_number_of_times(deadline: BatchDeadline) -> None:
    server = Server(exception("dmlwriteexception"), exception("dmlwriteexception"), ok({"warnings": []}))
    assert client_for(server).write("f", {"a": 1}, deadline) == {"warnings": []}
    sent = {request.content for request in server.requests}
    assert [parse_qsl(each.decode())[1:] for each in sent] == [
        [("wsfunction", "f"), ("moodlewsrestformat", "json"), ("a", "1")]
    ]
    server = Server(*[exception("dmlwriteexception")] * 3)
    with pytest.raises(WriteRefused):
        client_for(server).write("f", {}, deadline)
    assert len(server.requests) == 3


def test_bad_parameters_are_not_tried_again(deadline: BatchDeadline) -> None:
    server = Server(exception("invalidparameter", "core\\exception\\invalid_parameter_exception"))
    with pytest.raises(MoodleRefused):
        client_for(server).read("f", {}, deadline)
    assert len(server.requests) == 1


def test_no_call_begins_after_the_deadline() -> None:
    clock, server = Clock(), Server()
    deadline = BatchDeadline.after(5, clock)
    clock.advance(5)
    with pytest.raises(NoTimeLeft, match=r"used up$"):
        client_for(server).write("f", {}, deadline)
    assert server.requests == []
    assert BatchDeadline(0.05, lambda: 0.0).left_s() == 0.05
    with pytest.raises(NoTimeLeft):
        BatchDeadline(0.049, lambda: 0.0).left_s()


@pytest.mark.parametrize(("left_s", "read_s"), [(4.0, 4.0), (60.0, 30.0)])
def test_a_call_waits_no_longer_than_the_batch_may_take(left_s: float, read_s: float) -> None:
    server = Server(ok([]))
    client = client_for(server, read_timeout_s=30.0, connect_timeout_s=3.0, write_timeout_s=7.0)
    client.read("f", {}, BatchDeadline.after(left_s, Clock()))
    waits = {"connect": 3.0, "read": read_s, "write": 7.0, "pool": 3.0}
    assert server.requests[0].extensions["timeout"] == pytest.approx(waits)


def test_a_missing_file_of_authorities_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"moodle\.ca_file .* FileNotFoundError") as refused:
        client_for(Server(), ca_file=tmp_path / "absent.pem")
    assert "PEM" in refused.value.remedy


def test_its_connections_are_verified_and_bounded_and_the_token_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, deadline: BatchDeadline
) -> None:
    made: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(httpx, "Client", lambda **settings: made.update(settings))
        RestClient(settings(max_in_flight=3, read_timeout_s=11.0, connect_timeout_s=2.0))
    assert (made["verify"].verify_mode, made["verify"].check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made["limits"] == httpx.Limits(
        max_connections=3, max_keepalive_connections=3, keepalive_expiry=4.0
    )
    assert made["timeout"] == httpx.Timeout(connect=2.0, read=11.0, write=10.0, pool=2.0)
    assert made["trust_env"] is False  # no proxy that the environment names
    server = Server(httpx.Response(307, headers={"location": "https://ailleurs.example/"}), ok([]))
    with pytest.raises(Misconfigured):
        client_for(server).read("f", {}, deadline)
    assert len(server.requests) == 1


def test_the_token_is_asked_for_at_each_call(deadline: BatchDeadline) -> None:
    tokens = iter(["ancien", "nouveau"])
    server = Server(ok([]), ok([]))
    client = RestClient(settings(), token=lambda: next(tokens), transport=httpx.MockTransport(server))
    for _ in range(2):
        client.read("f", {}, deadline)
    assert [dict(parse_qsl(each.content.decode()))["wstoken"] for each in server.requests] == [
        "ancien",
        "nouveau",
    ]


@pytest.mark.parametrize("cause", [True, False])
def test_a_certificate_that_is_not_trusted_is_a_fault_of_the_settings(
    deadline: BatchDeadline, *, cause: bool
) -> None:
    def chained(innermost: Exception) -> httpx.ConnectError:
        outer, middle = httpx.ConnectError("no"), OSError("no")
        outer.__context__ = middle
        setattr(middle, "__cause__" if cause else "__context__", innermost)
        return outer

    untrusted = ssl.SSLCertVerificationError("no")
    untrusted.verify_message = "self-signed certificate"
    with pytest.raises(Misconfigured, match="self-signed certificate") as refused:
        client_for(Server(chained(untrusted))).read("f", {}, deadline)
    assert "moodle.ca_file" in refused.value.remedy
    with pytest.raises(TargetDown, match="ConnectError") as down:
        client_for(Server(chained(ConnectionResetError("no")))).write("f", {}, deadline)
    assert down.value.unknown is False


def test_an_answer_bears_the_pause_that_the_site_asks_for(deadline: BatchDeadline) -> None:
    server = Server(httpx.Response(429, headers={"retry-after": "17"}))
    with pytest.raises(Throttled) as throttled:
        client_for(server).read("f", {}, deadline)
    assert throttled.value.retry_after_s == 17
    with pytest.raises(Broken, match="page"):  # without a content type it is no answer of Moodle's
        client_for(Server(httpx.Response(200, content=b"[]"))).write("f", {}, deadline)


def test_when_all_that_may_be_in_flight_are_a_call_gives_up_in_time_and_gives_its_place_back() -> None:
    client: RestClient

    def serve(_request: httpx.Request) -> httpx.Response:
        with pytest.raises(NoTimeLeft, match="in flight"):
            client.read("f", {}, BatchDeadline.after(0.06, Clock()))
        return httpx.Response(500)

    client = client_for(serve, max_in_flight=1, read_attempts=1)
    for _ in range(2):
        with pytest.raises(TargetDown):
            client.read("f", {}, BatchDeadline.after(60, Clock()))


def test_it_can_be_closed(deadline: BatchDeadline) -> None:
    client = client_for(Server())
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.read("f", {}, deadline)


def stream(client: RestClient) -> str:
    with client.stream("f", {"a": "é"}) as pieces:
        return "".join(pieces)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_a_large_answer_comes_in_pieces(kind: str) -> None:
    server = Server(httpx.Response(200, content=iter([b'["\xc3', b'\xa9"]']), headers={"content-type": kind}))
    assert stream(client_for(server)) == '["é"]'
    (request,) = server.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(request.content.decode())) == {
        "wstoken": TOKEN,
        "wsfunction": "f",
        "moodlewsrestformat": "json",
        "a": "é",
    }


def test_a_large_answer_is_not_held_in_memory() -> None:
    sent: list[int] = []

    def content() -> Iterator[bytes]:
        for number in range(9):
            sent.append(number)
            yield b'"%d",' % number

    kind = {"content-type": "Application/JSON"}
    client = client_for(Server(httpx.Response(200, content=content(), headers=kind)))
    with client.stream("f", {}) as pieces:
        assert next(pieces) == '"0",'
        assert sent == [0]


def broken_off() -> Iterator[bytes]:
    yield b'["'
    raise httpx.ReadError("reset")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(503), TargetDown),
        (httpx.Response(404, json=[]), Misconfigured),
        (httpx.Response(200, html="<title>Maintenance</title>"), TargetDown),
        (httpx.Response(200, html="<p>"), Broken),
        (httpx.Response(200, content=b"[]"), Broken),
        (httpx.ConnectError("refused"), TargetDown),
        (
            httpx.Response(200, content=broken_off(), headers={"content-type": "application/json"}),
            TargetDown,
        ),
    ],
)
def test_a_large_answer_that_is_none_is_told_apart(
    answer: httpx.Response | Exception, error: type[Exception]
) -> None:
    client = client_for(Server(answer, ok([])), max_in_flight=1)
    with pytest.raises(error) as caught:
        stream(client)
    if isinstance(caught.value, TargetDown):
        assert caught.value.unknown is False
    if isinstance(answer, httpx.ConnectError):
        assert "ConnectError" in str(caught.value)
    assert stream(client) == "[]"  # it gave its place back


def test_no_more_calls_are_in_flight_than_allowed(deadline: BatchDeadline) -> None:
    lock, most, now = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def serve(_: httpx.Request) -> httpx.Response:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        both.wait(PATIENCE_S)
        with lock:
            now -= 1
        return ok([])

    client = client_for(serve, max_in_flight=2)
    threads = [threading.Thread(target=client.read, args=("f", {}, deadline)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert most == 2


def test_errors_do_not_carry_the_token(deadline: BatchDeadline) -> None:
    with pytest.raises(TargetDown) as caught:
        client_for(Server(httpx.ConnectError(f"refused wstoken={TOKEN}"))).read("f", {}, deadline)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(caught.value)


def pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers(), max_size=3), max_size=8
    ),
    st.integers(1, 40),
)
def test_a_large_answer_is_read_member_by_member_wherever_it_is_cut(
    values: list[dict[str, object]], size: int
) -> None:
    text = json.dumps({"users": values, "warnings": []}, ensure_ascii=False)
    assert list(members(pieces(text, size), "users")) == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"users": [{"id": 1}', "ended too early"),
        ('{"users": [{"id": 1}, {"id"', "ended too early"),
        ('{"other": []}', "does not hold the list"),
        ("[]", "does not hold the list"),
        ('{"other', "not JSON"),
    ],
)
def test_a_large_answer_that_breaks_off_is_not_taken_for_the_whole(text: str, says: str) -> None:
    with pytest.raises(Broken, match=says):
        list(members(pieces(text, 4), "users"))


def test_what_never_becomes_a_member_is_given_up_before_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumers.moodle.answers._ITEM_CHARS_MAX", 30)
    taken: list[str] = []

    def endless(start: str) -> Iterator[str]:
        taken.clear()
        for piece in (start, *"x" * 100):
            taken.append(piece)
            yield piece

    with pytest.raises(Broken, match="begin as expected"):
        list(members(endless('{"other": "'), "users"))
    assert sum(map(len, taken)) == 31
    with pytest.raises(Broken, match="not JSON"):
        list(members(endless('{"users": ["'), "users"))
    assert sum(map(len, taken)) == len('{"users": [') + 31
    assert list(members(iter(['{"users":[' + '"' + "x" * 60 + '"]}']), "users")) == ["x" * 60]


def test_an_exception_instead_of_a_large_answer_is_an_exception() -> None:
    text = '{"exception":"webservice_access_exception","errorcode":"accessexception","message":"…"}'
    with pytest.raises(Misconfigured):
        list(members(pieces(text, 7), "users"))
