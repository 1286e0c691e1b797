"""Durable timers: each runs once at its time, in one transaction with what it does."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from pipeline import timers
from pipeline.db.database import Database, StoreUnavailable
from pipeline.timers import RETRY_AFTER_S, arm, armed, disarm, run_due
from sesame.testing.servers.database_kit import START, Clock

LATE, GRACE = "propagation_late", "grace_ends"


def set_timer(database: Database, kind: str, number: str, due_at: float) -> None:
    with database.write() as connection:
        arm(connection, database, kind, number, due_at)


class Log:
    """What ran."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, float]] = []
        self.failed: list[tuple[str, str, str]] = []

    def due(self, _connection: Connection, number: str, now: float) -> None:
        self.ran.append((number, now))

    def failure(self, _connection: Connection, kind: str, number: str, error: Exception) -> None:
        self.failed.append((kind, number, type(error).__name__))


def test_a_timer_runs_once_and_not_before_its_time(database: Database, clock: Clock) -> None:
    log = Log()
    set_timer(database, LATE, "A", START + 10)
    assert run_due(database, {LATE: log.due}) == 0
    clock.now = START + 10
    assert run_due(database, {LATE: log.due}) == 1
    assert run_due(database, {LATE: log.due}) == 0
    assert log.ran == [("A", START + 10)]


def test_there_is_one_timer_of_a_kind_and_student_and_the_last_time_counts(
    database: Database, clock: Clock
) -> None:
    log = Log()
    set_timer(database, LATE, "A", START - 5)
    set_timer(database, LATE, "A", START + 5)
    assert armed(database) == {LATE: 1}
    assert run_due(database, {LATE: log.due}) == 0
    clock.now = START + 5
    assert run_due(database, {LATE: log.due}) == 1


def test_a_disarmed_timer_does_not_run_and_others_do(database: Database) -> None:
    log = Log()
    for kind, number in ((LATE, "A"), (GRACE, "A"), (LATE, "B")):
        set_timer(database, kind, number, START)
    with database.write() as connection:
        disarm(connection, (LATE,), "A")
    assert run_due(database, {LATE: log.due, GRACE: log.due}) == 2
    assert sorted(number for number, _ in log.ran) == ["A", "B"]


def test_what_is_due_longest_runs_first_in_bounded_pages(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "TIMERS_PER_TRANSACTION", 2)
    log = Log()
    for index, number in enumerate("CAB"):
        set_timer(database, LATE, number, START - 10 + index)
    assert [run_due(database, {LATE: log.due}) for _ in range(3)] == [2, 1, 0]
    assert [number for number, _ in log.ran] == ["C", "A", "B"]


def test_kinds_that_are_not_handled_here_are_left_alone(database: Database) -> None:
    log = Log()
    set_timer(database, GRACE, "A", START)
    assert run_due(database, {LATE: log.due}) == 0
    assert armed(database) == {GRACE: 1}


def test_an_action_may_set_its_timer_again(database: Database, clock: Clock) -> None:
    def again(connection: Connection, number: str, now: float) -> None:
        arm(connection, database, LATE, number, now + 60)

    set_timer(database, LATE, "A", START)
    assert run_due(database, {LATE: again}) == 1
    assert run_due(database, {LATE: again}) == 0
    clock.now += 60
    assert run_due(database, {LATE: again}) == 1


def test_one_that_fails_is_undone_told_of_and_tried_again_while_the_others_run(
    database: Database, clock: Clock
) -> None:
    log = Log()

    def picky(connection: Connection, number: str, now: float) -> None:
        arm(connection, database, GRACE, number, now)
        if number == "A":
            raise KeyError("oops")
        log.due(connection, number, now)

    for number in "AB":
        set_timer(database, LATE, number, START)
    assert run_due(database, {LATE: picky}, log.failure) == 2
    assert [number for number, _ in log.ran] == ["B"]
    assert log.failed == [(LATE, "A", "KeyError")]
    assert armed(database) == {LATE: 1, GRACE: 1}  # A's own writing was undone
    assert run_due(database, {LATE: log.due}) == 0
    clock.now += RETRY_AFTER_S
    assert run_due(database, {LATE: log.due}) == 1


def test_without_anybody_to_tell_a_failure_passes_and_nothing_happened(database: Database) -> None:
    def fails(connection: Connection, number: str, now: float) -> None:
        raise KeyError("oops")

    set_timer(database, LATE, "A", START)
    with pytest.raises(KeyError):
        run_due(database, {LATE: fails})
    assert armed(database) == {LATE: 1}


def test_a_store_that_goes_away_is_nobodys_failure(database: Database) -> None:
    log = Log()

    def away(connection: Connection, number: str, now: float) -> None:
        raise StoreUnavailable("away")

    set_timer(database, LATE, "A", START)
    with pytest.raises(StoreUnavailable):
        run_due(database, {LATE: away}, log.failure)
    assert log.failed == []
    assert run_due(database, {LATE: log.due}) == 1
