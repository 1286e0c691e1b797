"""After calls that failed as a whole the cause is found by halves, and the others go on in full batches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.bell import Batch, Bell, Place, QueuedStudent, Queues
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from tests.unit.pipeline.engine.engine_kit import numbers

SIZE = 8
LIMITS = Limits(batch_size=SIZE, linger_s=0.0, slots=3, slots_personal=0, probe_delay_s_max=1.0)


@dataclass
class Target:
    """A target, its engine and the time: calls are answered in the order in which they began.

    Attributes:
        down: nobody is answered, and probes fail.
        poison: whoever is in a call with one of these gets no answer; probes succeed all the same.
    """

    limits: Limits = LIMITS
    down: bool = False
    poison: Collection[str] = ()
    calls: list[list[str]] = field(default_factory=list)
    charged: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    trips: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.engine = Engine(self.limits)
        self._offset = 0

    def ring(self, *names: str) -> None:
        for name in names:
            place = Place(ACCOUNTS, 0, self._offset)
            self.engine.offer(Bell(name, 1, Lane.PERSONAL, f"e{self._offset}", place=place), self.now)
            self._offset += 1

    def begin(self) -> list[Batch]:
        """All that may begin now."""
        begun = []
        while (batch := self.engine.take(self.now)) is not None:
            begun.append(batch)
        return begun

    def end(self, batch: Batch) -> None:
        names = numbers(batch)
        self.calls.append(names)
        if self.down or any(name in self.poison for name in names):
            self.trips += 1
            self.engine.tripped(batch, self.now, "no answer")
        else:
            self.served += names
            self.engine.settled(batch, self.now, answered=True)

    def probe(self) -> None:
        self.now += 1.0
        if not self.engine.circuit.probe_due(self.now):
            return
        charged = self.engine.probed(self.now, ok=not self.down)
        if charged is not None:
            self.charged += numbers(charged)
            self.engine.settled(charged, self.now, answered=False)  # parked, with an attempt less

    def work(self) -> None:
        """Until nothing is in hand."""
        for _ in range(1_000):
            for batch in self.begin():
                self.end(batch)
            if self.engine.idle:
                return
            self.probe()
        raise AssertionError("it does not end")


def names(count: int, first: int = 0) -> list[str]:
    return [f"S{index:03}" for index in range(first, first + count)]


def in_an_outage(target: Target, *students: str) -> None:
    """All slots call, the target goes down, and comes back before anything else is known."""
    target.ring(*students)
    begun = target.begin()
    target.down = True
    for batch in begun:
        target.end(batch)
    target.probe()
    target.down = False
    target.now += 1.0
    target.probe()
    target.calls.clear()


def test_after_an_outage_everybody_comes_by_halves_once_and_then_in_full_batches() -> None:
    target = Target()
    students = names(20 * SIZE)
    in_an_outage(target, *students)
    target.work()
    assert sorted(target.served) == students
    assert target.charged == []
    halves, full = SIZE // 2, SIZE
    under_way = LIMITS.slots * full
    assert sorted(map(len, target.calls)) == [halves] * (under_way // halves) + [full] * (20 - LIMITS.slots)


def test_the_first_who_are_tried_are_a_half_of_what_failed_and_no_other_call_begins_meanwhile() -> None:
    target = Target()
    in_an_outage(target, *names(4 * SIZE))
    [trial] = target.begin()
    assert len(trial.items) == SIZE // 2
    assert target.engine.circuit.reason == "a probe succeeded; trying one batch"
    target.end(trial)
    assert target.engine.circuit.state is CircuitState.CLOSED
    assert len(target.begin()) == LIMITS.slots


@pytest.mark.parametrize("where", [0, 3, SIZE - 1, SIZE, 2 * SIZE - 1])
def test_the_one_who_makes_calls_fail_is_found_by_halves_and_charged_alone(where: int) -> None:
    students = names(5 * SIZE)
    target = Target(poison={students[where]})
    target.ring(*students)
    target.work()
    assert target.charged == [students[where]]
    assert sorted([*target.served, *target.charged]) == students
    assert target.trips == 4  # of 8, 4, 2 and 1
    assert len(target.calls) <= 5 + 2 * 3  # each halving costs two calls more at most


@given(st.sets(st.integers(0, 39), max_size=6), st.integers(1, 9), st.integers(1, 4))
def test_whoever_makes_calls_fail_is_charged_and_nobody_else_is(
    which: set[int], batch_size: int, slots: int
) -> None:
    students = names(40)
    poison = {students[index] for index in which}
    limits = Limits(batch_size=batch_size, linger_s=0.0, slots=slots, slots_personal=0, probe_delay_s_max=1.0)
    target = Target(limits, poison=poison)
    target.ring(*students)
    target.work()
    assert sorted(target.charged) == sorted(poison)
    assert sorted(target.served) == sorted(set(students) - poison)


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_target_that_goes_down_again_and_again_costs_the_healthy_nothing(outages: list[bool]) -> None:
    students = names(60)
    target = Target()
    target.ring(*students)
    for down in outages:
        for batch in target.begin():
            target.down = down
            target.end(batch)
        target.probe()
        target.down = False
        target.probe()
    target.work()
    assert target.charged == []
    assert sorted(target.served) == students


def test_suspects_share_no_call_with_others_and_wait_behind_nobody() -> None:
    target = Target()
    suspects = names(2 * SIZE)
    target.ring(*suspects)
    for batch in target.begin():
        target.engine.tripped(batch, 0.0, "no answer")
    target.ring(*names(SIZE, first=100))
    target.probe()
    target.work()
    assert all(len({name in suspects for name in call}) == 1 for call in target.calls)
    assert set(target.calls[0]) < set(suspects)


def test_suspects_who_come_back_among_newcomers_still_fill_their_calls() -> None:
    target = Target()
    suspects = names(SIZE)
    target.ring(*suspects)
    [batch] = target.begin()
    target.engine.tripped(batch, 0.0, "timed out")
    target.probe()
    for parked in target.begin():  # the call that timed out may still have an effect: all are left alone
        target.engine.settled(parked, target.now, answered=False)
    for parked in target.begin():
        target.engine.settled(parked, target.now, answered=False)
    for suspect, newcomer in zip(suspects, names(SIZE, first=100), strict=True):
        target.engine.offer(Bell(suspect, 1, Lane.PERSONAL, "parked"), target.now)
        target.ring(newcomer)
    target.work()
    assert sorted(map(len, target.calls)) == [SIZE // 2, SIZE // 2, SIZE]


def test_an_answer_clears_only_those_for_whom_the_target_was_called() -> None:
    target = Target()
    students = names(4)
    target.ring(*students)
    [batch] = target.begin()
    target.engine.tripped(batch, 0.0, "timed out")
    target.probe()
    [half] = target.begin()
    target.engine.settled(half, target.now, answered=True, uncalled={students[0]})
    [other] = target.begin()
    target.end(other)
    target.ring(*students)
    assert [numbers(each) for each in target.begin()] == [[students[0]], students[1:]]


def test_one_who_is_refused_is_searched_without_long_halts_while_others_are_answered() -> None:
    target = Target()
    students = names(SIZE)
    culprit = students[5]
    target.ring(*students)
    halts_s: list[float] = []
    for newcomer in names(50, first=100):
        target.ring(newcomer)
        for batch in target.begin():
            if culprit in numbers(batch):
                target.engine.misconfigured(batch, target.now, "insufficient rights")
                halts_s.append(target.engine.due_in(target.now) or 0.0)
            else:
                target.end(batch)
        target.now += target.engine.due_in(target.now) or 0.0
        target.probe()
    assert target.charged == [culprit]
    assert halts_s == [30.0, 1.0, 1.0, 1.0]  # of 8; then of 4, 2 and 1, when the target is known to be well
    assert set(students) - set(target.served) == {culprit}


def test_one_who_is_alone_in_a_call_that_fails_with_others_is_not_accused() -> None:
    """It is the target's fault then; and one who is to blame for it fails alone again."""
    for alone_first in (True, False):
        target = Target(LIMITS.model_copy(update={"batch_size": 2}))
        students = names(2)
        target.ring(*students)
        [both] = target.begin()
        target.engine.tripped(both, 0.0, "no answer")
        target.probe()
        [trial] = target.begin()
        target.end(trial)
        target.ring(*names(4, first=100))
        alone, others, *_ = target.begin()
        assert (len(alone.items), len(others.items)) == (1, 2)
        for batch in (alone, others) if alone_first else (others, alone):
            target.engine.tripped(batch, target.now, "no answer")
        target.probe()
        assert target.charged == []


def test_the_smallest_call_that_a_suspect_may_be_in_bounds_it_for_all() -> None:
    queues = Queues()
    seats = {"A": 3, "B": 2, "C": 3, "D": 3}
    for name in seats:
        student = QueuedStudent(waiting=[Bell(name, 1, Lane.PERSONAL, "e")])
        queues.put(name, student, 0.0)
    assert queues.take(Lane.PERSONAL, SIZE, seats.get) == ["A", "B"]
    assert queues.take(Lane.PERSONAL, SIZE, seats.get) == ["C", "D"]


@pytest.mark.parametrize(
    ("waiting", "seats", "size", "taken"),
    [
        ("ABC", {"A": 4, "B": 4, "C": 2}, 4, "AB"),  # two are a full call for C
        ("AbcD", {"A": 2, "D": 2}, 2, "A"),  # D stands behind as many others as a call has
        ("AbD", {"A": 2, "D": 2}, 2, "AD"),
    ],
)
def test_who_may_share_a_call_is_looked_for_no_further_than_a_call_is_large(
    waiting: str, seats: dict[str, int], size: int, taken: str
) -> None:
    queues = Queues()
    for name in waiting:
        queues.put(name, QueuedStudent(waiting=[Bell(name, 1, Lane.PERSONAL, "e")]), 0.0)
    assert queues.take(Lane.PERSONAL, size, seats.get) == [*taken]
    assert [*queues[Lane.PERSONAL]] == [name for name in waiting if name not in taken]


def test_one_student_alone_is_tried_in_quarantine_however_large_the_batches_are() -> None:
    target = Target()
    target.ring(*names(2 * SIZE))
    target.engine.quarantine(0.0, "nearly everybody is refused")
    target.now = LIMITS.quarantine_delay_s_min
    target.probe()
    assert [len(batch.items) for batch in target.begin()] == [1]
    assert target.engine.circuit.reason == "a probe succeeded; trying one student"
