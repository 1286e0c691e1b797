"""Quarantine over the processes of one consumer: the row in the database stops them, and lets them go on."""

from __future__ import annotations

import pytest

from pipeline import quarantine
from pipeline.engine.core import Engine
from pipeline.quarantine import Quarantine
from pipeline.target import Dead
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import LIMITS, Plant

STRICT = LIMITS.model_copy(update={"quarantine_failed_min": 3, "quarantine_delay_s_min": 3600.0})


@pytest.fixture
def plant(live_plant: Plant) -> Plant:
    live_plant.limits = STRICT
    return live_plant


def row(plant: Plant) -> quarantine.QuarantineRow | None:
    with plant.database.read() as connection:
        return quarantine.of(connection, plant.target.name)


def refuse_everybody(plant: Plant) -> None:
    plant.target.script = lambda _task: Dead("identity_collision", "held by somebody else")
    for number in ("A", "B", "C"):
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: row(plant) is not None and "quarantined" in plant.observer.states)


def test_a_consumer_in_quarantine_leaves_the_backlog_and_nobody_is_charged(plant: Plant) -> None:
    refuse_everybody(plant)
    assert present(row(plant)).reason.startswith("3 of the last 3 turns were given up for good")
    plant.account("D")
    plant.ring("D")
    plant.stop()
    assert plant.lag() >= 1
    assert plant.state("D") is None
    assert {letter.student_number for letter in plant.letters()} == {"A", "B", "C"}


def test_the_quarantine_outlives_a_restart_and_an_operator_lifts_it(plant: Plant) -> None:
    refuse_everybody(plant)
    plant.stop()
    plant.target.script = lambda _task: None
    plant.account("D")
    plant.ring("D")
    plant.observer.states.clear()
    plant.start()
    plant.until(lambda: "quarantined" in plant.observer.states)
    assert plant.state("D") is None
    with plant.database.write() as connection:
        assert quarantine.lift(connection, plant.target.name)
    plant.until(lambda: plant.applied("D") == 1)


def test_what_one_process_found_stops_the_others_and_its_trial_lets_them_go_on(plant: Plant) -> None:
    engines = [Engine(STRICT), Engine(STRICT)]
    here, there = (Quarantine("moodle", engine, plant.database) for engine in engines)
    engines[0].quarantine(0.0, "3 of 3")
    here.agree(0.0)
    there.agree(0.0)
    assert engines[1].circuit.reason == "3 of 3"
    engines[0].lift()  # a student who was tried here succeeded
    here.agree(1.0)
    there.agree(1.0)
    assert not engines[1].circuit.quarantined
    assert engines[1].circuit.passes


def test_a_quarantine_is_lifted_once_and_a_new_one_is_written_anew(plant: Plant) -> None:
    engine = Engine(STRICT)
    here = Quarantine(plant.target.name, engine, plant.database)
    for now, why in enumerate(["the first", "the second"]):
        engine.quarantine(now, why)
        for _ in range(2):
            here.agree(now)
            assert present(row(plant)).reason == why
            assert engine.circuit.quarantined  # who has written the row does not take it for lifted
        with plant.database.write() as connection:
            quarantine.lift(connection, plant.target.name)
        for _ in range(2):
            here.agree(now)
            assert not engine.circuit.quarantined
            assert row(plant) is None


def test_a_row_of_another_process_is_taken_away_by_a_trial_here_and_only_then(plant: Plant) -> None:
    engine = Engine(STRICT)
    here = Quarantine(plant.target.name, engine, plant.database)
    with plant.database.write() as connection:
        quarantine.place(connection, plant.database, plant.target.name, "elsewhere")
        quarantine.place(connection, plant.database, "moodle", "another consumer's")
    for _ in range(2):
        here.agree(5.0)
        assert (engine.circuit.reason, engine.circuit.since) == ("elsewhere", 5.0)
        assert row(plant) is not None
    engine.lift()
    for _ in range(2):
        here.agree(6.0)
        assert not engine.circuit.quarantined
        assert row(plant) is None
    with plant.database.read() as connection:
        assert [each.consumer for each in quarantine.every(connection)] == ["moodle"]
