"""Moodle's protocol over HTTP: form, retries, time-outs, and what is never repeated."""

from __future__ import annotations

import json
import random
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

from consumers.moodle import MoodleSettings
from consumers.moodle.deadline import Deadline
from consumers.moodle.errors import Broken, OutcomeUnknown, OutOfTime, Refused, WriteRefused
from consumers.moodle.jsonstream import members
from consumers.moodle.rest import RestClient, flatten
from pipeline.errors import Misconfigured, TargetDown
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


def client_for(server: Callable[[httpx.Request], httpx.Response], **changes: Any) -> RestClient:
    settings = MoodleSettings(
        base_url="https://moodle.univ-exemple.fr",
        token=SecretStr(TOKEN),
        **changes,
    )
    chance = random.Random(7)  # noqa: S311  (pauses, not secrets)
    return RestClient(settings, pause=lambda _: None, chance=chance, transport=httpx.MockTransport(server))


@pytest.fixture
def deadline() -> Deadline:
    return Deadline.after(60, Clock())


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


def test_a_read_is_tried_again_when_its_answer_is_lost(deadline: Deadline) -> None:
    server = Server(httpx.ReadError("reset"), httpx.Response(504), httpx.Response(200), ok(["Élodie"]))
    assert client_for(server, read_attempts=4).read("f", {}, deadline) == ["Élodie"]


def test_a_site_that_never_answers_reads_is_down(deadline: Deadline) -> None:
    server = Server(*[httpx.ReadTimeout("slow")] * 3)
    with pytest.raises(TargetDown):
        client_for(server).read("f", {}, deadline)
    assert len(server.requests) == 3


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


def test_a_deadlock_is_tried_again_a_bounded_number_of_times(deadline: Deadline) -> None:
    server = Server(exception("dmlwriteexception"), exception("dmlwriteexception"), ok({"warnings": []}))
    assert client_for(server).write("f", {}, deadline) == {"warnings": []}
    server = Server(*[exception("dmlwriteexception")] * 3)
    with pytest.raises(WriteRefused):
        client_for(server).write("f", {}, deadline)
    assert len(server.requests) == 3


def test_bad_parameters_are_not_tried_again(deadline: Deadline) -> None:
    server = Server(exception("invalidparameter", "core\\exception\\invalid_parameter_exception"))
    with pytest.raises(Refused):
        client_for(server).read("f", {}, deadline)
    assert len(server.requests) == 1


def test_no_call_begins_after_the_deadline() -> None:
    clock, server = Clock(), Server()
    deadline = Deadline.after(5, clock)
    clock.advance(5)
    with pytest.raises(OutOfTime):
        client_for(server).write("f", {}, deadline)
    assert server.requests == []


def test_a_call_waits_no_longer_than_the_batch_may_take() -> None:
    server = Server(ok([]))
    client_for(server, read_timeout_s=30.0).read("f", {}, Deadline.after(4, Clock()))
    assert server.requests[0].extensions["timeout"]["read"] == pytest.approx(4)
    assert all(server.requests[0].extensions["timeout"].values())


def test_a_missing_file_of_authorities_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        client_for(Server(), ca_file=tmp_path / "absent.pem")


def test_no_more_calls_are_in_flight_than_allowed(deadline: Deadline) -> None:
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


def test_errors_do_not_carry_the_token(deadline: Deadline) -> None:
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
    "text", ['{"users": [{"id": 1}', '{"users": [{"id": 1}, {"id"', '{"other": []}', "[]"]
)
def test_a_large_answer_that_breaks_off_is_not_taken_for_the_whole(text: str) -> None:
    with pytest.raises(Broken):
        list(members(pieces(text, 4), "users"))


def test_an_exception_instead_of_a_large_answer_is_an_exception() -> None:
    text = '{"exception":"webservice_access_exception","errorcode":"accessexception","message":"…"}'
    with pytest.raises(Misconfigured):
        list(members(pieces(text, 7), "users"))
