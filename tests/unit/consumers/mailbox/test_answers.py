"""What doveadm is asked, and what its answers mean: statuses, errors, and no answer."""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from consumers.mailbox import dovecot
from consumers.mailbox.dovecot import Command, Doveadm, DoveadmAnswer
from consumers.mailbox.transport import CallDeadline
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, WriteForbidden

URL = "https://mail.example/doveadm/v1"
LIST = Command("mailboxList", {"user": "zoe.lefevre@univ-exemple.fr"})
KEY = "clef-très-secrète"


def doveadm(answer: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Doveadm:
    return Doveadm(URL, lambda: KEY, ca_file=None, transport=httpx.MockTransport(answer), **settings)


def raises(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


def soon() -> CallDeadline:
    return CallDeadline.after(5.0, time.monotonic)


def fine(*_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[["doveadmResponse", [], "0"]])


@pytest.mark.parametrize(("left_s", "connect_s"), [(3.0, 3.0), (20.0, 5.0)])
def test_a_request_bears_the_key_of_now_and_waits_no_longer_than_there_is_time(
    left_s: float, connect_s: float
) -> None:
    asked: list[httpx.Request] = []
    keys = iter(["première", "deuxième"])

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return fine()

    client = Doveadm(URL, lambda: next(keys), ca_file=None, transport=httpx.MockTransport(answer))
    for _ in range(2):
        client.call([LIST], CallDeadline(at=100.0 + left_s, monotonic=lambda: 100.0))
    assert [(each.method, str(each.url)) for each in asked] == [("POST", URL)] * 2
    assert [each.headers["Authorization"] for each in asked] == [
        f"X-Dovecot-API {b64encode(key.encode()).decode()}" for key in ("première", "deuxième")
    ]
    assert asked[0].headers["Content-Type"] == "application/json"
    assert json.loads(asked[0].content) == [["mailboxList", {"user": "zoe.lefevre@univ-exemple.fr"}, "0"]]
    waits = {"connect": connect_s, "read": left_s, "write": left_s, "pool": left_s}
    assert asked[0].extensions["timeout"] == waits


def test_its_connections_are_verified_and_bounded_and_the_key_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(httpx, "Client", lambda **settings: made.update(settings))
    Doveadm(URL, lambda: KEY, ca_file=None, connections_max=3)
    assert (made["verify"].verify_mode, made["verify"].check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made["limits"] == httpx.Limits(max_connections=3, max_keepalive_connections=3)
    assert made["trust_env"] is False  # no proxy that the environment names
    elsewhere: list[str] = []

    def moved(request: httpx.Request) -> httpx.Response:
        elsewhere.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://ailleurs.example/"})

    monkeypatch.undo()
    with pytest.raises(Misconfigured):
        doveadm(moved).call([LIST], soon())
    assert elsewhere == ["mail.example"]


def test_a_file_of_authorities_that_cannot_be_read_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"absent\.pem") as refused:
        Doveadm(URL, lambda: KEY, ca_file=tmp_path / "absent.pem")
    assert "mailbox.ca_file" in refused.value.remedy


def test_a_server_that_is_only_observed_may_be_asked_whatever_looks_and_nothing_else() -> None:
    looks = ("user", "mailboxList", "quotaGet", "mailboxStatus", "sieveList", "sieveGet", "fetch")
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
    "content", [b"", b"<html>", b"[]", b'[["error",{"type":"exitCode"},"0"]]', b"[[1,2]]"]
)
def test_what_is_not_doveadms_answer_is_an_outage(content: bytes) -> None:
    with pytest.raises(TargetDown, match="not doveadm's"):
        doveadm(lambda _: httpx.Response(200, content=content)).call([LIST], soon())


def test_a_command_that_dovecot_does_not_know_is_a_fault_of_its_installation() -> None:
    body = [["error", {"type": "unknownMethod", "exitCode": 68}, "0"]]
    with pytest.raises(Misconfigured, match="unknownMethod") as refused:
        doveadm(lambda _: httpx.Response(200, json=body)).call([LIST], soon())
    assert "sieve" in refused.value.remedy


@pytest.mark.parametrize("writes", [True, False])
def test_a_time_out_is_unknown_only_if_something_was_being_written(*, writes: bool) -> None:
    calls: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        calls.append(1)
        raise httpx.ReadTimeout("late")

    with pytest.raises(TargetDown, match="ReadTimeout") as down:
        doveadm(answer).call([LIST], soon(), writes=writes)
    assert down.value.unknown is writes
    assert len(calls) == 1


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_without_a_connection_nothing_was_written(error: type[httpx.TransportError]) -> None:
    with pytest.raises(TargetDown, match="connection") as down:
        doveadm(raises(error("no"))).call([LIST], soon(), writes=True)
    assert down.value.unknown is False


@pytest.mark.parametrize("kind", [httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError])
def test_a_hang_up_is_tried_once_more_and_no_more(
    monkeypatch: pytest.MonkeyPatch, kind: type[httpx.TransportError]
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    answers: list[Exception | None] = [kind("gone"), None]

    def answer(_request: httpx.Request) -> httpx.Response:
        if error := answers.pop(0):
            raise error
        return fine()

    assert doveadm(answer).call([LIST], soon(), writes=True) == [DoveadmAnswer(0, [])]
    assert pauses == [0.2]
    answers[:] = [kind("gone"), kind("gone"), None]
    with pytest.raises(TargetDown, match=kind.__name__) as down:
        doveadm(answer).call([LIST], soon(), writes=True)
    assert down.value.unknown
    assert answers == [None]


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
def test_who_is_refused_after_a_hang_up_may_have_written_before(
    monkeypatch: pytest.MonkeyPatch, error: type[httpx.TransportError], *, writes: bool
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    answers: list[Exception] = [httpx.ReadError("gone"), error("no")]

    def answer(_request: httpx.Request) -> httpx.Response:
        raise answers.pop(0)

    with pytest.raises(TargetDown, match="connection") as down:
        doveadm(answer).call([LIST], soon(), writes=writes)
    assert down.value.unknown is writes


def chained(*, cause: bool, error: BaseException) -> httpx.ConnectError:
    """As the HTTP client raises it: two exceptions around the true one."""
    outer, middle = httpx.ConnectError("no connection"), OSError("no")
    outer.__cause__ = middle
    setattr(middle, "__cause__" if cause else "__context__", error)
    return outer


@pytest.mark.parametrize("cause", [True, False])
@pytest.mark.parametrize(
    "error", [ssl.SSLCertVerificationError("self-signed"), OSError("[SSL: CERTIFICATE_VERIFY_FAILED] no")]
)
def test_a_certificate_that_does_not_verify_is_a_fault_of_the_settings(
    error: BaseException, *, cause: bool
) -> None:
    with pytest.raises(Misconfigured, match="certificate does not verify") as refused:
        doveadm(raises(chained(cause=cause, error=error))).call([LIST], soon())
    assert "mailbox.ca_file" in refused.value.remedy
    with pytest.raises(TargetDown, match="refused"):
        doveadm(raises(chained(cause=cause, error=OSError("reset")))).call([LIST], soon())


def in_pieces(*pieces: bytes) -> Callable[[httpx.Request], httpx.Response]:
    def stream() -> Iterator[bytes]:
        yield from pieces

    return lambda _request: httpx.Response(200, content=stream())


def test_an_answer_in_pieces_is_put_together_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b'[["doveadmResponse",[{"mailbox":"INBOX"}],"0"]]'
    answer = in_pieces(whole[:20], whole[20:33], whole[33:])
    monkeypatch.setattr(dovecot, "_BYTES_MAX", len(whole))
    assert doveadm(answer).call([LIST], soon()) == [DoveadmAnswer(0, [{"mailbox": "INBOX"}])]
    monkeypatch.setattr(dovecot, "_BYTES_MAX", len(whole) - 1)
    for writes in (True, False):
        with pytest.raises(TargetDown, match="without end") as down:
            doveadm(answer).call([LIST], soon(), writes=writes)
        assert down.value.unknown is writes


def test_an_answer_that_trickles_is_not_waited_for_longer_than_there_is_time() -> None:
    times = iter([0.0, 4.0, 5.0, 6.0])
    with pytest.raises(TargetDown, match="in time") as down:
        doveadm(in_pieces(b"[", b"[", b"[")).call([LIST], CallDeadline(5.0, lambda: next(times)), writes=True)
    assert down.value.unknown
    assert list(times) == [6.0]


@pytest.mark.parametrize("left_s", [0.0, -1.0])
def test_a_deadline_is_over_when_nothing_is_left(left_s: float) -> None:
    deadline = CallDeadline(at=10.0, monotonic=lambda: 10.0 - left_s)
    assert deadline.over
    with pytest.raises(TargetDown, match="too slow") as down:
        deadline.left_s()
    assert down.value.unknown is False
    assert CallDeadline.after(0.5, lambda: 3.0).left_s() == 0.5
    assert not CallDeadline.after(0.5, lambda: 3.0).over


def test_when_no_time_is_left_nothing_is_begun() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    past = CallDeadline(at=10.0, monotonic=lambda: 10.5)
    with pytest.raises(TargetDown) as down:
        doveadm(answer).call([LIST], past, writes=True)
    assert not down.value.unknown
