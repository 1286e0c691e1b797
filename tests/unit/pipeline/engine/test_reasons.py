"""Every stop says why and since when, and every bound of a retry and of a window is where it should be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.engine.bell import Place
from pipeline.engine.circuit import TRANSITIONS, Circuit, CircuitState, FailureRate
from pipeline.engine.limits import Backoff, Limits
from pipeline.engine.offsets import Offsets
from schemas import catalogue

LIMITS = Limits(
    probe_delay_s_min=2.0,
    probe_delay_s_max=8.0,
    misconfigured_delay_s=60.0,
    quarantine_delay_s_min=100.0,
    quarantine_delay_s_max=300.0,
    quarantine_window_s=10.0,
    quarantine_failed_min=2,
    quarantine_share=0.5,
)
WHY = "the directory is away"


def circuit() -> Circuit:
    return Circuit(LIMITS)


STOPS: dict[CircuitState, tuple[Callable[[Circuit, float], object], float]] = {
    CircuitState.OPEN: (lambda c, now: c.down(now, WHY), 2.0),
    CircuitState.MISCONFIGURED: (lambda c, now: c.misconfigured(now, WHY), 60.0),
    CircuitState.QUARANTINED: (lambda c, now: c.quarantine(now, WHY), 100.0),
    CircuitState.THROTTLED: (lambda c, now: c.throttled(now, WHY, 30.0), 30.0),
}


@pytest.mark.parametrize("state", list(STOPS))
def test_a_stop_says_why_since_when_and_when_it_is_looked_at_again(state: CircuitState) -> None:
    one = circuit()
    assert (one.state, one.reason, one.since, one.passes) == (CircuitState.CLOSED, "", None, True)
    stop, delay_s = STOPS[state]
    stop(one, 1000.0)
    assert (one.state, one.reason, one.since, one.passes) == (state, WHY, 1000.0, False)
    assert one.next_at() == 1000.0 + delay_s
    one.probed(2000.0, ok=True)
    one.answered()
    assert (one.state, one.reason, one.since, one.next_at()) == (CircuitState.CLOSED, "", None, None)


@pytest.mark.parametrize("state", [CircuitState.OPEN, CircuitState.MISCONFIGURED, CircuitState.QUARANTINED])
def test_a_probe_is_due_then_and_once_and_what_it_found_is_said(state: CircuitState) -> None:
    one = circuit()
    stop, delay_s = STOPS[state]
    stop(one, 1000.0)
    assert not one.probe_due(1000.0 + delay_s - 0.1)
    assert one.probe_due(1000.0 + delay_s)
    assert not one.probe_due(1000.0 + delay_s + 500)
    assert one.next_at() is None
    one.probed(2000.0, ok=False, reason="still away")
    assert one.state is state
    assert one.since == 1000.0
    assert one.reason == (WHY if state is CircuitState.QUARANTINED else "still away")
    assert one.next_at() == 2000.0 + (4.0 if state is CircuitState.OPEN else delay_s)
    assert one.probe_due(3000.0)
    one.probed(3000.0, ok=True)
    assert (one.state, one.since, one.passes) == (CircuitState.HALF_OPEN, 1000.0, True)
    whom = "student" if state is CircuitState.QUARANTINED else "batch"
    assert one.reason == f"a probe succeeded; trying one {whom}"


def test_a_throttling_ends_by_itself_and_nothing_is_probed() -> None:
    one = circuit()
    one.throttled(1000.0, WHY, 30.0)
    one.throttled(1001.0, "again", 5.0)
    assert (one.reason, one.since, one.next_at()) == ("again", 1000.0, 1030.0)
    assert not one.probe_due(1030.0)
    one.tick(1029.9)
    assert not one.passes
    one.tick(1030.0)
    assert one.passes


def test_a_trial_that_fails_makes_the_next_wait_longer_up_to_a_bound_and_a_success_forgets() -> None:
    one, waits = circuit(), []
    assert one.down(0.0, WHY)
    assert not one.down(1.0, "another call")
    assert one.reason == WHY
    for _ in range(4):
        one.probe_due(1e6)
        one.probed(1000.0, ok=True)
        assert one.down(1000.0, WHY)
        waits.append((one.next_at() or 0.0) - 1000.0)
    assert waits == [4.0, 8.0, 8.0, 8.0]
    one.probed(1000.0, ok=True)
    one.answered()
    one.down(0.0, WHY)
    assert one.next_at() == 2.0


def test_a_quarantine_that_comes_back_is_longer_and_lifting_it_leaves_a_target_that_is_down() -> None:
    one, waits = circuit(), []
    for _ in range(4):
        one.quarantine(1000.0, WHY)
        waits.append((one.next_at() or 0.0) - 1000.0)
    assert waits == [100.0, 200.0, 300.0, 300.0]
    one.lift()
    assert (one.state, one.quarantined) == (CircuitState.CLOSED, False)
    one.quarantine(0.0, WHY)
    assert one.next_at() == 100.0
    down = circuit()
    down.down(0.0, WHY)
    down.lift()
    assert down.state is CircuitState.OPEN


# --- failures ---------------------------------------------------------------------------------------------


def test_too_many_are_a_share_and_a_number_within_the_window_and_the_words_say_so() -> None:
    rate = FailureRate(LIMITS)
    rate.note(0.0, 3, ["a"])
    assert rate.too_many() == ""
    rate.note(1.0, 1, ["b"])
    assert rate.too_many().startswith("2 of the last 4 turns")
    rate.note(2.0, 1, [])
    assert rate.too_many() == ""
    rate.note(3.0, 2, ["b", "b"])
    assert rate.too_many() == ("4 of the last 7 turns were given up for good within 10 s, 3 of them by b")


def test_what_left_the_window_counts_no_more() -> None:
    rate = FailureRate(LIMITS)
    rate.note(0.0, 4, ["a", "a", "a", "a"])
    rate.note(9.9, 1, [])
    assert rate.too_many().startswith("4 of the last 5")
    rate.note(10.0, 1, ["b"])
    assert rate.too_many() == ""
    rate.note(11.0, 1, ["b"])
    assert rate.too_many().startswith("2 of the last 3")
    rate.forget()
    assert rate.too_many() == ""
    rate.note(12.0, 1, ["c"])
    rate.note(12.0, 1, ["c"])
    assert rate.too_many().startswith("2 of the last 2")


# --- retries ----------------------------------------------------------------------------------------------


def test_delays_double_up_to_a_bound_and_are_shortened_by_chance() -> None:
    backoff = Backoff(delay_s_min=5.0, delay_s_max=60.0, jitter=0.5)
    assert [backoff.delay_s(n, 0.0) for n in (1, 2, 3, 4, 5, 400)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert backoff.delay_s(1, 0.5) == 3.75
    assert backoff.delay_s(5, 1.0) == 30.0


@pytest.mark.parametrize(
    ("attempts", "age_s", "exhausted"), [(3, 99.0, False), (4, 0.0, True), (1, 100.0, True), (5, 500.0, True)]
)
def test_work_has_had_its_chances_by_attempts_or_by_age(
    attempts: int, age_s: float, *, exhausted: bool
) -> None:
    assert Backoff(attempts_max=4, age_s_max=100.0).exhausted(attempts, age_s) is exhausted


def test_the_usual_bounds_are_those_of_the_documentation() -> None:
    usual = Backoff()
    assert (usual.delay_s_min, usual.delay_s_max, usual.attempts_max) == (5.0, 1200.0, 12)
    assert (usual.age_s_max, usual.jitter) == (14_400.0, 0.3)


# --- generations of a partition ---------------------------------------------------------------------------


def test_a_partition_that_is_won_again_counts_from_its_own_beginning() -> None:
    one, other = (catalogue.ACCOUNTS, 0), (catalogue.ACCOUNTS, 1)
    offsets = Offsets()
    before = Place(*one, 5, generation=0)
    assert offsets.read(before)
    assert offsets.read(Place(*other, 7, generation=0))
    offsets.revoke([one])
    assert (offsets.generation(one), offsets.generation(other)) == (1, 0)
    assert not offsets.current(before)
    assert not offsets.read(before)
    again = before._replace(generation=1)
    assert offsets.current(again)
    assert offsets.read(again)
    offsets.settle(before)
    assert offsets.to_commit()[one] == 5
    offsets.settle(again)
    assert offsets.to_commit()[one] == 6
    offsets.revoke([one])
    assert offsets.generation(one) == 2


@pytest.mark.parametrize("state", list(CircuitState))
def test_from_every_state_the_consumer_comes_back_to_work(state: CircuitState) -> None:
    reached = {state}
    for _ in CircuitState:
        reached |= {then for each in reached for then in TRANSITIONS[each].values()}
    assert CircuitState.CLOSED in reached
    assert set(TRANSITIONS) == set(CircuitState)
