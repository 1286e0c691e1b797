"""Rebalances: a partition that is lost and won again is another generation of it."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Bell, Place
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from tests.unit.pipeline.engine.engine_kit import taken


@pytest.fixture
def engine() -> Engine:
    return Engine(Limits(batch_size=1, linger_s=0.0))


def ring(engine: Engine, number: str, offset: int, partition: int = 0) -> None:
    place = Place(ACCOUNTS, partition, offset, engine.generation(ACCOUNTS, partition))
    engine.offer(Bell(number, 1, Lane.PERSONAL, f"e{offset}", place=place), 0.0)


def test_what_had_not_begun_is_left_to_the_new_owner(engine: Engine) -> None:
    ring(engine, "A", 0)
    ring(engine, "B", 0, partition=1)
    engine.revoke([(ACCOUNTS, 0)])
    assert [item.student_number for item in taken(engine).items] == ["B"]
    assert engine.take(0.0) is None
    assert engine.capacity(Lane.PERSONAL) == engine.limits.in_hand_max - 1


def test_what_is_lost_makes_room_for_as_many_others_and_what_runs_still_counts(engine: Engine) -> None:
    for offset in range(5):
        ring(engine, f"S{offset}", offset)
    first, second = taken(engine), taken(engine)
    engine.revoke([(ACCOUNTS, 0)])
    assert engine.capacity(Lane.PERSONAL) == engine.limits.in_hand_max - 2
    for late in (first, second):
        engine.settled(late, 0.0, answered=True)
    assert engine.capacity(Lane.PERSONAL) == engine.limits.in_hand_max
    assert engine.idle


def test_one_who_is_accused_and_lost_is_charged_by_nobody(engine: Engine) -> None:
    ring(engine, "A", 0)
    ring(engine, "B", 1)
    engine.tripped(taken(engine), 0.0, "no answer")
    assert engine.circuit.probe_due(1.0)
    assert engine.probed(1.0, ok=True) is None
    engine.tripped(taken(engine, 1.0), 1.0, "no answer")  # A again, alone: accused
    engine.revoke([(ACCOUNTS, 0)])
    assert engine.circuit.probe_due(10.0)
    assert engine.probed(10.0, ok=True) is None
    assert engine.idle


def test_one_who_also_came_from_elsewhere_keeps_the_place(engine: Engine) -> None:
    ring(engine, "A", 0)
    ring(engine, "A", 0, partition=1)
    engine.revoke([(ACCOUNTS, 0)])
    assert [place.partition for place in taken(engine).items[0].places] == [1]


def test_a_late_end_of_an_earlier_generation_settles_nothing_in_the_later(engine: Engine) -> None:
    ring(engine, "A", 5)
    late = taken(engine)
    engine.revoke([(ACCOUNTS, 0)])  # the topic was lost and made anew: its offsets are other records now
    ring(engine, "B", 5)
    engine.settled(late, 0.0, answered=True)
    assert engine.to_commit() == {(ACCOUNTS, 0): 5}
    engine.settled(taken(engine), 0.0, answered=True)
    assert engine.to_commit() == {(ACCOUNTS, 0): 6}


def test_a_record_that_was_read_before_the_loss_and_offered_after_it_is_not_tracked(engine: Engine) -> None:
    place = Place(ACCOUNTS, 0, 7, engine.generation(ACCOUNTS, 0))
    engine.revoke([(ACCOUNTS, 0)])
    engine.skip(place)
    assert engine.to_commit() == {}
