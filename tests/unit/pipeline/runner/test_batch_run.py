"""A batch's run from lease to report: who waits goes together; who must not be called is withdrawn."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.engine.bell import Bell, Place, WorkItem
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.errors import DependencyDown, TargetDown
from pipeline.runner.announcement import Admitted
from pipeline.runner.batch_run import WAIT_S_MAX, BatchRun, Probed, Runner
from pipeline.target import HandlerOutcome
from sandbox.process import PATIENCE_S
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from sesame.testing.servers.narrowing import present
from tests.unit.pipeline.runner.batch_run_kit import DONE, RunnerInThread, Student, batch


@dataclass
class Effects:
    """Notes who was together in each effect."""

    admitted: list[list[str]] = field(default_factory=list)
    published: list[list[str]] = field(default_factory=list)
    recorded: list[list[str]] = field(default_factory=list)
    withdrawn: list[list[str]] = field(default_factory=list)
    given_back: list[list[str]] = field(default_factory=list)
    refuses: Callable[[list[str]], Exception | None] = lambda _numbers: None

    def admit(self, items: Sequence[WorkItem]) -> dict[str, Admitted]:
        self.admitted.append([item.student_number for item in items])
        return {item.student_number: cast("Any", Student(item.student_number)) for item in items}

    def concluding(self, *_ends: object) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, admitted: Mapping[str, Admitted], _outcomes: Mapping[str, HandlerOutcome]) -> None:
        if (error := self.refuses(list(admitted))) is not None:
            raise error
        self.published.append(list(admitted))

    def record(
        self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
    ) -> Mapping[str, HandlerOutcome]:
        self.recorded.append(list(admitted))
        return outcomes

    def withdraw(self, admitted: Mapping[str, Admitted]) -> None:
        self.withdrawn.append(list(admitted))

    def give_back(self, admitted: Mapping[str, Admitted], *, unknown: bool) -> None:
        assert not unknown
        self.given_back.append(list(admitted))


class Target:
    """Takes everybody; `before` may hang or fail."""

    name = "target"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda _numbers: None

    def handle(self, tasks: Sequence[Any]) -> Mapping[str, HandlerOutcome]:
        numbers = [task.account.student_number for task in tasks]
        self.calls.append(numbers)
        self.before(numbers)
        return dict.fromkeys(numbers, DONE)


class BatchRunHarness(RunnerInThread):
    """A runner whose batches run in the test's thread, one after the other."""

    def __init__(self, limits: Limits) -> None:
        self.effects, self.target = Effects(), Target()
        self.moments: Iterator[float] = itertools.repeat(0.0)
        self.reports: queue.SimpleQueue[BatchRun | Probed] = queue.SimpleQueue()
        observer: Any = type("Nobody", (), {"__getattr__": lambda *_: lambda *_: None})()
        handler: Any = self.target
        effects: Any = self.effects
        self.runner = Runner(handler, effects, observer, self.reports, lambda: next(self.moments), limits)


@pytest.fixture
def desk() -> BatchRunHarness:
    return BatchRunHarness(Limits(slots=2))


def test_a_batch_is_admitted_called_published_recorded_and_reported(desk: BatchRunHarness) -> None:
    [run] = desk.brought(batch(1, "A", "B"))
    effects = desk.effects
    assert effects.admitted == desk.target.calls == effects.published == effects.recorded == [["A", "B"]]
    assert (run.error, run.called, run.withdrawn, run.final) == (None, True, False, {"A": DONE, "B": DONE})


def test_a_batch_whose_students_are_all_decided_calls_nobody(desk: BatchRunHarness) -> None:
    decided: dict[str, Any] = {number: SimpleNamespace(decided=DONE) for number in "AB"}
    desk.effects.admit = lambda items: decided  # type: ignore[method-assign]  # noqa: ARG005
    [run] = desk.brought(batch(1, "A", "B"))
    assert desk.target.calls == []
    assert (run.error, run.called, run.withdrawn, run.final) == (None, False, False, {"A": DONE, "B": DONE})


def test_nothing_is_recorded_that_the_log_has_not_acknowledged(desk: BatchRunHarness) -> None:
    desk.effects.refuses = lambda _numbers: DependencyDown("away")
    [run] = desk.brought(batch(1, "A"))
    assert isinstance(run.error, DependencyDown)
    assert (desk.effects.recorded, run.final) == ([], {})


def test_batches_that_wait_share_the_leases_transaction(desk: BatchRunHarness) -> None:
    """The first one's leases are being taken when the others come."""
    desk = BatchRunHarness(Limits(slots=3, slots_personal=0))
    admit, first, others = desk.effects.admit, threading.Event(), threading.Event()

    def slow(items: Sequence[WorkItem]) -> dict[str, Admitted]:
        if not first.is_set():
            first.set()
            assert others.wait(PATIENCE_S)
        return admit(items)

    desk.effects.admit = slow  # type: ignore[method-assign]
    desk.runner.start()
    desk.runner.begin(batch(1, "A"))
    assert first.wait(PATIENCE_S)
    for index, numbers in ((2, "BC"), (3, "D")):
        desk.runner.begin(batch(index, *numbers))
    while len(desk.runner._admissions._waiting) < 2:  # noqa: SLF001  # until both wait
        others.wait(0.001)
    others.set()
    assert [desk.report().error for _ in range(3)] == [None] * 3
    desk.runner.close()
    assert desk.effects.admitted[0] == ["A"]
    assert sorted(desk.effects.admitted[1]) == ["B", "C", "D"]


def test_who_waits_for_a_slot_while_the_target_goes_down_is_not_called_and_takes_no_lease(
    desk: BatchRunHarness,
) -> None:
    def down(_numbers: list[str]) -> None:
        raise TargetDown("refused", unknown=False)

    desk.target.before = down
    runs = desk.brought(batch(1, "A"), batch(2, "B"), batch(3, "C"))
    assert desk.target.calls == desk.effects.admitted == [["A"]]
    assert desk.effects.given_back == [["A"]]
    assert desk.effects.withdrawn == []
    assert [(each.batch.number, each.withdrawn) for each in runs] == [(1, False), (2, True), (3, True)]


def test_who_is_admitted_while_the_target_goes_down_is_withdrawn(desk: BatchRunHarness) -> None:
    admit = desk.effects.admit

    def meanwhile(items: Sequence[WorkItem]) -> dict[str, Admitted]:
        desk.runner.stop_calling(1)
        return admit(items)

    desk.effects.admit = meanwhile  # type: ignore[method-assign]
    [run] = desk.brought(batch(1, "A"))
    assert desk.target.calls == []
    assert desk.effects.withdrawn == [["A"]]
    assert (run.withdrawn, run.called, run.error) == (True, False, None)


def test_batches_are_called_again_once_the_loop_says_through_which_number_they_are_not(
    desk: BatchRunHarness,
) -> None:
    desk.runner.stop_calling(2)
    runs = desk.brought(batch(2, "A"), batch(3, "B"))
    assert desk.target.calls == [["B"]]
    assert [(each.batch.number, each.withdrawn) for each in runs] == [(2, True), (3, False)]


@pytest.mark.parametrize(("waited_s", "called"), [(WAIT_S_MAX, True), (WAIT_S_MAX + 0.1, False)])
def test_who_has_waited_so_long_that_the_lease_might_end_within_the_call_is_not_called(
    desk: BatchRunHarness, waited_s: float, *, called: bool
) -> None:
    desk.moments = itertools.chain([0.0], itertools.repeat(waited_s))  # admitted, and about to be called
    [run] = desk.brought(batch(1, "A"))
    assert (run.called, run.withdrawn) == (called, not called)
    assert desk.target.calls == [["A"]] * called
    assert desk.effects.withdrawn == [["A"]] * (not called)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end lingers for ever, where it does."""
    monkeypatch.setattr("pipeline.runner.batch_run.LINGER_S_MAX", 600.0)


@pytest.mark.usefixtures("patience")
def test_an_end_lingers_while_another_call_is_under_way_so_that_both_are_written_together() -> None:
    desk = BatchRunHarness(Limits(slots=3, slots_personal=0).model_copy(update={"linger_s": 600.0}))
    together = threading.Barrier(3, timeout=PATIENCE_S)
    over = {number: threading.Event() for number in "ABC"}

    def call(numbers: list[str]) -> None:
        together.wait()  # all are under way
        assert over[numbers[0]].wait(PATIENCE_S)

    desk.target.before = call
    desk.runner.start()
    for index, number in enumerate("ABC", 1):
        desk.runner.begin(batch(index, number))
    for waiting, number in enumerate("AB", 1):
        over[number].set()
        while len(desk.runner._conclusions._waiting) < waiting:  # noqa: SLF001  # until it waits
            over["C"].wait(0.001)
    with pytest.raises(queue.Empty):
        desk.reports.get(timeout=0.2)
    over["C"].set()
    desk.runner.close()
    assert [desk.report().error for _ in range(3)] == [None] * 3
    assert desk.effects.published == desk.effects.recorded
    assert desk.effects.recorded[0][:2] == ["A", "B"]


@pytest.mark.usefixtures("patience")
def test_an_end_does_not_linger_when_no_other_call_is_under_way() -> None:
    desk = BatchRunHarness(Limits(slots=2).model_copy(update={"linger_s": 600.0}))
    desk.runner.start()
    desk.runner.begin(batch(1, "A"))
    assert desk.report().called
    desk.runner.close()


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
    assert [item.student_number for item in present(engine.take(0.0)).items] == ["E"]


def test_a_report_says_for_whom_the_target_was_not_called(desk: BatchRunHarness) -> None:
    """One whose lease is held elsewhere has not been answered for, although the others of the batch have."""
    admit = desk.effects.admit

    def without_b(items: Sequence[WorkItem]) -> dict[str, Admitted]:
        return admit([item for item in items if item.student_number != "B"])

    desk.effects.admit = without_b  # type: ignore[method-assign]
    [run] = desk.brought(batch(1, "A", "B", "C"))
    assert desk.target.calls == [["A", "C"]]
    assert (run.called, run.uncalled) == (True, frozenset("B"))
