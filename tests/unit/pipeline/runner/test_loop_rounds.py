"""Each round of the worker's loop, on a log that is told: what is read, committed, told and made up for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.errors import DependencyDown, TargetDown
from pipeline.eventlog.port import LogUnavailable, NotAssigned, OffsetOutOfRange, Record, TopicPartition
from pipeline.parking.parking_lot import LOOK_EVERY_S
from pipeline.runner import TargetWorker
from pipeline.runner.batch_run import HANGS_AFTER_S
from pipeline.runner.loop import COMMIT_EVERY_S, IDLE_POLL_S, POLL_S, REPORT_EVERY_S
from pipeline.target import Dead
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, to_record
from schemas.events import AccountChanged, Cause, Event, ReplayRequested
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import REFUSED
from sesame.testing.servers.pipeline_kit import Plant
from sesame.testing.servers.target_kit import NOW, Gate, Noting

PERSONAL, BULK = (TopicPartition(catalogue.by_lane(catalogue.ACCOUNTS, lane), 0) for lane in Lane)
ASKED = TopicPartition(catalogue.ACTIVATIONS, 0)

Round = Callable[[], object]
"""One poll: the records that it reads, or nothing; `AGAIN` if the next poll is to do the same."""
AGAIN = object()


@dataclass
class Log:
    """A consumer whose polls do what the test says, one after the other; after the last the worker stops."""

    rounds: list[Round] = field(default_factory=list)
    owned: dict[TopicPartition, int] = field(default_factory=lambda: {PERSONAL: 1, BULK: 1, ASKED: 1})
    stopping: threading.Event = field(default_factory=threading.Event)
    polls: list[tuple[int, float]] = field(default_factory=list)
    commits: list[dict[TopicPartition, int]] = field(default_factory=list)
    paused: set[TopicPartition] = field(default_factory=set)
    seeks: list[tuple[TopicPartition, int]] = field(default_factory=list)
    closed: int = 0
    refuse_commit: Exception | None = None

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        self.polls.append((most, round(timeout_s, 6)))
        if not self.rounds:
            self.stopping.set()
            return []
        this = self.rounds.pop(0)
        found = this()
        if found is AGAIN:
            self.rounds.insert(0, this)
            time.sleep(0.005)  # as a log that has nothing
        return found if isinstance(found, list) else []

    def assignment(self) -> Mapping[TopicPartition, int]:
        return dict(self.owned)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.commits.append(dict(offsets))
        if self.refuse_commit is not None:
            raise self.refuse_commit

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.seeks.append((tp, offset))

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        self.paused |= set(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        self.paused -= set(tps)

    def lag(self) -> dict[TopicPartition, int]:
        return {PERSONAL: 42}

    def close(self) -> None:
        self.closed += 1


class WorkerHarness:
    """A worker that runs in the test's thread, on the plant's store and the log above. Its clock stands still
    unless a round moves it."""

    def __init__(self, plant: Plant) -> None:
        self.plant, self.log, self.observer, self.now = plant, Log(), Noting(), 1000.0
        self.offsets = {PERSONAL: 0, BULK: 0, ASKED: 0}

    def worker(self, limits: Limits) -> TargetWorker:
        consumer: Any = self.log
        self.engine = Engine(limits)
        return TargetWorker(
            handler=self.plant.target,
            engine=self.engine,
            effects=self.plant.effects(),
            consumer=consumer,
            database=self.plant.database,
            observer=self.observer,
            clock=lambda: self.now,
            grace_s=PATIENCE_S,
            partitions=1,
        )

    def run(self, *rounds: Round, limits: Limits = Limits(linger_s=0.0)) -> None:  # noqa: B008  # frozen
        self.log.rounds = list(rounds)
        self.worker(limits).run(self.log.stopping)

    def record(self, event: Event | bytes, tp: TopicPartition = PERSONAL) -> Record:
        """The next of its partition."""
        offset = self.offsets[tp]
        self.offsets[tp] += 1
        if isinstance(event, bytes):
            return Record(tp.topic, tp.partition, offset, "A", event, (), 5)
        headers, value = to_record(Message(f"{tp.topic}-{offset}", "/sesame/registry", NOW, event))
        return Record(tp.topic, tp.partition, offset, event.student_number, value, headers, 5)

    def bell(self, number: str, tp: TopicPartition = PERSONAL) -> Record:
        lane = Lane.BULK if tp is BULK else Lane.PERSONAL
        return self.record(
            AccountChanged(
                student_number=number, version=1, stage=Stage.ACTIVE, lane=lane, cause=Cause.ACTIVATION
            ),
            tp,
        )

    def others(self) -> Record:
        """One that is another consumer's."""
        return self.record(
            ReplayRequested(student_number="A", consumer="moodle", replay_id="0123456789abcdef"), ASKED
        )

    def later(self, seconds: float) -> None:
        self.now += seconds

    def applied(self, number: str) -> Round:
        """Polls until this student's work is done."""
        return until(lambda: self.plant.applied(number) == 1)


@pytest.fixture
def desk(plant: Plant) -> WorkerHarness:
    return WorkerHarness(plant)


def until(what: Callable[[], bool]) -> Round:
    """Polls until it is so."""
    deadline = time.monotonic() + PATIENCE_S

    def look() -> object:
        assert time.monotonic() < deadline
        return None if what() else AGAIN

    return look


def nothing() -> None:
    """A round in which nothing is there to read."""


# --- reading -----------------------------------------------------------------------------------------------


def test_with_nothing_under_way_a_poll_waits_for_the_log_until_somebody_parked_may_be_due(
    desk: WorkerHarness,
) -> None:
    desk.run(lambda: desk.later(LOOK_EVERY_S), lambda: desk.later(0.8), lambda: desk.later(0.15), nothing)
    waits = [wait_s for _, wait_s in desk.log.polls]
    assert waits == [LOOK_EVERY_S, IDLE_POLL_S, *map(pytest.approx, (0.2, 0.05, 0.05))]


def test_while_a_call_is_under_way_a_poll_is_short_and_with_more_to_do_it_does_not_wait(
    desk: WorkerHarness,
) -> None:
    gate = Gate("A", "B")
    before: list[tuple[int, float]] = []

    desk.plant.target.script = gate
    for number in "AB":
        desk.plant.account(number)
    desk.run(
        lambda: [desk.bell("A")],
        until(gate.reached.is_set),
        lambda: [desk.bell("B")],  # nobody is free for B
        lambda: before.extend(desk.log.polls),
        nothing,
        gate.open.set,
        desk.applied("B"),
        limits=Limits(linger_s=0.0, slots=1, slots_personal=0, batch_size=1),
    )
    first, *under_way, after_b = [wait_s for _, wait_s in before]
    assert (first, set(under_way), after_b) == (LOOK_EVERY_S, {POLL_S}, 0.0)
    assert desk.log.polls[len(before)][1] == 0.0


def test_a_full_lane_is_paused_and_the_other_is_not(desk: WorkerHarness) -> None:
    paused: list[set[TopicPartition]] = []

    def look() -> None:
        paused.append(set(desk.log.paused))

    desk.plant.target.script = lambda _task: TargetDown("no")
    for number in "AB":
        desk.plant.account(number)
    limits = Limits(batch_size=5, in_hand_max=2).model_copy(update={"linger_s": 60.0})
    desk.run(look, lambda: [desk.bell(number, BULK) for number in "AB"], look, limits=limits)
    assert paused == [set(), {BULK}]


def test_with_the_circuit_open_everything_is_paused_and_what_is_parked_waits(desk: WorkerHarness) -> None:
    desk.plant.target.script = lambda _task: TargetDown("no answer")
    desk.plant.target.probe_error = TargetDown("no answer")
    desk.plant.account("A")
    seen: list[set[TopicPartition]] = []

    def look() -> None:
        seen.append(set(desk.log.paused))

    limits = Limits(linger_s=0.0, probe_delay_s_min=0.3)
    desk.run(lambda: [desk.bell("A")], until(lambda: bool(desk.log.paused)), look, limits=limits)
    assert seen == [{PERSONAL, BULK, ASKED}]
    assert desk.log.polls[-1][1] == pytest.approx(0.3)  # until the probe


def test_what_was_read_of_a_partition_that_is_lost_is_left_to_its_new_owner(
    desk: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runner.loop.STORE_PAUSE_S", 0.0)
    refused = [DependencyDown("away")]

    def bury(*_given: object) -> None:
        if refused:
            raise refused.pop()

    def lose() -> None:
        desk.log.owned = {BULK: 1}

    monkeypatch.setattr("pipeline.runner.loop.record_unreadable", bury)
    for number in "AB":
        desk.plant.account(number)
    desk.run(
        lambda: [desk.record(b"{broken"), desk.bell("A"), desk.bell("B", BULK)],
        lose,
        desk.applied("B"),
        lambda: desk.later(COMMIT_EVERY_S),
    )
    assert desk.log.polls[1] == (0, 0.0)  # nothing more is read before it
    assert desk.plant.target.calls == [["B"]]
    assert desk.log.commits[-1] == {BULK: 1}
    assert all(set(commit) == {BULK} for commit in desk.log.commits)


# --- what is no bell ---------------------------------------------------------------------------------------


def test_a_record_that_is_none_of_ours_or_cannot_be_read_lets_the_offset_pass(desk: WorkerHarness) -> None:
    desk.run(lambda: [desk.others(), desk.record(b"{broken")])
    assert desk.log.commits == [{ASKED: 1, PERSONAL: 1}]
    [letter] = desk.plant.letters()
    assert (letter.topic, letter.offset, letter.timestamp_ms) == (PERSONAL.topic, 0, 5)
    [(name, trouble)] = desk.observer.troubles
    assert (name, trouble) == ("directory", letter.message)


def test_an_event_on_a_topic_where_it_does_not_travel_is_buried(desk: WorkerHarness) -> None:
    desk.plant.account("A")
    replay = ReplayRequested(student_number="A", consumer="directory", replay_id="0123456789abcdef")
    desk.run(lambda: [desk.record(replay, PERSONAL)])
    [letter] = desk.plant.letters()
    assert "does not travel on sesame.accounts" in letter.message
    assert desk.plant.target.calls == []


def test_who_is_given_up_leaves_a_letter_with_the_place_and_the_hour_of_the_record(
    desk: WorkerHarness,
) -> None:
    desk.plant.target.script = lambda _task: Dead("refused", "by value")
    desk.plant.account("A")
    desk.run(lambda: [desk.others(), desk.bell("A", BULK)], until(lambda: bool(desk.plant.letters())))
    [letter] = desk.plant.letters()
    assert (letter.topic, letter.partition, letter.offset) == (BULK.topic, 0, 0)
    assert letter.timestamp_ms == 5


# --- committing and reporting ------------------------------------------------------------------------------


def test_what_is_settled_is_committed_now_and_then_and_at_the_end(desk: WorkerHarness) -> None:
    def others(count: int, after_s: float) -> Round:
        def records() -> list[Record]:
            desk.later(after_s)
            return [desk.others() for _ in range(count)]

        return records

    desk.run(
        others(1, 0.0),
        others(1, COMMIT_EVERY_S - 0.01),
        others(1, 0.01),
        others(0, COMMIT_EVERY_S),
        others(1, 0.01),
    )
    assert desk.log.commits == [{ASKED: 1}, {ASKED: 3}, {ASKED: 4}]
    assert desk.log.closed == 1


def test_a_partition_that_is_lost_at_the_commit_is_told_of_and_the_commit_may_be_repeated(
    desk: WorkerHarness,
) -> None:
    desk.log.refuse_commit = NotAssigned("partition 0 is another member's")

    def back() -> None:
        desk.log.refuse_commit = None
        desk.later(COMMIT_EVERY_S)

    desk.run(lambda: [desk.others()], back, lambda: desk.later(COMMIT_EVERY_S))
    assert desk.log.commits == [{ASKED: 1}] * 2  # the second time it is ours again
    assert desk.observer.troubles == [("directory", "partition 0 is another member's")]


def test_state_and_lag_are_told_every_few_seconds_and_why_it_stopped_at_the_end(desk: WorkerHarness) -> None:
    desk.run(nothing, lambda: desk.later(REPORT_EVERY_S - 0.1), lambda: desk.later(0.1), nothing)
    assert desk.observer.lags == [("directory", {PERSONAL: 42})] * 2
    assert desk.observer.states == [
        ("directory", "running", ""),
        ("directory", "running", ""),
        ("directory", "stopped", "the process was told to stop"),
    ]
    assert desk.plant.target.closed == 1


def test_a_stop_of_the_circuit_is_the_state_with_its_reason(desk: WorkerHarness) -> None:
    desk.plant.target.script = lambda _task: TargetDown("no answer")
    desk.plant.target.probe_error = TargetDown("no answer")
    desk.plant.account("A")

    def told() -> bool:
        desk.later(REPORT_EVERY_S)
        return desk.observer.states[-1][1] != "running"

    limits = Limits(linger_s=0.0).model_copy(update={"probe_delay_s_min": 9e9, "probe_delay_s_max": 9e9})
    desk.run(lambda: [desk.bell("A")], until(told), limits=limits)
    name, state, reason = desk.observer.states[-2]
    assert (name, state) == ("directory", "open")
    assert reason.startswith("no answer")


@pytest.mark.parametrize(("slots", "expected"), [(1, "hanging"), (2, "running")])
def test_calls_that_do_not_come_back_are_told_and_all_of_them_are_a_state(
    desk: WorkerHarness, slots: int, expected: str
) -> None:
    gate = Gate("A")
    desk.plant.target.script = gate
    desk.plant.account("A")
    before: list[str] = []

    def told() -> bool:
        before.append(desk.observer.states[-1][2])
        desk.later(desk.plant.target.call_s_max + HANGS_AFTER_S - 0.1 if len(before) == 1 else REPORT_EVERY_S)
        return desk.observer.states[-1][2] != ""

    def let_go() -> list[Record]:
        gate.open.set()
        return []

    def over() -> bool:
        desk.later(REPORT_EVERY_S)
        return desk.observer.states[-1][2] == ""

    limits = Limits(linger_s=0.0).model_copy(update={"slots": slots})
    desk.run(
        lambda: [desk.bell("A")],
        until(lambda: gate.reached.wait(PATIENCE_S)),
        until(told),
        let_go,
        until(over),
        limits=limits,
    )
    (_, state, reason) = next(each for each in desk.observer.states if each[2])
    assert state == expected
    assert reason.startswith(f"1 of {slots} calls have not come back in the 5 s that the connector promises")
    assert desk.observer.states[-2] == ("directory", "running", "")


@pytest.mark.parametrize("error", [DependencyDown("the store refuses"), LogUnavailable("the log refuses")])
def test_a_dependency_that_is_away_is_told_and_the_loop_goes_on_after_a_pause(
    desk: WorkerHarness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pauses: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return False

    desk.log.stopping = Stopping()

    def away() -> None:
        raise error

    desk.plant.account("A")
    desk.run(away, lambda: [desk.bell("A")], desk.applied("A"))
    assert desk.observer.troubles == [("directory", str(error))]
    assert ("directory", "down", str(error)) in desk.observer.states
    assert pauses == [1.0]


def test_a_fault_of_ours_ends_the_loop_which_says_so_and_leaves_the_group(desk: WorkerHarness) -> None:
    def fault() -> None:
        raise RuntimeError("of ours")

    with pytest.raises(RuntimeError, match="of ours"):
        desk.run(fault)
    assert desk.observer.states[-1] == ("directory", "stopped", "an error ended the loop; the log has it")
    assert (desk.log.closed, desk.plant.target.closed) == (1, 1)


# --- what the log lost -------------------------------------------------------------------------------------


def test_what_the_log_lost_is_made_up_for_and_reading_goes_on_where_it_can(desk: WorkerHarness) -> None:
    for number in "AB":
        desk.plant.account(number)

    def lost() -> None:
        raise OffsetOutOfRange("offset 3 is gone", tp=PERSONAL, offset=3, first=9)

    def nine() -> list[Record]:
        desk.offsets[PERSONAL] = 9
        return [desk.bell("A")]

    desk.run(lost, nine, lambda: desk.later(LOOK_EVERY_S * 4), desk.applied("A"), desk.applied("B"))
    assert desk.log.seeks == [(PERSONAL, 9)]
    assert desk.log.commits[0] == {PERSONAL: 9}  # a restart does not meet the same loss again
    assert desk.log.commits[-1] == {PERSONAL: 10}
    assert any(trouble.startswith("offset 3 is gone; 2 students") for _, trouble in desk.observer.troubles)


def test_a_loss_that_names_no_place_ends_the_loop(desk: WorkerHarness) -> None:
    def lost() -> None:
        raise OffsetOutOfRange("somewhere")

    with pytest.raises(OffsetOutOfRange):
        desk.run(lost)
    assert desk.log.seeks == []
    assert desk.log.commits == []


# --- who is parked -----------------------------------------------------------------------------------------


def test_one_who_is_parked_comes_again_when_due_and_whoever_ends_brings_the_next_look_forward(
    desk: WorkerHarness, clock: Clock
) -> None:
    answers = iter([REFUSED])
    desk.plant.target.script = lambda _task: next(answers, None)
    desk.plant.account("A")

    def due() -> None:
        clock.now += 3600.0
        desk.later(LOOK_EVERY_S)  # sooner than the next look was meant to be

    desk.run(
        nothing,
        lambda: desk.later(LOOK_EVERY_S),
        nothing,  # the lot is empty: nobody would be looked for within a second
        lambda: [desk.bell("A")],
        until(lambda: desk.plant.parked("A") is not None),
        until(lambda: desk.engine.idle),
        due,
        desk.applied("A"),
    )
    assert desk.plant.target.calls == [["A"], ["A"]]


# --- stopping ----------------------------------------------------------------------------------------------


def test_what_has_not_been_called_when_it_stops_is_withdrawn_and_its_offset_not_committed(
    desk: WorkerHarness,
) -> None:
    gate = Gate("A", "B")
    desk.plant.target.script = gate
    for number in "AB":
        desk.plant.account(number)

    def stop() -> list[Record]:
        assert gate.reached.wait(PATIENCE_S)
        return [desk.bell("B")]

    def open_later() -> None:
        threading.Timer(0.2, gate.open.set).start()

    limits = Limits(linger_s=0.0, slots=1, slots_personal=0, batch_size=1, ahead=1)
    desk.run(lambda: [desk.bell("A")], stop, open_later, limits=limits)
    assert desk.plant.target.calls == [["A"]]
    assert desk.log.commits[-1] == {PERSONAL: 1}
    assert desk.log.closed == 1
