"""What every answer of a real Moodle means to the consumer, judged on the recorded exchanges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consumers.moodle.answers import Answer, result_of
from consumers.moodle.errors import Broken, OutcomeUnknown, Refused, RightMissing, WriteRefused
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, Throttled

CONTRACT = Path(__file__).parents[1] / "contract" / "moodle-contract.json"

BY_ERRORCODE: dict[str, type[Exception]] = {
    "invalidparameter": Refused,
    "codingerror": Refused,
    "invaliduser": Refused,
    "useradminodelete": Refused,
    "dmlwriteexception": WriteRefused,
    "invalidtoken": CredentialsRefused,
    "accessexception": CredentialsRefused,
    "nopermissions": RightMissing,
    "wsaccessusersuspended": Misconfigured,
    "sitemaintenance": TargetDown,
    "upgraderunning": TargetDown,
    "dbconnectionfailed": TargetDown,
}

BY_NAME: dict[str, type[Exception]] = {
    "delete absent cohort id": Refused,
    "get members absent cohort": Refused,
    "unknown function": Misconfigured,
    "[debug] unknown function": Misconfigured,
    "create manual weak password": Refused,  # its error code is a sentence in HTML
    "no moodlewsrestformat (XML)": Misconfigured,
    "[state] database down, XML": Misconfigured,
    "[state] web services disabled": Misconfigured,
    "[state] REST protocol disabled": Misconfigured,
    "[state] CLI maintenance mode (maintenance.php --enable: climaintenance.html)": TargetDown,
    "[state] CLI maintenance mode, create": TargetDown,
    "[limit] max_input_vars=1000: 300 users x 5, token LAST in the body": Misconfigured,
    "[limit] post_max_size=100K, body larger, token in body": Misconfigured,
    "[limit] proxy timeout 1 s (nginx 504): 1500 users": OutcomeUnknown,
    "[limit] fpm request_terminate_timeout=1s (worker killed): 1500 users": TargetDown,
    "[limit] php-fpm down": TargetDown,
    "[limit2] php_admin_value memory_limit=24M, display_errors=0 (PHP fatal): 5000 users": Broken,
    "[limit2] the same with display_errors=1": Broken,
    "[limit2] dataroot not writable": Broken,
}


def recorded() -> list[dict[str, Any]]:
    entries = json.loads(CONTRACT.read_text(encoding="utf-8"))["entries"]
    return [entry for entry in entries if entry.get("status") is not None]


def answer_of(entry: dict[str, Any]) -> Answer:
    response = entry["response"]
    if isinstance(response, dict) and "_raw_body" in response:
        body = response["_raw_body"].encode()
    else:
        body = json.dumps(response).encode()
    retry_after = (entry.get("headers") or {}).get("Retry-After")
    return Answer(entry["status"], entry["content_type"], body, retry_after)


def expected_error(entry: dict[str, Any]) -> type[Exception] | None:
    if entry["name"] in BY_NAME:
        return BY_NAME[entry["name"]]
    response = entry["response"]
    if isinstance(response, dict) and "exception" in response:
        return BY_ERRORCODE[response["errorcode"]]
    return None


@pytest.mark.parametrize("entry", recorded(), ids=lambda entry: entry["name"][:60])
def test_every_recorded_answer_is_understood(entry: dict[str, Any]) -> None:
    expected = expected_error(entry)
    if expected is None:
        assert result_of(answer_of(entry)) == entry["response"]
        return
    with pytest.raises(expected) as caught:
        result_of(answer_of(entry))
    assert type(caught.value) is expected


def test_the_table_of_this_test_names_only_recorded_exchanges() -> None:
    assert set(BY_NAME) <= {entry["name"] for entry in recorded()}


@pytest.mark.parametrize(
    "entry",
    [
        entry
        for entry in recorded()
        if expected_error(entry) in (Misconfigured, CredentialsRefused, RightMissing)
    ],
    ids=lambda entry: entry["name"][:60],
)
def test_a_refusal_of_the_consumer_comes_with_its_remedy(entry: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as caught:
        result_of(answer_of(entry))
    assert caught.value.remedy


@pytest.mark.parametrize(
    "entry", [entry for entry in recorded() if "[debug]" in entry["name"]], ids=lambda entry: entry["name"]
)
def test_what_moodle_says_with_debugging_on_does_not_reach_our_messages(entry: dict[str, Any]) -> None:
    with pytest.raises((Refused, Misconfigured)) as caught:
        result_of(answer_of(entry))
    said = entry["response"].get("debuginfo", "") + entry["response"]["message"]
    assert said
    assert said not in str(caught.value)
    assert "c1@univ.example" not in str(caught.value)


def html(status: int, body: str = "<html>…</html>", retry_after: str | None = None) -> Answer:
    return Answer(status, "text/html", body.encode(), retry_after)


def test_too_many_requests_waits_as_long_as_the_site_says() -> None:
    with pytest.raises(Throttled) as caught:
        result_of(html(429, retry_after="17"))
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize("value", [None, "soon", "nan", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_too_many_requests_without_a_number_waits_for_a_while(value: str | None) -> None:
    with pytest.raises(Throttled) as caught:
        result_of(html(429, retry_after=value))
    assert 0 < caught.value.retry_after_s <= 3600


def test_a_proxy_that_asks_for_patience_throttles_and_moodles_maintenance_is_an_outage() -> None:
    with pytest.raises(Throttled):
        result_of(html(503, "Service Unavailable", retry_after="5"))
    with pytest.raises(TargetDown):
        result_of(html(503, "<title>Moodle under maintenance</title>", retry_after="300"))
    with pytest.raises(TargetDown):
        result_of(html(503))


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 405, 413, 421])
def test_other_statuses_say_that_the_address_or_the_site_is_wrong(status: int) -> None:
    with pytest.raises(Misconfigured) as caught:
        result_of(html(status))
    assert caught.value.remedy


@pytest.mark.parametrize("body", [b"", b"  ", b'{"users": [', b"<br>Warning: deprecated<br>[]"])
def test_what_is_not_json_is_a_broken_answer_and_never_an_empty_one(body: bytes) -> None:
    with pytest.raises(Broken):
        result_of(Answer(200, "application/json; charset=utf-8", body))


def test_null_is_an_answer() -> None:
    assert result_of(Answer(200, "application/json", b"null")) is None
