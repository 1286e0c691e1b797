"""What a site is asked once it is back: no more than for the same work without an outage, in full batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import target_states
from pipeline.engine.limits import Limits
from pipeline.target import Handler, HandlerOutcome, Task
from sandbox.moodle import FaultKind, MoodleStandIn
from sesame.testing.servers import stores
from sesame.testing.servers.moodle_kit import Handlers, calls, cohort, numbers
from sesame.testing.servers.pipeline_kit import Plant

BATCH, BATCHES = 20, 8
HALVES = 2  # of batches that are answered 502 before a third one opens the circuit
STUDENTS = numbers(BATCH * BATCHES)
GET_COHORTS, GET_MEMBERS = "core_cohort_get_cohorts", "core_cohort_get_cohort_members"


class Watched:
    """The Moodle handler, and how many students each of its calls was for."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.sizes: list[int] = []
        self.ended = 0
        self.probes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        self.sizes.append(len(tasks))
        try:
            return self._handler.handle(tasks)
        finally:
            self.ended += 1

    def probe(self) -> None:
        self.probes += 1
        self._handler.probe()

    def close(self) -> None:
        """It outlives its worker."""


@pytest.fixture
def watched(handlers: Handlers) -> Watched:
    return Watched(handlers())


@pytest.fixture
def plant(tmp_path: Path, watched: Any) -> Iterator[Plant]:
    made = Plant(tmp_path, stores.sqlite_store(tmp_path), watched)
    made.limits = Limits(batch_size=BATCH, linger_s=0.2, probe_delay_s_min=0.05, probe_delay_s_max=0.1)
    for number in STUDENTS:
        made.account(number, cohorts=(cohort("L1INFO"), cohort("L2INFO")))
    yield made
    made.close()


def all_applied(plant: Plant) -> bool:
    with plant.database.read() as connection:
        states = target_states.states_of(connection, "moodle", STUDENTS)
    return sum(state.applied_version == 1 for state in states.values()) == len(STUDENTS)


def all_replayed(plant: Plant, replays: Mapping[str, str]) -> bool:
    with plant.database.read() as connection:
        states = target_states.states_of(connection, "moodle", STUDENTS)
    return {number: state.replayed_event_id for number, state in states.items()} == replays


def through_an_outage(plant: Plant, moodle: MoodleStandIn, watched: Watched) -> dict[str, int]:
    """Start while the site is away, and let it come back once calls have failed; the calls so far."""
    moodle.set(fpm_down=True)
    plant.start()
    plant.until(lambda: watched.probes > 1 and watched.ended == len(watched.sizes))
    watched.sizes.clear()
    moodle.reset()
    return calls(moodle)


def test_activations_are_done_in_as_many_calls_as_without_an_outage_but_for_the_halves(
    plant: Plant, moodle: MoodleStandIn, watched: Watched
) -> None:
    for number in STUDENTS:
        plant.ring(number)
    through_an_outage(plant, moodle, watched)
    plant.until(lambda: all_applied(plant))
    plant.stop()
    assert sum(watched.sizes) == len(STUDENTS)
    assert len(watched.sizes) <= BATCHES + HALVES + plant.limits.slots
    assert plant.letters() == []


def test_a_site_that_answers_a_third_of_the_calls_with_503_is_worked_through(
    plant: Plant, moodle: MoodleStandIn, watched: Watched
) -> None:
    moodle.fault(FaultKind.UNAVAILABLE, calls=1_000_000, share=0.3)
    for number in STUDENTS:
        plant.ring(number)
    plant.start()
    plant.until(lambda: all_applied(plant))
    plant.stop()
    assert watched.probes <= len(watched.sizes) / 4, "most calls followed one another"
    assert plant.letters() == []


def test_replays_after_an_outage_ask_for_all_cohorts_once_a_batch(
    plant: Plant, moodle: MoodleStandIn, watched: Watched
) -> None:
    for number in STUDENTS:
        plant.ring(number)
    plant.start()
    plant.until(lambda: all_applied(plant))
    plant.stop()
    replays = {number: plant.replay(number) for number in STUDENTS}
    before = through_an_outage(plant, moodle, watched)
    plant.until(lambda: all_replayed(plant, replays))
    plant.stop()
    batches = len(watched.sizes)
    assert batches <= BATCHES + HALVES + plant.limits.slots
    asked = {name: calls(moodle)[name] - before.get(name, 0) for name in (GET_COHORTS, GET_MEMBERS)}
    assert 1 <= asked[GET_COHORTS] <= batches
    assert 1 <= asked[GET_MEMBERS] <= batches
