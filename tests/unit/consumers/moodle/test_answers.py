"""What every answer of a real Moodle means to the consumer, judged on the recorded exchanges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consumers.kit.http_answers import HttpAnswer, seconds_of
from consumers.moodle.answers import result_of
from consumers.moodle.errors import Broken, MoodleRefused, OutcomeUnknown, RightMissing, WriteRefused
from pipeline.errors import CredentialsRefused, Misconfigured, OutOfOrder, TargetDown, Throttled

CONTRACT = Path(__file__).parents[3] / "contract" / "moodle-contract.json"

BY_ERRORCODE: dict[str, type[Exception]] = {
    "invalidparameter": MoodleRefused,
    "codingerror": MoodleRefused,
    "invaliduser": MoodleRefused,
    "useradminodelete": MoodleRefused,
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
    "delete absent cohort id": MoodleRefused,
    "get members absent cohort": MoodleRefused,
    "unknown function": Misconfigured,
    "[debug] unknown function": Misconfigured,
    "create manual weak password": MoodleRefused,  # its error code is a sentence in HTML
    "no moodlewsrestformat (XML)": Misconfigured,
    "[state] database down, XML": Misconfigured,
    "[state] web services disabled": Misconfigured,
    "[state] REST protocol disabled": Misconfigured,
    "[state] CLI maintenance mode (maintenance.php --enable: climaintenance.html)": TargetDown,
    "[state] CLI maintenance mode, create": TargetDown,
    "[limit] max_input_vars=1000: 300 users x 5, token LAST in the body": Misconfigured,
    "[limit] post_max_size=100K, body larger, token in body": Misconfigured,
    "[limit] proxy timeout 1 s (nginx 504): 1500 users": OutcomeUnknown,
    "[limit] fpm request_terminate_timeout=1s (worker killed): 1500 users": OutOfOrder,
    "[limit] php-fpm down": OutOfOrder,
    "[limit2] php_admin_value memory_limit=24M, display_errors=0 (PHP fatal): 5000 users": Broken,
    "[limit2] the same with display_errors=1": Broken,
    "[limit2] dataroot not writable": Broken,
}


def recorded() -> list[dict[str, Any]]:
    entries = json.loads(CONTRACT.read_text(encoding="utf-8"))["entries"]
    return [entry for entry in entries if entry.get("status") is not None]


def answered(status: int, content_type: str, body: bytes, retry_after_s: float | None = None) -> HttpAnswer:
    return HttpAnswer(status, body, {"content-type": content_type}, retry_after_s=retry_after_s)


def answer_of(entry: dict[str, Any]) -> HttpAnswer:
    response = entry["response"]
    if isinstance(response, dict) and "_raw_body" in response:
        body = response["_raw_body"].encode()
    else:
        body = json.dumps(response).encode()
    retry_after = (entry.get("headers") or {}).get("Retry-After")
    return answered(entry["status"], entry["content_type"], body, seconds_of(retry_after, 0.0))


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
    with pytest.raises((MoodleRefused, Misconfigured)) as caught:
        result_of(answer_of(entry))
    said = entry["response"].get("debuginfo", "") + entry["response"]["message"]
    assert said
    assert said not in str(caught.value)
    assert "c1@univ.example" not in str(caught.value)


def json_of(value: Any) -> HttpAnswer:
    return answered(200, "Application/JSON", json.dumps(value).encode())


def html(status: int, body: str = "<html>…</html>", retry_after_s: float | None = None) -> HttpAnswer:
    return answered(status, "text/html", body.encode(), retry_after_s)


def test_a_password_that_must_be_changed_and_cannot_be_has_its_remedy() -> None:
    said = {"exception": "moodle_exception", "errorcode": "nopasswordchangeforced", "message": "…"}
    with pytest.raises(Misconfigured, match="nopasswordchangeforced") as caught:
        result_of(answered(200, "application/json", json.dumps(said).encode()))
    assert "clear *Force password change*" in caught.value.remedy


def test_tls_on_the_port_is_a_word_of_its_own() -> None:
    with pytest.raises(Misconfigured, match="speaks TLS") as caught:
        result_of(html(400, "The plain HTTP request was sent to HTTPS port"))
    assert caught.value.remedy == "write https in moodle.base_url"


def test_an_overloaded_site_has_done_nothing() -> None:
    with pytest.raises(OutOfOrder, match="overloaded") as caught:
        result_of(html(503))
    assert not caught.value.unknown


def test_too_many_requests_waits_as_long_as_the_site_says_or_for_a_while() -> None:
    for status, said_s, after_s in ((429, 17.0, 17.0), (503, 17.0, 17.0), (429, None, 30.0)):
        with pytest.raises(Throttled, match=str(status)) as caught:
            result_of(html(status, retry_after_s=said_s))
        assert caught.value.retry_after_s == after_s


@pytest.mark.parametrize(
    "answer",
    [
        html(503, "<title>Moodle under maintenance</title>", retry_after_s=300.0),
        html(200, "<title>Under MAINTENANCE</title>"),
    ],
)
def test_moodles_maintenance_is_an_outage_in_which_nothing_is_written(answer: HttpAnswer) -> None:
    with pytest.raises(TargetDown, match="maintenance") as caught:
        result_of(answer)
    assert caught.value.unknown is False


def test_a_gateway_that_has_lost_php_leaves_in_doubt_what_it_did() -> None:
    with pytest.raises(TargetDown, match="502") as caught:
        result_of(html(502))
    assert caught.value.unknown
    for status in (408, 504):
        with pytest.raises(OutcomeUnknown, match=str(status)):
            result_of(html(status))
    for status in (500, 501, 505, 520):
        with pytest.raises(Broken, match=str(status)):
            result_of(html(status))


@pytest.mark.parametrize(
    ("statuses", "remedy"),
    [
        ((401, 403), "enable web services"),
        ((413, 414, 431), "post_max_size"),
        ((301, 302, 400, 402, 404, 405, 409, 412, 415, 421, 430, 432), "moodle.base_url"),
    ],
)
def test_other_statuses_say_what_is_wrong_with_the_address_or_the_site(
    statuses: tuple[int, ...], remedy: str
) -> None:
    for status in statuses:
        with pytest.raises(Misconfigured, match=str(status)) as caught:
            result_of(html(status))
        assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "code", "error", "remedy"),
    [
        ("core\\exception\\dml_connection_exception", "other", TargetDown, ""),
        ("moodle_exception", "dbconnectionfailed", TargetDown, ""),
        ("webservice_access_exception", "other", Misconfigured, "webservice/rest:use"),
        ("core\\exception\\required_capability_exception", "other", Misconfigured, "webservice/rest:use"),
        ("required_capability_exception", "nopermissions", RightMissing, "moodle/cohort:manage"),
        ("moodle_exception", "missingrequiredcapability", RightMissing, "moodle/cohort:manage"),
        ("moodle_exception", "invalidtoken", CredentialsRefused, "issue a new token"),
        ("moodle_exception", "enablewsdescription", Misconfigured, "enable web services"),
        ("moodle_exception", "invalidrecord external_functions", Misconfigured, "webservice/rest:use"),
    ],
)
def test_what_moodle_says_of_the_site_is_no_fault_of_a_row(
    kind: str, code: str, error: type[Exception], remedy: str
) -> None:
    code, _, message = code.partition(" ")
    said = {"exception": kind, "errorcode": code, "message": f"Can't find {message}"}
    with pytest.raises(error) as caught:
        result_of(json_of(said))
    assert type(caught.value) is error
    assert code in str(caught.value) or "does not know a function" in str(caught.value)
    assert remedy in getattr(caught.value, "remedy", "")
    if isinstance(caught.value, TargetDown):
        assert caught.value.unknown is False


@pytest.mark.parametrize(
    ("said", "error", "code"),
    [
        ({"exception": "dml_write_exception", "errorcode": "other"}, WriteRefused, "other"),
        ({"exception": "core\\dml\\dml_transaction_exception", "errorcode": "other"}, WriteRefused, "other"),
        (
            {"exception": "moodle_exception", "errorcode": "dmlwriteexception"},
            WriteRefused,
            "dmlwriteexception",
        ),
        (
            {"exception": "dml_missing_record_exception", "errorcode": "invalidrecord"},
            MoodleRefused,
            "invalidrecord",
        ),
        (
            {"exception": "moodle_exception", "errorcode": "other", "message": "external_functions"},
            MoodleRefused,
            "other",
        ),
        ({"exception": "moodle_exception", "errorcode": "Le mot de passe…"}, MoodleRefused, "unclassified"),
        ({"exception": "moodle_exception", "errorcode": "a" * 61}, MoodleRefused, "unclassified"),
        ({"exception": "moodle_exception", "errorcode": "a" * 60}, MoodleRefused, "a" * 60),
        ({"exception": "moodle_exception"}, MoodleRefused, "unclassified"),
    ],
)
def test_what_moodle_says_of_a_row_keeps_its_code(
    said: dict[str, str], error: type[MoodleRefused], code: str
) -> None:
    with pytest.raises(MoodleRefused, match=code) as caught:
        result_of(json_of(said))
    assert (type(caught.value), caught.value.errorcode) == (error, code)


def test_a_database_that_cannot_be_read_is_a_broken_site() -> None:
    with pytest.raises(Broken, match="database could not be read"):
        result_of(
            json_of({"exception": "core\\exception\\dml_read_exception", "errorcode": "dmlreadexception"})
        )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "^Moodle answered an empty body"),
        (b"  ", "^Moodle answered an empty body"),
        (b'{"users": [', "not JSON"),
        (b"<br>Warning: deprecated<br>[]", "not JSON"),
    ],
)
def test_what_is_not_json_is_a_broken_answer_and_never_an_empty_one(body: bytes, says: str) -> None:
    with pytest.raises(Broken, match=says):
        result_of(answered(200, "application/json; charset=utf-8", body))


def test_a_page_instead_of_json_is_told_apart() -> None:
    with pytest.raises(Broken, match=r"^Moodle answered an empty body"):
        result_of(html(200, " "))
    with pytest.raises(Broken, match="a page instead of JSON"):
        result_of(html(200))
    with pytest.raises(Misconfigured, match="dropped the body") as caught:
        result_of(answered(200, "text/XML; charset=utf-8", b"<EXCEPTION/>"))
    assert "post_max_size" in caught.value.remedy


def test_null_is_an_answer() -> None:
    assert result_of(answered(200, "application/json", b"null")) is None
