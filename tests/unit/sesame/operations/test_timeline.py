"""What happened to one student at the targets, as somebody at the console reads it."""

from __future__ import annotations

import pytest

from pipeline import replays
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Waiting
from schemas.account import Hold
from sesame.operations.people.diagnosis import timeline
from sesame.operations.people.diagnosis.timeline import moments
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import DONE, REFUSED, bell, end, replay
from sesame.testing.servers.pipeline_kit import Plant

ASKED = "0123456789abcdef"


def told(plant: Plant) -> list[tuple[str | None, str, str]]:
    """Of the targets: where, how it went, what was said; the first first."""
    with plant.database.read() as connection:
        found = moments(connection, "A", (plant.target.name,))
    return [(each.consumer, each.state, each.what) for each in reversed(found) if each.consumer is not None]


def happens(plant: Plant, clock: Clock, version: int, outcome: HandlerOutcome) -> None:
    clock.now += 60.0
    plant.account("A", version)
    effects = plant.effects()
    end(effects, effects.admit([bell("A", version, f"bell-{version}")]), outcome)


def test_every_attempt_is_told_in_its_order(plant: Plant, clock: Clock) -> None:
    ends: list[HandlerOutcome] = [DONE, Waiting("pedagogical_enrolment_pending"), REFUSED]
    ends.append(Done(DONE.digest, changed=False))
    for version, outcome in enumerate(ends, start=1):
        happens(plant, clock, version, outcome)
    assert told(plant) == [
        ("directory", "done", "written and read back: version 1"),
        ("directory", "waiting", "waiting: pedagogical_enrolment_pending"),
        ("directory", "retry", "tried in vain: target_busy"),
        ("directory", "done", "read back, nothing to write: version 4"),
    ]


def test_what_was_given_up_is_told_once_in_the_target_s_words_and_after_how_many_attempts(
    plant: Plant, clock: Clock
) -> None:
    for _ in range(2):
        happens(plant, clock, 1, REFUSED)
    happens(plant, clock, 1, Dead("identity_collision", "held by somebody else"))
    assert told(plant) == [
        ("directory", "retry", "tried in vain: target_busy"),
        ("directory", "retry", "tried in vain: target_busy, attempt 2"),
        ("directory", "dead", "given up after 3 attempts: identity_collision"),
    ]


def test_a_failure_that_its_letter_tells_no_more_is_still_told(plant: Plant, clock: Clock) -> None:
    for version in (1, 2):  # the letter stands, and says what happened last
        happens(plant, clock, version, Dead("identity_collision", "held by somebody else"))
    assert told(plant) == [
        ("directory", "dead", "failed: identity_collision"),
        ("directory", "dead", "given up after 2 attempts: identity_collision"),
    ]


def test_an_attempt_names_the_replay_that_it_came_from(plant: Plant, clock: Clock) -> None:
    happens(plant, clock, 1, DONE)
    target = plant.target.name
    clock.now += 60.0
    with plant.database.write() as connection:
        asked = replays.Replay(ASKED, target, "personal", "camille", "t1", clock.now, 1)
        replays.begin(connection, asked, ["A"])
        replays.mark_asked(connection, plant.database, ASKED, ["A"])
    clock.now += 1.0
    effects = plant.effects()
    item = replay("A", replays.identity("A", target, ASKED))
    end(effects, effects.admit([item]), DONE)
    assert told(plant)[1:] == [
        ("directory", "done", f"replay {ASKED} by camille"),
        ("directory", "done", f"written and read back: version 1, replay {ASKED}"),
    ]


def test_of_many_the_newest_are_told(plant: Plant, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOMENTS_MAX", 3)
    for version in range(1, 6):
        happens(plant, clock, version, DONE)
    with plant.database.read() as connection:
        found = moments(connection, "A", (plant.target.name,))
    assert len(found) == 3
    assert "written and read back: version 5" in {each.what for each in found}


def test_access_that_was_shut_before_the_rest_is_told(plant: Plant) -> None:
    plant.follows = "directory"
    plant.account("A", 2, holds=(Hold.SUSPENDED,))
    effects = plant.effects()
    end(effects, effects.admit([bell("A", 1)]), Closed())
    assert [what for _, _, what in told(plant)] == ["access shut"]
