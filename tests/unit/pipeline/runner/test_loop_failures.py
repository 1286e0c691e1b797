"""The worker's loop when things around it fail: partitions, the store, a target that hangs, its own stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest

from pipeline.engine.bell import WorkItem
from pipeline.engine.limits import Backoff, Limits
from pipeline.errors import DependencyDown, Misconfigured, TargetDown
from pipeline.eventlog.port import Consumer, NewRecord, NotAssigned, Record, TopicPartition
from pipeline.runner import Effects
from pipeline.runner.announcement import Admitted
from pipeline.runner.loop import RECORDS_PER_POLL, RECORDS_PER_POLL_MAX
from pipeline.target import HandlerOutcome, Retry
from pipeline.target_states import State
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.account import Lane
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant, live_plant
from sesame.testing.servers.target_kit import Gate

plant = live_plant


def test_a_lane_that_was_full_when_its_partitions_were_lost_is_read_again_afterwards(plant: Plant) -> None:
    gate = Gate("A")
    plant.target.script = gate
    plant.limits = plant.limits.model_copy(update={"in_hand_max": 1})
    plant.account("A")
    plant.account("B")
    plant.ring("A")
    consumer = plant.consumer()
    plant.start(consumer=consumer)
    assert gate.reached.wait(PATIENCE_S)
    plant.until(lambda: "running" in plant.observer.states)
    other = plant.consumer()  # a restart of the same member takes the group over, and goes
    plant.until(lambda: not consumer.assignment())
    gate.open.set()
    plant.until(lambda: plant.applied("A") == 1)
    other.close()
    plant.ring("B")
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    assert plant.lag() == 0


def test_a_partition_that_went_and_came_back_within_one_poll_is_begun_anew(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another member has read further meanwhile: its commit is not taken back, and nothing stays behind."""
    gate = Gate("A")
    plant.target.script = gate
    plant.account("A")
    plant.ring("A")
    consumer = plant.consumer()
    came_back = threading.Event()
    poll = consumer.poll

    def poll_beside_another(wanted: int, timeout_s: float) -> list[Record]:
        if gate.reached.is_set() and not came_back.is_set():
            plant.ring("B")
            with closing(plant.consumer()) as other:  # a restart of the same member takes the group over
                theirs: list[Record] = []
                while len(theirs) < 2:
                    theirs += other.poll(2, 0.1)
                other.commit({theirs[0].tp: 2})
            came_back.set()
        return poll(wanted, timeout_s)

    monkeypatch.setattr(consumer, "poll", poll_beside_another)
    plant.start(consumer=consumer)
    assert came_back.wait(PATIENCE_S)
    gate.open.set()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert plant.lag() == 0


class Refusing:
    """A member whose first commit beyond the beginning is refused, though its partitions stay its own."""

    def __init__(self, inner: Consumer) -> None:
        self._inner = inner
        self.refused: dict[TopicPartition, int] = {}
        self.made: dict[TopicPartition, int] = {}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not self.refused and any(offsets.values()):
            self.refused = dict(offsets)
            raise NotAssigned("the group is being shared out anew")
        self._inner.commit(offsets)
        self.made |= offsets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_commit_that_was_refused_is_made_again(plant: Plant) -> None:
    plant.account("A")
    plant.ring("A")
    consumer = Refusing(plant.consumer())
    plant.start(consumer=consumer)
    plant.until(lambda: plant.applied("A") == 1)
    plant.until(lambda: any(consumer.made.values()))
    plant.stop()
    assert consumer.made == consumer.refused
    assert plant.lag() == 0


def test_a_student_whose_calls_always_hang_is_given_up_and_the_others_go_on(plant: Plant) -> None:
    error = TargetDown("timed out")
    plant.target.script = lambda task: error if task.account.student_number == "C" else None
    plant.lease_s = 0.1
    plant.backoff = Backoff(delay_s_min=0.01, delay_s_max=0.01, attempts_max=2)
    for number in "ABCDE":
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: len(plant.letters()) == 1)
    plant.until(lambda: all(plant.applied(number) == 1 for number in "ABDE"))
    plant.stop()
    [letter] = plant.letters()
    assert (letter.student_number, letter.cause, letter.attempts) == ("C", "fails_alone", 2)
    assert plant.lag() == 0


def test_a_student_whom_the_target_refuses_is_given_up_once_others_were_answered(plant: Plant) -> None:
    error = Misconfigured("insufficient rights")
    plant.target.script = lambda task: error if task.account.student_number == "C" else None
    plant.limits = plant.limits.model_copy(update={"misconfigured_delay_s": 0.05})
    plant.backoff = Backoff(delay_s_min=0.01, delay_s_max=0.01, attempts_max=2)
    plant.account("C")
    plant.ring("C")
    plant.start()
    others = iter(range(1_000))

    def given_up() -> bool:
        number = f"S{next(others)}"  # there is always somebody else
        plant.account(number)
        plant.ring(number)
        plant.until(lambda: plant.applied(number) == 1)
        return bool(plant.letters())

    plant.until(given_up)
    plant.stop()
    [letter] = plant.letters()
    assert (letter.student_number, letter.cause, letter.attempts) == ("C", "fails_alone", 2)
    assert plant.lag() == 0


class Failing(Effects):
    """Meets an unforeseen fault for one student, and a store that is away when it is to be buried."""

    number = "A"
    away = 1

    def admit(self, items: Sequence[WorkItem]) -> dict[str, Admitted]:
        if any(item.student_number == self.number for item in items):
            raise KeyError("oops")
        return super().admit(items)

    def record_fault(self, item: WorkItem, error: Exception) -> None:
        if self.away:
            self.away -= 1
            raise DependencyDown("away")
        super().record_fault(item, error)


def test_an_unforeseen_fault_is_buried_once_the_store_is_back(plant: Plant) -> None:
    effects = plant.effects()
    effects.__class__ = Failing
    for number in "ABC":
        plant.account(number)
        plant.ring(number)
    plant.start(effects)
    plant.until(lambda: len(plant.letters()) == 1)
    plant.until(lambda: all(plant.applied(number) == 1 for number in "BC"))
    plant.stop()
    [letter] = plant.letters()
    assert (letter.student_number, letter.cause) == ("A", "internal_error")
    assert plant.lag() == 0


def test_a_fault_that_was_parked_before_is_buried_and_does_not_come_again(plant: Plant) -> None:
    plant.target.script = lambda _task: Retry("target_busy", "busy", after_s=0.01)
    effects = plant.effects()
    plant.account("A")
    plant.ring("A")
    plant.start(effects)
    plant.until(lambda: plant.parked("A") is not None)
    effects.__class__ = Failing
    plant.until(lambda: len(plant.letters()) == 1)
    plant.until(lambda: plant.parked("A") is None)
    plant.stop()
    assert present(plant.state("A")).state is State.FAILED


class Counting:
    """A consumer that notes how many records each poll asks for."""

    def __init__(self, inner: Consumer) -> None:
        self.inner = inner
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self.asked.append(max_records)
        return self.inner.poll(max_records, timeout_s)


def test_nothing_more_is_read_while_a_record_cannot_be_buried(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    away.set()

    def bury(*args: object) -> None:
        if away.is_set():
            raise DependencyDown("away")

    monkeypatch.setattr("pipeline.runner.loop.record_unreadable", bury)
    monkeypatch.setattr("pipeline.runner.loop.STORE_PAUSE_S", 0.01)
    plant.account("A")
    plant.producer.append([NewRecord(catalogue.ACCOUNTS, "A", b"{broken", ())])
    plant.ring("A")
    consumer = Counting(plant.consumer())
    plant.start(consumer=consumer)  # type: ignore[arg-type]
    plant.until(lambda: consumer.asked.count(0) >= 3)
    assert len([wanted for wanted in consumer.asked if wanted > 0]) == 1
    away.clear()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()


@pytest.mark.parametrize(
    ("room", "wanted"),
    [
        (RECORDS_PER_POLL_MAX + 1, RECORDS_PER_POLL_MAX),
        (RECORDS_PER_POLL + 1, RECORDS_PER_POLL + 1),
        (1, RECORDS_PER_POLL),
    ],
)
def test_as_much_is_read_at_once_as_there_is_room_for(plant: Plant, room: int, wanted: int) -> None:
    plant.limits = Limits(in_hand_max=room)
    consumer = Counting(plant.consumer())
    plant.start(consumer=consumer)  # type: ignore[arg-type]
    plant.until(lambda: bool(consumer.asked))
    plant.stop()
    assert consumer.asked[0] == wanted


def test_a_dependency_that_is_away_is_the_consumers_state(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(*args: object, **kwargs: object) -> None:
        raise DependencyDown("the database refused")

    monkeypatch.setattr("pipeline.parking.parking_lot.parking.next_due", due)
    monkeypatch.setattr("pipeline.runner.loop.STORE_PAUSE_S", 0.01)
    plant.start()
    plant.until(lambda: "down" in plant.observer.states)
    plant.stop()
    assert "stopped" in plant.observer.states


def test_a_stop_waits_for_calls_under_way_and_commits_them_though_another_failed(plant: Plant) -> None:
    class FailsOnce(Effects):
        def record(
            self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
        ) -> Mapping[str, HandlerOutcome]:
            if "B" in outcomes:
                assert gate.reached.wait(PATIENCE_S)
                stopped.wait(PATIENCE_S)
                raise DependencyDown("away")
            return super().record(admitted, outcomes)

    gate, stopped = Gate("A"), threading.Event()
    plant.target.script = gate
    plant.limits = Limits(batch_size=1, linger_s=0.0)
    effects = plant.effects()
    effects.__class__ = FailsOnce
    for number in "AB":
        plant.account(number)
        plant.ring(number)
    plant.start(effects)
    plant.until(lambda: len(plant.target.calls) == 2)
    plant.stopping.set()
    stopped.set()
    plant.until(lambda: any("while stopping" in trouble for trouble in plant.observer.troubles))
    gate.open.set()
    plant.stop()
    assert plant.applied("A") == 1
    assert plant.applied("B") == 0
    assert plant.lag() == 1
    assert plant.target.closed == 1


def test_a_call_that_outlives_the_grace_is_recorded_and_only_its_offset_is_not_committed(
    plant: Plant,
) -> None:
    gate = Gate("A")
    plant.target.script = gate
    plant.grace_s = 0.05
    plant.account("A")
    plant.ring("A")
    plant.start()
    assert gate.reached.wait(PATIENCE_S)
    plant.stop()
    assert plant.target.closed == 0  # it still needs its connections
    gate.open.set()
    plant.until(lambda: plant.applied("A") == 1)
    assert plant.lag() == 1
    plant.target.script = lambda _task: None
    plant.start()  # the successor finds it done
    plant.until(lambda: "running" in plant.observer.states)
    plant.account("B")
    plant.ring("B", lane=Lane.BULK)
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    assert plant.target.calls == [["A"], ["B"]]
    assert plant.lag() == 0


def test_a_stage_that_ends_by_a_fault_of_ours_ends_the_worker_and_not_in_silence(plant: Plant) -> None:
    plant.grace_s = 0.1
    plant.observer.outcome = raises_once("a metric that does not exist")  # type: ignore[method-assign]
    plant.account("A")
    plant.ring("A")
    worker, stopping = plant.worker(), threading.Event()
    with pytest.raises(RuntimeError, match="a metric that does not exist"):
        worker.run(stopping)
    plant.start()  # as whoever supervises it does
    plant.until(lambda: plant.observer.lags[-1:] == [0])
    plant.stop()
    assert plant.applied("A") == 1


def raises_once(what: str) -> Callable[..., None]:
    """Raises when it is called for the first time."""
    left = [RuntimeError(what)]

    def called(*_arguments: object) -> None:
        if left:
            raise left.pop()

    return called
