"""A pause over the processes of one consumer: the row keeps them from the target, and lets them go on."""

from __future__ import annotations

import pytest

from pipeline import pauses
from pipeline.engine.bell import Bell, Place
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from sesame.testing.servers.pipeline_kit import LIMITS, Plant


@pytest.fixture
def plant(live_plant: Plant) -> Plant:
    return live_plant


def paused(plant: Plant) -> bool:
    with plant.database.write() as connection:
        return pauses.place(
            connection, plant.database, plant.target.name, actor="ada", reason="mise à jour du serveur"
        )


def test_a_paused_consumer_leaves_the_backlog_over_a_restart_and_goes_on_where_it_was(plant: Plant) -> None:
    assert paused(plant)
    assert not paused(plant), "whoever came first has it"
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: "paused" in plant.observer.states)
    plant.stop()
    assert plant.lag() >= 1
    assert plant.state("A") is None
    plant.start()
    with plant.database.write() as connection:
        assert pauses.lift(connection, plant.target.name)
        assert not pauses.lift(connection, plant.target.name)
    plant.until(lambda: plant.applied("A") == 1)
    assert plant.letters() == []


def test_nothing_is_sent_or_probed_while_paused_whatever_the_circuit_is() -> None:
    engine = Engine(LIMITS)
    engine.offer(Bell("S1", 1, Lane.PERSONAL, "e1", place=Place(ACCOUNTS, 0, 1)), 0.0)
    engine.circuit.paused = True
    assert engine.take(100.0) is None
    assert engine.capacity(Lane.PERSONAL) == 0
    assert engine.due_in(100.0) is None, "nothing happens by itself"
    engine.circuit.down(100.0, "connection refused")
    assert not engine.circuit.probe_due(100_000.0)
    engine.circuit.paused = False
    assert engine.circuit.state is CircuitState.OPEN
    assert engine.circuit.probe_due(100_000.0), "a target that went down meanwhile is probed first"
