"""Answers that never came and rows that PHP cut off: read back, and never repeated blindly."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from pipeline.target import Done, Handler, Retry
from sandbox.moodle import FaultKind, MoodleStandIn
from schemas.account import Person
from sesame.testing.servers.moodle_kit import (
    CREATE,
    JOIN,
    LEAVE,
    UPDATE,
    Handlers,
    Operator,
    account,
    cohort,
    handle,
    numbers,
    of_kind,
    writes,
)

ELODIE = "22600001"


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT,
        FaultKind.HANG_UP_AFTER_COMMIT,
        FaultKind.EMPTY_BODY_AFTER_COMMIT,
    ],
)
@pytest.mark.parametrize("function", [CREATE, JOIN])
def test_a_write_whose_answer_is_lost_is_read_back_and_not_repeated_blindly(
    handler: Handler, moodle: MoodleStandIn, operator: Operator, kind: FaultKind, function: str
) -> None:
    moodle.fault(kind, wsfunction=function)
    outcomes = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(5)))
    assert len(of_kind(outcomes, Done)) == 5
    for each in numbers(5):
        assert operator.cohorts_of(each) == ["L1INFO-2026"]
    if kind is not FaultKind.EMPTY_BODY_AFTER_COMMIT:
        assert writes(moodle)[function] == 1


@pytest.mark.parametrize("kind", [FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT, FaultKind.HANG_UP_AFTER_COMMIT])
@pytest.mark.parametrize("function", [UPDATE, LEAVE])
def test_a_lost_answer_to_an_update_or_a_removal_is_read_back(
    handler: Handler, moodle: MoodleStandIn, operator: Operator, kind: FaultKind, function: str
) -> None:
    handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(3)))
    moodle.fault(kind, wsfunction=function)
    person = Person(birth_name="Lefèvre", given_name="Élodie", preferred_given_name="Éli")
    outcomes = handle(handler, *(account(each, version=2, person=person) for each in numbers(3)))
    assert len(of_kind(outcomes, Done)) == 3
    assert operator.user(ELODIE)["firstname"] == "Éli"
    assert operator.cohorts_of(ELODIE) == []
    assert writes(moodle)[function] == 1


def test_a_write_that_did_not_come_through_is_not_repeated_in_the_same_turn(
    handler: Handler, moodle: MoodleStandIn, operator: Operator
) -> None:
    moodle.fault(FaultKind.HANG_UP, wsfunction=CREATE)
    outcomes = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(3)))
    for outcome in outcomes.values():
        assert isinstance(outcome, Retry)
        assert outcome.cause == "moodle_outcome_unknown"
        assert outcome.unknown
    assert writes(moodle)[CREATE] == 2  # the batch's, and the probe's, which creates nobody
    again = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(3)), compare=True)
    assert len(of_kind(again, Done)) == 3
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]


def test_php_that_carries_on_after_a_gateways_timeout_makes_no_second_user(
    moodle: MoodleStandIn, handlers: Handlers, operator: Operator
) -> None:
    handler = handlers()
    handler.probe()
    moodle.set(proxy_timeout_s=0.3)
    moodle.fault(FaultKind.DELAY, wsfunction=CREATE, delay_s=1.0)
    lost = handle(handler, *(account(each) for each in numbers(20)))
    assert all(isinstance(outcome, Retry) and outcome.unknown for outcome in lost.values())
    moodle.set(proxy_timeout_s=None)
    # Whoever comes next, before or after PHP's late commit, ends with one user for each.
    outcomes = handle(handler, *(account(each) for each in numbers(20)), compare=True)
    assert len(of_kind(outcomes, Done)) == 20
    assert all(len(operator.users("idnumber", each)) == 1 for each in numbers(20))


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.EMPTY_BODY])
def test_php_that_dies_on_a_batch_is_given_smaller_ones(
    handler: Handler, moodle: MoodleStandIn, kind: FaultKind
) -> None:
    moodle.fault(kind, calls=2, wsfunction=CREATE)
    outcomes = handle(handler, *(account(each) for each in numbers(16)))
    assert len(of_kind(outcomes, Done)) == 16
    assert writes(moodle)[CREATE] > 2


def test_calls_stay_below_phps_default_whatever_batch_is_asked_for(
    moodle: MoodleStandIn, handlers: Handlers
) -> None:
    handler = handlers(batch_size=500)
    outcomes = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(300)))
    assert len(of_kind(outcomes, Done)) == 300
    assert writes(moodle)[CREATE] == 2  # 166 users of 6 fields at most in a call


def test_a_site_with_a_lower_limit_than_the_settings_is_found_out_and_nobody_is_lost(
    tmp_path: Path,
) -> None:
    # 3 + 8 users x 6 fields: the cut falls on a row's boundary, where Moodle answers as if all were well.
    with MoodleStandIn(tmp_path / "narrow", max_input_vars=50) as moodle:
        handlers = Handlers(moodle)
        with pytest.raises(Misconfigured) as caught:
            handle(handlers(), *(account(each) for each in numbers(20)))
        assert "max_input_vars" in caught.value.remedy
        outcomes = handle(handlers(max_input_vars=50), *(account(each) for each in numbers(20)))
        assert len(of_kind(outcomes, Done)) == 20
        handlers.close()


def test_memberships_that_php_cut_off_are_noticed_by_reading_back(tmp_path: Path) -> None:
    with MoodleStandIn(tmp_path / "narrow") as moodle:
        handlers, operator = Handlers(moodle), Operator(moodle)
        everybody = [account(each, cohort("L1INFO")) for each in numbers(40)]
        handle(handlers(), *everybody)
        moodle.set(max_input_vars=62)  # 3 + 30 removals x 2 fields: the rest is dropped without a word
        outcomes = handle(handlers(max_input_vars=1000), *(account(each) for each in numbers(40)))
        done = of_kind(outcomes, Done)
        moodle.reset()
        assert all(operator.cohorts_of(each) == [] for each in done)
        unfinished = {each for each in numbers(40) if operator.cohorts_of(each)}
        assert unfinished == set(of_kind(outcomes, Retry))
        handlers.close()
