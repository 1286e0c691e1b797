"""What a result means to the engine: who comes again, who is charged, and what is no evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.engine.bell import Batch, Bell, Place, WorkItem
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled
from pipeline.runner.batch_run import BatchRun, Probed, Results
from pipeline.target import Dead, HandlerOutcome
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from sesame.testing.servers.target_kit import Silent
from tests.unit.pipeline.engine.engine_kit import numbers


@dataclass
class Effects:
    """Notes who is charged and who is buried, or raises `error` instead."""

    error: Exception | None = None
    charge_error: Exception | None = None
    charged: list[str] = field(default_factory=list)
    buried: list[str] = field(default_factory=list)

    def charge(self, items: Sequence[WorkItem]) -> None:
        self._refuse()
        if self.charge_error is not None:
            raise self.charge_error
        self.charged += [item.student_number for item in items]

    def record_fault(self, item: WorkItem, _error: Exception) -> None:
        self._refuse()
        self.buried.append(item.student_number)

    def _refuse(self) -> None:
        if self.error is not None:
            raise self.error


class ResultsHarness:
    """Results for a real engine that has four students in hand."""

    def __init__(self) -> None:
        self.engine = Engine(Limits(batch_size=4, linger_s=0.0, slots=2, slots_personal=0))
        self.effects, self.withdrawn_through = Effects(), 0.0
        self.now = 0.0
        anything: Any = self.effects
        runner: Any = self
        self.observer = Silent()
        self.results = Results("target", self.engine, anything, runner, self.observer, lambda: self.now)
        for offset, number in enumerate("ABCD"):
            self.ring(number, offset)

    def ring(self, number: str, offset: int) -> None:
        place = Place(ACCOUNTS, 0, offset)
        self.engine.offer(Bell(number, 1, Lane.PERSONAL, f"e{offset}", place=place), self.now)

    def stop_calling(self, through: float) -> None:
        self.withdrawn_through = through

    def take(self) -> Batch:
        batch = self.engine.take(self.now)
        assert batch is not None
        return batch

    def probe(self) -> None:
        self.now += 100.0
        assert self.engine.circuit.probe_due(self.now)
        self.results.tell(Probed())

    def left_alone(self) -> Batch:
        """The batch of one to which failing calls were narrowed down."""
        while len((batch := self.take()).items) > 1:
            self.results.tell(BatchRun(batch, error=TargetDown("500")))
            self.probe()
        return batch


@pytest.fixture
def desk() -> ResultsHarness:
    return ResultsHarness()


def answered(batch: Batch, final: Mapping[str, HandlerOutcome] | None = None, uncalled: str = "") -> BatchRun:
    """The target was called for all but these, and answered; for none, it was not called."""
    someone: Any = SimpleNamespace(decided=None)
    admitted = {number: someone for number in numbers(batch) if number not in uncalled}
    return BatchRun(batch, admitted, called=bool(admitted), final=dict(final or {}))


@pytest.mark.parametrize(
    "error",
    [TargetDown("500"), Throttled("429", retry_after_s=1.0), Misconfigured("token"), KeyError("oops")],
)
def test_what_rang_during_a_call_that_failed_rings_again_with_what_it_was_called_for(
    desk: ResultsHarness, error: Exception
) -> None:
    batch = desk.take()
    desk.ring("A", 4)
    desk.results.tell(BatchRun(batch, error=error))
    desk.now += 100.0
    if not desk.engine.circuit.passes and desk.engine.circuit.state is not CircuitState.THROTTLED:
        desk.probe()
    again = [item for _ in range(2) for item in _next(desk)]
    offsets = {item.student_number: [place.offset for place in item.places] for item in again}
    assert offsets == {"A": [0, 4], "B": [1], "C": [2], "D": [3]}


def _next(desk: ResultsHarness) -> Sequence[WorkItem]:
    batch = desk.engine.take(desk.now)
    if batch is None:
        return ()
    desk.results.tell(answered(batch))
    return batch.items


@pytest.mark.parametrize("error", [DependencyDown("the store is away"), None])
def test_what_rang_while_the_store_failed_or_a_batch_was_withdrawn_is_not_lost(
    desk: ResultsHarness, error: Exception | None
) -> None:
    batch = desk.take()
    desk.ring("A", 4)
    if error is None:
        desk.results.tell(BatchRun(batch, withdrawn=True))
    else:
        with pytest.raises(DependencyDown, match="the store is away"):
            desk.results.tell(BatchRun(batch, error=error))
    again = desk.take()
    assert numbers(again) == ["A", "B", "C", "D"]  # all at once: nobody is to blame
    assert [place.offset for place in again.items[0].places] == [0, 4]


@pytest.mark.parametrize(
    "error",
    [TargetDown("no answer"), Throttled("no answer", retry_after_s=1.0), Misconfigured("no answer")],
    ids=["down", "throttled", "misconfigured"],
)
def test_the_engine_is_told_why_in_the_error_s_words(desk: ResultsHarness, error: Exception) -> None:
    desk.results.tell(BatchRun(desk.take(), error=error))
    assert desk.engine.circuit.reason.startswith("no answer")
    if not isinstance(error, Throttled):
        desk.now += 100.0
        assert desk.engine.circuit.probe_due(desk.now)
        desk.results.tell(Probed(TargetDown("still none")))
        assert desk.engine.circuit.reason.startswith("still none")


def test_an_error_withdraws_what_was_begun_before_it_and_a_success_nothing(desk: ResultsHarness) -> None:
    batch = desk.take()
    desk.results.tell(answered(batch))
    assert desk.withdrawn_through == 0.0
    desk.ring("A", 4)
    batch = desk.take()
    desk.results.tell(BatchRun(batch, error=TargetDown("500")))
    assert desk.withdrawn_through == batch.number


def test_one_whose_work_fails_alone_is_charged_and_that_is_no_evidence_that_the_target_is_well(
    desk: ResultsHarness,
) -> None:
    alone = desk.left_alone()
    desk.results.tell(BatchRun(alone, error=TargetDown("500")))
    assert desk.effects.charged == []
    desk.probe()
    assert desk.effects.charged == numbers(alone)
    assert desk.engine.circuit.state is CircuitState.HALF_OPEN


def test_a_batch_that_called_nobody_is_no_evidence_that_the_target_is_well(desk: ResultsHarness) -> None:
    desk.results.tell(BatchRun(desk.take(), error=TargetDown("500")))
    desk.probe()
    halves = [desk.take()]
    desk.results.tell(answered(halves[0], uncalled="ABCD"))
    states = [desk.engine.circuit.state]
    halves.append(desk.take())
    desk.results.tell(answered(halves[1]))
    assert sorted(numbers(halves[0]) + numbers(halves[1])) == list("ABCD")
    assert [*states, desk.engine.circuit.state] == [CircuitState.HALF_OPEN, CircuitState.CLOSED]


def test_a_probe_that_fails_charges_nobody(desk: ResultsHarness) -> None:
    alone = desk.left_alone()
    desk.results.tell(BatchRun(alone, error=TargetDown("500")))
    desk.now += 100.0
    assert desk.engine.circuit.probe_due(desk.now)
    desk.results.tell(Probed(TargetDown("500")))
    desk.probe()
    assert desk.effects.charged == []


def test_one_who_cannot_be_charged_while_the_store_is_away_comes_again(desk: ResultsHarness) -> None:
    alone = desk.left_alone()
    desk.results.tell(BatchRun(alone, error=TargetDown("500")))
    desk.effects.error = DependencyDown("away")
    with pytest.raises(DependencyDown, match="away"):
        desk.probe()
    assert numbers(desk.take()) == numbers(alone)


def test_one_whom_a_fault_of_ours_does_not_let_be_charged_is_buried_and_holds_nobody_up(
    desk: ResultsHarness,
) -> None:
    alone = desk.left_alone()
    desk.results.tell(BatchRun(alone, error=TargetDown("500")))
    desk.effects.charge_error = KeyError("oops")
    desk.probe()
    assert desk.effects.buried == numbers(alone)
    assert [trouble[:20] for trouble in desk.observer.troubles] == ["unexpected: KeyError"]
    assert desk.engine.circuit.state is CircuitState.HALF_OPEN
    assert numbers(desk.take()) != numbers(alone)


def test_a_fault_of_ours_is_searched_by_halves_and_buried_alone_without_stopping_anybody(
    desk: ResultsHarness,
) -> None:
    tried: list[list[str]] = []
    while not desk.effects.buried:
        batch = desk.take()
        tried.append(numbers(batch))
        fault = KeyError("oops") if "D" in tried[-1] else None
        desk.results.tell(answered(batch) if fault is None else BatchRun(batch, error=fault))
    assert tried == [["A", "B", "C", "D"], ["A", "B"], ["C", "D"], ["C"], ["D"]]
    assert desk.effects.buried == ["D"]
    assert desk.engine.idle


def test_one_who_is_buried_for_a_fault_of_ours_is_no_evidence_that_the_target_is_well(
    desk: ResultsHarness,
) -> None:
    alone = desk.left_alone()
    desk.results.tell(BatchRun(alone, error=KeyError("oops")))
    assert desk.effects.buried == numbers(alone)
    assert desk.engine.circuit.state is CircuitState.HALF_OPEN


def test_one_who_cannot_be_buried_while_the_store_is_away_comes_again(desk: ResultsHarness) -> None:
    for _ in range(2):
        desk.results.tell(BatchRun(desk.take(), error=KeyError("oops")))
    desk.effects.error = DependencyDown("away")
    with pytest.raises(DependencyDown):
        desk.results.tell(BatchRun(desk.take(), error=KeyError("oops")))
    assert numbers(desk.take()) == ["A"]


def test_an_answer_clears_those_alone_for_whom_the_target_was_called(desk: ResultsHarness) -> None:
    desk.results.tell(BatchRun(desk.take(), error=TargetDown("500")))
    desk.probe()
    desk.results.tell(answered(desk.take(), uncalled="A"))
    desk.results.tell(answered(desk.take()))
    for offset, number in enumerate("AB", 4):
        desk.ring(number, offset)
    assert [numbers(desk.take()) for _ in range(2)] == [["A"], ["B"]]


def test_those_who_were_given_up_are_counted_as_such(desk: ResultsHarness) -> None:
    for offset in range(4, 40):
        desk.ring(f"S{offset}", offset)
    for _ in range(5):
        batch = desk.take()
        desk.results.tell(answered(batch, dict.fromkeys(numbers(batch), Dead("refused", "by value"))))
    assert desk.engine.circuit.state is CircuitState.QUARANTINED


class IdleResultsHarness(ResultsHarness):
    """A target that had no work for a while, and is probed for that."""

    def __init__(self) -> None:
        super().__init__()
        self.results.tell(answered(self.take()))
        self.without_work()

    def without_work(self) -> None:
        """Let time pass until a probe is due for that."""
        assert not self.engine.probe_due(self.now)
        self.now += 100.0
        assert self.engine.probe_due(self.now)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, CircuitState.CLOSED),
        (TargetDown("no answer"), CircuitState.OPEN),
        (Misconfigured("the token is refused", remedy="Make a new token."), CircuitState.MISCONFIGURED),
        (Throttled("too many", retry_after_s=40.0), CircuitState.THROTTLED),
        (KeyError("x"), CircuitState.OPEN),
    ],
    ids=["well", "down", "refused", "throttled", "odd"],
)
def test_a_target_that_is_away_while_nobody_needs_it_is_stopped_all_the_same(
    error: Exception | None, state: CircuitState
) -> None:
    desk = IdleResultsHarness()
    desk.results.tell(Probed(error))
    assert desk.engine.circuit.state is state
    assert desk.effects.charged == []
    assert bool(desk.engine.circuit.reason) is (error is not None)


def test_a_probe_for_want_of_work_does_not_end_a_pause_that_work_met_meanwhile() -> None:
    for error in (None, TargetDown("no answer")):
        desk = IdleResultsHarness()
        desk.ring("E", 4)
        desk.results.tell(BatchRun(desk.take(), error=Throttled("too many", retry_after_s=400.0)))
        desk.results.tell(Probed(error))
        assert desk.engine.circuit.state is CircuitState.THROTTLED


def test_a_target_that_is_back_while_nobody_needs_it_is_believed_in_again_but_not_in_quarantine() -> None:
    for quarantined, state in ((False, CircuitState.CLOSED), (True, CircuitState.HALF_OPEN)):
        desk = IdleResultsHarness()
        desk.results.tell(Probed(TargetDown("no answer")))
        if quarantined:
            desk.engine.quarantine(desk.now, "too many")
        desk.now += 500.0
        assert desk.engine.probe_due(desk.now)
        desk.results.tell(Probed())
        assert desk.engine.circuit.state is CircuitState.HALF_OPEN
        desk.now += 100.0
        assert desk.engine.probe_due(desk.now)
        desk.results.tell(Probed())
        assert desk.engine.circuit.state is state
