"""Quarantine: a target answers and refuses nearly everybody; the consumer stops before all are refused."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Batch, Bell, Place
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from tests.unit.pipeline.engine.engine_kit import taken

LIMITS = Limits(
    batch_size=1,
    linger_s=0.0,
    slots=2,
    slots_personal=0,
    quarantine_window_s=100.0,
    quarantine_failed_min=3,
    quarantine_share=0.5,
    quarantine_delay_s_min=10.0,
    quarantine_delay_s_max=30.0,
)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(LIMITS)
    for offset in range(40):
        engine.offer(
            Bell(f"S{offset}", 1, Lane.PERSONAL, f"e{offset}", place=Place(ACCOUNTS, 0, offset)), 0.0
        )
    return engine


def state(engine: Engine) -> CircuitState:
    return engine.circuit.state


def refuse(engine: Engine, now: float, count: int = 1) -> None:
    for _ in range(count):
        engine.settled(taken(engine, now), now, answered=True, given_up=("moodle_refused_values",))


def serve(engine: Engine, now: float, count: int = 1) -> None:
    for _ in range(count):
        engine.settled(taken(engine, now), now, answered=True)


def tried(engine: Engine, now: float) -> Batch:
    """The student who is tried after the probe."""
    assert engine.circuit.probe_due(now)
    engine.probed(now, ok=True)
    batch = taken(engine, now)
    assert engine.take(now) is None  # one at a time
    return batch


def test_too_many_given_up_within_the_window_stop_the_consumer_and_it_says_why(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    assert state(engine) is CircuitState.QUARANTINED
    assert engine.circuit.reason == (
        "3 of the last 3 turns were given up for good within 100 s, 3 of them by moodle_refused_values"
    )
    assert engine.take(1.0) is None
    assert engine.capacity(Lane.PERSONAL) == 0


def test_a_few_refused_among_many_who_were_served_stop_nobody(engine: Engine) -> None:
    serve(engine, 0.0, 7)
    refuse(engine, 1.0, 6)
    assert state(engine) is CircuitState.CLOSED
    refuse(engine, 1.0)
    assert state(engine) is CircuitState.QUARANTINED


def test_what_lies_before_the_window_does_not_count(engine: Engine) -> None:
    refuse(engine, 0.0, 2)
    refuse(engine, 101.0, 2)
    assert state(engine) is CircuitState.CLOSED


def test_one_student_is_tried_after_a_probe_and_a_success_lifts_it(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    assert not engine.circuit.probe_due(9.0)
    engine.settled(tried(engine, 10.0), 10.0, answered=True)
    assert state(engine) is CircuitState.CLOSED
    assert not engine.circuit.quarantined
    serve(engine, 10.0)


def test_a_trial_that_is_refused_waits_twice_as_long_up_to_a_bound(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    now = 10.0
    for wait_s in (20.0, 30.0, 30.0):
        engine.settled(tried(engine, now), now, answered=True, given_up=("moodle_refused_values",))
        assert state(engine) is CircuitState.QUARANTINED
        assert "tried was refused again, by moodle_refused_values" in engine.circuit.reason
        assert not engine.circuit.probe_due(now + wait_s - 1)
        now += wait_s


def test_a_probe_that_fails_keeps_the_quarantine_and_tries_nobody(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    assert engine.circuit.probe_due(10.0)
    engine.probed(10.0, ok=False, reason="refused")
    assert state(engine) is CircuitState.QUARANTINED
    assert engine.take(10.0) is None
    assert engine.circuit.probe_due(20.0)


def test_a_call_that_began_before_lifts_nothing_when_it_ends(engine: Engine) -> None:
    early = taken(engine, 0.0)
    refuse(engine, 0.0, 3)
    assert engine.circuit.probe_due(10.0)
    engine.probed(10.0, ok=True)
    engine.settled(early, 10.0, answered=True)
    assert engine.circuit.quarantined


def test_a_target_that_goes_down_in_quarantine_is_still_in_it_when_it_is_back(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    engine.tripped(tried(engine, 10.0), 10.0, "no answer")
    assert state(engine) is CircuitState.OPEN
    engine.settled(tried(engine, 20.0), 20.0, answered=True, given_up=("moodle_refused_values",))
    assert state(engine) is CircuitState.QUARANTINED


def test_an_operator_lifts_it_at_once_and_counting_begins_anew(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    engine.lift()
    refuse(engine, 1.0, 2)
    assert state(engine) is CircuitState.CLOSED


def test_a_work_that_needed_no_call_counts_for_nothing(engine: Engine) -> None:
    for _ in range(3):
        engine.settled(taken(engine, 0.0), 0.0, answered=False, given_up=("unknown_student",))
    assert state(engine) is CircuitState.CLOSED


def test_a_throttling_after_an_operator_lifted_it_pauses_for_as_long_as_it_was_told(engine: Engine) -> None:
    refuse(engine, 0.0, 3)
    engine.lift()
    engine.throttled(taken(engine, 1.0), 1.0, "429", retry_after_s=2.0)
    assert engine.due_in(1.0) == pytest.approx(2.0)
    serve(engine, 3.0)


@pytest.mark.parametrize("given_up", [(), ("moodle_refused_values",)], ids=["served", "refused"])
def test_a_trial_that_is_throttled_is_tried_again_and_decides_all_the_same(
    engine: Engine, given_up: tuple[str, ...]
) -> None:
    refuse(engine, 0.0, 3)
    engine.throttled(tried(engine, 10.0), 10.0, "429", retry_after_s=2.0)
    again = taken(engine, 12.0)
    assert engine.take(12.0) is None  # still one at a time
    engine.settled(again, 12.0, answered=True, given_up=given_up)
    assert state(engine) is (CircuitState.QUARANTINED if given_up else CircuitState.CLOSED)
    assert engine.circuit.quarantined is bool(given_up)
