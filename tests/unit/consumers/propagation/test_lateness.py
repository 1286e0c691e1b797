"""Late and breached are told whatever is dead, and not while a business precondition is missing."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from consumers.propagation.handler import BREACHED, LATE
from consumers.propagation.window import PropagationState
from pipeline import timers
from schemas.account import Lane
from schemas.events import (
    PropagationBreached,
    PropagationCompleted,
    PropagationLate,
    TargetFailed,
    TargetProvisioned,
    TargetWaiting,
    Window,
)
from sesame.testing.servers.database_kit import START
from tests.unit.consumers.propagation.propagation_kit import PropagationHarness

# --- lateness -------------------------------------------------------------------------------------


def test_a_dead_target_cannot_hide_that_a_person_waits(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "directory", 5)
    desk.tick(899)
    assert desk.announced() == []
    desk.tick(900)
    desk.tick(901)
    desk.tick(3600)
    late, breached = desk.announced()
    assert isinstance(late, PropagationLate)
    assert isinstance(breached, PropagationBreached)
    assert (late.elapsed_s, breached.elapsed_s) == (900.0, 3600.0)
    assert late.outstanding == ("mailbox", "moodle")
    desk.all_done(4000)
    [*_, completed] = desk.announced()
    assert isinstance(completed, PropagationCompleted)
    assert completed.window is Window.BEYOND
    assert desk.told == [late, breached, completed]  # metrics are told of each once, when it is so


def test_what_has_failed_is_late_all_the_same(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    for target in ("directory", "mailbox"):
        desk.outcome(TargetProvisioned, target, 5)
    desk.outcome(TargetFailed, "moodle", 6)
    assert desk.progress().state is PropagationState.FAILED
    desk.tick(900)
    desk.tick(3600)
    assert [type(event) for event in desk.announced()] == [PropagationLate, PropagationBreached]


def test_what_was_completed_is_never_late(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.all_done(899)
    desk.tick(10_000)
    assert [type(event) for event in desk.announced()] == [PropagationCompleted]


def test_a_window_that_stands_still_is_not_late_and_runs_on_when_the_cause_is_lifted(
    desk: PropagationHarness,
) -> None:
    desk.account()
    desk.bell()
    for target in ("directory", "mailbox"):
        desk.outcome(TargetProvisioned, target, 10)
    desk.outcome(TargetWaiting, "moodle", 100)
    assert desk.progress().state is PropagationState.WAITING
    assert desk.armed() == {}
    desk.tick(50_000)
    assert desk.announced() == []
    desk.outcome(TargetProvisioned, "moodle", 86_500)
    [event] = desk.announced()
    assert isinstance(event, PropagationCompleted)
    assert (event.elapsed_s, event.waited_s, event.window) == (100.0, 86_400.0, Window.WITHIN_15_MIN)


def test_a_superseding_version_wakes_the_window_and_its_timers_leave_the_pause_out(
    desk: PropagationHarness,
) -> None:
    """The registry did not know yet that the version was waiting, and let the next inherit its start."""
    desk.account(1)
    desk.bell(1)
    for target in ("directory", "moodle"):
        desk.outcome(TargetWaiting, target, 100)
    desk.account(2)
    desk.bell(2, when=400)
    assert desk.progress().state is PropagationState.IN_PROGRESS
    desk.tick(1199)
    assert desk.announced() == []
    desk.tick(1200)
    [late] = desk.announced()
    assert isinstance(late, PropagationLate)
    assert late.elapsed_s == 900.0


def test_a_version_that_inherits_the_start_is_late_by_that_start_and_once(desk: PropagationHarness) -> None:
    desk.account(1)
    desk.bell(1)
    desk.tick(900)
    desk.account(2)
    desk.bell(2, when=1000)
    desk.tick(1900)
    desk.tick(3600)
    assert [type(event) for event in desk.announced()] == [PropagationLate, PropagationBreached]


def test_a_new_act_after_completion_opens_a_window_of_its_own(desk: PropagationHarness) -> None:
    desk.account(1)
    desk.bell(1)
    desk.all_done(50)
    desk.account(2, opened=100_000)
    desk.bell(2, when=100_000)
    desk.tick(100_899)
    desk.all_done(100_899, 2)
    first, second = desk.announced()
    assert isinstance(first, PropagationCompleted)
    assert isinstance(second, PropagationCompleted)
    assert (first.elapsed_s, second.elapsed_s) == (50.0, 899.0)


def test_a_bulk_version_after_a_persons_takes_the_timers_away(desk: PropagationHarness) -> None:
    desk.account(1)
    desk.bell(1)
    desk.account(2, opened=10, lane=Lane.BULK)
    desk.bell(2, when=10)
    assert desk.armed() == {}


def test_waiting_for_another_target_does_not_stop_the_window(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "moodle", 10)  # the mailbox waits for the directory
    desk.tick(900)
    assert [type(event) for event in desk.announced()] == [PropagationLate]


def test_a_follower_waits_with_its_leader(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "moodle", 10)
    desk.outcome(TargetWaiting, "directory", 20, reason="credential_needed")
    assert desk.progress().state is PropagationState.WAITING
    desk.tick(5000)
    assert desk.announced() == []
    desk.outcome(TargetProvisioned, "directory", 5000)
    assert desk.progress().state is PropagationState.IN_PROGRESS
    assert desk.armed() == {LATE: 1, BREACHED: 1}


def test_a_timer_that_is_due_before_its_edge_says_nothing_and_is_set_for_the_edge(
    desk: PropagationHarness,
) -> None:
    """It was set when the objectives were shorter."""
    desk.account()
    desk.bell()
    number = desk.progress().student_number
    with desk.database.write() as connection:
        for kind in (LATE, BREACHED):
            timers.arm(connection, desk.database, kind, number, START + 100)
    desk.tick(100)
    assert desk.announced() == []
    assert desk.armed() == {LATE: 1, BREACHED: 1}
    desk.tick(899)
    assert desk.announced() == []
    desk.tick(900)
    desk.tick(3600)
    assert [type(event) for event in desk.announced()] == [PropagationLate, PropagationBreached]


def test_a_timer_of_nobody_does_nothing(desk: PropagationHarness) -> None:
    with desk.database.write() as connection:
        for kind in (LATE, BREACHED):
            timers.arm(connection, desk.database, kind, "99999999", START)
    desk.tick(1)
    assert desk.announced() == []


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_timer_that_meets_a_newer_window_does_not_say_that_it_is_late(desk: PropagationHarness) -> None:
    """It was due, and before it had the student's row that window was completed and another one begun."""
    desk.account()
    desk.bell()

    def on_late(connection: Connection, number: str, now: float) -> None:
        desk.all_done(898)
        desk.account(2, opened=899)
        desk.bell(2, when=899)
        desk.propagation.on_late(connection, number, now)

    desk.clock.now = START + 900
    timers.run_due(desk.database, {LATE: on_late})
    assert [type(event) for event in desk.announced()] == [PropagationCompleted]
    assert desk.progress().late_at is None
    desk.tick(899 + 900)
    assert isinstance(desk.announced()[-1], PropagationLate)
