"""What doveadm is asked, and what its answers mean: statuses, errors, and no answer."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable

import httpx
import pytest

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.mailbox import dovecot
from consumers.mailbox.commands import Command, DoveadmAnswer
from consumers.mailbox.dovecot import Doveadm
from consumers.mailbox.settings import MailboxSettings
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, WriteForbidden
from sesame.testing.servers.http_kit import transport_to

URL = "https://mail.example/doveadm/v1"
LIST = Command("mailboxList", {"user": "zoe.lefevre@univ-exemple.fr"})
KEY = "clef-très-secrète"


def doveadm(
    server: Callable[[httpx.Request], httpx.Response],
    *,
    key: Callable[[], str] = lambda: KEY,
    read_only: bool = False,
) -> Doveadm:
    context = ConnectorContext(
        "mailbox",
        MailboxSettings(doveadm_url=URL),
        {"api_key": key}.__getitem__,  # type: ignore[arg-type]  # all that is asked of a secret
        read_only=read_only,
    )
    return Doveadm(context, transport=transport_to(server), pause=lambda _seconds: None)


def soon() -> Deadline:
    return Deadline.after(5.0)


def fine(*_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[["doveadmResponse", [], "0"]])


def test_a_request_bears_the_key_of_now_and_waits_as_long_as_the_settings_say() -> None:
    asked: list[httpx.Request] = []
    keys = iter(["première", "deuxième"])

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return fine()

    client = doveadm(answer, key=lambda: next(keys))
    for _ in range(2):
        client.call([LIST], soon())
    assert [(each.method, str(each.url)) for each in asked] == [("POST", URL)] * 2
    assert [each.headers["Authorization"] for each in asked] == [
        f"X-Dovecot-API {b64encode(key.encode()).decode()}" for key in ("première", "deuxième")
    ]
    assert asked[0].headers["Content-Type"] == "application/json"
    assert json.loads(asked[0].content) == [["mailboxList", {"user": "zoe.lefevre@univ-exemple.fr"}, "0"]]
    waits = {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 10.0}
    assert asked[0].extensions["timeout"] == waits


def test_a_server_that_is_only_observed_may_be_asked_whatever_looks_and_nothing_else() -> None:
    looks = ("user", "mailboxList", "quotaGet", "mailboxStatus", "sieveList", "sieveGet", "fetch", "aclGet")
    commands = [Command(name, {}) for name in looks]
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        sent.extend(name for name, _, _ in asked)
        return httpx.Response(200, json=[["doveadmResponse", [], tag] for _, _, tag in asked])

    observer = doveadm(answer, read_only=True)
    assert len(observer.call(commands, soon())) == len(looks)
    for several, writes in (([*commands, Command("kick", {})], False), (commands, True)):
        with pytest.raises(WriteForbidden):
            observer.call(several, soon(), writes=writes)
    assert sent == list(looks)


def test_answers_are_matched_by_tag_whatever_their_order() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert [tag for _, _, tag in json.loads(request.content)] == ["0", "1"]
        refused = ["error", {"type": "exitCode", "exitCode": 67}, "1"]
        return httpx.Response(200, json=[refused, ["doveadmResponse", [{"mailbox": "INBOX"}], "0"]])

    assert doveadm(answer).call([LIST, LIST], soon()) == [
        DoveadmAnswer(0, [{"mailbox": "INBOX"}]),
        DoveadmAnswer(67),
    ]


def test_no_command_is_no_request() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    assert doveadm(answer).call([], soon()) == []


@pytest.mark.parametrize("status", [401, 403, 400, 404, 301])
def test_a_refusal_of_the_consumer_stops_it_and_shows_no_key(status: int) -> None:
    with pytest.raises(Misconfigured) as refused:
        doveadm(lambda _: httpx.Response(status)).call([LIST], soon())
    key = status in (401, 403)
    assert type(refused.value) is (CredentialsRefused if key else Misconfigured)
    assert ("API key" if key else f"HTTP {status}") in str(refused.value)
    assert ("mailbox.api_key" if key else "mailbox.doveadm_url") in refused.value.remedy
    assert KEY not in f"{refused.value}{refused.value.remedy}"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_ailing_server_is_down(status: int) -> None:
    with pytest.raises(TargetDown, match=str(status)) as down:
        doveadm(lambda _: httpx.Response(status)).call([LIST], soon())
    assert down.value.unknown  # it may have done some of it


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<html>", b"[]", b'[["error",{"type":"exitCode"},"0"]]', b"[[1,2]]"),
        rb'[["doveadmResponse",[{"mailbox":"\"type\":\"unknownMethod\""}]',
    ],
)
def test_what_is_not_doveadms_answer_is_an_outage(content: bytes) -> None:
    with pytest.raises(TargetDown, match="not doveadm's"):
        doveadm(lambda _: httpx.Response(200, content=content)).call([LIST], soon())


@pytest.mark.parametrize("count", [1, 2])
def test_a_command_that_dovecot_does_not_know_is_a_fault_of_its_installation(count: int) -> None:
    """Of several, Dovecot 2.3.19 forgets the comma between two."""
    said = "".join(f'["error",{{"type":"unknownMethod", "exitCode":0}},"{tag}"]' for tag in range(count))
    with pytest.raises(Misconfigured, match="unknownMethod") as refused:
        doveadm(lambda _: httpx.Response(200, text=f"[{said}]")).call([LIST] * count, soon())
    assert "sieve" in refused.value.remedy


@pytest.mark.parametrize("writes", [True, False])
def test_a_time_out_is_unknown_only_if_something_was_being_written(*, writes: bool) -> None:
    calls: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        calls.append(1)
        raise httpx.ReadTimeout("late")

    with pytest.raises(TargetDown, match="doveadm does not answer") as down:
        doveadm(answer).call([LIST], soon(), writes=writes)
    assert down.value.unknown is writes
    assert len(calls) == 1


@pytest.mark.parametrize("writes", [True, False])
def test_a_hang_up_is_tried_once_more_whatever_was_asked(*, writes: bool) -> None:
    answers: list[Exception | None] = [httpx.ReadError("gone"), None, httpx.ReadError("gone")]

    def answer(_request: httpx.Request) -> httpx.Response:
        if error := answers.pop(0) if answers else httpx.ReadError("gone"):
            raise error
        return fine()

    assert doveadm(answer).call([LIST], soon(), writes=writes) == [DoveadmAnswer(0, [])]
    with pytest.raises(TargetDown, match="ReadError") as down:
        doveadm(answer).call([LIST], soon(), writes=writes)
    assert down.value.unknown is writes


def test_an_answer_without_end_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b'[["doveadmResponse",[{"mailbox":"INBOX"}],"0"]]'
    for bound in (len(whole), len(whole) - 1):
        monkeypatch.setattr(dovecot, "_BYTES_MAX", bound)
        client = doveadm(lambda _request: httpx.Response(200, content=whole))
        if bound == len(whole):
            assert client.call([LIST], soon()) == [DoveadmAnswer(0, [{"mailbox": "INBOX"}])]
            continue
        for writes in (True, False):
            with pytest.raises(TargetDown, match="without end") as down:
                client.call([LIST], soon(), writes=writes)
            assert down.value.unknown is writes
