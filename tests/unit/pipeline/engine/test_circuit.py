"""The engine when calls fail as a whole: who is tried alone, who is charged, and what is no news."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Batch, Bell, Place
from pipeline.engine.circuit import CircuitState
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from schemas.account import Lane
from schemas.catalogue import ACCOUNTS, BULK
from sesame.testing.servers.narrowing import present
from tests.unit.pipeline.engine.engine_kit import numbers, taken

LIMITS = Limits(batch_size=2, linger_s=0.0, slots=3, slots_personal=0, gap_max=10)


@pytest.fixture
def engine() -> Engine:
    return Engine(LIMITS)


def ring(engine: Engine, *numbers: str, start: int = 0) -> None:
    for offset, number in enumerate(numbers, start):
        engine.offer(Bell(number, 1, Lane.PERSONAL, f"e{offset}", place=Place(ACCOUNTS, 0, offset)), 0.0)


def probe(engine: Engine, now: float) -> Batch | None:
    assert engine.circuit.probe_due(now)
    return engine.probed(now, ok=True)


def test_one_who_was_in_a_failed_call_stays_alone_through_the_parking_lot(engine: Engine) -> None:
    ring(engine, "A", "B")
    engine.tripped(taken(engine), 0.0, "timed out")
    probe(engine, 1.0)
    parked = taken(engine, 1.0)  # A is left alone: the call that timed out may still have an effect
    engine.settled(parked, 1.0, answered=False)
    engine.settled(taken(engine, 1.0), 1.0, answered=True)
    ring(engine, "C", start=2)
    engine.offer(Bell("A", 1, Lane.PERSONAL, "e0"), 2.0)
    assert [numbers(taken(engine, 2.0)) for _ in range(2)] == [["C"], ["A"]]


def test_one_whose_work_was_answered_runs_with_the_others_again(engine: Engine) -> None:
    ring(engine, "A")
    engine.tripped(taken(engine), 0.0, "timed out")
    probe(engine, 1.0)
    engine.settled(taken(engine, 1.0), 1.0, answered=True)
    ring(engine, "A", "B", start=1)
    assert numbers(taken(engine, 2.0)) == ["A", "B"]


def test_a_charge_is_no_evidence_that_the_target_is_well(engine: Engine) -> None:
    ring(engine, "A", "B", "C")
    engine.tripped(taken(engine), 0.0, "500")
    probe(engine, 1.0)
    engine.tripped(taken(engine, 1.0), 1.0, "500")
    charged = present(probe(engine, 10.0))
    engine.settled(charged, 10.0, answered=False)
    assert engine.circuit.state is CircuitState.HALF_OPEN
    assert numbers(taken(engine, 10.0)) == ["B"]
    assert engine.take(10.0) is None


def accuse(engine: Engine, number: str) -> None:
    """This student's work has failed alone, and the target is to be probed at 10.0."""
    ring(engine, number)
    engine.tripped(taken(engine), 0.0, "500")
    assert probe(engine, 1.0) is None
    engine.tripped(taken(engine, 1.0), 1.0, "500")


def test_a_bell_that_rings_during_a_charge_is_a_turn_of_its_own_after_it(engine: Engine) -> None:
    accuse(engine, "A")
    charged = present(probe(engine, 10.0))
    assert charged.items[0].suspect  # who fails in the charge, too, is the cause for sure
    ring(engine, "A", start=1)
    assert engine.take(10.0) is None
    engine.settled(charged, 10.0, answered=False)
    assert [place.offset for place in taken(engine, 10.0).items[0].places] == [1]


def test_one_who_is_worked_on_again_when_the_probe_ends_is_not_charged_at_the_same_time(
    engine: Engine,
) -> None:
    accuse(engine, "A")
    assert engine.circuit.probe_due(10.0)
    engine.quarantine(10.0, "in another process")
    engine.lift()
    again = taken(engine, 10.0)
    ring(engine, "A", start=1)
    assert engine.probed(10.5, ok=True) is None
    engine.settled(again, 11.0, answered=True)
    assert numbers(taken(engine, 11.0)) == ["A"]


def test_one_who_was_answered_after_a_refusal_begins_anew_at_the_next(engine: Engine) -> None:
    ring(engine, "A", "B")
    refused(engine, 0.0)
    assert probe(engine, 30.0) is None
    for _ in "AB":
        engine.settled(taken(engine, 30.0), 30.0, answered=True)
    ring(engine, "A", start=2)
    assert refused(engine, 40.0) == ["A"]
    assert engine.circuit.state is CircuitState.MISCONFIGURED  # it may be the consumer's rights: long delays
    assert probe(engine, 70.0) is None


def test_a_suspects_call_is_full_with_as_many_as_it_may_have_and_waits_for_nobody() -> None:
    engine = Engine(Limits(batch_size=4, slots=3, slots_personal=0).model_copy(update={"linger_s": 60.0}))
    ring(engine, "A", "B", "C")
    engine.tripped(taken(engine, 60.0), 60.0, "500")
    assert probe(engine, 61.0) is None
    assert numbers(taken(engine, 61.0)) == ["A", "B"]


@pytest.mark.parametrize(
    ("halved", "calls"), [(True, [["A"], ["B"]]), (False, [["A", "B"]]), (False, [["A"]])]
)
def test_what_is_repeated_comes_again_at_once_by_halves_if_somebody_in_it_is_the_cause(
    engine: Engine, calls: list[list[str]], *, halved: bool
) -> None:
    ring(engine, *(number for call in calls for number in call))
    engine.repeat(taken(engine), 0.0, halved=halved)
    assert [numbers(taken(engine)) for _ in calls] == calls
    assert engine.take(0.0) is None


def test_a_share_of_answers_that_it_is_out_of_order_stops_nothing_and_half_of_them_do() -> None:
    engine = Engine(LIMITS)
    students = [f"S{place:02}" for place in range(60)]
    ring(engine, *students)
    for _ in range(6):  # a third of the calls
        for _ in range(2):
            engine.settled(taken(engine), 0.0, answered=True)
        engine.tripped(taken(engine), 0.0, "503", answered=True)
        assert engine.circuit.state is CircuitState.CLOSED
        for _ in range(2):  # each comes again alone
            engine.settled(taken(engine), 0.0, answered=True)
    fell = 0
    while engine.circuit.state is CircuitState.CLOSED:
        engine.tripped(taken(engine), 0.0, "503", answered=True)
        fell += 1
    assert 1 < fell <= 5
    assert engine.circuit.reason == "503"


def test_one_answer_stops_no_calls_that_no_answer_would(engine: Engine) -> None:
    ring(engine, "A", "B", "C", "D")
    engine.tripped(taken(engine), 0.0, "503", answered=True)
    assert engine.circuit.passes
    engine.tripped(taken(engine), 0.0, "no answer")
    assert engine.circuit.state is CircuitState.OPEN


def test_one_whose_own_work_is_answered_so_is_found_and_charged(engine: Engine) -> None:
    ring(engine, "A", "B")
    engine.tripped(taken(engine), 0.0, "503", answered=True)
    engine.tripped(taken(engine), 0.0, "503", answered=True)  # one of them, alone
    assert engine.circuit.state is CircuitState.OPEN
    assert len(numbers(present(probe(engine, 100.0)))) == 1


def test_who_was_throttled_comes_again_in_one_call(engine: Engine) -> None:
    ring(engine, "A", "B")
    engine.throttled(taken(engine), 0.0, "429", retry_after_s=1.0)
    assert numbers(taken(engine, 1.0)) == ["A", "B"]


@pytest.mark.parametrize("stop", ["tripped", "throttled", "misconfigured", "probed"])
def test_the_engine_says_why_it_stopped_in_the_words_that_it_was_told(engine: Engine, stop: str) -> None:
    ring(engine, "A")
    batch = taken(engine)
    if stop == "tripped":
        engine.tripped(batch, 0.0, "no answer")
    elif stop == "throttled":
        engine.throttled(batch, 0.0, "no answer", 1.0)
    elif stop == "misconfigured":
        engine.misconfigured(batch, 0.0, "no answer")
    else:
        engine.tripped(batch, 0.0, "another reason")
        assert engine.circuit.probe_due(1.0)
        engine.probed(1.0, ok=False, reason="no answer")
    assert engine.circuit.reason == "no answer"


def test_of_more_notes_than_are_kept_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engine.core.NOTES_MAX", 2)
    engine = Engine(LIMITS.model_copy(update={"batch_size": 3}))
    ring(engine, "A", "B", "C")
    engine.tripped(taken(engine), 0.0, "500")
    assert probe(engine, 1.0) is None
    suspects = engine.take(1.0), engine.take(1.0)
    assert [batch and numbers(batch) for batch in suspects] == [["A"], None]  # A is no suspect any more
    assert suspects[0] is not None
    engine.settled(suspects[0], 1.0, answered=True)
    assert numbers(taken(engine, 1.0)) == ["B", "C"]  # two may be


def refused(engine: Engine, now: float) -> list[str]:
    """The next student's work is refused; who it was."""
    batch = taken(engine, now)
    engine.misconfigured(batch, now, "insufficient rights")
    return numbers(batch)


def test_a_refusal_that_the_probe_cannot_see_is_charged_to_nobody(engine: Engine) -> None:
    ring(engine, "A", "B", "C")
    now, tried = 0.0, []
    for _ in range(9):
        tried += refused(engine, now)
        now += 30.0
        assert probe(engine, now) is None
    assert set(tried) == {"A", "B", "C"}  # others are tried, not one alone again and again


def test_one_who_is_refused_again_after_another_was_answered_is_charged(engine: Engine) -> None:
    ring(engine, "A", "B")
    refused(engine, 0.0)
    assert probe(engine, 30.0) is None
    assert refused(engine, 30.0) == ["A"]
    assert probe(engine, 60.0) is None
    other = taken(engine, 60.0)
    assert numbers(other) == ["B"]
    engine.settled(other, 60.0, answered=True)
    assert refused(engine, 60.0) == ["A"]
    assert engine.circuit.reason == "insufficient rights"
    charged = probe(engine, 61.0)  # the target is well for others, and does not wait its thirty seconds
    assert charged is not None
    assert numbers(charged) == ["A"]


def test_a_call_that_was_under_way_in_the_outage_tells_nothing_new_when_it_fails(engine: Engine) -> None:
    ring(engine, "A", "B", "C", "D")
    first, hanging = taken(engine), taken(engine)
    engine.tripped(first, 0.0, "refused")
    probe(engine, 1.0)
    trial = taken(engine, 1.0)  # the hanging call does not hold the trial up
    engine.tripped(hanging, 2.0, "timed out")
    assert engine.circuit.passes
    engine.settled(trial, 3.0, answered=True)
    assert engine.circuit.state is CircuitState.CLOSED
    assert {number for _ in range(3) for number in numbers(taken(engine, 3.0))} == {"B", "C", "D"}


def test_a_person_is_read_however_far_bulk_work_runs_ahead(engine: Engine) -> None:
    for offset in range(LIMITS.gap_max):
        place = Place(ACCOUNTS + BULK, 0, offset)
        engine.offer(Bell(f"S{offset}", 1, Lane.BULK, f"e{offset}", place=place), 0.0)
    assert engine.capacity(Lane.BULK) == 0
    assert engine.capacity(Lane.PERSONAL) > 0


def test_a_target_without_work_is_probed_now_and_then_and_one_at_work_is_not(engine: Engine) -> None:
    assert not engine.probe_due(1000.0)
    assert not engine.probe_due(1019.9)
    assert engine.probe_due(1020.0)
    assert not engine.probe_due(1100.0), "until it has ended there is no second one"
    assert engine.circuit.looked()
    assert engine.probe_due(1100.0)
    assert engine.circuit.looked()
    ring(engine, "A")
    batch = taken(engine, 1110.0)
    for now in (1111.0, 1500.0):
        assert not engine.probe_due(now), "its work tells"
    engine.settled(batch, 1500.0, answered=True)
    assert not engine.probe_due(1519.9)
    assert engine.probe_due(1520.0)


def test_a_paused_target_is_not_probed_for_want_of_work(engine: Engine) -> None:
    engine.circuit.paused = True
    assert not engine.probe_due(0.0)
    assert not engine.probe_due(500.0)
