"""The engine's promises, on the pure state machine: no clock, no thread, no IO."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Bell, Place
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS, BULK
from sesame.testing.servers.narrowing import present
from tests.unit.pipeline.engine.engine_kit import numbers, taken

LIMITS = Limits(batch_size=2, linger_s=0.0, slots=2, slots_personal=1, bulk_every=3, in_hand_max=10)


class Reader:
    """Gives bells the next offset of their topic, as a log would."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.offsets: dict[str, int] = {}

    def ring(self, number: str, version: int = 1, *, bulk: bool = False, replay: bool = False) -> Place:
        topic = ACCOUNTS + BULK if bulk else ACCOUNTS
        place = Place(topic, 0, self.offsets.get(topic, 0))
        self.offsets[topic] = place.offset + 1
        lane = Lane.BULK if bulk else Lane.PERSONAL
        self.engine.offer(Bell(number, version, lane, f"{topic}-{place.offset}", replay, place), now=0.0)
        return place


@pytest.fixture
def engine() -> Engine:
    return Engine(LIMITS)


@pytest.fixture
def reader(engine: Engine) -> Reader:
    return Reader(engine)


def test_bells_of_one_student_become_one_turn_at_the_highest_version(engine: Engine, reader: Reader) -> None:
    for version in (1, 3, 2):
        reader.ring("A", version)
    batch = taken(engine)
    assert [(item.student_number, item.version, item.rang) for item in batch.items] == [("A", 3, 3)]


def test_a_student_is_never_worked_on_twice_at_once_and_a_late_bell_is_not_forgotten(
    engine: Engine, reader: Reader
) -> None:
    reader.ring("A", 1)
    first = taken(engine)
    reader.ring("A", 2)
    assert engine.take(0.0) is None
    engine.settled(first, 0.0, answered=True)
    assert taken(engine).items[0].version == 2


def test_only_the_lowest_contiguous_settled_offset_is_committed(engine: Engine, reader: Reader) -> None:
    for number in "ABCD":
        reader.ring(number)
    first, second = taken(engine), taken(engine)
    engine.settled(second, 0.0, answered=True)
    assert engine.to_commit() == {(ACCOUNTS, 0): 0}
    engine.settled(first, 0.0, answered=True)
    assert engine.to_commit() == {(ACCOUNTS, 0): 4}
    engine.committed({(ACCOUNTS, 0): 4})
    assert engine.to_commit() == {}


def test_a_skipped_record_lets_the_offset_pass(engine: Engine) -> None:
    engine.skip(Place(ACCOUNTS, 0, 7))
    assert engine.to_commit() == {(ACCOUNTS, 0): 8}


def test_a_record_that_is_delivered_twice_in_one_life_is_taken_once(engine: Engine) -> None:
    bell = Bell("A", 1, Lane.PERSONAL, "e", place=Place(ACCOUNTS, 0, 0))
    engine.offer(bell, 0.0)
    engine.offer(bell, 0.0)
    assert taken(engine).items[0].rang == 1


def test_some_slots_never_serve_bulk_so_a_person_never_waits_behind_a_batch(
    engine: Engine, reader: Reader
) -> None:
    for number in "ABCDEF":
        reader.ring(number, bulk=True)
    assert taken(engine).lane is Lane.BULK
    assert engine.take(0.0) is None  # the second slot is kept for persons
    reader.ring("P")
    assert numbers(taken(engine)) == ["P"]


@pytest.mark.parametrize("waits", list(Lane))
def test_a_batch_that_is_not_full_waits_its_linger_time_however_much_of_the_other_lane_is_under_way(
    waits: Lane,
) -> None:
    engine = Engine(Limits(batch_size=2, linger_s=1.0, slots=2, slots_personal=1, bulk_every=3, ahead=2))
    reader = Reader(engine)
    for index in range(20):
        reader.ring(f"S{index}", bulk=waits is Lane.PERSONAL)
    begun = []
    while (batch := engine.take(0.0)) is not None:
        begun.append(batch)
    reader.ring("alone", bulk=waits is Lane.BULK)
    assert engine.take(0.9) is None
    assert numbers(taken(engine, 1.0)) == ["alone"]


def test_bulk_goes_on_under_any_personal_load(engine: Engine, reader: Reader) -> None:
    """Each lane is bounded for itself; which of them has the next free slot is the call queue's to say."""
    reader.ring("bulk", bulk=True)
    for index in range(8):
        reader.ring(f"P{index}")
    begun = []
    while (batch := engine.take(0.0)) is not None:
        begun.append(batch.lane)
    assert begun == [Lane.PERSONAL, Lane.PERSONAL, Lane.BULK]


def test_a_person_lifts_the_bulk_work_of_the_same_student(engine: Engine, reader: Reader) -> None:
    for number in "ABC":
        reader.ring(number, bulk=True)
    reader.ring("C", 2)
    batch = taken(engine)
    assert (batch.lane, numbers(batch)) == (Lane.PERSONAL, ["C"])
    assert batch.items[0].rang == 2


def test_a_lane_stops_being_read_at_its_bound_and_the_other_goes_on(engine: Engine, reader: Reader) -> None:
    for index in range(LIMITS.in_hand_max):
        reader.ring(f"S{index}", bulk=True)
    assert engine.capacity(Lane.BULK) == 0
    assert engine.capacity(Lane.PERSONAL) == LIMITS.in_hand_max


def test_a_batch_waits_its_linger_time_unless_it_is_full() -> None:
    engine = Engine(Limits(batch_size=2, linger_s=1.0, slots=2, slots_personal=0))
    reader = Reader(engine)
    reader.ring("A")
    assert engine.take(0.5) is None
    assert engine.due_in(0.5) == pytest.approx(0.5)
    reader.ring("B")
    assert numbers(taken(engine, 0.5)) == ["A", "B"]


def test_a_parked_bell_does_not_give_a_student_a_second_place(engine: Engine, reader: Reader) -> None:
    reader.ring("A", 2)
    engine.offer(Bell("A", 1, Lane.PERSONAL, "parked"), 0.0)
    assert taken(engine).items[0].rang == 1
    engine.offer(Bell("A", 1, Lane.PERSONAL, "parked"), 0.0)
    assert engine.ready == 0


def test_a_replay_among_bells_makes_the_turn_a_replay(engine: Engine, reader: Reader) -> None:
    reader.ring("A", 5)
    reader.ring("A", 0, replay=True)
    item = taken(engine).items[0]
    assert item.bell.replay
    assert item.version == 5


def test_an_outage_charges_nobody_and_everybody_comes_again_alone(engine: Engine, reader: Reader) -> None:
    for number in "AB":
        reader.ring(number)
    engine.tripped(taken(engine), 10.0, "refused")
    assert engine.circuit.state == "open"
    assert engine.take(10.0) is None
    assert engine.capacity(Lane.PERSONAL) == 0
    assert not engine.circuit.probe_due(10.5)
    assert engine.circuit.probe_due(11.0)
    assert engine.probed(11.0, ok=True) is None
    half_open = taken(engine, 11.0)
    assert numbers(half_open) == ["A"]
    assert engine.take(11.0) is None  # one at a time until somebody's work succeeded
    engine.settled(half_open, 11.0, answered=True)
    assert engine.circuit.state == "closed"
    assert numbers(taken(engine, 11.0)) == ["B"]


def test_a_poison_row_is_charged_when_it_fails_alone_and_the_probe_succeeds(
    engine: Engine, reader: Reader
) -> None:
    for number in "AB":
        reader.ring(number)
    engine.tripped(taken(engine), 0.0, "500")
    engine.circuit.probe_due(1.0)
    engine.probed(1.0, ok=True)
    alone = taken(engine, 1.0)
    engine.tripped(alone, 1.0, "500")
    engine.circuit.probe_due(10.0)
    charged = present(engine.probed(10.0, ok=True))
    assert numbers(charged) == ["A"]
    engine.settled(charged, 10.0, answered=True)
    assert numbers(taken(engine, 10.0)) == ["B"]


def test_a_probe_that_fails_waits_longer_each_time_up_to_a_bound(engine: Engine, reader: Reader) -> None:
    reader.ring("A")
    engine.tripped(taken(engine), 0.0, "refused")
    now, delays = 0.0, []
    for _ in range(6):
        due_in = present(engine.due_in(now))
        delays.append(due_in)
        now += due_in
        assert engine.circuit.probe_due(now)
        engine.probed(now, ok=False, reason="refused")
    assert delays == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_several_calls_that_fail_in_one_outage_open_the_circuit_once() -> None:
    engine = Engine(Limits(batch_size=1, linger_s=0.0, slots=3, slots_personal=0))
    reader = Reader(engine)
    for number in "ABC":
        reader.ring(number)
    batches = [taken(engine) for _ in range(3)]
    for batch in batches:
        engine.tripped(batch, 5.0, "refused")
    assert engine.due_in(5.0) == pytest.approx(1.0)


def test_throttling_pauses_for_as_long_as_it_was_told_and_needs_no_probe(
    engine: Engine, reader: Reader
) -> None:
    reader.ring("A")
    engine.throttled(taken(engine), 0.0, "429", retry_after_s=7.0)
    assert engine.take(6.9) is None
    assert not engine.circuit.probe_due(6.9)
    assert numbers(taken(engine, 7.0)) == ["A"]


def test_a_misconfiguration_stops_at_once_and_is_probed_rarely(engine: Engine, reader: Reader) -> None:
    reader.ring("A")
    engine.misconfigured(taken(engine), 0.0, "the token is refused")
    assert engine.circuit.state is CircuitState.MISCONFIGURED
    assert not engine.circuit.probe_due(29.0)
    assert engine.circuit.probe_due(30.0)
    engine.probed(30.0, ok=True)
    assert numbers(taken(engine, 30.0)) == ["A"]


def test_work_that_found_nothing_to_ask_the_target_is_no_evidence_that_it_is_well(
    engine: Engine, reader: Reader
) -> None:
    reader.ring("A")
    engine.tripped(taken(engine), 0.0, "refused")
    engine.circuit.probe_due(1.0)
    engine.probed(1.0, ok=True)
    engine.settled(taken(engine, 1.0), 1.0, answered=False)
    assert engine.circuit.state is CircuitState.HALF_OPEN


def test_a_revoked_partition_is_not_committed_and_its_turns_still_end(engine: Engine, reader: Reader) -> None:
    reader.ring("A")
    batch = taken(engine)
    engine.revoke([(ACCOUNTS, 0)])
    engine.settled(batch, 0.0, answered=True)
    assert engine.to_commit() == {}
    assert engine.idle


def test_limits_that_would_starve_a_lane_are_refused() -> None:
    with pytest.raises(ValueError, match="slots_personal"):
        Limits(slots=2, slots_personal=2)
