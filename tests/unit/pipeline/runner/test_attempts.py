"""What is remembered of each attempt, and what is not, so that it stays bounded."""

from __future__ import annotations

import pytest

from pipeline import attempts
from pipeline.attempts import Attempt, AttemptEnd
from pipeline.runner import Effects
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Waiting
from pipeline.target_states import mark_suspect
from schemas.account import Hold
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, REFUSED, bell, end, replay, woken
from sesame.testing.servers.pipeline_kit import Plant

PENDING = Waiting("pedagogical_enrolment_pending", pending=("L1",))


def remembered(plant: Plant, number: str = "A") -> list[Attempt]:
    with plant.database.read() as connection:
        return attempts.of_student(connection, number, limit=100)


def ends(plant: Plant, number: str = "A") -> list[tuple[str, str | None]]:
    """How, the newest first, and why."""
    return [(each.ended, each.reason) for each in remembered(plant, number)]


def again(plant: Plant, effects: Effects, outcome: HandlerOutcome) -> None:
    """Who is parked is looked at, and ends so."""
    end(effects, effects.admit([woken(plant, "A")]), outcome)


def test_an_attempt_says_who_where_which_version_how_and_because_of_which_event(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A", 7)
    effects = plant.effects()
    end(effects, effects.admit([bell("A", 7, "bell-7")]), DONE)
    (one,) = remembered(plant)
    assert one == Attempt("A", plant.target.name, 7, 1, AttemptEnd.WRITTEN, None, "bell-7", clock.now)


@pytest.mark.parametrize(
    ("outcome", "ended"),
    [
        (DONE, ("written", None)),
        (Done(DONE.digest, changed=False), ("unchanged", None)),
        (PENDING, ("waiting", "pedagogical_enrolment_pending")),
        (REFUSED, ("retry", "target_busy")),
        (Dead("identity_collision", "held by somebody else"), ("failed", "identity_collision")),
    ],
)
def test_each_end_has_a_token_and_why_it_is_no_success(
    plant: Plant, outcome: HandlerOutcome, ended: tuple[str, str | None]
) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), outcome)
    assert ends(plant) == [ended]


def test_every_attempt_of_a_retry_is_there_until_it_is_given_up(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A", 1, "bell-1")]), REFUSED)
    while plant.parked("A") is not None:
        again(plant, effects, REFUSED)
    found = [(each.attempt, each.ended, each.event_id) for each in reversed(remembered(plant))]
    assert found == [(n, "retry" if n < 4 else "failed", "bell-1") for n in (1, 2, 3, 4)]


def test_a_look_at_one_who_still_waits_for_the_same_leaves_nothing(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), PENDING)
    for _ in range(3):
        again(plant, effects, PENDING)
    assert len(remembered(plant)) == 1
    again(plant, effects, Waiting("pedagogical_enrolment_pending", pending=("L2",)))
    again(plant, effects, DONE)
    assert [end for end, _ in ends(plant)] == ["written", "waiting", "waiting"]


def test_a_replay_is_named_before_whatever_rang_with_it(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([replay("A", "asked")]), REFUSED)
    plant.account("A", 2)
    end(effects, effects.admit([bell("A", 2, "bell-2")]), DONE)
    assert [each.event_id for each in remembered(plant)] == ["asked", "asked"]


def test_a_call_to_a_target_that_was_down_and_one_that_came_too_late_leave_nothing(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    effects.give_back(effects.admit([bell("A")]), unknown=False)
    admitted = effects.admit([bell("A")])
    with plant.database.write() as connection:
        mark_suspect(connection, plant.target.name, ["A"])  # somebody else has the lease
    end(effects, admitted, DONE)
    assert remembered(plant) == []


def test_who_was_shut_before_the_leader_was_there_was_shut(plant: Plant) -> None:
    plant.follows = "directory"
    plant.account("A", 2, holds=(Hold.SUSPENDED,))
    effects = plant.effects()
    admitted = effects.admit([bell("A", 1)])
    assert admitted["A"].close_only
    end(effects, admitted, Closed())
    assert ends(plant) == [("closed", None)]


def test_a_fault_of_ours_is_a_failure(plant: Plant) -> None:
    plant.account("A", 3)
    plant.effects().record_fault(bell("A", 3, "bell-3"), KeyError("oops"))
    (one,) = remembered(plant)
    assert (one.version, one.attempt, one.ended, one.reason) == (3, 1, "failed", "internal_error")
    assert one.event_id == "bell-3"


def test_many_end_at_once_and_each_has_its_own(plant: Plant) -> None:
    for number in "ABC":
        plant.account(number)
    effects = plant.effects()
    admitted = effects.admit([bell(number, 1, f"bell-{number}") for number in "ABC"])
    effects.finish(admitted, {"A": DONE, "B": PENDING, "C": REFUSED})
    assert [ends(plant, number)[0][0] for number in "ABC"] == ["written", "waiting", "retry"]
    assert [remembered(plant, number)[0].event_id for number in "ABC"] == ["bell-A", "bell-B", "bell-C"]


def test_of_many_the_newest_are_found(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    for place in range(4):
        end(effects, effects.admit([replay("A", f"replay-{place}")]), DONE)
    with plant.database.read() as connection:
        some = attempts.of_student(connection, "A", limit=2)
    assert [each.event_id for each in some] == ["replay-3", "replay-2"]
