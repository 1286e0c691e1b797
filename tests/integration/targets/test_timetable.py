"""The timetable target against a real iCalendar server: each answer is the outcome that it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.timetable.answers import NOT_SCHEDULED
from consumers.timetable.connector import TimetableConnector
from consumers.timetable.settings import TimetableSettings
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.target import Dead, Done, Preview, Retry, Task, Waiting
from sandbox.timetable import Timetable, calendar
from sandbox.tls import ThrowawayCA
from schemas.account import Hold
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness

TOKEN = "s3cret-token"
EMPTY = calendar().replace("VEVENT", "VTODO")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tls: ThrowawayCA) -> Iterator[Timetable]:
    with Timetable(tmp_path_factory.mktemp("timetable"), certificate=tls.issue("edt")) as server:
        yield server


@pytest.fixture
def service(running: Timetable) -> Timetable:
    running.reset()
    running.give("sonde")
    running.give("lea.martin")
    return running


def harness(service: Timetable, tls: ThrowawayCA, **changes: Any) -> ConnectorHarness:
    section = {
        "calendar_url": f"{service.url}/ical/{{login}}.ics",
        "probe_url": f"{service.url}/ical/sonde.ics",
        "ca_file": tls.ca_file,
        "timeout_s": 5.0,
    }
    context = {name: changes.pop(name) for name in ("monotonic",) if name in changes}
    return ConnectorHarness(TimetableConnector, section | changes, **context)


@pytest.fixture
def desk(service: Timetable, tls: ThrowawayCA) -> Iterator[ConnectorHarness]:
    desk = harness(service, tls)
    yield desk
    desk.handler.close()


# --- one student ----------------------------------------------------------------------------------


def test_a_calendar_that_can_be_fetched_is_provisioned_and_nothing_was_changed(
    desk: ConnectorHarness,
) -> None:
    first, second = desk.outcome(account_of()), desk.outcome(account_of())
    assert isinstance(first, Done)
    assert first == second, "the digest says that there is a calendar, not what is in it"
    assert not first.changed


def test_the_address_names_the_student_and_nothing_else_is_asked(
    desk: ConnectorHarness, service: Timetable
) -> None:
    desk.outcome(account_of())
    [asked] = service.requests()
    assert asked["path"] == "/ical/lea.martin.ics"
    assert not {"Authorization", "Cookie"} & set(asked["headers"])


@pytest.mark.parametrize("made", ["missing", "empty"])
def test_who_is_not_scheduled_yet_waits_and_is_looked_at_again(
    desk: ConnectorHarness, service: Timetable, made: str
) -> None:
    if made == "empty":
        service.give("paul.durand", EMPTY)
    paul = account_of("22600002", "paul.durand")
    assert desk.outcome(paul) == Waiting(NOT_SCHEDULED, recheck_after_s=3600.0)
    service.give("paul.durand")
    assert isinstance(desk.outcome(paul), Done)


def test_where_the_settings_say_so_an_empty_calendar_will_do_and_a_missing_one_is_a_fault(
    service: Timetable, tls: ThrowawayCA
) -> None:
    service.give("paul.durand", EMPTY)
    desk = harness(service, tls, not_scheduled=())
    assert isinstance(desk.outcome(account_of("22600002", "paul.durand")), Done)
    missing = desk.outcome(account_of("22600003", "nobody"))
    assert isinstance(missing, Retry)
    assert missing.cause == "timetable_missing"
    desk.handler.close()


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"status": 403}, "timetable_refused"),
        ({"status": 302, "headers": {"Location": "https://elsewhere.example/"}}, "timetable_redirected"),
        ({"body": "<html>Connexion</html>", "content_type": "text/html"}, "timetable_unreadable"),
        ({"headers": {"Content-Encoding": "gzip"}}, "timetable_unreadable"),
        ({"status": 500}, "timetable_unreadable"),
    ],
)
def test_one_student_s_odd_answer_is_theirs_alone(
    desk: ConnectorHarness, service: Timetable, how: dict[str, Any], cause: str
) -> None:
    service.give("paul.durand")
    service.meet("paul.durand", **how)
    service.give("zoe.petit")
    tasks = [Task(account_of(number, name)) for name, number in (("paul.durand", "2"), ("zoe.petit", "3"))]
    outcomes = desk.handler.handle(tasks)
    odd = outcomes["2"]
    assert isinstance(odd, Retry)
    assert odd.cause == cause
    assert not odd.unknown
    assert "paul" not in odd.message
    assert isinstance(outcomes["3"], Done)
    assert not [asked for asked in service.requests() if "elsewhere" in asked["path"]]


def test_what_is_larger_than_the_bound_is_not_read_to_its_end(
    service: Timetable, tls: ThrowawayCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimetableSettings, "bytes_max", 10_000)
    service.meet("lea.martin", padding_bytes=100_000_000)
    desk = harness(service, tls)
    too_large = desk.outcome(account_of())
    assert isinstance(too_large, Dead)
    assert too_large.cause == "timetable_too_large"
    assert "a million bytes" in too_large.message
    desk.handler.close()


def test_who_has_no_access_is_not_asked_about(desk: ConnectorHarness, service: Timetable) -> None:
    outcome = desk.outcome(account_of(holds=frozenset({Hold.SUSPENDED})))
    assert isinstance(outcome, Done)
    assert outcome.digest != (desk.outcome(account_of())).digest  # type: ignore[union-attr]
    assert len(service.requests()) == 1


def test_no_cookie_of_one_student_is_sent_for_the_next(desk: ConnectorHarness, service: Timetable) -> None:
    service.meet("lea.martin", headers={"Set-Cookie": "session=lea; Path=/"})
    service.give("paul.durand")
    desk.outcome(account_of())
    desk.outcome(account_of("22600002", "paul.durand"))
    assert [asked["headers"].get("Cookie") for asked in service.requests()] == [None, None]


def test_a_batch_without_time_left_tries_the_rest_again(service: Timetable, tls: ThrowawayCA) -> None:
    desk = harness(service, tls, monotonic=lambda: 59.97 if service.requests() else 0.0, timeout_s=100.0)
    outcomes = desk.handler.handle([Task(account_of()), Task(account_of("22600002", "paul.durand"))])
    assert isinstance(outcomes["22600001"], Done)
    late = outcomes["22600002"]
    assert isinstance(late, Retry)
    assert late.cause == "target_slow"
    desk.handler.close()


def test_a_preview_says_what_stands_in_the_way(desk: ConnectorHarness, service: Timetable) -> None:
    service.meet("paul.durand", status=403)
    people = [account_of(), account_of("2", "paul.durand"), account_of("3", "zoe.petit")]
    shut = account_of("4", "anne.roy", holds=frozenset({Hold.SUSPENDED}))
    assert desk.handler.preview([*people, shut]) == {
        "22600001": Preview(),
        "2": Preview(obstacle="timetable_refused"),
        "3": Preview(obstacle=NOT_SCHEDULED),
        "4": Preview(),
    }


# --- the service as a whole -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"status": 401}, "timetable.token_file"),
        ({"status": 302, "headers": {"Location": "https://elsewhere.example/"}}, "final address"),
        ({"body": "<html>Connexion</html>"}, "timetable.calendar_url"),
    ],
)
def test_a_service_that_answers_everybody_so_charges_nobody(
    desk: ConnectorHarness, service: Timetable, how: dict[str, Any], says: str
) -> None:
    service.meet(**how)
    with pytest.raises(Misconfigured) as refused:
        desk.outcome(account_of())
    assert says in refused.value.remedy
    assert "lea" not in str(refused.value)


def test_a_service_that_throttles_or_is_out_of_order_says_so_for_everybody(
    desk: ConnectorHarness, service: Timetable
) -> None:
    service.meet(status=429, headers={"Retry-After": "7"})
    with pytest.raises(Throttled) as throttled:
        desk.outcome(account_of())
    assert throttled.value.retry_after_s == 7
    service.meet(status=503)
    with pytest.raises(TargetDown, match="503"):
        desk.handler.probe()


def test_a_connection_that_breaks_is_tried_again_then_the_service_is_down(
    desk: ConnectorHarness, service: Timetable
) -> None:
    service.meet("lea.martin", hang_up=True)
    with pytest.raises(TargetDown) as down:
        desk.outcome(account_of())
    assert down.value.unknown is False
    assert len(service.requests()) == 2


@pytest.mark.parametrize("how", [{"delay_s": 3.0}, {"drip": True}])
def test_a_calendar_that_does_not_come_in_time_is_not_waited_for(
    service: Timetable, tls: ThrowawayCA, how: dict[str, Any]
) -> None:
    service.meet("lea.martin", **how)
    desk = harness(service, tls, timeout_s=0.3)
    with pytest.raises(TargetDown, match="in time"):
        desk.outcome(account_of())
    desk.handler.close()


# --- the probe and the token ----------------------------------------------------------------------


def test_the_probe_asks_for_nobody_s_calendar(
    desk: ConnectorHarness, service: Timetable, tls: ThrowawayCA
) -> None:
    desk.handler.probe()
    plain = harness(service, tls, probe_url=None)
    plain.handler.probe()  # the service does not know this name: it has answered
    paths = [asked["path"] for asked in service.requests()]
    assert paths == ["/ical/sonde.ics", "/ical/sesame-probe.ics"]
    plain.handler.close()


def test_a_probe_s_calendar_that_is_not_there_is_a_fault_of_the_settings(
    service: Timetable, tls: ThrowawayCA
) -> None:
    desk = harness(service, tls, probe_url=f"{service.url}/ical/absent.ics")
    with pytest.raises(Misconfigured, match="does not know the probe"):
        desk.handler.probe()
    desk.handler.close()


@pytest.mark.parametrize(("header", "carried"), [("Authorization", f"Bearer {TOKEN}"), ("X-Api-Key", TOKEN)])
def test_the_token_travels_in_its_header_and_may_change_in_its_file(
    service: Timetable, tls: ThrowawayCA, tmp_path: Path, header: str, carried: str
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN + "\n", encoding="utf-8")
    desk = harness(service, tls, token_file=file, token_header=header)
    desk.outcome(account_of())
    file.write_text("another", encoding="utf-8")
    os.utime(file, (1.0, 1.0))  # one that was written just now may be half of it
    desk.outcome(account_of())
    before, after = (asked["headers"][header] for asked in service.requests())
    assert (before, after) == (carried, carried.replace(TOKEN, "another"))
    file.write_text("clé", encoding="utf-8")
    os.utime(file, (2.0, 2.0))
    with pytest.raises(Misconfigured, match="no header can carry"):
        desk.outcome(account_of())
    file.unlink()
    with pytest.raises(Misconfigured, match="timetable"):
        desk.outcome(account_of())
    assert TOKEN not in json.dumps(desk.handler.describe().__dict__)
    desk.handler.close()


def test_it_owns_nothing_and_says_where_it_looks_without_the_path(
    desk: ConnectorHarness, service: Timetable
) -> None:
    said = desk.handler.describe()
    assert (said.name, said.owns) == ("timetable", ())
    assert said.system == f"iCalendar {service.url}"
