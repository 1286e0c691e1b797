"""The effects of single items, in two process lives on one real store: leases, doubt, parking and ids."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pipeline import parking, target_states
from pipeline.engine.bell import Bell, Place, WorkItem
from pipeline.engine.limits import Backoff
from pipeline.errors import DependencyDown
from pipeline.outbox import OutboxRelay
from pipeline.parking import Kind, Parked, resync
from pipeline.runner import Effects
from pipeline.target import Closed, Dead, Waiting
from pipeline.target_states import State
from schemas import catalogue
from schemas.account import Hold, Lane, Stage
from schemas.events import TargetFailed
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, REFUSED, UNKNOWN, bell, end, leader_has, replay, woken
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant

WAITING = Waiting("pedagogical_enrolment_pending", ("L1INFO-2026",))


# --- doubt ----------------------------------------------------------------------------------------


def test_what_is_given_up_after_an_unknown_outcome_keeps_its_lease_until_the_call_is_over(
    plant: Plant, clock: Clock
) -> None:
    plant.backoff = Backoff(attempts_max=1)
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), UNKNOWN)
    assert [letter.cause for letter in plant.letters()] == ["timed_out"]
    plant.account("A", 2)
    assert effects.admit([bell("A", 2, "bell-2")]) == {}
    clock.now += plant.lease_s + 1
    admitted = effects.admit([woken(plant, "A")])
    assert admitted["A"].task.compare


class Away(Effects):
    """Effects whose store goes away before the last one."""

    def record(self, *args: object, **kwargs: object) -> NoReturn:
        raise DependencyDown("away")


def test_an_unknown_outcome_that_could_not_be_recorded_keeps_the_student_out_all_the_same(
    plant: Plant, clock: Clock
) -> None:
    for number in "AB":
        plant.account(number)
    effects = plant.effects()
    admitted = effects.admit([bell("A"), bell("B")])
    effects.__class__ = Away
    with pytest.raises(DependencyDown):
        effects.finish(admitted, {"A": UNKNOWN, "B": DONE})
    effects.__class__ = Effects
    again = effects.admit([bell("A"), bell("B")])
    assert list(again) == ["B"]  # whose call is known to be over
    assert again["B"].task.compare
    clock.now += plant.lease_s + 1
    assert effects.admit([woken(plant, "A")])["A"].task.compare


@pytest.mark.parametrize("how", ["given_back", "retried", "dead"])
def test_a_doubt_outlives_turns_that_did_not_compare(plant: Plant, clock: Clock, how: str) -> None:
    plant.account("A")
    plant.effects().admit([bell("A")])  # and the process is killed
    clock.now += plant.lease_s + 1
    effects = plant.effects()
    admitted = effects.admit([bell("A")])
    assert admitted["A"].task.compare
    if how == "given_back":
        effects.give_back(admitted, unknown=False)
    else:
        end(effects, admitted, REFUSED if how == "retried" else Dead("refused", "no"))
    again = effects.admit([bell("A", event="bell-2")])  # at once: nothing is under way any more
    assert again["A"].task.compare


def test_who_was_seen_in_the_target_was_there_after_a_failure_too(plant: Plant) -> None:
    effects = plant.effects()
    for number, outcomes in {"A": (DONE, Dead("refused", "no")), "B": (Dead("refused", "no"),)}.items():
        for version, outcome in enumerate(outcomes, 1):
            plant.account(number, version)
            end(effects, effects.admit([bell(number, version, f"bell-{number}{version}")]), outcome)
        plant.account(number, 3)
    admitted = effects.admit([bell("A", 3, "bell-A3"), bell("B", 3, "bell-B3")])
    assert {number: one.task.was_there for number, one in admitted.items()} == {"A": True, "B": False}


def test_one_who_needed_no_call_is_not_in_doubt_after_an_outage(plant: Plant) -> None:
    plant.account("A", stage=Stage.PRECREATED)
    plant.account("B")
    effects = plant.effects()
    effects.give_back(effects.admit([bell("A"), bell("B")]), unknown=True)
    states = [plant.state(number) for number in "AB"]
    assert [state is not None and state.suspect for state in states] == [False, True]


def test_a_call_that_returns_too_late_makes_the_present_owners_work_uncertain_too(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    late, present = plant.effects(), plant.effects()
    slow = late.admit([bell("A")])
    clock.now += plant.lease_s + 1
    plant.account("A", 2)
    admitted = present.admit([bell("A", 2, "bell-2")])
    late.record(slow, {"A": DONE})  # perhaps its write came after the other's reading back
    present.record(admitted, {"A": DONE})
    assert plant.applied("A") == 0
    clock.now += plant.lease_s + 2
    again = present.admit([woken(plant, "A")])
    assert again["A"].task.compare
    end(present, again, DONE)
    assert plant.applied("A") == 2
    assert plant.parked("A") is None


# --- parking --------------------------------------------------------------------------------------


def test_a_bell_that_another_process_reads_during_a_call_is_not_swallowed_by_the_parking(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    admitted = here.admit([bell("A")])
    plant.account("A", 2)
    assert elsewhere.admit([bell("A", 2, "bell-2")]) == {}
    end(here, admitted, WAITING)
    row = present(plant.parked("A"))
    assert (row.version, row.kind) == (2, Kind.WAITING)
    assert row.due_at is not None
    assert row.due_at <= clock.now


def test_a_success_does_not_take_away_a_row_that_rang_meanwhile(plant: Plant) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    end(here, here.admit([bell("A")]), REFUSED)
    admitted = here.admit([woken(plant, "A")])
    elsewhere.admit([bell("A", 2, "bell-2")])
    end(here, admitted, DONE)
    row = present(plant.parked("A"))
    assert (row.due_at, row.attempts) == (0.0, 0)


def test_a_replay_that_meets_a_lease_is_compared_when_the_lease_is_over(plant: Plant, clock: Clock) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    end(here, here.admit([bell("A")]), REFUSED)
    admitted = here.admit([woken(plant, "A")])
    assert elsewhere.admit([replay("A")]) == {}
    end(here, admitted, DONE)
    again = here.admit([bell("A", event="bell-2")])  # another bell comes first
    assert again["A"].task.compare
    assert again["A"].replays == ("replay",)
    end(here, again, DONE)
    assert present(plant.state("A")).replayed_event_id == "replay"
    assert plant.parked("A") is None


def test_what_other_targets_have_parked_is_not_this_ones(plant: Plant) -> None:
    plant.account("A", 1)
    elsewhere = Parked("A", Kind.RETRY, 9, 1, None, 4, 0.0, 0.0, 0.0, "busy", "", Lane.BULK, "other", False)
    with plant.database.write() as connection:
        parking.park(connection, plant.database, "moodle", elsewhere, seen=None)
    admitted = plant.effects().admit([bell("A", 1)])
    assert [(one.parked, one.attempt, one.replays) for one in admitted.values()] == [(None, 1, ())]


def test_a_persons_bell_lifts_what_was_parked_in_bulk(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A", bulk=True)]), UNKNOWN)
    effects.admit([bell("A", 1, "act")])  # parked again: the call may still have an effect
    assert present(plant.parked("A")).lane is Lane.PERSONAL


def test_a_bulk_replay_does_not_push_a_person_back(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), REFUSED)
    end(effects, effects.admit([bell("A", event="import", bulk=True)]), REFUSED)
    assert present(plant.parked("A")).lane is Lane.PERSONAL


def test_one_parked_by_a_lease_alone_has_nothing_to_do_when_the_other_has_done_it(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    admitted = here.admit([bell("A")])
    elsewhere.admit([bell("A")])  # a redelivery after a rebalance
    end(here, admitted, DONE)
    assert elsewhere.admit([woken(plant, "A")]) == {}
    assert plant.parked("A") is None


def test_failures_before_a_waiting_do_not_count_afterwards(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    for outcome in (REFUSED, REFUSED, WAITING, REFUSED):
        item = woken(plant, "A") if plant.parked("A") else bell("A")
        end(effects, effects.admit([item]), outcome)
    assert present(plant.parked("A")).attempts == 1


def test_a_newer_version_has_all_its_chances(plant: Plant) -> None:
    plant.backoff = Backoff(attempts_max=3)
    plant.account("A")
    effects = plant.effects()
    for _ in range(2):
        end(effects, effects.admit([woken(plant, "A") if plant.parked("A") else bell("A")]), REFUSED)
    plant.account("A", 2)
    admitted = effects.admit([bell("A", 2, "bell-2")])
    assert admitted["A"].attempt == 1
    end(effects, admitted, REFUSED)
    row = present(plant.parked("A"))
    assert (row.attempts, row.attempts_version, row.age_s) == (1, 2, 0.0)
    end(effects, effects.admit([woken(plant, "A")]), REFUSED)
    end(effects, effects.admit([woken(plant, "A")]), REFUSED)
    assert [letter.attempts for letter in plant.letters()] == [3]


def test_one_who_waits_is_in_no_doubt_when_looked_at_again(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), WAITING)
    admitted = effects.admit([woken(plant, "A")])
    assert not admitted["A"].task.compare
    end(effects, admitted, WAITING)
    plant.account("A", 2)
    assert not effects.admit([bell("A", 2, "bell-2")])["A"].task.compare


def test_age_counts_the_planned_delays_and_not_an_outage_between(plant: Plant, clock: Clock) -> None:
    plant.backoff = Backoff(delay_s_min=10.0, jitter=0.0, attempts_max=100)
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), REFUSED)
    clock.now += 8 * 3600.0  # the target was down all night
    end(effects, effects.admit([woken(plant, "A")]), REFUSED)
    assert present(plant.parked("A")).age_s == pytest.approx(10.0)


# --- a follower -----------------------------------------------------------------------------------


def test_a_waiting_follower_whose_leader_lags_is_not_looked_at_without_end(mailbox: Plant) -> None:
    mailbox.account("A")
    leader_has(mailbox, "A", 1)
    effects = mailbox.effects()
    end(effects, effects.admit([bell("A")]), WAITING)
    mailbox.account("A", 2)
    assert effects.admit([woken(mailbox, "A")]) == {}
    assert present(mailbox.parked("A")).due_at is None
    assert "A" in effects.admit([bell("A", 2, "directory-2")])  # its leader's next outcome


def test_a_followers_replay_waits_for_its_leader_and_is_not_lost(mailbox: Plant) -> None:
    mailbox.account("A", 2)
    leader_has(mailbox, "A", 1)
    effects = mailbox.effects()
    assert effects.admit([replay("A")]) == {}
    leader_has(mailbox, "A", 2)
    admitted = effects.admit([bell("A", 2, "directory-2")])
    assert admitted["A"].replays == ("replay",)
    end(effects, admitted, DONE)
    assert mailbox.parked("A") is None
    assert effects.admit([replay("A")]) == {}  # redelivered


def test_a_redelivered_replay_parks_nobody_behind_a_lagging_leader(mailbox: Plant) -> None:
    mailbox.account("A")
    leader_has(mailbox, "A", 1)
    effects = mailbox.effects()
    end(effects, effects.admit([replay("A")]), DONE)
    mailbox.account("A", 2)
    effects.admit([replay("A")])
    assert mailbox.parked("A") is None


# --- ids ------------------------------------------------------------------------------------------


def ids(plant: Plant) -> list[str]:
    return [message.id for message in plant.read(*catalogue.both_lanes(catalogue.OUTCOMES))]


def test_a_process_killed_between_publishing_and_recording_is_repeated_under_one_id(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    killed, successor = plant.effects(), plant.effects()
    killed.publish(killed.admit([bell("A")]), {"A": DONE})
    assert successor.admit([bell("A")]) == {}
    clock.now += plant.lease_s + 2
    end(successor, successor.admit([woken(plant, "A")]), DONE)
    first, second = ids(plant)
    assert first == second


def test_a_later_look_with_the_same_cause_and_attempt_is_told_from_the_earlier_one(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    effects = plant.effects()
    other = Waiting("mailbox_full")
    for outcome in (WAITING, REFUSED, WAITING, REFUSED, WAITING, other):
        item = woken(plant, "A") if plant.parked("A") else bell("A")
        end(effects, effects.admit([item]), outcome)
        clock.now += 1000.0
    assert len(ids(plant)) == len(set(ids(plant))) == 4


# --- ends -----------------------------------------------------------------------------------------


def test_one_who_waits_says_so_again_when_what_was_said_may_be_lost(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), WAITING)
    with plant.database.write() as connection:
        resync.compare(connection, plant.database, ["directory"], [[("A", 1)]], event_id="resync-1")
    item = woken(plant, "A")
    end(effects, effects.admit([item]), WAITING)
    assert len(set(ids(plant))) == 2
    end(effects, effects.admit([item]), WAITING)  # looked at once more, for the same reason
    assert len(ids(plant)) == 2


def test_two_students_who_are_compared_after_one_loss_are_told_apart(plant: Plant) -> None:
    for number in ("A", "B"):
        plant.account(number)
    with plant.database.write() as connection:
        assert resync.behind(connection, plant.database, "directory", event_id="resync-1") == 2
    effects = plant.effects()
    end(effects, effects.admit([woken(plant, "A"), woken(plant, "B")]), DONE)
    assert len(set(ids(plant))) == 2


def test_an_unforeseen_fault_leaves_a_dead_letter_a_failed_state_and_an_outcome(plant: Plant) -> None:
    plant.account("A", 3)
    effects = plant.effects()
    end(effects, effects.admit([bell("A", 3)]), REFUSED)
    effects.record_fault(woken(plant, "A"), KeyError("oops"))
    [letter] = plant.letters()
    assert (letter.cause, letter.version) == ("internal_error", 3)
    assert plant.parked("A") is None
    state = present(plant.state("A"))
    assert (state.state, state.state_version, state.suspect) == (State.FAILED, 3, True)
    OutboxRelay(plant.database, plant.producer).send_page()
    [event] = plant.outcomes()
    assert isinstance(event, TargetFailed)
    assert (event.version, event.dead_letter_id) == (3, letter.id)


def test_a_charge_costs_an_attempt_even_while_the_call_may_still_have_an_effect(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    effects = plant.effects()
    effects.give_back(effects.admit([bell("A")]), unknown=True)
    until = clock.now + plant.lease_s
    effects.charge([bell("A")])
    row, state = plant.parked("A"), plant.state("A")
    assert row is not None
    assert state is not None
    assert (row.attempts, row.cause) == (1, "fails_alone")
    assert row.due_at is not None
    assert row.due_at > until
    assert effects.admit([bell("A", event="bell-2")]) == {}


def test_a_charge_does_not_touch_a_student_whom_another_process_works_on(plant: Plant) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    admitted = here.admit([bell("A")])
    elsewhere.charge([bell("A")])
    end(here, admitted, DONE)
    assert plant.applied("A") == 1


def test_two_processes_that_look_at_one_moment_cannot_both_have_the_lease(plant: Plant) -> None:
    def lease(owner: str) -> set[str]:
        with plant.database.write() as connection:
            return target_states.lease(
                connection, plant.database, "directory", {"A": 1}, owner=owner, until=9e9
            )

    assert lease("one") == {"A"}
    assert lease("two") == set()


def test_personal_rows_of_the_parking_lot_do_not_stand_behind_bulk_ones(plant: Plant, clock: Clock) -> None:
    plant.backoff = Backoff(delay_s_min=1.0, delay_s_max=1.0)
    effects = plant.effects()
    for number in ("B1", "B2", "B3", "P1"):
        plant.account(number)
        end(effects, effects.admit([bell(number, bulk=number != "P1")]), REFUSED)
        clock.now += 1.0
    clock.now += 60.0
    with plant.database.read() as connection:
        due = parking.due(connection, "directory", clock.now, limit=2)
    assert [row.student_number for row in due] == ["P1", "B1", "B2"]


def test_access_is_shut_before_the_leader_is_there_and_nothing_is_recorded_of_it(mailbox: Plant) -> None:
    mailbox.account("A", 2, holds=(Hold.SUSPENDED,))
    leader_has(mailbox, "A", 1)
    effects = mailbox.effects()
    admitted = effects.admit(
        [WorkItem((Bell("A", 0, Lane.PERSONAL, "hold", place=Place(catalogue.ACCOUNTS, 0, 1)),))]
    )
    assert admitted["A"].task.close_only
    end(effects, admitted, Closed())
    state = present(mailbox.state("A"))
    assert (state.applied_version, state.state, state.lease_owner, state.suspect) == (0, "new", None, False)
    assert mailbox.outcomes() == []
    leader_has(mailbox, "A", 2)
    assert not effects.admit([bell("A", 2, "directory-2")])["A"].task.close_only


def test_shutting_access_waits_for_the_lease_and_for_nothing_else(mailbox: Plant, clock: Clock) -> None:
    mailbox.account("A", 2, holds=(Hold.SUSPENDED,))
    assert "A" in mailbox.effects().admit([bell("A", 0, "hold")])  # a life that ends here
    successor = mailbox.effects()
    assert successor.admit([bell("A", 0, "hold again")]) == {}
    clock.now += mailbox.lease_s + 2
    assert successor.admit([woken(mailbox, "A")])["A"].task.close_only


def test_an_open_account_waits_for_its_leader_as_before(mailbox: Plant) -> None:
    mailbox.account("A", 2)
    leader_has(mailbox, "A", 1)
    assert mailbox.effects().admit([bell("A", 0, "account")]) == {}


def test_who_is_withdrawn_before_the_call_may_enter_again_at_once_and_nothing_is_in_doubt(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    effects = plant.effects()
    effects.withdraw(effects.admit([bell("A")]))
    state = present(plant.state("A"))
    assert (state.held(clock.now), state.suspect, state.applied_version) == (False, False, 0)
    assert not effects.admit([bell("A")])["A"].task.compare
