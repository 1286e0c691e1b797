"""Who has the next free slot: a person first, bulk its share, and nobody beyond the slots."""

from __future__ import annotations

import threading

import pytest

from pipeline.engine.bell import Batch
from pipeline.engine.limits import Limits
from pipeline.runner.batch_run import CallQueue, Precedence
from sandbox.process import PATIENCE_S
from schemas.account import Lane


def batch(number: int, lane: Lane = Lane.PERSONAL) -> Batch:
    return Batch(number, lane, ())


def taken(queue: CallQueue) -> list[Batch]:
    """All that may have a slot now."""
    return list(iter(lambda: queue.take(wait=False), None))


def test_a_slot_is_taken_until_its_call_is_done_and_nobody_is_called_beyond_them() -> None:
    queue = CallQueue(Limits(slots=2, slots_personal=0))
    first, second, third = batches = [batch(number) for number in range(3)]
    for each in batches:
        queue.put(each)
    assert taken(queue) == [first, second]
    queue.done(first)
    assert taken(queue) == [third]
    for each in (second, third):
        queue.done(each)
    assert taken(queue) == []


@pytest.mark.parametrize("slots", [1, 4])
def test_until_somebody_is_called_all_slots_are_free(slots: int) -> None:
    queue = CallQueue(Limits(slots=slots, slots_personal=0))
    for number in range(10):
        queue.put(batch(number))
    assert len(taken(queue)) == slots


def test_some_slots_never_serve_bulk_so_a_person_never_waits_behind_a_batch() -> None:
    queue = CallQueue(Limits(slots=3, slots_personal=1))
    bulk = [batch(number, Lane.BULK) for number in range(6)]
    for each in bulk:
        queue.put(each)
    assert taken(queue) == bulk[:2]
    for number in range(2, 6):
        queue.done(bulk[number - 2])
        assert taken(queue) == [bulk[number]]
    queue.put(person := batch(7))
    assert taken(queue) == [person]


def test_a_person_who_came_later_is_called_before_the_bulk_and_bulk_keeps_its_share() -> None:
    queue = CallQueue(Limits(slots=3, slots_personal=1, bulk_every=3))
    for index in range(1, 5):
        queue.put(batch(index, Lane.BULK))
    for index in range(5, 9):
        queue.put(batch(index))
    order = []
    for _ in range(6):
        one = queue.take(wait=False)
        assert one is not None
        order.append(one.number)
        queue.done(one)
    assert order == [5, 6, 1, 7, 8, 2]
    assert [one.number for one in taken(queue)] == [3, 4]  # the last slot is a person's


def test_while_both_lanes_have_work_every_nth_batch_is_a_bulk_one_and_no_other() -> None:
    precedence = Precedence(bulk_max=2, bulk_every=3)
    begun = []
    for _ in range(9):
        lane = precedence.order(0)[0]
        begun.append(lane)
        precedence.started(lane)
    personal, bulk = Lane.PERSONAL, Lane.BULK
    assert begun == [personal, personal, bulk] * 3


def test_before_short_calls_one_batch_a_slot_is_admitted_ahead_and_has_the_next_slot() -> None:
    queue = CallQueue(Limits(slots=2, slots_personal=0))
    first, second, third, fourth, fifth = batches = [batch(number) for number in range(5)]
    for each in batches:
        queue.put(each)
    assert taken(queue) == [first, second]
    queue.short_calls = True
    assert taken(queue) == [third, fourth]
    assert [queue.has_slot(each, 0) for each in batches[:4]] == [True, True, False, False]
    queue.done(second)
    assert [queue.has_slot(each, 0) for each in (third, fourth)] == [True, False]
    queue.short_calls = False
    assert taken(queue) == []
    queue.done(third)
    assert queue.has_slot(fourth, 0)
    queue.done(first)
    assert taken(queue) == [fifth]


def test_a_person_has_the_slot_before_the_bulk_that_was_admitted_ahead_which_keeps_its_share() -> None:
    queue = CallQueue(Limits(slots=3, slots_personal=1, bulk_every=3))
    queue.short_calls = True
    bulk, persons = (
        [batch(number, Lane.BULK) for number in range(6)],
        [batch(number) for number in range(6, 9)],
    )
    for each in bulk:
        queue.put(each)
    assert taken(queue) == bulk[:4]  # two have slots, and two more are ahead
    for each in persons:
        queue.put(each)
    assert taken(queue) == persons[:2]  # one has a person's slot; three are ahead of three slots
    queue.done(bulk[0])
    assert [queue.has_slot(each, 0) for each in (persons[1], bulk[2])] == [True, False]
    assert taken(queue) == [persons[2]]
    queue.done(bulk[1])
    assert [queue.has_slot(each, 0) for each in (persons[2], bulk[2])] == [False, True]


def test_a_batch_that_is_not_called_leaves_its_place_ahead_to_the_next() -> None:
    queue = CallQueue(Limits(slots=1, slots_personal=0))
    queue.short_calls = True
    first, second, third = batches = [batch(number) for number in range(3)]
    for each in batches:
        queue.put(each)
    assert taken(queue) == [first, second]
    queue.done(second)
    assert taken(queue) == [third]
    queue.done(first)
    assert queue.has_slot(third, 0)
    queue.done(third)
    queue.put(second)
    assert taken(queue) == [second]
    assert queue.has_slot(second, 0)


# --- threads -----------------------------------------------------------------------------------------------


def test_everybody_who_waits_is_told_that_it_is_over_and_nobody_is_called_then() -> None:
    queue = CallQueue(Limits(slots=3))
    found: list[Batch | None] = []
    threads = [threading.Thread(target=lambda: found.append(queue.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.end()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == [None] * 3
    queue.put(batch(1))
    assert queue.take() is None


def test_one_who_waits_is_handed_what_is_put_later_and_what_a_free_slot_allows() -> None:
    queue = CallQueue(Limits(slots=1, slots_personal=0))
    found: list[Batch | None] = []
    threads = [threading.Thread(target=lambda: found.append(queue.take())) for _ in range(2)]
    for thread in threads:
        thread.start()
    first, second = batch(1), batch(2)
    for each in (first, second):
        queue.put(each)
    while not found:
        threads[0].join(0.01)
    for thread in threads:
        thread.join(0.05)  # the one that is left has looked, and waits again
    assert found == [first]
    queue.done(first)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == [first, second]


def test_whoever_waits_for_calls_under_way_goes_on_when_the_last_is_done() -> None:
    queue = CallQueue(Limits(slots=2, slots_personal=0))
    queue.wait_idle(PATIENCE_S)  # none is
    for number in (1, 2):
        queue.put(batch(number))
    first, second = taken(queue)
    idle = threading.Event()

    def wait() -> None:
        queue.wait_idle(PATIENCE_S)
        idle.set()

    thread = threading.Thread(target=wait)
    thread.start()
    queue.done(first)
    assert not idle.wait(0.05)
    queue.put(batch(3))
    queue.done(second)
    assert not idle.wait(0.05), "the third is about to have its slot"
    [third] = taken(queue)
    queue.done(third)
    assert idle.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
