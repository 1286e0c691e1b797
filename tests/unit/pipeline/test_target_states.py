"""The row of one target and student: the lease, its epoch, and what may be recorded under it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import target_states
from pipeline.db.database import Database
from pipeline.target_states import Conclusion, State, TargetState
from pipeline.target_states import target_states as table
from sesame.testing.servers.database_kit import START, in_processes

TARGET = "directory"


def lease(database: Database, number: str, epoch: int, *, owner: str = "here", until: float = START) -> bool:
    with database.write() as connection:
        epochs = {number: epoch}
        return number in target_states.lease(connection, database, TARGET, epochs, owner=owner, until=until)


def conclude(database: Database, ended: Conclusion, now: float = START) -> bool:
    with database.write() as connection:
        return bool(target_states.conclude(connection, database, TARGET, [ended], now))


def state(database: Database, number: str) -> TargetState:
    with database.read() as connection:
        return target_states.states_of(connection, TARGET, [number])[number]


def done(number: str, epoch: int, version: int) -> Conclusion:
    return Conclusion(
        number, epoch, State.PROVISIONED, version, sequence=1, applied_version=version, digest="sha256:0"
    )


def test_a_turn_is_recorded_under_its_lease_and_gives_it_back(database: Database) -> None:
    assert lease(database, "A", 1)
    assert state(database, "A").abandoned
    assert conclude(database, done("A", 1, 3))
    row = state(database, "A")
    assert (row.applied_version, row.state, row.state_version, row.since) == (3, State.PROVISIONED, 3, START)
    assert not row.abandoned
    assert not row.suspect


def test_nothing_is_recorded_under_a_lease_that_was_lost(database: Database) -> None:
    lease(database, "A", 1)
    lease(database, "A", 2, owner="elsewhere")
    assert not conclude(database, done("A", 1, 3))
    assert state(database, "A").applied_version == 0


def test_of_a_batch_only_the_ends_under_a_lost_lease_are_not_recorded(database: Database) -> None:
    for number in "ABC":
        lease(database, number, 1)
    lease(database, "B", 2, owner="elsewhere")
    with database.write() as connection:
        ends = [done(number, 1, 3) for number in "CBAD"]  # of D nothing is known at all
        assert target_states.conclude(connection, database, TARGET, ends, START) == {"A", "C"}
        assert target_states.conclude(connection, database, TARGET, [], START) == set()
    assert {number: state(database, number).applied_version for number in "ABC"} == {"A": 3, "B": 0, "C": 3}
    assert state(database, "B").abandoned


def test_an_applied_version_never_falls(database: Database) -> None:
    lease(database, "A", 1)
    conclude(database, done("A", 1, 3))
    lease(database, "A", 2)
    conclude(database, done("A", 2, 2))
    assert state(database, "A").applied_version == 3


def test_a_lease_is_taken_at_the_epoch_that_follows_the_one_that_was_seen_and_no_other(
    database: Database,
) -> None:
    assert lease(database, "A", 1)
    assert not lease(database, "A", 1, owner="late")
    assert not lease(database, "A", 3, owner="early")
    assert lease(database, "A", 2)
    with database.write() as connection:
        assert target_states.lease(connection, database, TARGET, {}, owner="x", until=START) == set()


def _race(results: Any, url: str, owner: str) -> None:
    database = Database(url)
    won = [f"S{i}" for i in range(50) if lease(database, f"S{i}", 1, owner=owner)]
    results.put(won)
    database.close()


def test_two_processes_never_lease_one_student_both(store_url: str, database: Database) -> None:
    one, other = in_processes(_race, [(store_url, "one"), (store_url, "other")])
    assert sorted(one + other) == sorted(f"S{i}" for i in range(50))


def test_a_lease_is_held_until_its_time_is_over_or_it_is_given_back(database: Database) -> None:
    lease(database, "A", 1, until=START + 10)
    assert state(database, "A").held(START + 9.9)
    assert not state(database, "A").held(START + 10)
    conclude(database, done("A", 1, 1))
    assert not state(database, "A").held(START)


def test_an_unknown_outcome_keeps_the_lease_and_the_doubt(database: Database) -> None:
    lease(database, "A", 1, until=START + 30)
    conclude(database, Conclusion("A", 1, State.RETRYING, 1, sequence=1, reason="timed_out", unknown=True))
    row = state(database, "A")
    assert (row.lease_owner, row.lease_until, row.suspect) == ("here", START + 30, True)


def test_a_doubt_without_a_call_under_way_frees_the_lease(database: Database) -> None:
    lease(database, "A", 1, until=START + 30)
    conclude(database, Conclusion("A", 1, State.RETRYING, 1, sequence=1, suspect=True))
    row = state(database, "A")
    assert (row.lease_owner, row.suspect) == (None, True)


@pytest.mark.parametrize(
    ("suspect", "unknown", "expected"),
    [(False, False, (None, False)), (True, False, (None, True)), (False, True, ("here", True))],
)
def test_a_lease_given_back_is_free_unless_its_call_may_still_have_an_effect(
    database: Database, expected: tuple[str | None, bool], *, suspect: bool, unknown: bool
) -> None:
    lease(database, "A", 1)
    with database.write() as connection:
        target_states.give_back(connection, TARGET, "A", 1, suspect=suspect, unknown=unknown)
    row = state(database, "A")
    assert (row.lease_owner, row.suspect) == expected


def test_what_somebody_else_has_leased_is_not_given_back(database: Database) -> None:
    lease(database, "A", 1)
    lease(database, "A", 2, owner="elsewhere")
    with database.write() as connection:
        target_states.give_back(connection, TARGET, "A", 1, suspect=True, unknown=False)
    row = state(database, "A")
    assert (row.lease_owner, row.suspect) == ("elsewhere", False)


def test_a_suspicion_outlives_the_success_of_the_present_owner(database: Database) -> None:
    lease(database, "A", 1)
    with database.write() as connection:
        target_states.mark_suspect(connection, TARGET, ["A"])
        target_states.mark_suspect(connection, TARGET, [])
    assert not conclude(database, done("A", 1, 1))
    assert state(database, "A").suspect


def test_a_state_keeps_since_when_it_is_so(database: Database) -> None:
    for epoch, (kind, reason) in enumerate(
        [(State.WAITING, "a"), (State.WAITING, "a"), (State.WAITING, "b"), (State.FAILED, "b")], 1
    ):
        lease(database, "A", epoch)
        ended = Conclusion("A", epoch, kind, 1, sequence=1, reason=reason, pending=("x",))
        assert conclude(database, ended, now=START + epoch)
        expected = {1: 1, 2: 1, 3: 3, 4: 4}[epoch]
        assert state(database, "A").since == START + expected
    assert state(database, "A").pending == ("x",)


def test_a_fault_is_a_failed_state_in_doubt_whether_or_not_there_was_one_before(database: Database) -> None:
    lease(database, "A", 1, until=START + 30)
    for number, epoch in (("A", 2), ("B", 1)):
        with database.write() as connection:
            found = target_states.fail(
                connection, database, TARGET, number, version=4, reason="internal_error", now=START
            )
        row = state(database, number)
        assert (found, row.lease_epoch) == (epoch, epoch)
        assert (row.state, row.state_version, row.reason, row.suspect) == (
            State.FAILED,
            4,
            "internal_error",
            True,
        )
    assert state(database, "A").lease_owner == "here"  # its call may still have an effect


def test_the_waiting_are_counted_by_target_and_reason(database: Database) -> None:
    for number, reason in (("A", "mailbox_full"), ("B", "mailbox_full"), ("C", "credential_needed")):
        lease(database, number, 1)
        conclude(database, Conclusion(number, 1, State.WAITING, 1, sequence=1, reason=reason))
    with database.read() as connection:
        assert target_states.waiting_counts(connection) == {
            (TARGET, "mailbox_full"): 2,
            (TARGET, "credential_needed"): 1,
        }


@settings(deadline=None)  # a database takes the time that it takes
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=12))
def test_only_the_newest_epoch_can_ever_conclude(steps: list[tuple[int, int]]) -> None:
    """Whatever order leases and ends come in, an end under an older epoch changes nothing."""
    database = Database("sqlite://")
    newest = 0
    with database.write() as connection:
        table.create(connection)
        for leased, ended in steps:
            took = target_states.lease(connection, database, TARGET, {"A": leased}, owner="o", until=START)
            assert bool(took) is (newest == 0 or leased == newest + 1)
            newest = max(newest, leased if took else 0)
            if newest:
                concluded = target_states.conclude(connection, database, TARGET, [done("A", ended, 1)], START)
                assert bool(concluded) is (ended == newest)
    database.close()
