"""Moodle's protocol over HTTP: form, attempts, and what is never repeated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.moodle import rest
from consumers.moodle.answers import members
from consumers.moodle.errors import Broken, MoodleRefused, OutcomeUnknown, WriteRefused
from consumers.moodle.rest import RestClient, flatten
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured, OutOfOrder, SesameError, TargetDown, WriteForbidden
from tests.unit.consumers.moodle.moodle_kit import rest_client

TOKEN = "9c1d-jeton-d-essai"


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


def client_for(
    server: Callable[[httpx.Request], httpx.Response],
    *,
    pause: Callable[[float], None] = lambda _seconds: None,
    secret: Callable[[], str] = lambda: TOKEN,
    **changes: Any,
) -> RestClient:
    section = settings(**changes)
    context = ConnectorContext(
        "moodle",
        section,
        {"token": secret}.__getitem__,  # type: ignore[arg-type]  # all that is asked of a secret
        read_only=section.mode == "observe",
        monotonic=lambda: 0.0,
    )
    return rest_client(context, server, pause)


@pytest.fixture
def deadline() -> Deadline:
    return Deadline.after(60, lambda: 0.0)


def test_token_function_and_format_come_first_in_the_body_and_nowhere_else(deadline: Deadline) -> None:
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


def test_a_read_is_tried_again_when_its_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch, deadline: Deadline
) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 4)
    server = Server(httpx.ReadError("reset"), httpx.Response(504), httpx.Response(200), ok(["Élodie"]))
    assert client_for(server).read("f", {}, deadline) == ["Élodie"]


def test_a_site_that_never_answers_reads_is_down(deadline: Deadline) -> None:
    server = Server(*[httpx.ReadTimeout("slow")] * 3)
    with pytest.raises(TargetDown, match="does not answer reads") as down:
        client_for(server).read("f", {}, deadline)
    assert down.value.unknown is False
    assert len(server.requests) == 3
    assert not deadline.unanswered


@pytest.mark.parametrize("how", ["read", "write"])
def test_the_pauses_between_attempts_are_drawn_under_a_ceiling_that_doubles(
    monkeypatch: pytest.MonkeyPatch, deadline: Deadline, how: str
) -> None:
    answer = exception("dmlwriteexception") if how == "write" else httpx.Response(500)
    pauses: list[float] = []
    lowest: set[float] = set()

    def highest(low: float, high: float) -> float:
        lowest.add(low)
        return high

    monkeypatch.setattr(random, "uniform", highest)
    monkeypatch.setattr(rest, "ATTEMPTS", 7)
    monkeypatch.setattr(rest, "RETRY_WAIT_S_MAX", 3.0)
    client = client_for(Server(*[answer] * 7), pause=pauses.append)
    with pytest.raises((TargetDown, WriteRefused)):
        getattr(client, how)("f", {}, deadline)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.0, 3.0])
    assert lowest == {0}


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
        (httpx.Response(302, headers={"location": "https://ailleurs.example/"}), Misconfigured),
    ],
)
def test_a_write_that_was_not_answered_is_sent_once(
    answer: httpx.Response | Exception, error: type[Exception], deadline: Deadline
) -> None:
    server = Server(answer)
    with pytest.raises(error):
        client_for(server).write("f", {}, deadline)
    assert len(server.requests) == 1


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
        deadline = Deadline(60.0, lambda: 0.0, unanswered=before)
        with pytest.raises(SesameError):
            client_for(Server(*[answer] * 3)).write("f", {}, deadline)
        assert deadline.unanswered is (before or lost)


@pytest.mark.parametrize("status", [502, 503])
def test_a_read_that_one_server_of_several_could_not_answer_is_asked_again(
    deadline: Deadline, status: int
) -> None:
    server = Server(httpx.Response(status), httpx.Response(status), ok(["read"]))
    assert client_for(server).read("f", {}, deadline) == ["read"]


def test_a_write_that_no_server_took_is_sent_again_and_one_that_may_be_done_is_not(
    deadline: Deadline,
) -> None:
    server = Server(httpx.Response(503), ok([]))
    assert client_for(server).write("f", {}, deadline) == []
    server = Server(httpx.Response(502), ok([]))
    with pytest.raises(OutOfOrder):
        client_for(server).write("f", {}, deadline)
    assert len(server.requests) == 1


def test_a_site_that_is_only_observed_is_sent_no_write(deadline: Deadline) -> None:
    server = Server(ok(["read"]))
    client = client_for(server, mode="observe")
    with pytest.raises(WriteForbidden):
        client.write("f", {}, deadline)
    assert client.read("f", {}, deadline) == ["read"]
    assert len(server.requests) == 1


def test_a_deadlock_is_tried_again_a_bounded_number_of_times(deadline: Deadline) -> None:
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


def test_bad_parameters_are_not_tried_again(deadline: Deadline) -> None:
    server = Server(exception("invalidparameter", "core\\exception\\invalid_parameter_exception"))
    with pytest.raises(MoodleRefused):
        client_for(server).read("f", {}, deadline)
    assert len(server.requests) == 1


def test_a_call_waits_as_long_as_the_settings_say_in_as_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(ok([]))
    times: dict[str, Any] = {"timeout_s": 30.0, "connect_timeout_s": 3.0}
    client_for(server, **times).read("f", {}, Deadline.after(4, lambda: 0.0))
    waits = {"connect": 3.0, "read": 30.0, "write": 10.0, "pool": 30.0}
    assert server.requests[0].extensions["timeout"] == pytest.approx(waits)
    made: dict[str, Any] = {}
    monkeypatch.setattr(httpx, "Client", lambda **settings: made.update(settings))
    client_for(server, max_in_flight=3)
    assert made["limits"].max_connections == 3


def test_the_token_is_asked_for_at_each_call(deadline: Deadline) -> None:
    tokens = iter(["ancien", "nouveau"])
    server = Server(ok([]), ok([]))
    client = client_for(server, secret=lambda: next(tokens))
    for _ in range(2):
        client.read("f", {}, deadline)
    assert [dict(parse_qsl(each.content.decode()))["wstoken"] for each in server.requests] == [
        "ancien",
        "nouveau",
    ]


def test_without_a_content_type_it_is_no_answer_of_moodles(deadline: Deadline) -> None:
    with pytest.raises(Broken, match="page"):
        client_for(Server(httpx.Response(200, content=b"[]"))).write("f", {}, deadline)


def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch, deadline: Deadline) -> None:
    monkeypatch.setattr("consumers.moodle.rest._BYTES_MAX", 10)
    with pytest.raises(Broken, match="longer"):
        client_for(Server(ok("x" * 20))).write("f", {}, deadline)


def test_it_can_be_closed(deadline: Deadline) -> None:
    client = client_for(Server())
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.read("f", {}, deadline)


def stream(client: RestClient) -> str:
    with client.stream("f", {"a": "é"}, Deadline.after(60)) as pieces:
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
    with client.stream("f", {}, Deadline.after(60)) as pieces:
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
        (httpx.Response(200, content=broken_off(), headers={"content-type": "application/json"}), TargetDown),
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
