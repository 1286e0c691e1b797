"""The join of outcomes: complete means observed everywhere, and is said once."""

from __future__ import annotations

from itertools import permutations

import pytest
from sqlalchemy import select

from consumers.propagation import rows as propagation_rows
from consumers.propagation.window import PropagationState
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.facts import Fact, Rejected
from pipeline.outbox import outbox
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, event_id
from schemas.events import (
    AccountChanged,
    Cause,
    Event,
    PropagationCompleted,
    TargetFailed,
    TargetProvisioned,
    Window,
)
from sesame.testing.servers.database_kit import ONLY_POSTGRESQL, meanwhile
from tests.unit.consumers.propagation.propagation_kit import LEA, TARGETS, PropagationHarness, at

# --- completion -----------------------------------------------------------------------------------


def test_a_version_is_complete_when_every_target_was_observed(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "directory", 10)
    desk.outcome(TargetProvisioned, "moodle", 40)
    assert desk.announced() == []
    desk.outcome(TargetProvisioned, "mailbox", 25)
    [event] = desk.announced()
    assert isinstance(event, PropagationCompleted)
    assert (event.version, event.window, event.lane) == (1, Window.WITHIN_15_MIN, Lane.PERSONAL)
    assert event.elapsed_s == 40.0  # the last target's own time, whatever order they were read in
    assert event.targets_s == {"directory": 10.0, "mailbox": 25.0, "moodle": 40.0}
    assert desk.armed() == {}
    assert desk.told == [event]


def test_an_outcome_that_is_read_before_its_bell_counts(desk: PropagationHarness) -> None:
    desk.account()
    desk.all_done(30)
    desk.bell()
    assert [event.type for event in desk.announced()] == [PropagationCompleted.type]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_outcomes_and_bells_in_any_order_and_twice_complete_a_version_once(
    desk: PropagationHarness, order: tuple[int, ...]
) -> None:
    desk.account()
    facts: list[tuple[Event, float]] = [
        (
            AccountChanged(
                student_number=LEA, version=1, stage=Stage.ACTIVE, lane=Lane.PERSONAL, cause=Cause.ACTIVATION
            ),
            0.0,
        ),
        *((desk.said(TargetProvisioned, target, 10.0 * i), 10.0 * i) for i, target in enumerate(TARGETS, 1)),
    ]
    messages = [desk.apply(*facts[index]) for index in order]
    for message in messages:
        desk.redeliver(message)
    [event] = desk.announced()
    assert isinstance(event, PropagationCompleted)
    assert event.elapsed_s == 30.0


@ONLY_POSTGRESQL
def test_two_processes_that_meet_at_the_first_row_announce_a_completion_once(
    desk: PropagationHarness,
) -> None:
    """Before there is a row nothing can be locked: the one overwrote what the other had completed."""
    desk.account()
    other = PropagationHarness(desk.database, desk.clock)
    outcomes = [desk.said(TargetProvisioned, target, 5.0) for target in TARGETS]
    record = Record(catalogue.OUTCOMES, 0, 0, LEA, b"", (), 0)
    with desk.database.write() as connection:
        for event in outcomes:
            message = Message(event_id(event.type, "test", str(event)), "/sesame/test", at(5.0), event)
            desk.propagation.handle(connection, [Fact(record, message)])
        with meanwhile(lambda: other.bell(when=6.0)) as second:
            second.join(0.3)  # it waits for what is not committed yet
            connection.commit()
    assert len(desk.announced()) == 1
    assert len(desk.told) + len(other.told) == 1
    assert desk.progress().state is PropagationState.COMPLETED


def test_metrics_are_not_told_of_what_is_undone(desk: PropagationHarness) -> None:
    desk.account()
    messages = [
        Message(event_id(event.type, "test", str(event)), "/sesame/test", at(5.0), event)
        for event in (
            *(desk.said(TargetProvisioned, target, 5.0) for target in TARGETS),
            desk.said(TargetProvisioned, TARGETS[0], 5.0, 99),
        )
    ]
    facts = [Fact(Record(catalogue.OUTCOMES, 0, 0, LEA, b"", (), 0), message) for message in messages]
    with pytest.raises(Rejected), desk.database.write() as connection:
        desk.propagation.handle(connection, facts)
    assert desk.told == []
    with desk.database.write() as connection:
        desk.propagation.handle(connection, facts[:-1])
    assert [type(event) for event in desk.told] == [PropagationCompleted]


def test_a_replay_after_completion_is_not_announced_again(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.all_done(10)
    desk.all_done(5000)
    desk.outcome(TargetFailed, "moodle", 6000)
    assert len(desk.announced()) == 1
    assert desk.progress().state is PropagationState.COMPLETED


def test_a_replay_leaves_the_time_at_which_each_target_was_there_first(
    desk: PropagationHarness, database: Database
) -> None:
    desk.account()
    desk.bell()
    desk.all_done(10)
    desk.all_done(5000)
    with database.read() as connection:
        seen = propagation_rows.seen_of(connection, LEA)
    opened_at = desk.progress().opened_at
    assert {each.finished_at - opened_at for each in seen.values()} == {10.0}


def test_each_version_is_completed_once_by_outcomes_at_it_or_later(desk: PropagationHarness) -> None:
    desk.account(1)
    desk.bell(1)
    desk.outcome(TargetProvisioned, "directory", 5, 1)
    desk.account(2)
    desk.bell(2, when=6)
    desk.outcome(TargetProvisioned, "moodle", 7, 1)  # superseded: this one was at the older version
    desk.outcome(TargetProvisioned, "mailbox", 8, 1)
    assert desk.announced() == []
    desk.all_done(20, 2)
    events = desk.announced()
    assert [(type(event), event.version) for event in events if isinstance(event, PropagationCompleted)] == [
        (PropagationCompleted, 2)
    ]


def test_an_older_outcome_that_arrives_late_does_not_undo_a_newer_one(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "directory", 20, lease_epoch=7)
    desk.outcome(TargetFailed, "directory", 10, lease_epoch=6)  # it came by the bulk topic
    desk.outcome(TargetProvisioned, "moodle", 21)
    desk.outcome(TargetProvisioned, "mailbox", 22)
    assert desk.progress().state is PropagationState.COMPLETED


def test_an_outcome_of_a_version_that_was_never_minted_does_not_win_the_join(
    desk: PropagationHarness,
) -> None:
    desk.account(2)
    desk.bell(2)
    with pytest.raises(Rejected, match="never minted"):
        desk.outcome(TargetProvisioned, "directory", 1, 999, lease_epoch=999_999)
    desk.account(3)
    desk.bell(3)
    assert desk.progress().state is PropagationState.IN_PROGRESS
    desk.all_done(10, 3)
    assert desk.progress().state is PropagationState.COMPLETED


def test_targets_that_are_not_configured_are_nobodys_business(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetFailed, "timetable", 3)
    assert desk.progress().state is PropagationState.IN_PROGRESS


def test_an_account_that_nobody_asked_for_has_no_propagation(desk: PropagationHarness) -> None:
    desk.account(asked=False)
    desk.bell()
    with desk.database.write() as connection:
        assert propagation_rows.progress_of(connection, desk.database, LEA) is None
    assert desk.armed() == {}


def test_bulk_work_is_completed_in_its_own_window_and_never_late(desk: PropagationHarness) -> None:
    desk.account(lane=Lane.BULK)
    desk.bell()
    assert desk.armed() == {}
    desk.tick(90_000)
    desk.all_done(90_000)
    [event] = desk.announced()
    assert isinstance(event, PropagationCompleted)
    assert (event.window, event.elapsed_s) == (Window.BULK, 90_000.0)
    with desk.database.read() as connection:
        assert connection.execute(select(outbox.c.lane)).scalar_one() == 1
