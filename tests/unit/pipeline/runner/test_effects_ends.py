"""How each item ends: what is recorded of it, column by column, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.db.database import Database
from pipeline.outbox import OutboxRelay
from pipeline.parking import Kind
from pipeline.runner import Effects
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Waiting
from pipeline.target_states import State, TargetState
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.events import Outcome, TargetFailed, TargetProvisioned, TargetWaiting
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, REFUSED, UNKNOWN, bell, end, replay, woken
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant

GIVEN_UP = Dead("identity_collision", "held by somebody else")


def item(effects: Effects, outcome: HandlerOutcome, event: str = "bell", version: int = 1) -> Any:
    admitted = effects.admit([bell("A", version, event)])
    return effects.finish(admitted, dict.fromkeys(admitted, outcome))["A"]


def state(plant: Plant) -> TargetState:
    return present(plant.state("A"))


# --- what is shown of each end ----------------------------------------------------------------------------


def test_a_success_is_recorded_with_what_was_read_back(plant: Plant, clock: Clock) -> None:
    plant.account("A", 3)
    item(plant.effects(), Done("sha256:" + "b" * 64, changed=False), version=3)
    shown = state(plant)
    assert (shown.state, shown.state_version, shown.applied_version) == (State.PROVISIONED, 3, 3)
    assert (shown.digest, shown.reason, shown.pending) == ("sha256:" + "b" * 64, None, ())
    assert (shown.suspect, shown.lease_owner, shown.sequence, shown.since) == (False, None, 1, clock.now)
    assert plant.parked("A") is None


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (
            Waiting("pedagogical_enrolment_pending", pending=("L1",)),
            (State.WAITING, "pedagogical_enrolment_pending", ("L1",)),
        ),
        (REFUSED, (State.RETRYING, "target_busy", ())),
        (GIVEN_UP, (State.FAILED, "identity_collision", ())),
    ],
)
def test_what_is_no_success_leaves_the_version_and_the_digest_that_were_there(
    plant: Plant, outcome: HandlerOutcome, shown: tuple[State, str, tuple[str, ...]]
) -> None:
    effects = plant.effects()
    plant.account("A", 1)
    item(effects, DONE)
    plant.account("A", 2)
    item(effects, outcome, "bell-2", 2)
    found = state(plant)
    assert (found.state, found.reason, found.pending) == shown
    assert (found.state_version, found.applied_version, found.digest) == (2, 1, DONE.digest)
    assert (found.suspect, found.lease_owner) == (False, None)


@pytest.mark.parametrize(("recheck_s", "due_s"), [(None, 900.0), (60.0, 60.0), (float("inf"), None)])
def test_one_who_waits_is_looked_at_again_when_the_outcome_says(
    plant: Plant, clock: Clock, recheck_s: float | None, due_s: float | None
) -> None:
    plant.account("A")
    item(plant.effects(), Waiting("reason", recheck_after_s=recheck_s))
    row = present(plant.parked("A"))
    assert (row.kind, row.cause, row.message, row.attempts) == (Kind.WAITING, "reason", "", 0)
    assert row.due_at == (None if due_s is None else clock.now + due_s)


def test_a_failure_is_parked_with_its_attempt_its_version_and_its_age(plant: Plant, clock: Clock) -> None:
    began = clock.now
    plant.account("A", 3)
    effects = plant.effects()
    item(effects, Retry("busy", "try later", after_s=50.0), version=3)
    row = present(plant.parked("A"))
    assert (row.kind, row.cause, row.message, row.due_at) == (Kind.RETRY, "busy", "try later", began + 50.0)
    assert (row.attempts, row.attempts_version, row.first_at, row.age_s) == (1, 3, began, 0.0)
    clock.now += 50.0
    admitted = effects.admit([woken(plant, "A")])
    effects.finish(admitted, {"A": Retry("slow", "later still")})
    row = present(plant.parked("A"))
    assert (row.attempts, row.attempts_version, row.first_at, row.age_s) == (2, 3, began, 50.0)
    assert (row.cause, row.message) == ("slow", "later still")
    assert row.due_at == pytest.approx(clock.now + plant.backoff.delay_s_max, abs=0.02)


def test_an_unknown_outcome_is_tried_again_only_after_the_lease(plant: Plant, clock: Clock) -> None:
    plant.account("A")
    effects = plant.effects()
    item(effects, UNKNOWN)
    row = present(plant.parked("A"))
    assert row.due_at is not None
    assert row.due_at > clock.now + plant.lease_s
    assert state(plant).held(clock.now)
    clock.now = row.due_at
    admitted = effects.admit([woken(plant, "A")])
    assert admitted["A"].task.compare


def test_a_success_after_failures_takes_the_row_away(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    item(effects, REFUSED)
    end(effects, effects.admit([woken(plant, "A")]), DONE)
    assert plant.parked("A") is None


# --- giving up --------------------------------------------------------------------------------------------


def test_a_failure_that_has_had_its_chances_counts_as_given_up(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    counted = [item(effects, REFUSED)]
    while plant.parked("A") is not None:
        admitted = effects.admit([woken(plant, "A")])
        counted += effects.finish(admitted, {"A": REFUSED}).values()
    assert [type(each) for each in counted] == [Retry, Retry, Retry, Dead]
    assert counted[-1] == Dead("target_busy", "busy (given up after 4 attempts)")
    [letter] = plant.letters()
    assert (letter.consumer, letter.student_number, letter.version) == (plant.target.name, "A", 1)
    assert (letter.cause, letter.message, letter.attempts) == ("target_busy", counted[-1].message, 4)
    [failed] = plant.outcomes()
    assert isinstance(failed, TargetFailed)
    assert (failed.attempt, failed.cause, failed.dead_letter_id) == (4, "target_busy", letter.id)


def test_a_letter_says_where_its_bell_was_read(plant: Plant, clock: Clock) -> None:
    plant.account("A", 2)
    rang = bell("A", 2, "bell-7")
    effects = plant.effects()
    end(effects, effects.admit([rang]), GIVEN_UP)
    [letter] = plant.letters()
    place = rang.places[0]
    assert (letter.topic, letter.partition, letter.offset) == (place.topic, place.partition, place.offset)
    assert (letter.timestamp_ms, letter.event_id, letter.recorded_at) == (
        place.timestamp_ms,
        "bell-7",
        clock.now,
    )
    assert (letter.version, letter.attempts) == (2, 1)


def test_a_replay_that_fails_again_names_the_letter_that_stands(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    item(effects, GIVEN_UP)
    [letter] = plant.letters()
    end(effects, effects.admit([replay("A")]), GIVEN_UP)
    [again] = plant.letters()
    first, second = plant.outcomes()
    assert isinstance(first, TargetFailed)
    assert isinstance(second, TargetFailed)
    assert letter.id == again.id == first.dead_letter_id == second.dead_letter_id
    assert again.attempts == 2


def test_a_failure_of_another_cause_is_a_letter_of_its_own(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    item(effects, GIVEN_UP)
    end(effects, effects.admit([replay("A")]), Dead("mail_taken", "held"))
    assert {letter.cause for letter in plant.letters()} == {"identity_collision", "mail_taken"}
    first, second = plant.outcomes()
    assert isinstance(first, TargetFailed)
    assert isinstance(second, TargetFailed)
    assert first.dead_letter_id != second.dead_letter_id


@pytest.mark.parametrize(
    ("outcome", "left"), [(DONE, 0), (Waiting("reason"), 1), (REFUSED, 1)], ids=["done", "waits", "retry"]
)
def test_only_a_success_resolves_the_letters_up_to_its_version(
    plant: Plant, outcome: HandlerOutcome, left: int
) -> None:
    plant.account("A")
    effects = plant.effects()
    item(effects, GIVEN_UP)
    plant.account("A", 2)
    item(effects, outcome, "bell-2", 2)
    assert len(plant.letters()) == left


def test_a_success_of_an_older_version_resolves_no_newer_letter(plant: Plant) -> None:
    plant.account("A", 2)
    effects = plant.effects()
    item(effects, GIVEN_UP, version=2)
    plant.account("A", 1)
    end(effects, effects.admit([replay("A")]), DONE)
    assert len(plant.letters()) == 1


# --- what is said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bulk", [True, False])
def test_an_outcome_goes_to_the_lane_of_whoever_waits(plant: Plant, *, bulk: bool) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A", bulk=bulk)]), DONE)
    lane = Lane.BULK if bulk else Lane.PERSONAL
    [message] = plant.read(catalogue.by_lane(catalogue.OUTCOMES, lane))
    assert isinstance(message.event, TargetProvisioned)
    assert (message.event.lane, message.event.digest, message.event.changed) == (lane, DONE.digest, True)


def test_everybody_of_a_batch_is_said_and_recorded_for_themselves(plant: Plant) -> None:
    outcomes: dict[str, HandlerOutcome] = {
        "A": DONE,
        "B": Waiting("reason", pending=("x",)),
        "C": GIVEN_UP,
        "D": REFUSED,
    }
    for number in outcomes:
        plant.account(number)
    effects = plant.effects()
    effects.finish(effects.admit([bell(number) for number in outcomes]), outcomes)
    said = {event.student_number: type(event) for event in plant.outcomes()}
    expected: dict[str, type] = {"A": TargetProvisioned, "B": TargetWaiting, "C": TargetFailed}
    assert said == expected
    assert {n: plant.parked(n) is not None for n in outcomes} == {
        "A": False,
        "B": True,
        "C": False,
        "D": True,
    }
    assert [letter.student_number for letter in plant.letters()] == ["C"]


# --- when it could not be recorded ------------------------------------------------------------------------


def refuse_writing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The store is away until what is returned is called."""

    def away(*_args: object) -> None:
        raise ConnectionError("the store is away")

    with_store = Database.transact
    monkeypatch.setattr(Database, "transact", away)
    return lambda: monkeypatch.setattr(Database, "transact", with_store)


@pytest.mark.parametrize(("outcome", "enters"), [(DONE, True), (REFUSED, True), (UNKNOWN, False)])
def test_who_could_not_be_recorded_enters_at_once_if_the_call_is_known_to_be_over(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, outcome: HandlerOutcome, *, enters: bool
) -> None:
    plant.account("A")
    effects = plant.effects()
    admitted = effects.admit([bell("A")])
    back = refuse_writing(plant, monkeypatch)
    with pytest.raises(ConnectionError):
        effects.finish(admitted, {"A": outcome})
    back()
    assert ("A" in effects.admit([bell("A")])) is enters
    assert plant.effects().admit([bell("A", event="elsewhere")]) == {}


def test_who_could_not_be_withdrawn_enters_at_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.account("A")
    effects = plant.effects()
    admitted = effects.admit([bell("A")])
    back = refuse_writing(plant, monkeypatch)
    with pytest.raises(ConnectionError):
        effects.withdraw(admitted)
    back()
    assert "A" in effects.admit([bell("A")])


@pytest.mark.parametrize("outcome", [DONE, GIVEN_UP])
def test_when_it_ended_is_announced_by_the_database_s_time(
    plant: Plant, clock: Clock, outcome: HandlerOutcome
) -> None:
    plant.account("A")
    effects, began = plant.effects(), clock.now
    admitted = effects.admit([bell("A")])
    clock.now += 2.5
    effects.finish(admitted, {"A": outcome})
    [event] = plant.outcomes()
    assert isinstance(event, Outcome)
    assert (event.started_at.timestamp(), event.finished_at.timestamp()) == (began, began + 2.5)


def test_one_whose_call_outlived_its_lease_hides_nobody_of_the_batch(plant: Plant, clock: Clock) -> None:
    for number in "ABC":
        plant.account(number)
    here, elsewhere = plant.effects(), plant.effects()
    admitted = here.admit([bell(number) for number in "ABC"])
    clock.now += plant.lease_s + 1
    elsewhere.admit([bell("B", event="elsewhere")])
    here.finish(admitted, {"A": DONE, "B": DONE, "C": REFUSED})
    assert [plant.applied(number) for number in "ABC"] == [1, 0, 0]
    late, failed = plant.parked("B"), plant.parked("C")
    assert late is not None
    assert (late.kind, late.cause, late.due_at) == (Kind.LEASED, "leased", clock.now + 1.0)
    assert failed is not None
    assert (failed.kind, failed.attempts) == (Kind.RETRY, 1)
    assert present(plant.state("B")).suspect


def test_what_another_owner_has_parked_is_only_looked_at_sooner_when_a_late_call_returns(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    here, elsewhere = plant.effects(), plant.effects()
    late = here.admit([bell("A")])
    clock.now += plant.lease_s + 1
    end(elsewhere, elsewhere.admit([bell("A", event="elsewhere")]), Retry("busy", "later", after_s=900.0))
    here.finish(late, {"A": DONE})
    row = present(plant.parked("A"))
    assert (row.kind, row.cause, row.attempts, row.due_at) == (Kind.RETRY, "busy", 1, clock.now + 1.0)


def test_one_who_was_parked_and_is_erased_is_worked_on_what_there_is_has_to_go(plant: Plant) -> None:
    effects = plant.effects()
    for number in "AB":
        plant.account(number)
        end(effects, effects.admit([bell(number)]), REFUSED)
    plant.account("A", 2, stage=Stage.ERASED)
    admitted = effects.admit([woken(plant, "A")])
    assert admitted["A"].account.stage is Stage.ERASED


def test_a_target_is_told_the_stage_that_the_account_has_there(plant: Plant) -> None:
    effects = plant.effects()
    plant.account("A", stage=Stage.EXPIRED, stages={effects.target: Stage.ERASED})
    plant.account("B", stage=Stage.GRACE, stages={"another": Stage.EXPIRED})
    admitted = effects.admit([bell("A"), bell("B")])
    assert {number: one.account.stage for number, one in admitted.items()} == {
        "A": Stage.ERASED,
        "B": Stage.GRACE,
    }


@pytest.mark.parametrize("bulk", [True, False])
def test_a_fault_of_ours_is_a_letter_of_each_student_whatever_rang_for_both(
    plant: Plant, *, bulk: bool
) -> None:
    effects = plant.effects()
    for number in "AB":
        plant.account(number, 3)
        effects.record_fault(bell(number, 3, "one-resync", bulk=bulk), KeyError("oops"))
    letters = plant.letters()
    assert sorted(letter.student_number or "" for letter in letters) == ["A", "B"]
    assert len({letter.id for letter in letters}) == 2
    assert {(letter.cause, letter.version, letter.attempts) for letter in letters} == {
        ("internal_error", 3, 1)
    }
    shown = state(plant)
    assert (shown.state, shown.reason, shown.state_version) == (State.FAILED, "internal_error", 3)
    OutboxRelay(plant.database, plant.producer).send_page()
    lane = Lane.BULK if bulk else Lane.PERSONAL
    said = [message.event for message in plant.read(catalogue.by_lane(catalogue.OUTCOMES, lane))]
    assert {event.dead_letter_id for event in said if isinstance(event, TargetFailed)} == {
        letter.id for letter in letters
    }


def test_an_outage_leaves_those_who_were_asked_for_in_doubt_and_keeps_the_doubt_of_the_others(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    plant.account("B", stage=Stage.PRECREATED)
    effects = plant.effects()
    admitted = effects.admit([bell("A"), bell("B")])
    assert [number for number, one in admitted.items() if one.decided is not None] == ["B"]
    effects.give_back(admitted, unknown=True)
    asked, other = state(plant), plant.state("B")
    assert other is not None
    assert (asked.suspect, asked.held(clock.now)) == (True, True)
    assert (other.suspect, other.held(clock.now)) == (False, False)
    clock.now += plant.lease_s + 1
    again = effects.admit([bell("A", event="bell-2")])
    effects.withdraw(again)
    assert (state(plant).suspect, state(plant).held(clock.now)) == (True, False)
