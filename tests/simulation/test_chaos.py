"""Whatever fails and whoever is killed, what must always hold does: many seeds, each a world of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store import accounts, dead_letters, parking, target_states
from pipeline.store.parking import Kind
from pipeline.store.target_states import State, TargetState
from pipeline.worker import loop
from schemas import catalogue
from schemas.events import Outcome, PropagationCompleted
from tests.simulation.world import FOLLOWS, STUDENTS, TARGETS, UnflushedFile, World

SEEDS = range(8)
STEPS = 600


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed {seed}")
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(loop, "POLL_S", 0.0)
    monkeypatch.setattr(loop, "IDLE_POLL_S", 0.0)
    monkeypatch.setattr("pipeline.facts.POLL_S", 0.0)
    monkeypatch.setattr("pipeline.eventlog.sqlite.LogFile", UnflushedFile)
    world = World(tmp_path, request.param)
    yield world
    world.close()


def test_what_must_always_hold_holds_in_any_weather(world: World) -> None:
    for _ in range(STEPS):
        world.step()
    world.settle()
    broken = [fault for truth in world.truths.values() for fault in truth.broken]
    assert broken == []
    nothing_is_lost(world)
    targets_hold_what_was_recorded(world)
    dead_letters_are_those_of_failures_that_last(world)
    each_version_is_completed_once(world)
    outcomes_are_told_apart(world)


def standing(world: World) -> dict[tuple[str, str], tuple[int, TargetState]]:
    """By target and student: the newest account's version, and what is recorded."""
    found = {}
    with world.database.read() as connection:
        newest = accounts.newest(connection, STUDENTS)
        for name in TARGETS:
            states = target_states.states_of(connection, name, STUDENTS)
            for number, account in newest.items():
                if number in states:
                    found[name, number] = account.version, states[number]
                else:
                    assert name in FOLLOWS  # its leader never got that far
    return found


def nothing_is_lost(world: World) -> None:
    """Each version ends applied, superseded, waiting with a reason, or in the dead letters."""
    stands = standing(world)
    with world.database.read() as connection:
        letters = {(d.consumer, d.student_number) for d in dead_letters.unresolved(connection)}
        parked = {
            (name, number): row
            for number in STUDENTS
            for name, row in parking.all_parked_of(connection, number).items()
        }
    for (name, number), (version, state) in stands.items():
        leader = stands.get((FOLLOWS.get(name, ""), number))
        if leader is not None and leader[1].applied_version < version:
            continue  # after its leader, which has its own reason
        if state.applied_version == version and state.state is State.PROVISIONED:
            assert (name, number) not in parked
        elif state.state is State.WAITING:
            assert state.state_version == version
            assert state.reason
            assert parked[name, number].kind is Kind.WAITING
        else:
            assert (state.state, state.state_version) == (State.FAILED, version)
            assert (name, number) in letters
    assert all(row.kind is Kind.WAITING or row.due_at is None for row in parked.values())


def targets_hold_what_was_recorded(world: World) -> None:
    """What was announced as provisioned is there, and replays have mended what somebody changed by hand."""
    with world.database.read() as connection:
        owed = {
            (name, number)
            for number in STUDENTS
            for name, row in parking.all_parked_of(connection, number).items()
            if row.replay  # a follower's, which waits for its leader
        }
    for (name, number), (_, state) in standing(world).items():
        held = world.truths[name].of(number)
        assert held.version >= state.applied_version
        if state.state is State.PROVISIONED:
            assert held.version == state.applied_version
            assert held.intact or (name, number) in owed


def dead_letters_are_those_of_failures_that_last(world: World) -> None:
    """A newer success has resolved the others."""
    stands = standing(world)
    with world.database.read() as connection:
        for letter in dead_letters.unresolved(connection):
            assert letter.student_number is not None
            assert letter.version is not None
            _, state = stands[letter.consumer, letter.student_number]
            assert state.applied_version < letter.version or state.state is not State.PROVISIONED


def each_version_is_completed_once(world: World) -> None:
    said = {
        message.id: (message.event.student_number, message.event.version)
        for message in world.said(catalogue.PROPAGATION)
        if isinstance(message.event, PropagationCompleted)
    }
    assert [version for version, times in Counter(said.values()).items() if times > 1] == []
    stands = standing(world)
    with world.database.read() as connection:
        newest = accounts.newest(connection, STUDENTS)
    for number, account in newest.items():
        states = [stands.get((name, number)) for name in TARGETS]
        everywhere = all(
            state is not None
            and state[1].state is State.PROVISIONED
            and state[1].applied_version == account.version
            for state in states
        )
        completed = (number, account.version) in said.values()
        if everywhere:
            assert completed


def outcomes_are_told_apart(world: World) -> None:
    """One id says one thing; a redelivery, and nothing else, shares it."""
    said: dict[str, tuple[object, ...]] = {}
    for message in world.said(*catalogue.both_lanes(catalogue.OUTCOMES)):
        event = message.event
        assert isinstance(event, Outcome)
        what = (
            event.type,
            event.student_number,
            event.target,
            event.version,
            message.caused_by,
            event.attempt,
        )
        assert said.setdefault(message.id, what) == what
