"""What each end of a call is told as: to the engine, to the observer, and to the effects."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.effects import Entry
from pipeline.engine import Batch, Limits, WorkItem
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled
from pipeline.eventlog.port import LogUnavailable
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Waiting
from pipeline.worker.calls import WAIT_S_MAX, Calls, Result
from sandbox.process import PATIENCE_S
from schemas.account import Lane
from tests.unit.test_calls import DONE, Student, batch

WAITS = Waiting("administrative_enrolment_pending")


@dataclass
class Effects:
    """Lets everybody in but those `away`; `decided` need no call."""

    away: str = ""
    decided: dict[str, HandlerOutcome] = field(default_factory=dict)
    refuses: Callable[[str, list[str]], Exception | None] = lambda _what, _numbers: None
    given_back: list[tuple[list[str], bool]] = field(default_factory=list)
    finished: dict[str, HandlerOutcome] = field(default_factory=dict)
    final: dict[str, HandlerOutcome] = field(default_factory=dict)

    def enter(self, items: Sequence[WorkItem]) -> Entry:
        self._may("enter", [item.student_number for item in items])
        work: dict[str, Any] = {
            item.student_number: Student(item.student_number, item.lane)
            for item in items
            if item.student_number not in self.away
        }
        return Entry(work, {number: each for number, each in self.decided.items() if number in work})

    def finish(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> Mapping[str, HandlerOutcome]:
        self._may("finish", list(entry.work))
        self.finished |= outcomes
        return {number: self.final.get(number, each) for number, each in outcomes.items()}

    def withdraw(self, entry: Entry) -> None:
        self._may("withdraw", list(entry.work))

    def give_back(self, entry: Entry, *, unknown: bool) -> None:
        self.given_back.append((list(entry.work), unknown))

    def _may(self, what: str, numbers: list[str]) -> None:
        if (error := self.refuses(what, numbers)) is not None:
            raise error


class Noting:
    """The observer: notes what it is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, float]] = []
        self.outcomes: list[tuple[str, HandlerOutcome, Lane]] = []
        self.troubles: list[tuple[str, str]] = []

    def batch(self, *told: Any) -> None:
        self.batches.append(told)

    def outcome(self, *told: Any) -> None:
        self.outcomes.append(told)

    def trouble(self, *told: Any) -> None:
        self.troubles.append(told)


class Desk:
    """The stages in the test's thread, one after the other."""

    name, call_s = "moodle", 0.0

    def __init__(self, limits: Limits | None = None) -> None:
        self.effects, self.observer, self.now = Effects(), Noting(), 7.0
        self.answers: Callable[[list[str]], Mapping[str, HandlerOutcome]] = lambda numbers: dict.fromkeys(
            numbers, DONE
        )
        self.called: list[list[str]] = []
        self.probe: Callable[[], None] = lambda: None
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        anything: Any = self
        effects: Any = self.effects
        observer: Any = self.observer
        limits = limits or Limits(slots=2)
        self.calls = Calls(anything, effects, observer, self.results, lambda: self.now, limits)

    def handle(self, tasks: Sequence[Any]) -> Mapping[str, HandlerOutcome]:
        numbers = [task.account.student_number for task in tasks]
        self.called.append(numbers)
        self.now += self.call_s
        return self.answers(numbers)

    def brought(self, *batches: Batch) -> list[Result]:
        for each in batches:
            self.calls.begin(each)
        self.calls.here()
        return [self.results.get_nowait() for _ in range(self.results.qsize())]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_observer_is_told_how_many_were_called_for_how_long_and_how_each_ended_in_its_lane(
    desk: Desk,
) -> None:
    desk.call_s = 3.0
    desk.effects.final = {"B": Dead("refused", "by value")}
    [result] = desk.brought(batch(1, "A", "B", lane=Lane.BULK))
    assert desk.observer.batches == [("moodle", 2, 3.0)]
    assert desk.observer.outcomes == [
        ("moodle", DONE, Lane.BULK),
        ("moodle", Dead("refused", "by value"), Lane.BULK),
    ]
    assert result == Result(batch(1, "A", "B", lane=Lane.BULK), answered=True, given_up=("refused",))


def test_one_whose_outcome_is_known_is_not_called_for_and_ends_with_the_others(desk: Desk) -> None:
    desk.effects.decided = {"A": WAITS}
    [result] = desk.brought(batch(1, "A", "B"))
    assert desk.called == [["B"]]
    assert desk.effects.finished == {"A": WAITS, "B": DONE}
    assert (result.answered, result.uncalled) == (True, frozenset("A"))


def test_where_nobody_needs_a_call_the_target_has_not_answered(desk: Desk) -> None:
    desk.effects.decided = {"A": WAITS}
    desk.effects.away = "B"
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.called == []
    assert desk.effects.finished == {"A": WAITS}
    told = [(each.answered, each.error, each.called) for each in results]
    assert told == [(False, None, True)] * 2


@pytest.mark.parametrize("fault", [None, KeyError("oops")], ids=["forgotten", "a fault"])
def test_whom_the_handler_gives_no_outcome_is_tried_again_as_if_it_were_unknown(
    desk: Desk, fault: Exception | None
) -> None:
    def answer(_numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        if fault is not None:
            raise fault
        return {"A": DONE}

    desk.answers = answer
    [result] = desk.brought(batch(1, "A", "B"))
    again = desk.effects.finished["B"]
    assert isinstance(again, Retry)
    assert (again.cause, again.unknown) == ("internal_error", True)
    assert again.message == "the handler gave no outcome; the log has the fault"
    assert isinstance(desk.effects.finished["A"], Done if fault is None else Retry)
    assert result.error is None
    told = [] if fault is None else [("moodle", "the handler failed: KeyError")]
    assert [(name, what[:28]) for name, what in desk.observer.troubles] == told


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("kind", [TargetDown, Misconfigured, Throttled])
def test_a_target_that_fails_as_a_whole_gives_the_leases_back_and_nobody_else_is_called(
    desk: Desk, kind: type[Exception], *, unknown: bool
) -> None:
    error: Any = kind("no", retry_after_s=1.0) if kind is Throttled else kind("no")
    error.unknown = unknown

    def answer(_numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        raise error

    desk.answers = answer
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.effects.given_back == [(["A"], unknown)]
    assert {each.batch.number: (each.error, each.called) for each in results if each.batch} == {
        1: (error, True),
        2: (None, False),
    }


def test_a_handler_whose_own_store_is_away_gives_nothing_back_and_the_next_is_called(desk: Desk) -> None:
    away = DependencyDown("away")

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        if numbers == ["A"]:
            raise away
        return dict.fromkeys(numbers, DONE)

    desk.answers = answer
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.effects.given_back == []
    assert {each.batch.number: each.error for each in results if each.batch} == {1: away, 2: None}


@pytest.mark.parametrize("stage", ["enter", "finish", "withdraw"])
@pytest.mark.parametrize("error", [DependencyDown("away"), LogUnavailable("away"), KeyError("oops")])
def test_each_stage_asks_for_all_once_and_for_each_apart_only_if_somebody_in_it_is_the_cause(
    desk: Desk, stage: str, error: Exception
) -> None:
    asked: list[list[str]] = []

    def refuse(what: str, numbers: list[str]) -> Exception | None:
        if what != stage:
            return None
        asked.append(numbers)
        return error if "B" in numbers else None

    desk.effects.refuses = refuse
    if stage == "withdraw":
        desk.calls.stop_calling(3)
    results = desk.brought(batch(1, "A"), batch(2, "B"), batch(3, "C"))
    all_of_them = isinstance(error, DependencyDown | LogUnavailable)
    assert asked == ([["A", "B", "C"]] if all_of_them else [["A", "B", "C"], ["A"], ["B"], ["C"]])
    errors = {each.batch.number: each.error for each in results if each.batch}
    assert errors == {number: error if all_of_them or number == 2 else None for number in (1, 2, 3)}


def test_of_two_the_one_that_is_the_cause_is_found(desk: Desk) -> None:
    fault = KeyError("oops")
    desk.effects.refuses = lambda what, numbers: fault if what == "enter" and "A" in numbers else None
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert {each.batch.number: each.error for each in results if each.batch} == {1: fault, 2: None}


@pytest.mark.parametrize(("waits_s", "called"), [(WAIT_S_MAX, True), (WAIT_S_MAX + 0.1, False)])
def test_a_batch_may_wait_for_its_call_as_long_as_a_lease_allows(
    desk: Desk, waits_s: float, *, called: bool
) -> None:
    desk.call_s = waits_s
    results = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.called == [["A"], ["B"]][: 1 + called]
    assert sorted(each.called for each in results) == [called, True]


def test_a_batch_of_the_number_through_which_nobody_is_called_is_withdrawn_and_the_next_is_not(
    desk: Desk,
) -> None:
    desk.calls.stop_calling(5)
    results = desk.brought(batch(5, "A"), batch(6, "B"))
    assert {each.batch.number: each.called for each in results if each.batch} == {5: False, 6: True}


@pytest.mark.parametrize("error", [None, TargetDown("no"), ValueError("what?")])
def test_a_probe_says_how_it_ended_whatever_it_raised(desk: Desk, error: Exception | None) -> None:
    def probe() -> None:
        if error is not None:
            raise error

    desk.probe = probe
    desk.calls.begin_probe()
    assert desk.brought() == [Result(None, error)]


def test_how_many_may_wait_follows_what_calls_take_and_who_is_let_in() -> None:
    desk = Desk(Limits(slots=2, slots_personal=0))
    desk.call_s = 3.0
    desk.calls.begin(batch(1, "A"))
    assert desk.calls.held() == frozenset()
    desk.calls.begin(batch(2, "B"))
    assert desk.calls.held() == {Lane.PERSONAL}  # two slots, and no call has ended yet
    desk.brought()
    assert desk.calls.held() == frozenset()
    for number in (3, 4):
        desk.calls.begin(batch(number, f"S{number}"))
    assert desk.calls.held() == {Lane.PERSONAL}  # calls of three seconds: nobody waits for a free slot


def test_as_many_are_let_in_as_will_be_called_within_a_second() -> None:
    desk = Desk(Limits(slots=2, slots_personal=0))
    desk.call_s = 0.25
    desk.brought(batch(1, "A"))
    begun = 0
    while not desk.calls.held():
        begun += 1
        desk.calls.begin(batch(1 + begun, f"S{begun}"))
    assert begun == 2 + 8  # two slots that are free, and two times four calls


def test_who_could_not_be_let_in_waits_no_more(desk: Desk) -> None:
    desk.effects.refuses = lambda what, _numbers: DependencyDown("away") if what == "enter" else None
    for number in range(5):
        desk.brought(batch(number, f"S{number}"))
    assert desk.calls.held() == frozenset()


# --- threads -----------------------------------------------------------------------------------------------


def test_as_many_calls_as_slots_are_under_way_at_once_and_closing_ends_every_thread() -> None:
    desk = Desk(Limits(slots=3, slots_personal=0))
    together = threading.Barrier(3, timeout=PATIENCE_S)

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        together.wait()
        return dict.fromkeys(numbers, DONE)

    desk.answers = answer
    before = set(threading.enumerate())
    desk.calls.start()
    mine = set(threading.enumerate()) - before
    assert {thread.name for thread in mine} == {
        "moodle-probe",
        "moodle-enter",
        "moodle-end",
        "moodle-call-1",
        "moodle-call-2",
        "moodle-call-3",
    }
    assert all(thread.daemon for thread in mine)
    for number in (1, 2, 3):
        desk.calls.begin(batch(number, f"S{number}"))
    assert {desk.results.get(timeout=PATIENCE_S).error for _ in range(3)} == {None}
    desk.calls.begin_probe()
    assert desk.results.get(timeout=PATIENCE_S) == Result(None)
    desk.calls.close()
    for thread in mine:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    desk.calls.check()


def test_a_fault_that_ends_a_thread_is_raised_where_the_loop_looks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = RuntimeError("of ours")

    def broken(*_told: object) -> None:
        raise fault

    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())
    desk.observer.outcome = broken  # type: ignore[method-assign]
    desk.calls.check()
    desk.calls.start()
    desk.calls.begin(batch(1, "A"))
    [thread] = [each for each in threading.enumerate() if each.name == "moodle-end"]
    thread.join(PATIENCE_S)
    with pytest.raises(RuntimeError, match="of ours"):
        desk.calls.check()
    assert not ended.is_set()
    desk.calls.close()
