"""A batch's run from lease to report: who is called, and what each end is told as."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.engine.bell import Batch, Bell, Place, WorkItem
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled
from pipeline.eventlog.port import LogUnavailable
from pipeline.runner.batch_run import SHORT_CALL_S, WAIT_S_MAX, BatchRun, Probed, Runner
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Waiting
from sandbox.process import PATIENCE_S
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS
from sesame.testing.servers.narrowing import expect, present
from sesame.testing.servers.target_kit import Noting

DONE = Done("sha256:0", changed=True)
WAITS = Waiting("administrative_enrolment_pending")
NO_COMPANY = Limits(slots=3, slots_personal=0)


@dataclass
class Student:
    """Stands for an admitted item, its task and its account at once."""

    student_number: str
    lane: Lane = Lane.PERSONAL
    decided: HandlerOutcome | None = None

    @property
    def task(self) -> Student:
        return self

    @property
    def account(self) -> Student:
        return self


def batch(index: int, *numbers: str, lane: Lane = Lane.PERSONAL) -> Batch:
    items = tuple(WorkItem((Bell(number, 1, lane, f"event-{number}"),)) for number in numbers)
    return Batch(index, lane, items)


@dataclass
class Effects:
    """Lets everybody in but those `away`, and notes who was together; `decided` need no call."""

    away: str = ""
    decided: dict[str, HandlerOutcome] = field(default_factory=dict)
    refuses: Callable[[str, list[str]], Exception | None] = lambda _what, _numbers: None
    did: dict[str, list[list[str]]] = field(default_factory=dict)
    given_back: list[tuple[list[str], bool]] = field(default_factory=list)
    finished: dict[str, HandlerOutcome] = field(default_factory=dict)
    final: dict[str, HandlerOutcome] = field(default_factory=dict)

    def admit(self, items: Sequence[WorkItem]) -> dict[str, Any]:
        self._do("admit", [item.student_number for item in items])
        return {
            number: Student(number, item.lane, self.decided.get(number))
            for item in items
            if (number := item.student_number) not in self.away
        }

    def concluding(self, *_ends: object) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, admitted: Mapping[str, Any], _outcomes: Mapping[str, HandlerOutcome]) -> None:
        self._do("publish", list(admitted))

    def record(
        self, admitted: Mapping[str, Any], outcomes: Mapping[str, HandlerOutcome]
    ) -> Mapping[str, HandlerOutcome]:
        self._do("record", list(admitted))
        self.finished |= outcomes
        return {number: self.final.get(number, each) for number, each in outcomes.items()}

    def withdraw(self, admitted: Mapping[str, Any]) -> None:
        self._do("withdraw", list(admitted))

    def give_back(self, admitted: Mapping[str, Any], *, unknown: bool) -> None:
        self.given_back.append((list(admitted), unknown))

    def _do(self, what: str, numbers: list[str]) -> None:
        if (error := self.refuses(what, numbers)) is not None:
            raise error
        self.did.setdefault(what, []).append(numbers)


class BatchRunHarness:
    """A runner in the test's thread, one batch after the other."""

    name, call_s = "moodle", 0.0

    def __init__(self, limits: Limits = Limits(slots=2)) -> None:  # noqa: B008  # frozen
        self.effects, self.observer, self.now = Effects(), Noting(), 7.0
        self.answers: Callable[[list[str]], Mapping[str, HandlerOutcome]] = done
        self.called: list[list[str]] = []
        self.probe: Callable[[], None] = lambda: None
        self.moments: Iterator[float] = iter(())
        self.reports: queue.SimpleQueue[BatchRun | Probed] = queue.SimpleQueue()
        anything: Any = self
        effects: Any = self.effects
        observer: Any = self.observer
        self.runner = Runner(anything, effects, observer, self.reports, self.clock, limits)

    def clock(self) -> float:
        return next(self.moments, self.now)

    def handle(self, tasks: Sequence[Any]) -> Mapping[str, HandlerOutcome]:
        numbers = [task.account.student_number for task in tasks]
        self.called.append(numbers)
        self.now += self.call_s
        return self.answers(numbers)

    def brought(self, *batches: Batch) -> list[BatchRun]:
        for each in batches:
            self.runner.begin(each)
        self.runner.run_waiting()
        return [self.report() for _ in range(self.reports.qsize())]

    def report(self) -> BatchRun:
        """The next batch that has ended."""
        return expect(BatchRun, self.reports.get(timeout=PATIENCE_S))


def done(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
    return dict.fromkeys(numbers, DONE)


@pytest.fixture
def desk() -> BatchRunHarness:
    return BatchRunHarness()


def test_a_batch_is_admitted_called_published_recorded_and_reported(desk: BatchRunHarness) -> None:
    [run] = desk.brought(batch(1, "A", "B"))
    assert desk.effects.did == {what: [["A", "B"]] for what in ("admit", "publish", "record")}
    assert desk.called == [["A", "B"]]
    assert (run.error, run.called, run.withdrawn, run.final) == (None, True, False, {"A": DONE, "B": DONE})


def test_nothing_is_recorded_that_the_log_has_not_acknowledged(desk: BatchRunHarness) -> None:
    desk.effects.refuses = lambda what, _numbers: DependencyDown("away") if what == "publish" else None
    [run] = desk.brought(batch(1, "A"))
    assert isinstance(run.error, DependencyDown)
    assert (desk.effects.finished, run.final) == ({}, {})


def test_who_is_admitted_while_the_target_goes_down_is_withdrawn(desk: BatchRunHarness) -> None:
    desk.effects.refuses = lambda what, _numbers: desk.runner.stop_calling(1) if what == "admit" else None
    [run] = desk.brought(batch(1, "A"))
    assert desk.called == []
    assert desk.effects.did["withdraw"] == [["A"]]
    assert (run.withdrawn, run.called, run.error) == (True, False, None)


@pytest.mark.parametrize(("waited_s", "called"), [(WAIT_S_MAX, True), (WAIT_S_MAX + 0.1, False)])
def test_who_has_waited_so_long_that_the_lease_might_end_within_the_call_is_not_called(
    desk: BatchRunHarness, waited_s: float, *, called: bool
) -> None:
    desk.moments = itertools.chain([0.0], itertools.repeat(waited_s))  # admitted, and about to be called
    [run] = desk.brought(batch(1, "A"))
    assert (run.called, run.withdrawn) == (called, not called)
    assert desk.called == [["A"]] * called
    assert desk.effects.did.get("withdraw", []) == [["A"]] * (not called)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end lingers for ever, where it does."""
    monkeypatch.setattr("pipeline.runner.batch_run.LINGER_S_MAX", 600.0)


@pytest.mark.usefixtures("patience")
def test_an_end_lingers_while_another_call_is_under_way_so_that_both_are_written_together() -> None:
    desk = BatchRunHarness(NO_COMPANY.model_copy(update={"linger_s": 600.0}))
    together = threading.Barrier(3, timeout=PATIENCE_S)
    over = {number: threading.Event() for number in "ABC"}

    def call(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        together.wait()  # all are under way
        assert over[numbers[0]].wait(PATIENCE_S)
        return done(numbers)

    desk.answers = call
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
    assert desk.effects.did["publish"] == desk.effects.did["record"]
    assert desk.effects.did["record"][0][:2] == ["A", "B"]


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
    desk.effects.away = "B"
    [run] = desk.brought(batch(1, "A", "B", "C"))
    assert desk.called == [["A", "C"]]
    assert (run.called, run.uncalled) == (True, frozenset("B"))


def test_the_observer_is_told_how_many_were_called_for_how_long_and_how_each_ended_in_its_lane(
    desk: BatchRunHarness,
) -> None:
    desk.call_s = 3.0
    desk.effects.final = {"B": Dead("refused", "by value")}
    [run] = desk.brought(batch(1, "A", "B", lane=Lane.BULK))
    assert desk.observer.batches == [("moodle", 2, 3.0)]
    told: Any = desk.observer.outcomes
    assert [(target, outcome, turn.lane) for target, outcome, turn in told] == [
        ("moodle", DONE, Lane.BULK),
        ("moodle", Dead("refused", "by value"), Lane.BULK),
    ]
    assert (run.error, run.called, run.given_up) == (None, True, ("refused",))


def test_one_whose_outcome_is_known_is_not_called_for_and_ends_with_the_others(desk: BatchRunHarness) -> None:
    desk.effects.decided = {"A": WAITS}
    [run] = desk.brought(batch(1, "A", "B"))
    assert desk.called == [["B"]]
    assert desk.effects.finished == {"A": WAITS, "B": DONE}
    assert (run.called, run.uncalled) == (True, frozenset("A"))


def test_where_nobody_needs_a_call_the_target_has_not_answered(desk: BatchRunHarness) -> None:
    desk.effects.decided = {"A": WAITS}
    desk.effects.away = "B"
    runs = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.called == []
    assert desk.effects.finished == {"A": WAITS}
    told = [(each.called, each.error, each.withdrawn) for each in runs]
    assert told == [(False, None, False)] * 2


@pytest.mark.parametrize("fault", [None, KeyError("oops")], ids=["forgotten", "a fault"])
def test_whom_the_handler_gives_no_outcome_is_tried_again_as_if_it_were_unknown(
    desk: BatchRunHarness, fault: Exception | None
) -> None:
    def answer(_numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        if fault is not None:
            raise fault
        return {"A": DONE}

    desk.answers = answer
    [run] = desk.brought(batch(1, "A", "B"))
    again = expect(Retry, desk.effects.finished["B"])
    assert (again.cause, again.unknown) == ("internal_error", True)
    assert again.message == "the handler gave no outcome; the log has the fault"
    assert isinstance(desk.effects.finished["A"], Done if fault is None else Retry)
    assert run.error is None
    told = [] if fault is None else [("moodle", "the handler failed: KeyError")]
    assert [(name, what[:28]) for name, what in desk.observer.troubles] == told


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("kind", [TargetDown, Misconfigured, Throttled])
def test_a_target_that_fails_as_a_whole_gives_the_leases_back_and_nobody_else_is_called(
    desk: BatchRunHarness, kind: type[Exception], *, unknown: bool
) -> None:
    error: Any = kind("no", retry_after_s=1.0) if kind is Throttled else kind("no")
    error.unknown = unknown

    def answer(_numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        raise error

    desk.answers = answer
    runs = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.effects.did == {"admit": [["A"]]}  # the others take no lease
    assert desk.effects.given_back == [(["A"], unknown)]
    assert [(each.error, each.withdrawn) for each in runs] == [(error, False), (None, True)]


def test_a_handler_whose_own_store_is_away_gives_nothing_back_and_the_next_is_called(
    desk: BatchRunHarness,
) -> None:
    away = DependencyDown("away")

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        if numbers == ["A"]:
            raise away
        return done(numbers)

    desk.answers = answer
    runs = desk.brought(batch(1, "A"), batch(2, "B"))
    assert desk.effects.given_back == []
    assert [each.error for each in runs] == [away, None]


@pytest.mark.parametrize("step", ["admit", "publish", "record"])
@pytest.mark.parametrize("error", [DependencyDown("away"), LogUnavailable("away"), KeyError("oops")])
def test_each_step_asks_for_all_once_and_for_each_apart_only_if_somebody_in_it_is_the_cause(
    step: str, error: Exception
) -> None:
    """A is alone at the step when the others come to it."""
    desk = BatchRunHarness(Limits(slots=4, slots_personal=0))
    asked: list[list[str]] = []
    first, others = threading.Event(), threading.Event()

    def refuse(what: str, numbers: list[str]) -> Exception | None:
        if what != step:
            return None
        asked.append(sorted(numbers))
        if not first.is_set():
            first.set()
            assert others.wait(PATIENCE_S)
        return error if "C" in numbers else None

    desk.effects.refuses = refuse
    group = desk.runner._admissions if step == "admit" else desk.runner._conclusions  # noqa: SLF001
    desk.runner.start()
    desk.runner.begin(batch(1, "A"))
    assert first.wait(PATIENCE_S)
    for index, number in enumerate("BCD", 2):
        desk.runner.begin(batch(index, number))
        while len(group._waiting) < index - 1:  # noqa: SLF001  # until it waits
            others.wait(0.001)
    others.set()
    runs = [desk.report() for _ in range(4)]
    desk.runner.close()
    all_of_them = isinstance(error, DependencyDown | LogUnavailable)
    assert asked == (
        [["A"], ["B", "C", "D"]] if all_of_them else [["A"], ["B", "C", "D"], ["B"], ["C"], ["D"]]
    )
    errors = {each.batch.number: each.error for each in runs}
    assert errors == {
        number: error if number == 3 or (all_of_them and number > 1) else None for number in range(1, 5)
    }


@pytest.mark.parametrize("error", [DependencyDown("away"), KeyError("oops")])
def test_one_who_cannot_be_withdrawn_says_why(desk: BatchRunHarness, error: Exception) -> None:
    def refuse(what: str, _numbers: list[str]) -> Exception | None:
        if what == "admit":
            desk.runner.stop_calling(1)
        return error if what == "withdraw" else None

    desk.effects.refuses = refuse
    [run] = desk.brought(batch(1, "A"))
    assert (desk.called, run.error) == ([], error)


def test_a_batch_of_the_number_through_which_nobody_is_called_is_withdrawn_and_the_next_is_not(
    desk: BatchRunHarness,
) -> None:
    desk.runner.stop_calling(5)
    runs = desk.brought(batch(5, "A"), batch(6, "B"))
    assert {each.batch.number: each.withdrawn for each in runs} == {5: True, 6: False}


@pytest.mark.parametrize("error", [None, TargetDown("no"), ValueError("what?")])
def test_a_probe_says_how_it_ended_whatever_it_raised(desk: BatchRunHarness, error: Exception | None) -> None:
    def probe() -> None:
        if error is not None:
            raise error

    desk.probe = probe
    desk.runner.begin_probe()
    assert desk.reports.get(timeout=PATIENCE_S) == Probed(error)


def test_one_who_could_not_be_admitted_has_no_slot_any_more(desk: BatchRunHarness) -> None:
    desk.effects.refuses = lambda what, _numbers: DependencyDown("away") if what == "admit" else None
    for number in range(1, 6):
        [run] = desk.brought(batch(number, f"S{number}"))
        assert isinstance(run.error, DependencyDown)


# --- threads -----------------------------------------------------------------------------------------------


def test_as_many_calls_as_slots_are_under_way_at_once_and_closing_ends_every_thread() -> None:
    desk = BatchRunHarness(NO_COMPANY)
    together = threading.Barrier(3, timeout=PATIENCE_S)

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        together.wait()
        return done(numbers)

    desk.answers = answer
    before = set(threading.enumerate())
    desk.runner.start()
    mine = set(threading.enumerate()) - before
    assert {thread.name for thread in mine} == {f"moodle-run-{number}" for number in range(1, 8)}
    assert all(thread.daemon for thread in mine)
    for number in (1, 2, 3):
        desk.runner.begin(batch(number, f"S{number}"))
    assert {desk.report().error for _ in range(3)} == {None}
    desk.runner.begin_probe()
    assert desk.reports.get(timeout=PATIENCE_S) == Probed()
    desk.runner.close()
    for thread in mine:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    desk.runner.check()


@pytest.mark.parametrize(("call_s", "ahead"), [(SHORT_CALL_S, True), (SHORT_CALL_S + 0.01, False)])
def test_leases_are_taken_during_the_call_before_if_that_is_short(call_s: float, ahead: bool) -> None:
    desk = BatchRunHarness(Limits(slots=1, slots_personal=0))
    desk.call_s, calling, admitted, over = call_s, threading.Event(), threading.Event(), threading.Event()

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        if numbers == ["B"]:
            calling.set()
            assert over.wait(PATIENCE_S)
        return done(numbers)

    def notes(what: str, numbers: list[str]) -> None:
        if what == "admit" and numbers == ["C"]:
            admitted.set()

    desk.answers, desk.effects.refuses = answer, notes
    desk.runner.start()
    desk.runner.begin(batch(1, "A"))
    assert desk.report().called
    desk.runner.begin(batch(2, "B"))
    assert calling.wait(PATIENCE_S)  # else both may be admitted together
    desk.runner.begin(batch(3, "C"))
    assert admitted.wait(PATIENCE_S if ahead else 0.2) is ahead
    assert desk.called == [["A"], ["B"]]
    over.set()
    assert [desk.report().called for _ in range(2)] == [True, True]
    assert desk.called == [["A"], ["B"], ["C"]]
    desk.runner.close()


def test_who_was_admitted_ahead_is_withdrawn_when_the_call_before_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.runner.batch_run.WAIT_S_MAX", 0.05)
    desk = BatchRunHarness(Limits(slots=1, slots_personal=0))
    over = threading.Event()

    def answer(numbers: list[str]) -> Mapping[str, HandlerOutcome]:
        assert numbers != ["B"] or over.wait(PATIENCE_S)
        return done(numbers)

    desk.answers = answer
    desk.runner.start()
    desk.runner.begin(batch(1, "A"))
    assert desk.report().called
    for number, name in ((2, "B"), (3, "C")):
        desk.runner.begin(batch(number, name))
    late = desk.report()
    assert (late.batch.number, late.withdrawn, late.outcomes) == (3, True, {})
    assert desk.effects.did["withdraw"] == [["C"]]
    over.set()
    assert desk.report().called
    assert desk.called == [["A"], ["B"]]
    desk.runner.close()


def test_a_fault_that_ends_a_thread_is_raised_where_the_loop_looks(
    desk: BatchRunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = RuntimeError("of ours")

    def broken(*_told: object) -> None:
        raise fault

    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())
    desk.observer.outcome = broken  # type: ignore[method-assign]
    desk.runner.check()
    before = set(threading.enumerate())
    desk.runner.start()
    threads = set(threading.enumerate()) - before
    desk.runner.begin(batch(1, "A"))
    while all(thread.is_alive() for thread in threads):
        ended.wait(0.001)
    with pytest.raises(RuntimeError, match="of ours"):
        desk.runner.check()
    assert not ended.is_set()
    desk.runner.close()
