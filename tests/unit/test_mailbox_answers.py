"""What the mail server's answers mean: LMTP replies, HTTP statuses, doveadm's errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

from consumers.mailbox.deadline import Deadline
from consumers.mailbox.dovecot import Answer, Command, Doveadm
from consumers.mailbox.lmtp import Delivery, verdict_of
from pipeline.errors import Misconfigured, TargetDown

LIST = Command("mailboxList", {"user": "zoe.lefevre@univ-exemple.fr"})
KEY = "clef-très-secrète"


@pytest.mark.parametrize(
    ("code", "text", "delivery"),
    [
        (250, b"2.0.0 <zoe@x.fr> abc Saved", Delivery.DELIVERED),
        (552, b"5.2.2 <zoe@x.fr> Quota exceeded (mailbox for user is full)", Delivery.FULL),
        (452, b"4.2.2 <zoe@x.fr> Quota exceeded", Delivery.FULL),
        (550, b"5.1.1 <zoe@x.fr> User doesn't exist: zoe@x.fr", Delivery.NO_USER),
        (451, b"4.3.0 <zoe@x.fr> Temporary internal error", Delivery.DEFERRED),
        (421, b"shutting down", Delivery.DEFERRED),
        (554, b"5.6.0 <zoe@x.fr> Conversion error", Delivery.REFUSED),
        (501, b"", Delivery.REFUSED),
    ],
)
def test_a_reply_means_one_thing_and_its_text_is_not_kept(code: int, text: bytes, delivery: Delivery) -> None:
    verdict = verdict_of(code, text)
    assert verdict.delivery is delivery
    assert verdict.codes.startswith(str(code))
    assert "zoe" not in verdict.codes


def doveadm(answer: Callable[[httpx.Request], httpx.Response]) -> Doveadm:
    return Doveadm(
        "https://mail.example/doveadm/v1", lambda: KEY, ca_file=None, transport=httpx.MockTransport(answer)
    )


def soon() -> Deadline:
    return Deadline.after(5.0, time.monotonic)


def test_answers_are_matched_by_tag_whatever_their_order() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert [tag for _, _, tag in json.loads(request.content)] == ["0", "1"]
        refused = ["error", {"type": "exitCode", "exitCode": 67}, "1"]
        return httpx.Response(200, json=[refused, ["doveadmResponse", [{"mailbox": "INBOX"}], "0"]])

    assert doveadm(answer).call([LIST, LIST], soon()) == [Answer(0, [{"mailbox": "INBOX"}]), Answer(67)]


def test_no_command_is_no_request() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    assert doveadm(answer).call([], soon()) == []


@pytest.mark.parametrize("status", [401, 403, 400, 404, 301])
def test_a_refusal_of_the_consumer_stops_it_and_shows_no_key(status: int) -> None:
    with pytest.raises(Misconfigured) as refused:
        doveadm(lambda _: httpx.Response(status)).call([LIST], soon())
    assert refused.value.remedy
    assert KEY not in f"{refused.value}{refused.value.remedy}"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_ailing_server_is_down(status: int) -> None:
    with pytest.raises(TargetDown):
        doveadm(lambda _: httpx.Response(status)).call([LIST], soon())


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b'[["error",{"type":"exitCode"},"0"]]', b"[[1,2]]"]
)
def test_what_is_not_doveadms_answer_is_an_outage(content: bytes) -> None:
    with pytest.raises(TargetDown):
        doveadm(lambda _: httpx.Response(200, content=content)).call([LIST], soon())


def test_a_command_that_dovecot_does_not_know_is_a_fault_of_its_installation() -> None:
    body = [["error", {"type": "unknownMethod", "exitCode": 68}, "0"]]
    with pytest.raises(Misconfigured) as refused:
        doveadm(lambda _: httpx.Response(200, json=body)).call([LIST], soon())
    assert "sieve" in refused.value.remedy


@pytest.mark.parametrize("writes", [True, False])
def test_a_time_out_is_unknown_only_if_something_was_being_written(*, writes: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    with pytest.raises(TargetDown) as down:
        doveadm(answer).call([LIST], soon(), writes=writes)
    assert down.value.unknown is writes


def test_a_hang_up_is_tried_once_more_and_no_more() -> None:
    calls: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(len(calls))
        if len(calls) == 1:
            raise httpx.RemoteProtocolError("Server disconnected", request=request)
        return httpx.Response(200, json=[["doveadmResponse", [], "0"]])

    assert doveadm(answer).call([LIST], soon()) == [Answer(0, [])]
    assert len(calls) == 2


def test_when_no_time_is_left_nothing_is_begun() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    past = Deadline(at=10.0, monotonic=lambda: 10.5)
    with pytest.raises(TargetDown) as down:
        doveadm(answer).call([LIST], past, writes=True)
    assert not down.value.unknown
