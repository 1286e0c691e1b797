"""A site that is down, slow, or refuses the consumer itself: nobody's attempt is charged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from consumers.moodle import rest
from consumers.moodle.connector import MoodleConnector
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Done, Handler, Retry
from sandbox.moodle import FaultKind, MoodleStandIn
from schemas.account import Hold, Person
from sesame.testing.servers.moodle_kit import (
    BY_FIELD,
    Handlers,
    Operator,
    account,
    calls,
    cohort,
    handle,
    handle_one,
    numbers,
    of_kind,
    writes,
)

ELODIE = "22600001"


@pytest.mark.parametrize(
    "condition",
    ["cli_maintenance", "web_maintenance", "upgrade_running", "database_down", "fpm_down"],
)
def test_a_site_out_of_order_is_down_for_everybody_and_comes_back(
    handler: Handler, moodle: MoodleStandIn, condition: str
) -> None:
    handle_one(handler, account(ELODIE))
    moodle.set(**{condition: True})
    with pytest.raises(TargetDown):
        handle_one(handler, account("22600002"))
    with pytest.raises(TargetDown):
        handler.probe()
    moodle.reset()
    handler.probe()
    assert isinstance(handle_one(handler, account("22600002")), Done)


def test_a_data_directory_that_cannot_be_written_is_an_outage(
    handler: Handler, moodle: MoodleStandIn
) -> None:
    moodle.set(dataroot_writable=False)
    with pytest.raises(TargetDown):
        handle_one(handler, account(ELODIE))


def test_an_outage_met_while_a_writes_answer_is_missing_leaves_the_batch_in_doubt(
    handlers: Handlers, moodle: MoodleStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 1)
    handler = handlers()
    handler.probe()
    moodle.fault(FaultKind.HANG_UP_AFTER_COMMIT, wsfunction="core_user_create_users")
    moodle.fault(FaultKind.HANG_UP, calls=50, wsfunction="core_cohort_get_cohorts")
    with pytest.raises(TargetDown) as caught:
        handle_one(handler, account(ELODIE, cohort("L1INFO")))
    assert caught.value.unknown


def test_access_is_closed_even_if_the_site_then_breaks_down(
    handler: Handler, moodle: MoodleStandIn, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE))
    moodle.fault(FaultKind.BAD_GATEWAY, wsfunction="core_user_create_users")
    held = account(ELODIE, version=2, holds=frozenset({Hold.ADMINISTRATIVE}))
    with pytest.raises(TargetDown):
        handle(handler, account("22600002"), held)
    assert operator.user(ELODIE)["suspended"]


def test_reads_that_fail_once_are_simply_repeated(handler: Handler, moodle: MoodleStandIn) -> None:
    for kind in (FaultKind.HANG_UP, FaultKind.SERVER_ERROR):
        moodle.fault(kind, wsfunction=BY_FIELD)
    assert isinstance(handle_one(handler, account(ELODIE)), Done)


def test_a_slow_site_leaves_the_rest_for_later(moodle: MoodleStandIn, handlers: Handlers) -> None:
    handler = handlers(call_s_max=1.0, batch_size=1)
    handler.probe()
    moodle.set(latency_per_call_s=0.15)
    outcomes = handle(handler, *(account(each) for each in numbers(20)))
    retried = [each for each in outcomes.values() if isinstance(each, Retry)]
    assert retried
    assert {each.cause for each in retried} <= {"target_slow", "moodle_outcome_unknown"}
    moodle.reset()
    again = handle(handlers(), *(account(each) for each in numbers(20)), compare=True)
    assert len(of_kind(again, Done)) == 20


@pytest.mark.parametrize("condition", ["web_services", "rest_protocol", "service_enabled"])
def test_a_service_that_is_switched_off_stops_the_consumer_with_a_remedy(
    handler: Handler, moodle: MoodleStandIn, condition: str
) -> None:
    moodle.set(**{condition: False})
    with pytest.raises(Misconfigured) as caught:
        handle_one(handler, account(ELODIE))
    assert caught.value.remedy
    moodle.reset()
    assert isinstance(handle_one(handler, account(ELODIE)), Done)


def test_a_token_that_is_not_valid_stops_the_consumer(handlers: Handlers, moodle: MoodleStandIn) -> None:
    with pytest.raises(Misconfigured) as caught:
        handle_one(handlers(token=SecretStr("pas-le-bon-jeton")), account(ELODIE))
    assert "token" in caught.value.remedy
    assert "pas-le-bon-jeton" not in str(caught.value) + caught.value.remedy
    assert writes(moodle) == {}


def test_an_expired_token_stops_the_consumer(handler: Handler, moodle: MoodleStandIn) -> None:
    moodle.control(token={"valid_until": 1})
    with pytest.raises(Misconfigured):
        handle_one(handler, account(ELODIE))


def test_a_suspended_service_user_stops_the_consumer(handler: Handler, moodle: MoodleStandIn) -> None:
    moodle.control(service_user_suspended=True)
    with pytest.raises(Misconfigured) as caught:
        handle_one(handler, account(ELODIE))
    assert "suspension" in caught.value.remedy


@pytest.mark.parametrize(
    "capability",
    ["moodle/user:viewdetails", "moodle/user:viewalldetails", "moodle/site:viewuseridentity"],
)
def test_an_empty_answer_is_not_believed_from_a_user_who_may_not_see(
    handler: Handler, moodle: MoodleStandIn, operator: Operator, capability: str
) -> None:
    operator.create_user("ancienne.elodie", idnumber=ELODIE)
    moodle.set(missing_capabilities=[capability])
    before = writes(moodle)
    with pytest.raises(Misconfigured) as caught:
        handle_one(handler, account(ELODIE))
    assert capability in caught.value.remedy
    assert writes(moodle) == before


def test_rights_are_verified_once_and_again_after_the_site_refused_the_consumer(
    handler: Handler, moodle: MoodleStandIn
) -> None:
    for each in numbers(3):
        handle_one(handler, account(each))
    assert calls(moodle)["core_webservice_get_site_info"] == 1
    moodle.control(service_user_suspended=True)
    with pytest.raises(Misconfigured):
        handle_one(handler, account(ELODIE))
    moodle.reset()
    handle_one(handler, account(ELODIE))
    assert calls(moodle)["core_webservice_get_site_info"] == 2


@contextmanager
def closing_connector(handlers: Handlers, **changes: Any) -> Iterator[MoodleConnector]:
    connector = handlers.connector(**changes)
    yield connector
    connector.disconnect()


def test_a_language_pack_that_is_not_installed_is_a_fault_of_the_settings(
    handlers: Handlers, operator: Operator
) -> None:
    with pytest.raises(Misconfigured) as caught:
        handle(handlers(languages={"fr": "fr"}), *(account(each) for each in numbers(6)))
    assert "languages" in caught.value.remedy
    with closing_connector(handlers, languages={"fr": "fr", "en": "en"}) as connector:
        [advice] = connector.advice()
    assert advice.text.endswith(": fr")
    english = Person(birth_name="Okafor", given_name="Ada", language="en")
    outcome = handle_one(handlers(languages={"en": "en"}), account(ELODIE, person=english))
    assert isinstance(outcome, Done)
    assert operator.user(ELODIE)["lang"] == "en"
    with closing_connector(handlers, languages={"en": "en"}) as connector:
        assert not list(connector.advice())
