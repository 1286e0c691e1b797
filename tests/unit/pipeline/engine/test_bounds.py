"""The engine's bounds, exactly: what may run at once, what may be read, and whose batch is next."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Batch, Bell, Place
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.engine.offsets import OffsetTracker
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS, by_lane


def ring(engine: Engine, numbers: str, lane: Lane = Lane.PERSONAL, now: float = 0.0) -> None:
    """Each letter is a student; a topic's offsets are as those of the alphabet."""
    for number in numbers:
        place = Place(by_lane(ACCOUNTS, lane), 0, ord(number))
        engine.offer(Bell(number, 1, lane, number, place=place), now)


def begin(engine: Engine, now: float = 0.0) -> list[Batch]:
    """All that may start now."""
    return list(iter(lambda: engine.take(now), None))


def names(batches: list[Batch]) -> list[str]:
    return ["".join(item.student_number for item in batch.items) for batch in batches]


@pytest.mark.parametrize(("lane", "slots"), [(Lane.PERSONAL, 3), (Lane.BULK, 2)])
def test_beyond_its_lanes_slots_a_batch_starts_ahead_only_if_it_is_full(lane: Lane, slots: int) -> None:
    engine = Engine(Limits(batch_size=2, linger_s=0.0, slots=3, slots_personal=1, ahead=2, bulk_every=5))
    ring(engine, "ABCDEF"[: 2 * slots], lane)
    full = begin(engine)
    assert names(full) == ["AB", "CD", "EF"][:slots]
    ring(engine, "V", lane)
    assert begin(engine) == []  # it may still become full
    ring(engine, "W", lane)
    assert names(begin(engine)) == ["VW"]
    ring(engine, "X", lane)
    engine.settled(full.pop(), 0.0, answered=True)
    assert begin(engine) == []  # as many as there are slots
    engine.settled(full.pop(), 0.0, answered=True)
    assert names(begin(engine)) == ["X"]


def test_every_end_makes_room_for_one_batch_of_its_lane() -> None:
    engine = Engine(Limits(batch_size=1, linger_s=0.0, slots=3, slots_personal=1))
    ring(engine, "ABCDEFGH", Lane.BULK)
    running = begin(engine)
    assert names(running) == ["A", "B"]
    for following in "CDEFGH":
        engine.settled(running.pop(0), 0.0, answered=True)
        running += begin(engine)
        assert names(running)[1:] == [following]


def test_a_batch_waits_its_linger_time_at_any_hour_of_the_clock() -> None:
    engine = Engine(Limits(batch_size=2, linger_s=1.0))
    ring(engine, "A", now=1000.0)
    assert begin(engine, 1000.9) == []
    assert names(begin(engine, 1001.0)) == ["A"]


def test_each_record_that_is_settled_makes_room_for_one() -> None:
    engine = Engine(Limits(batch_size=2, linger_s=0.0, in_hand_max=10))
    ring(engine, "ABCDEF")
    first, second, third = begin(engine)
    for batch, room in ((second, 6), (first, 8), (third, 10)):
        engine.settled(batch, 0.0, answered=True)
        assert engine.capacity(Lane.PERSONAL) == room


@pytest.mark.parametrize("running", [False, True], ids=["who waits", "who is worked on"])
def test_a_parked_bell_gives_nobody_a_second_turn(*, running: bool) -> None:
    engine = Engine(Limits(batch_size=1, linger_s=0.0))
    ring(engine, "A")
    batches = begin(engine) if running else []
    engine.offer(Bell("A", 1, Lane.PERSONAL, "parked"), 0.0)
    batches += begin(engine)
    assert [item.rang for batch in batches for item in batch.items] == [1]
    engine.settled(batches[0], 0.0, answered=True)
    assert engine.idle


@pytest.mark.parametrize("bound", ["slots", "batch_size", "in_hand_max", "bulk_every"])
def test_nothing_of_which_one_is_needed_may_be_less(bound: str) -> None:
    least = {"slots": 1, "batch_size": 1, "in_hand_max": 1, "bulk_every": 1, "slots_personal": 0}
    assert getattr(Limits(**least), bound) == 1
    with pytest.raises(ValueError, match=rf"{bound}\n.*greater than or equal to 1"):
        Limits(**{**least, bound: 0})


def test_nothing_may_be_ahead_by_less_than_nothing() -> None:
    assert Limits(ahead=0).ahead == 0
    with pytest.raises(ValueError, match=r"ahead\n.*greater than or equal to 0"):
        Limits(ahead=-1)


def test_a_record_that_is_settled_twice_is_settled() -> None:
    tracker = OffsetTracker(generation=0)
    assert tracker.read(7)
    for _ in range(2):
        tracker.settle(7)
    assert tracker.to_commit() == 8
