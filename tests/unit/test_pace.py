"""How many batches may wait for their call: as many as will be called soon, whatever a call takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pipeline.engine import Batch, Bell, WorkItem
from pipeline.worker.pace import Pace
from schemas.account import Lane

SLOTS, WAIT_S = 4, 1.0


@dataclass
class Ready:
    """What was let in and waits, and the slots that are free."""

    waiting: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    free: int = SLOTS


@pytest.fixture
def ready() -> Ready:
    return Ready()


@pytest.fixture
def pace(ready: Ready) -> Pace:
    return Pace(SLOTS, WAIT_S, lambda: (ready.free, ready.waiting))


def batch(lane: Lane = Lane.BULK) -> Batch:
    return Batch(1, lane, (WorkItem((Bell("22600001", 1, lane, "event"),)),))


def let_in(pace: Pace, ready: Ready, lane: Lane = Lane.BULK) -> int:
    """How many of a lane are let in until it is held; they wait."""
    count = 0
    while lane not in pace.held():
        pace.begun(batch(lane))
        pace.entered([batch(lane)])
        ready.waiting[lane] += 1
        count += 1
    return count


def test_until_a_call_has_ended_only_the_free_slots_are_served(pace: Pace, ready: Ready) -> None:
    assert let_in(pace, ready) == SLOTS
    ready.waiting[Lane.BULK], ready.free = 0, 0
    assert pace.held() == set(Lane)


@pytest.mark.parametrize(("call_s", "waiting"), [(0.01, 400), (0.5, 8), (1.7, 2), (4.0, 1), (20.0, 0)])
def test_the_longer_a_call_takes_the_fewer_wait(
    pace: Pace, ready: Ready, call_s: float, waiting: int
) -> None:
    ready.free = 0
    pace.called(call_s)
    assert let_in(pace, ready) == waiting


def test_a_target_that_slows_down_has_fewer_waiting_after_a_few_calls(pace: Pace, ready: Ready) -> None:
    ready.free = 0
    pace.called(0.01)
    for _ in range(10):
        pace.called(2.0)
    assert let_in(pace, ready) == 2


def test_a_person_is_let_in_however_many_bulk_batches_wait(pace: Pace, ready: Ready) -> None:
    ready.free = 0
    pace.called(1.0)
    assert let_in(pace, ready, Lane.BULK) == 4
    assert pace.held() == {Lane.BULK}


def test_what_is_being_let_in_counts_as_waiting(pace: Pace, ready: Ready) -> None:
    ready.free = 1
    pace.begun(batch())
    assert pace.held() == {Lane.BULK}
    pace.entered([batch()])
    assert not pace.held()
