"""A batch's way from lease to record: who waits goes together; who must not be called is withdrawn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pipeline.effects import Entry
from pipeline.engine import Batch, Bell, Engine, Limits, Place, WorkItem
from pipeline.errors import DependencyDown, TargetDown
from pipeline.target import Done, HandlerOutcome
from pipeline.worker.calls import WAIT_S_MAX, Calls, Result
from pipeline.worker.ready import Ready
from pipeline.worker.together import Together
from sandbox.process import PATIENCE_S
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS

DONE = Done("sha256:0", changed=True)


@dataclass
class Student:
    """Stands for an entered item, its task and its account at once."""

    student_number: str
    lane: Lane = Lane.PERSONAL

    @property
    def task(self) -> Student:
        return self

    @property
    def account(self) -> Student:
        return self


@dataclass
class Effects:
    """Notes who was together in each effect."""

    entered: list[list[str]] = field(default_factory=list)
    finished: list[list[str]] = field(default_factory=list)
    withdrawn: list[list[str]] = field(default_factory=list)
    given_back: list[list[str]] = field(default_factory=list)
    refuses: Callable[[list[str]], Exception | None] = lambda _numbers: None

    def enter(self, items: Sequence[WorkItem]) -> Entry:
        self.entered.append([item.student_number for item in items])
        return Entry({item.student_number: cast("Any", Student(item.student_number)) for item in items})

    def finish(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> Mapping[str, HandlerOutcome]:
        if (error := self.refuses(list(entry.work))) is not None:
            raise error
        self.finished.append(list(entry.work))
        return outcomes

    def withdraw(self, entry: Entry) -> None:
        self.withdrawn.append(list(entry.work))

    def give_back(self, entry: Entry, *, unknown: bool) -> None:
        assert not unknown
        self.given_back.append(list(entry.work))


class Target:
    """Takes everybody, unless `fails`; looks at the clock's hand while it works."""

    name = "target"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda _numbers: None

    def handle(self, tasks: Sequence[Any]) -> Mapping[str, HandlerOutcome]:
        numbers = [task.account.student_number for task in tasks]
        self.calls.append(numbers)
        self.before(numbers)
        return dict.fromkeys(numbers, DONE)


class Desk:
    """Calls whose stages run in the test's thread, one after the other."""

    def __init__(self, limits: Limits) -> None:
        self.effects, self.target, self.now = Effects(), Target(), 0.0
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        observer: Any = type("Nobody", (), {"__getattr__": lambda *_: lambda *_: None})()
        handler: Any = self.target
        effects: Any = self.effects
        self.calls = Calls(handler, effects, observer, self.results, lambda: self.now, limits)

    def brought(self, *batches: Batch) -> list[Result]:
        for batch in batches:
            self.calls.begin(batch)
        self.calls.here()
        return [self.results.get_nowait() for _ in range(self.results.qsize())]


def batch(index: int, *numbers: str, lane: Lane = Lane.PERSONAL) -> Batch:
    items = tuple(WorkItem((Bell(number, 1, lane, f"event-{number}"),)) for number in numbers)
    return Batch(index, lane, items)


@pytest.fixture
def desk() -> Desk:
    return Desk(Limits(slots=2))


def test_what_waits_together_is_one_group_and_what_comes_meanwhile_is_the_next() -> None:
    groups: list[list[str]] = []
    inbox: Together[str] = Together(groups.append, size=len, size_max=4)
    for item in ("a", "b", "ccc", "d"):
        inbox.put(item)
    assert inbox.once()
    inbox.put("e")
    assert inbox.once()
    assert not inbox.once()
    assert groups == [["a", "b", "ccc"], ["d", "e"]]  # the third reached the size


def test_batches_that_wait_share_the_leases_transaction_and_the_acknowledgement(desk: Desk) -> None:
    results = desk.brought(batch(1, "A"), batch(2, "B", "C"))
    assert desk.target.calls == [["A"], ["B", "C"]]
    assert desk.effects.entered == desk.effects.finished == [["A", "B", "C"]]
    assert [(each.error, each.answered, each.called) for each in results] == [(None, True, True)] * 2


def test_a_fault_in_one_batch_is_not_the_others_although_their_ends_are_written_together(desk: Desk) -> None:
    fault = KeyError("oops")
    desk.effects.refuses = lambda numbers: fault if "B" in numbers else None
    results = desk.brought(batch(1, "A"), batch(2, "B"), batch(3, "C"))
    assert {each.batch.number: each.error for each in results if each.batch} == {1: None, 2: fault, 3: None}
    assert desk.effects.finished == [["A"], ["C"]]


def test_a_store_that_is_away_fails_the_whole_group_once(desk: Desk) -> None:
    away = DependencyDown("away")
    asked: list[list[str]] = []

    def refuse(numbers: list[str]) -> Exception:
        asked.append(numbers)
        return away

    desk.effects.refuses = refuse
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert [each.error for each in results] == [away, away]
    assert asked == [["A", "B"]]


def test_who_waits_for_a_call_while_the_target_goes_down_is_not_called(desk: Desk) -> None:
    def down(_numbers: list[str]) -> None:
        raise TargetDown("refused", unknown=False)

    desk.target.before = down
    results = desk.brought(batch(1, "A"), batch(2, "B"), batch(3, "C"))
    assert desk.target.calls == [["A"]]
    assert desk.effects.given_back == [["A"]]
    assert desk.effects.withdrawn == [["B", "C"]]
    assert [(each.batch.number, each.called) for each in results if each.batch] == [
        (1, True),
        (2, False),
        (3, False),
    ]


def test_batches_are_called_again_once_the_loop_says_through_which_number_they_are_not(desk: Desk) -> None:
    desk.calls.stop_calling(2)
    results = desk.brought(batch(2, "A"), batch(3, "B"))
    assert desk.target.calls == [["B"]]
    assert [(each.batch.number, each.called) for each in results if each.batch] == [(3, True), (2, False)]


def test_who_has_waited_so_long_that_the_lease_might_end_within_the_call_is_not_called(desk: Desk) -> None:
    def slow(numbers: list[str]) -> None:
        desk.now += WAIT_S_MAX + 0.1 if numbers == ["A"] else 0.0

    desk.target.before = slow
    desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.target.calls == [["A"]]
    assert desk.effects.withdrawn == [["B"]]


def test_a_person_who_was_let_in_later_is_called_before_the_bulk_and_bulk_keeps_its_share() -> None:
    @dataclass
    class Item:
        batch: Batch

    ready: Ready[Item] = Ready(Limits(slots=3, slots_personal=1, bulk_every=3))
    for index in range(1, 5):
        ready.put(Item(batch(index, f"B{index}", lane=Lane.BULK)))
    for index in range(5, 9):
        ready.put(Item(batch(index, f"P{index}")))
    order = []
    for _ in range(6):
        item = ready.take(wait=False)
        assert item is not None
        order.append(item.batch.number)
        ready.done(item)
    assert order == [5, 6, 1, 7, 8, 2]
    assert [ready.take(wait=False) is not None for _ in range(3)] == [
        True,
        True,
        False,
    ]  # the last is a person's


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end lingers for ever, where it does."""
    monkeypatch.setattr("pipeline.worker.calls.ENDS_LINGER_S_MAX", 600.0)


@pytest.mark.usefixtures("patience")
def test_an_end_lingers_while_another_call_is_under_way_so_that_both_are_written_together() -> None:
    desk = Desk(Limits(slots=2, linger_s=600.0))
    others, over = threading.Barrier(2, timeout=PATIENCE_S), threading.Event()

    def call(numbers: list[str]) -> None:
        others.wait()  # both are under way
        assert numbers == ["A"] or over.wait(PATIENCE_S)

    desk.target.before = call
    desk.calls.start()
    desk.calls.begin(batch(1, "A"))
    desk.calls.begin(batch(2, "B"))
    with pytest.raises(queue.Empty):
        desk.results.get(timeout=0.2)
    over.set()
    desk.calls.close()
    assert [desk.results.get(timeout=PATIENCE_S).error for _ in range(2)] == [None, None]
    assert desk.effects.finished == [["A", "B"]]


@pytest.mark.usefixtures("patience")
def test_an_end_does_not_linger_when_no_other_call_is_under_way() -> None:
    desk = Desk(Limits(slots=2, linger_s=600.0))
    desk.calls.start()
    desk.calls.begin(batch(1, "A"))
    assert desk.results.get(timeout=PATIENCE_S).answered
    desk.calls.close()


def test_only_full_batches_go_ahead_of_the_slots() -> None:
    engine = Engine(Limits(batch_size=2, linger_s=0.0, slots=1, slots_personal=0, ahead=1))
    for offset, number in enumerate("ABCDE"):
        place = Place(ACCOUNTS, 0, offset)
        engine.offer(Bell(number, 1, Lane.PERSONAL, number, False, place), 0.0)
    first, second = engine.take(0.0), engine.take(0.0)
    assert first is not None
    assert second is not None
    assert engine.take(0.0) is None  # slot and place ahead are taken
    engine.settled(first, 0.0, answered=True)
    assert engine.take(0.0) is None  # E alone may wait for company while the slot is taken
    engine.settled(second, 0.0, answered=True)
    last = engine.take(0.0)
    assert last is not None
    assert [item.student_number for item in last.items] == ["E"]


def test_a_result_says_for_whom_the_target_was_not_called(desk: Desk) -> None:
    """One whose lease is held elsewhere has not been answered for, although the others of the batch have."""
    let_in = desk.effects.enter

    def without_b(items: Sequence[WorkItem]) -> Entry:
        return let_in([item for item in items if item.student_number != "B"])

    desk.effects.enter = without_b  # type: ignore[method-assign]
    [result] = desk.brought(batch(1, "A", "B", "C"))
    assert desk.target.calls == [["A", "C"]]
    assert (result.answered, result.uncalled) == (True, frozenset("B"))
