"""The log lost records that were not read: targets and propagation make up for them, the registry asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from pipeline import lost_records, parking
from pipeline.accounts import accounts
from pipeline.db.database import Database
from pipeline.parking import Kind
from schemas import catalogue
from schemas.account import Lane
from sesame.testing.servers.database_kit import START, Clock
from sesame.testing.servers.pipeline_kit import Plant, live_plant
from tests.unit.consumers.propagation.propagation_kit import LEA, TARGETS, PropagationHarness
from tests.unit.pipeline.facts_kit import FactLoopHarness

plant = live_plant


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[FactLoopHarness]:
    desk = FactLoopHarness(tmp_path, database)
    yield desk
    desk.close()


def lose(path: Path, topic: str) -> None:
    """Everything of a topic goes, as by a retention that is shorter than an outage."""
    with sqlite3.connect(path) as log:
        log.execute(
            "DELETE FROM records WHERE id >> 40 IN (SELECT id FROM partitions WHERE topic = ?)", (topic,)
        )
        log.execute("UPDATE partitions SET first_offset = next_offset WHERE topic = ?", (topic,))
    log.close()


def test_a_target_consumer_finds_in_the_store_whom_it_has_missed(plant: Plant, tmp_path: Path) -> None:
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    for number, version in (("A", 2), ("B", 1), ("C", 1)):
        plant.account(number, version)
        plant.ring(number, version)
    lose(tmp_path / "log.db", catalogue.ACCOUNTS)
    plant.target.calls.clear()
    plant.start()
    plant.until(lambda: (plant.applied("A"), plant.applied("B"), plant.applied("C")) == (2, 1, 1))
    plant.account("D")
    plant.ring("D")
    plant.until(lambda: plant.applied("D") == 1)
    plant.stop()
    assert plant.observer.states.count("stopped") == 2  # by the test, both times
    assert any("is not in the log" in told and "nobody is missed" in told for told in plant.observer.troubles)
    assert sorted(number for call in plant.target.calls for number in call) == ["A", "B", "C", "D"]
    assert plant.lag() == 0


def test_one_who_waits_for_an_event_that_may_be_lost_is_looked_at_too(plant: Plant, tmp_path: Path) -> None:
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    plant.account("A", 2)
    plant.ring("A", 2)
    with plant.database.write() as connection:
        lost = parking.Parked(
            "A",
            Kind.WAITING,
            1,
            1,
            None,
            0,
            0.0,
            0.0,
            0.0,
            "after_leader",
            "",
            Lane.PERSONAL,
            "x",
            replay=False,
        )
        parking.park(connection, plant.database, plant.target.name, lost, seen=None)
    lose(tmp_path / "log.db", catalogue.ACCOUNTS)
    plant.start()
    plant.until(lambda: plant.applied("A") == 2)


def test_the_registry_stands_still_says_what_to_do_and_goes_on_once_the_loss_is_accepted(
    desk: FactLoopHarness, tmp_path: Path
) -> None:
    desk.say("A")
    desk.start()
    desk.until(lambda: desk.handler.seen == ["A"])
    desk.stop()
    desk.say("LOST")
    lose(tmp_path / "log.db", catalogue.ACTIVATIONS)
    desk.start()
    desk.until(lambda: "records lost" in desk.observer.states)
    with desk.database.read() as connection:
        [loss] = lost_records.unaccepted(connection)
    assert (loss.consumer, loss.topic, loss.offset, loss.first) == ("registry", catalogue.ACTIVATIONS, 1, 2)
    with desk.database.write() as connection:
        assert lost_records.accept(connection, desk.database, "registry") == 1
    desk.say("B")
    desk.until(lambda: desk.handler.seen == ["A", "B"])


def test_a_consumer_of_facts_that_can_make_up_for_them_goes_on_by_itself(
    desk: FactLoopHarness, tmp_path: Path
) -> None:
    desk.handler.recovers = "3 students are compared again"
    desk.say("A")
    desk.start()
    desk.until(lambda: desk.handler.seen == ["A"])
    desk.stop()
    desk.say("LOST")
    lose(tmp_path / "log.db", catalogue.ACTIVATIONS)
    desk.start()
    desk.say("B")
    desk.until(lambda: desk.handler.seen == ["A", "B"])
    assert any("3 students are compared again" in told for told in desk.observer.troubles)


def test_propagation_lets_every_target_say_again_what_it_has_of_those_who_are_not_complete(
    database: Database,
) -> None:
    desk = PropagationHarness(database, Clock())
    desk.account()
    with database.write() as connection:
        connection.execute(update(accounts).values(activated_at=START))
        assert desk.propagation.make_up_for_lost(connection).startswith("1 students")
        rows = parking.all_parked_of(connection, LEA)
    assert set(rows) == set(TARGETS)
    assert {(row.kind, row.replay, row.lane) for row in rows.values()} == {(Kind.RESYNC, True, Lane.BULK)}


def test_whoever_has_not_activated_is_none_of_the_targets_business(plant: Plant, tmp_path: Path) -> None:
    plant.account("A")
    with plant.database.write() as connection:
        connection.execute(update(accounts).values(activated_at=None))
    plant.ring("A")
    plant.start()
    plant.until(lambda: "running" in plant.observer.states)
    plant.stop()
    plant.ring("A", 2)
    lose(tmp_path / "log.db", catalogue.ACCOUNTS)
    plant.start()
    plant.until(lambda: any("0 students are compared" in told for told in plant.observer.troubles))
    assert plant.parked("A") is None
