"""Turns of one student in two processes, between the statements of their transactions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline import parking, target_states
from pipeline.db.database import Database, StoreUnavailable
from pipeline.errors import TargetDown
from pipeline.target import Closed
from pipeline.target_states import target_states as states_table
from schemas.account import Hold
from sesame.testing.servers.database_kit import ONLY_POSTGRESQL, Clock, meanwhile
from sesame.testing.servers.effects_kit import DONE, REFUSED, bell, end, leader_has, replay, woken
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant
from sesame.testing.servers.target_kit import Target


def after_the_look(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Do `work` once, when the next turn has seen what is known of its students."""
    left, real = [work], Database.rows_at

    def call(*given: Any) -> object:
        found = real(*given)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(Database, "rows_at", call)


@ONLY_POSTGRESQL
def test_an_account_that_became_old_while_a_turn_entered_is_not_written_over_the_newer_one(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.account("A", 1)
    here, elsewhere = plant.effects(), plant.effects()
    end(here, here.admit([bell("A", 1)]), DONE)

    def newer() -> None:
        plant.account("A", 2)
        end(elsewhere, elsewhere.admit([bell("A", 2)]), DONE)

    after_the_look(monkeypatch, newer)
    admitted = here.admit([replay("A")])
    assert plant.applied("A") == 2
    assert [one.account.version for one in admitted.values()] in ([], [2])


def test_a_followers_failure_is_tried_again_though_a_replay_comes_before_its_leader_has_recorded(
    mailbox: Plant, clock: Clock
) -> None:
    """The leader says what it has before it records it: its bell is all that is known until then."""
    mailbox.account("A", 1)
    effects = mailbox.effects()
    end(effects, effects.admit([bell("A", 1, "directory-1")]), REFUSED)
    effects.admit([replay("A")])
    leader_has(mailbox, "A", 1)  # it announced that before
    clock.now += 3600.0
    with mailbox.database.read() as connection:
        due = parking.due(connection, "mailbox", clock.now, limit=9)
    applied = mailbox.applied("A")
    assert applied or [row.student_number for row in due] == ["A"]


@ONLY_POSTGRESQL
def test_a_replay_that_meets_a_lease_is_not_taken_away_by_a_turn_that_began_before_it_was_written(
    plant: Plant, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.account("A", 1)
    here, elsewhere = plant.effects(), plant.effects()
    calling = here.admit([bell("A", 1)])
    entries = []

    def fails_and_begins_again() -> None:
        end(here, calling, REFUSED)
        clock.now += 1.0
        entries.append(here.admit([woken(plant, "A")]))

    after_the_look(monkeypatch, fails_and_begins_again)
    assert elsewhere.admit([replay("A")]) == {}
    end(here, entries[0], DONE)
    row, state = plant.parked("A"), plant.state("A")
    assert state is not None
    assert state.replayed_event_id == "replay" or (row is not None and row.replay)


@ONLY_POSTGRESQL
def test_a_lease_runs_from_when_it_was_had_and_not_from_when_it_was_asked_for(
    plant: Plant, clock: Clock
) -> None:
    """A process that was stopped in a transaction keeps others waiting for its rows."""
    plant.account("A", 1)
    effects = plant.effects()
    end(effects, effects.admit([bell("A", 1)]), DONE)
    plant.account("A", 2)
    with plant.database.write() as connection:
        connection.execute(select(states_table).with_for_update())
        with meanwhile(lambda: effects.admit([bell("A", 2)])) as entering:
            entering.join(0.3)
            clock.now += 20.0
            connection.commit()
    assert present(plant.state("A")).lease_until >= clock.now + plant.lease_s


def test_shutting_access_that_fails_alone_is_tried_again(mailbox: Plant, clock: Clock) -> None:
    mailbox.account("A", 2, holds=(Hold.SUSPENDED,))
    leader_has(mailbox, "A", 1)
    effects = mailbox.effects()
    item = bell("A", 0, "hold")
    effects.give_back(effects.admit([item]), unknown=True)
    effects.charge([item])
    state, row = mailbox.state("A"), mailbox.parked("A")
    assert state is not None
    assert state.held(clock.now)  # the call may still shut what was opened meanwhile
    assert row is not None
    assert row.due_at is not None
    clock.now += 2 * mailbox.lease_s + 5
    assert effects.admit([woken(mailbox, "A")])["A"].task.close_only


def test_a_worker_shuts_access_however_often_that_fails_at_first(tmp_path: Path, store_url: str) -> None:
    mailbox = Plant(tmp_path, store_url, Target("mailbox"), follows="directory")
    mailbox.suspend("A")
    failures = [TargetDown("it hung up", unknown=False) for _ in range(3)]
    mailbox.target.script = lambda _task: failures.pop() if failures else None
    try:
        mailbox.start()
        mailbox.until(lambda: mailbox.target.shut == ["A"])
    finally:
        mailbox.close()


def test_a_process_that_dies_while_it_shuts_access_is_made_up_for(mailbox: Plant, clock: Clock) -> None:
    """The bell is in the parking lot only: its offset was committed when it met the lease."""
    mailbox.account("A", 2, holds=(Hold.SUSPENDED,))
    mailbox.effects().admit([bell("A", 0, "hold")])  # a life that ends here
    second, third = mailbox.effects(), mailbox.effects()
    assert second.admit([bell("A", 0, "hold")]) == {}
    clock.now += mailbox.lease_s + 2
    assert second.admit([woken(mailbox, "A")])["A"].task.close_only  # and so does this one
    clock.now += 2 * mailbox.lease_s
    with mailbox.database.read() as connection:
        assert parking.due(connection, "mailbox", clock.now, limit=9)
    clock.now += mailbox.lease_s + 2
    end(third, third.admit([woken(mailbox, "A")]), Closed())
    row = present(mailbox.parked("A"))
    assert row.due_at is None  # until its leader says more


def test_a_call_that_is_over_is_remembered_until_its_student_has_entered_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was away, so nothing was recorded; then the store, so nobody admitted."""
    plant.account("A")
    effects = plant.effects()
    admitted = effects.admit([bell("A")])
    with monkeypatch.context() as log:
        log.setattr(effects, "publish", fails)
        with pytest.raises(StoreUnavailable):
            effects.finish(admitted, {"A": DONE})
    with monkeypatch.context() as store:
        store.setattr(target_states, "lease", fails)
        with pytest.raises(StoreUnavailable):
            effects.admit([bell("A")])
    assert "A" in effects.admit([bell("A")])


def fails(*_given: object, **_named: object) -> None:
    raise StoreUnavailable("away")


def test_a_fault_takes_no_replay_away_that_another_process_has_parked_meanwhile(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A", 1)
    here, elsewhere = plant.effects(), plant.effects()
    item = bell("A", 1)
    here.admit([item])
    assert elsewhere.admit([replay("A")]) == {}  # it meets the lease, and is parked
    here.record_fault(item, KeyError("oops"))
    row = present(plant.parked("A"))
    assert (row.replay, row.event_id) == (True, "replay")
    clock.now += 2 * plant.lease_s
    end(elsewhere, elsewhere.admit([woken(plant, "A")]), DONE)
    assert present(plant.state("A")).replayed_event_id == "replay"


def test_a_fault_of_the_replay_itself_leaves_its_letter_and_no_row(plant: Plant, clock: Clock) -> None:
    plant.account("A", 1)
    effects = plant.effects()
    effects.admit([bell("A", 1)])
    effects.admit([replay("A")])
    clock.now += 2 * plant.lease_s
    effects.record_fault(woken(plant, "A"), KeyError("oops"))
    assert plant.parked("A") is None
