"""Work that fails again: one dead letter for each cause, with a counter; and figures of replays that stay."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from pipeline.dead_letters import rows as dead_letters
from pipeline.engine.bell import WorkItem
from pipeline.outbox import outbox
from pipeline.replays import Replay, failed_last, identity
from pipeline.target import Dead, HandlerOutcome, Retry, Waiting
from producers.replay.requests import Progress, go_on, plan, progress_of
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import from_record
from schemas.events import DeadLetterRecorded, DeadLetterResolved, Event, TargetFailed
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, bell, replay, woken
from sesame.testing.servers.narrowing import expect, present
from sesame.testing.servers.pipeline_kit import Plant
from sesame.testing.servers.target_kit import NOW

REFUSED, TAKEN = Dead("refused", "no"), Dead("taken", "somebody else's")
BUSY = Retry("busy", "later")


@pytest.fixture(autouse=True)
def account(plant: Plant) -> None:
    plant.account("A")


def end(plant: Plant, item: WorkItem, outcome: HandlerOutcome) -> None:
    """An item to its end, in a process of its own."""
    effects = plant.effects()
    admitted = effects.admit([item])
    assert admitted
    effects.finish(admitted, dict.fromkeys(admitted, outcome))


def announced(plant: Plant) -> list[Event]:
    """What is said of dead letters, in order; what has one id is one event."""
    with plant.database.read() as connection:
        wanted = select(outbox).where(outbox.c.topic == catalogue.DEAD_LETTERS).order_by(outbox.c.id)
        rows = connection.execute(wanted).all()
    messages = [
        from_record(
            row.key, tuple((name, text.encode()) for name, text in json.loads(row.headers)), row.value
        )
        for row in rows
    ]
    return list({message.id: message.event for message in messages}.values())


def letters(plant: Plant) -> list[tuple[str, int, int | None]]:
    return [(letter.cause, letter.attempts, letter.version) for letter in plant.letters()]


# --- dead letters ---------------------------------------------------------------------------------


def test_a_replay_that_fails_again_raises_the_counter_and_not_the_number_of_letters(
    plant: Plant, clock: Clock
) -> None:
    end(plant, bell("A"), REFUSED)
    [first] = plant.letters()
    for again in range(2):
        clock.now += 60.0
        end(plant, replay("A", f"replay-{again}"), Dead("refused", "no, still not"))
    [letter] = plant.letters()
    assert (letter.id, letter.attempts, letter.message) == (first.id, 3, "no, still not")
    assert (letter.recorded_at, letter.event_id) == (clock.now, "replay-1")  # found by the time of the last
    said = announced(plant)
    assert [type(event) for event in said] == [DeadLetterRecorded] * 3
    assert [(e.dead_letter_id, e.attempts) for e in said if isinstance(e, DeadLetterRecorded)] == [
        (first.id, count) for count in (1, 2, 3)
    ]
    failed = [event for event in plant.outcomes() if isinstance(event, TargetFailed)]
    assert [event.dead_letter_id for event in failed] == [first.id] * 3
    with plant.database.read() as connection:
        assert dead_letters.counts(connection) == {("directory", "refused"): 1}


def test_another_cause_is_another_letter_and_a_success_resolves_each_once(plant: Plant) -> None:
    end(plant, bell("A"), REFUSED)
    end(plant, replay("A", "one"), TAKEN)
    end(plant, replay("A", "two"), REFUSED)
    assert sorted(letters(plant)) == [("refused", 2, 1), ("taken", 1, 1)]
    end(plant, replay("A", "three"), DONE)
    assert plant.letters() == []
    resolved = [event for event in announced(plant) if isinstance(event, DeadLetterResolved)]
    assert len(resolved) == len({event.dead_letter_id for event in resolved}) == 2


def test_a_newer_version_that_fails_by_the_same_cause_is_the_same_letter_about_the_newer_one(
    plant: Plant,
) -> None:
    end(plant, bell("A"), REFUSED)
    plant.account("A", 2)
    end(plant, bell("A", 2, "newer"), REFUSED)
    assert letters(plant) == [("refused", 2, 2)]
    plant.account("A", 3)
    end(plant, bell("A", 3, "newest"), DONE)
    assert plant.letters() == []


def test_a_redelivery_is_not_counted(plant: Plant) -> None:
    for _ in range(3):
        end(plant, bell("A"), REFUSED)
    assert letters(plant) == [("refused", 1, 1)]
    assert len(announced(plant)) == 1


def test_all_attempts_are_counted_those_of_retries_too(plant: Plant) -> None:
    end(plant, bell("A"), BUSY)
    for _ in range(plant.backoff.attempts_max - 1):
        end(plant, woken(plant, "A"), BUSY)
    end(plant, replay("A"), BUSY)
    for _ in range(plant.backoff.attempts_max - 1):
        end(plant, woken(plant, "A"), BUSY)
    assert letters(plant) == [("busy", 2 * plant.backoff.attempts_max, 1)]


def test_what_fails_again_after_it_was_resolved_is_a_letter_of_its_own(plant: Plant) -> None:
    end(plant, bell("A"), REFUSED)
    end(plant, replay("A", "one"), DONE)
    end(plant, replay("A", "two"), REFUSED)
    assert letters(plant) == [("refused", 1, 1)]


def test_faults_of_ours_and_unknown_students_are_one_letter_each_too(plant: Plant) -> None:
    for event in ("one", "two"):
        plant.effects().record_fault(replay("A", event), KeyError("oops"))
        assert plant.effects().admit([replay("STRANGER", event)]) == {}
    found = {letter.cause: letter for letter in plant.letters()}
    assert {cause: letter.attempts for cause, letter in found.items()} == {
        "internal_error": 2,
        "unknown_student": 2,
    }
    with plant.database.read() as connection:
        rows = connection.execute(select(outbox).where(outbox.c.topic == catalogue.OUTCOMES)).all()
    said = {json.loads(row.value)["dead_letter_id"] for row in rows}
    assert said == {found["internal_error"].id}


# --- figures --------------------------------------------------------------------------------------


def asked(plant: Plant) -> Replay:
    """A replay of one student, which has been asked for."""
    planned = plan(
        ["A"], consumer="directory", reason="x", actor="c", lane=Lane.PERSONAL, database=plant.database
    )
    go_on(planned, producer=plant.producer, database=plant.database, clock=lambda: NOW, wait=lambda _s: None)
    return planned


def rung(planned: Replay) -> WorkItem:
    return replay("A", identity("A", "directory", planned.id))


def figures(plant: Plant, planned: Replay) -> tuple[int, int, int]:
    now = expect(Progress, progress_of(plant.database, planned))
    return now.done, now.failed, now.under_way


def test_a_replay_that_failed_has_failed_whatever_comes_later(plant: Plant) -> None:
    planned = asked(plant)
    end(plant, rung(planned), REFUSED)
    assert figures(plant, planned) == (0, 1, 0)
    end(plant, replay("A", "another"), REFUSED)
    assert figures(plant, planned) == (0, 1, 0)
    plant.account("A", 2)
    end(plant, bell("A", 2, "newer"), DONE)
    assert plant.letters() == []
    assert figures(plant, planned) == (0, 1, 0)


@pytest.mark.parametrize("outcome", [DONE, Waiting("unpaid")])
def test_a_replay_that_was_carried_out_has_been_whatever_comes_later(
    plant: Plant, outcome: HandlerOutcome
) -> None:
    planned = asked(plant)
    end(plant, rung(planned), outcome)
    assert figures(plant, planned) == (1, 0, 0)
    later = asked(plant)
    end(plant, rung(later), REFUSED)
    assert (figures(plant, planned), figures(plant, later)) == ((1, 0, 0), (0, 1, 0))


def test_a_replay_whose_outcome_is_to_be_tried_again_is_under_way_until_it_has_ended(plant: Plant) -> None:
    planned = asked(plant)
    end(plant, rung(planned), BUSY)
    assert figures(plant, planned) == (0, 0, 1)
    assert present(plant.state("A")).replayed_event_id is None
    again = woken(plant, "A")
    assert again.bell.replay
    end(plant, again, DONE)
    assert figures(plant, planned) == (1, 0, 0)


def test_a_replay_that_is_to_be_tried_again_is_still_owed_when_another_bell_has_rung_and_failed(
    plant: Plant,
) -> None:
    planned = asked(plant)
    end(plant, rung(planned), BUSY)
    end(plant, bell("A", 1, "an account's"), BUSY)
    again = woken(plant, "A")
    assert (again.bell.replay, again.bell.event_id) == (True, identity("A", "directory", planned.id))
    end(plant, again, DONE)
    assert figures(plant, planned) == (1, 0, 0)


def test_a_replay_that_a_later_one_took_the_place_of_ends_with_it(plant: Plant, clock: Clock) -> None:
    first = asked(plant)
    end(plant, rung(first), BUSY)
    clock.now += 60.0
    second = asked(plant)
    clock.now += 60.0
    third = asked(plant)
    end(plant, rung(second), REFUSED)
    assert [figures(plant, each) for each in (first, second, third)] == [(0, 1, 0), (0, 1, 0), (0, 0, 1)]


def test_a_replay_that_a_fault_of_ours_ended_has_failed(plant: Plant) -> None:
    planned = asked(plant)
    plant.effects().record_fault(rung(planned), KeyError("oops"))
    end(plant, bell("A"), DONE)
    assert plant.letters() == []
    assert figures(plant, planned) == (0, 1, 0)


def test_a_replay_that_ends_before_its_asking_is_marked_counts(plant: Plant) -> None:
    planned = plan(
        ["A"], consumer="directory", reason="x", actor="c", lane=Lane.PERSONAL, database=plant.database
    )
    end(plant, rung(planned), DONE)
    assert figures(plant, planned) == (1, 0, 0)


def test_the_replay_of_another_consumer_is_not_ended_by_this_one(plant: Plant) -> None:
    other = plan(["A"], consumer="moodle", reason="x", actor="c", lane=Lane.PERSONAL, database=plant.database)
    go_on(other, producer=plant.producer, database=plant.database, clock=lambda: NOW, wait=lambda _s: None)
    end(plant, rung(asked(plant)), DONE)
    assert figures(plant, other) == (0, 0, 1)


def test_whose_last_replay_failed_was_replayed_in_vain_and_nobody_else(plant: Plant, clock: Clock) -> None:
    def in_vain(*consumers: str) -> list[set[str]]:
        with plant.database.read() as connection:
            return [failed_last(connection, each, ["A", "B"]) for each in consumers]

    end(plant, rung(asked(plant)), REFUSED)
    assert in_vain("directory", "moodle") == [{"A"}, set()]
    clock.now += 60.0
    later = asked(plant)
    assert in_vain("directory") == [{"A"}], "that one is under way"
    end(plant, rung(later), DONE)
    assert in_vain("directory") == [set()]
