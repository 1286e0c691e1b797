"""The stages that batches go through in threads: group commit, and who waits for a slot."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from pipeline.engine import Batch, Limits
from pipeline.worker.ready import Ready
from pipeline.worker.together import Together
from sandbox.process import PATIENCE_S
from schemas.account import Lane

# --- group commit ------------------------------------------------------------------------------------------


def test_a_group_ends_with_the_item_by_which_it_reaches_its_size() -> None:
    groups: list[list[str]] = []
    inbox: Together[str] = Together(groups.append, size=len, size_max=3)
    for item in ("ab", "c", "d", "efgh", "i"):
        inbox.put(item)
    while inbox.once():
        pass
    assert groups == [["ab", "c"], ["d", "efgh"], ["i"]]


def test_the_end_comes_after_what_was_put_before() -> None:
    groups: list[list[str]] = []
    inbox: Together[str] = Together(groups.append, size=len, size_max=2)
    for item in "abc":
        inbox.put(item)
    inbox.end()
    inbox.run()
    assert groups == [["a", "b"], ["c"]]
    assert not inbox.once()


def test_the_first_of_a_group_waits_for_others_as_long_as_it_is_told_when_it_is_there() -> None:
    """The second comes while the first lingers; what comes afterwards is the next group's."""
    now, lingers = [100.0], iter([2.0, 0.0])
    groups: list[list[str]] = []

    def size(item: str) -> int:  # asked as soon as an item is there
        if item == "a":
            inbox.put("b")
        if item == "b":
            now[0] += 2.0
        return 1

    inbox: Together[str] = Together(
        groups.append, size=size, size_max=10, linger_s=lambda: next(lingers), clock=lambda: now[0]
    )
    inbox.put("a")
    assert inbox.once(wait=True)
    inbox.put("c")
    assert inbox.once(wait=True)
    assert groups == [["a", "b"], ["c"]]


def test_one_who_does_not_wait_takes_what_is_there_without_lingering() -> None:
    groups: list[list[str]] = []
    inbox: Together[str] = Together(groups.append, size=len, size_max=10, linger_s=lambda: 3600.0)
    assert not inbox.once()
    inbox.put("a")
    assert inbox.once()
    assert groups == [["a"]]


# --- who waits for a slot ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    batch: Batch


def item(number: int, lane: Lane = Lane.PERSONAL) -> Item:
    return Item(Batch(number, lane, ()))


def test_a_slot_is_taken_until_its_call_is_done_and_nobody_is_called_beyond_them() -> None:
    ready: Ready[Item] = Ready(Limits(slots=2, slots_personal=0))
    first, second, third = items = [item(number) for number in range(3)]
    for each in items:
        ready.put(each)
    assert ready.standing() == (2, {Lane.PERSONAL: 3, Lane.BULK: 0})
    assert [ready.take(wait=False) for _ in range(3)] == [first, second, None]
    assert ready.standing() == (0, {Lane.PERSONAL: 1, Lane.BULK: 0})
    ready.done(first)
    assert ready.free() == 1
    assert ready.take(wait=False) is third
    for each in (second, third):
        ready.done(each)
    assert ready.standing() == (2, {Lane.PERSONAL: 0, Lane.BULK: 0})
    assert ready.take(wait=False) is None


def test_each_slot_that_becomes_free_calls_one_who_was_withheld() -> None:
    ready: Ready[Item] = Ready(Limits(slots=3, slots_personal=1))
    items = [item(number, Lane.BULK) for number in range(6)]
    for each in items:
        ready.put(each)
    called = list(iter(lambda: ready.take(wait=False), None))
    assert called == items[:2]
    for number in range(2, 6):
        ready.done(items[number - 2])
        assert ready.take(wait=False) is items[number]
        assert ready.take(wait=False) is None
    ready.put(person := item(7))
    assert ready.take(wait=False) is person  # the slot that never serves bulk work


def test_everybody_who_waits_is_told_that_it_is_over_and_nobody_is_called_then() -> None:
    ready: Ready[Item] = Ready(Limits(slots=3))
    found: list[Item | None] = []
    threads = [threading.Thread(target=lambda: found.append(ready.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.end()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == [None] * 3
    ready.put(item(1))
    assert ready.take() is None


def test_one_who_waits_is_handed_what_is_put_later() -> None:
    ready: Ready[Item] = Ready(Limits(slots=1, slots_personal=0))
    found: list[Item | None] = []
    thread = threading.Thread(target=lambda: found.append(ready.take()))
    thread.start()
    ready.put(first := item(1))
    thread.join(PATIENCE_S)
    assert found == [first]


@pytest.mark.parametrize("slots", [1, 4])
def test_until_somebody_is_called_all_slots_are_free(slots: int) -> None:
    assert Ready[Item](Limits(slots=slots, slots_personal=0)).free() == slots
