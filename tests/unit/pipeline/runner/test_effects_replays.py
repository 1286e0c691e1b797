"""What asked for an item, and what gave it up before, hear how it ended: replays and dead letters."""

from __future__ import annotations

import pytest

from pipeline import replays
from pipeline.dead_letters import rows as dead_letters
from pipeline.engine.bell import WorkItem
from pipeline.engine.limits import Backoff
from pipeline.outbox import OutboxRelay
from pipeline.runner import Effects
from pipeline.target import Closed, Dead, HandlerOutcome, Waiting
from schemas import catalogue
from schemas.account import Hold
from schemas.events import DeadLetterRecorded, DeadLetterResolved
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, REFUSED, bell, end, leader_has, replay
from sesame.testing.servers.pipeline_kit import Plant

GIVEN_UP = Dead("identity_collision", "held by somebody else")
ASKED = "0123456789abcdef"


def asked(plant: Plant, number: str = "A") -> WorkItem:
    """The item of a replay that an operator asked for."""
    consumer = plant.target.name
    with plant.database.write() as connection:
        replays.begin(
            connection, replays.Replay(ASKED, consumer, "personal", "camille", "t1", 0.0, 1), [number]
        )
        replays.mark_asked(connection, plant.database, ASKED, [number])
    return replay(number, replays.identity(number, consumer, ASKED))


def ended(plant: Plant) -> dict[str, str]:
    with plant.database.read() as connection:
        return replays.outcomes(connection, ASKED)


def said(plant: Plant) -> list[DeadLetterRecorded | DeadLetterResolved]:
    """What was announced of dead letters."""
    while OutboxRelay(plant.database, plant.producer).send_page():
        pass
    events = (message.event for message in plant.read(catalogue.DEAD_LETTERS))
    return [event for event in events if isinstance(event, DeadLetterRecorded | DeadLetterResolved)]


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [(DONE, {"A": "done"}), (Waiting("reason"), {"A": "done"}), (GIVEN_UP, {"A": "failed"}), (REFUSED, {})],
    ids=["done", "waits", "given up", "tried again"],
)
def test_a_replay_has_ended_when_its_turn_has_and_not_while_it_is_tried_again(
    plant: Plant, outcome: HandlerOutcome, shown: dict[str, str]
) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([asked(plant)]), outcome)
    assert ended(plant) == shown


def test_a_turn_that_nobody_asked_for_ends_no_replay(plant: Plant) -> None:
    plant.account("A")
    asked(plant)
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), DONE)
    assert ended(plant) == {}


def test_a_replay_that_was_tried_again_fails_when_it_has_had_its_chances(plant: Plant) -> None:
    plant.backoff = Backoff(attempts_max=1)
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([asked(plant)]), REFUSED)
    assert ended(plant) == {"A": "failed"}


@pytest.mark.parametrize("known", [True, False])
def test_a_replay_fails_by_a_fault_of_ours_and_for_one_whom_nobody_knows(
    plant: Plant, *, known: bool
) -> None:
    effects = plant.effects()
    if known:
        plant.account("A")
        effects.record_fault(asked(plant), KeyError("oops"))
    else:
        assert effects.admit([asked(plant)]) == {}
    assert ended(plant) == {"A": "failed"}


# --- dead letters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "version"), [("replayed", 1), ("newer_success", 2)], ids=["a replay", "a newer version"]
)
def test_a_letter_says_what_resolved_it_and_when(plant: Plant, clock: Clock, how: str, version: int) -> None:
    plant.account("A")
    effects = plant.effects()
    end(effects, effects.admit([bell("A")]), GIVEN_UP)
    [letter] = plant.letters()
    clock.now += 60.0
    plant.account("A", version)
    end(effects, effects.admit([replay("A") if how == "replayed" else bell("A", version, "bell-2")]), DONE)
    with plant.database.read() as connection:
        [resolved] = dead_letters.by_id(connection, letter.id)
    assert (resolved.resolution, resolved.resolved_at) == (how, clock.now)
    recorded, event = said(plant)
    assert (recorded.dead_letter_id, event.dead_letter_id) == (letter.id, letter.id)
    assert isinstance(event, DeadLetterResolved)
    assert (event.student_number, event.consumer, event.resolution) == ("A", plant.target.name, how)


def test_a_fault_that_comes_back_after_it_was_resolved_is_a_letter_of_its_own(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A", 3)
    effects = plant.effects()
    effects.record_fault(bell("A", 3, "bell"), KeyError("oops"))
    [first] = plant.letters()
    end(effects, effects.admit([replay("A")]), DONE)
    assert plant.letters() == []
    clock.now += 60.0
    effects.record_fault(bell("A", 3, "bell-2"), KeyError("oops"))
    [second] = plant.letters()
    assert second.id != first.id
    assert second.recorded_at == clock.now
    shown = plant.state("A")
    assert shown is not None
    assert (shown.reason, shown.since) == ("internal_error", clock.now)


def test_one_fault_in_two_targets_is_a_letter_of_each(plant: Plant) -> None:
    plant.account("A")
    one, event = plant.effects(), bell("A")
    one.record_fault(event, KeyError("oops"))
    plant.target.name = "moodle"
    plant.effects().record_fault(event, KeyError("oops"))
    letters = plant.letters()
    assert sorted(letter.consumer for letter in letters) == ["directory", "moodle"]
    assert len({letter.id for letter in letters}) == 2


def test_shutting_access_ends_no_replay_and_resolves_no_letter(mailbox: Plant) -> None:
    mailbox.account("A", 1)
    leader_has(mailbox, "A", 1)
    effects: Effects = mailbox.effects()
    end(effects, effects.admit([bell("A")]), GIVEN_UP)
    mailbox.account("A", 2, holds=(Hold.SUSPENDED,))
    admitted = effects.admit([asked(mailbox)])
    assert admitted["A"].task.close_only
    end(effects, admitted, Closed())
    assert ended(mailbox) == {}
    assert len(mailbox.letters()) == 1
