"""The invariants of what a person sees: what is waited for, and what was given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import select

from consumers.propagation.rows import propagation, propagation_targets
from pipeline import attempts
from pipeline.attempts import AttemptEnd
from pipeline.dead_letters import rows as dead_letters
from pipeline.target_states import State, TargetState
from schemas.events import DeadLetterRecorded, PropagationCompleted, TargetFailed, TargetWaiting
from tests.simulation import oracle
from tests.simulation.site import FOLLOWS, TARGETS
from tests.simulation.standing import standing
from tests.simulation.world import World

Told = tuple[str, str, int, str | None, tuple[str, ...]]
"""Target, student and version; why the version is not complete there, and the missing names."""


def obstacles_are_told(world: World) -> Iterator[str]:
    """Each who waits sees for what, and no one else does. At each call, and at the end."""
    for target in world.site.targets.values():
        yield from target.not_told
    stands = standing(world)
    for (name, number), stand in stands.items():
        leader = stands.get((FOLLOWS.get(name, ""), number))
        if stand.failed or (leader is not None and leader.applied < stand.account.version):
            continue  # the page shows that it was given up, or what the leader waits for
        owed = world.site.targets[name].obstacle(stand.account)
        told = _told(stand.state)
        if told != owed:
            yield f"{name} {number} version {stand.account.version} waits for {owed}, and is told of {told}"


def _told(state: TargetState | None) -> oracle.Obstacle | None:
    if state is None or state.state is not State.WAITING:
        return None
    return state.reason or "", tuple(sorted(state.pending))


def it_is_told_everywhere(world: World) -> Iterator[str]:
    """The record of a target at the end is on the log, and on the student's page."""
    said: set[Told] = set()
    for _, event in world.said():
        if isinstance(event, TargetWaiting):
            pending = tuple(sorted(event.pending))
            said.add((event.target, event.student_number, event.version, event.reason, pending))
        elif isinstance(event, TargetFailed):
            said.add((event.target, event.student_number, event.version, event.cause, ()))
    shown = set(_shown(world))
    for (name, number), stand in standing(world).items():
        if stand.state is None or not (stand.waits or stand.failed):
            continue
        pending = tuple(sorted(stand.state.pending))
        what = (name, number, stand.state.state_version, stand.state.reason, pending)
        if what not in said:
            yield f"{what} is recorded, and nobody said so"
        if what not in shown:
            yield f"{what} is recorded, and is not shown"


def attempts_are_remembered(world: World) -> Iterator[str]:
    """A student's last attempt that did more than shut access is the recorded one."""
    for (name, number), stand in standing(world).items():
        with world.site.database.read() as connection:
            past = attempts.of_student(connection, number, limit=1_000_000)
        mine = [each for each in past if each.target == name and each.ended is not AttemptEnd.CLOSED]
        last = (_REACHED[mine[0].ended], mine[0].version, mine[0].reason) if mine else None
        state = stand.state
        if state is not None and state.state is not State.NEW:
            recorded = (state.state, state.state_version, state.reason)
            if last != recorded:
                yield f"{name} {number}: {recorded} is recorded, and what is remembered is {last}"


_REACHED: Final = {
    AttemptEnd.WRITTEN: State.PROVISIONED,
    AttemptEnd.UNCHANGED: State.PROVISIONED,
    AttemptEnd.WAITING: State.WAITING,
    AttemptEnd.RETRY: State.RETRYING,
    AttemptEnd.FAILED: State.FAILED,
}


def the_whole_is_told(world: World) -> Iterator[str]:
    """A student's page shows of all targets together what they show one by one.

    One whose leader is behind adds nothing. A completion stays: its target shows what a later look finds
    missing.
    """
    stands = standing(world)
    said = (event for _, event in world.said() if isinstance(event, PropagationCompleted))
    completed = {(event.student_number, event.version) for event in said}
    with world.site.database.read() as connection:
        rows = {row.student_number: row for row in connection.execute(select(propagation))}
    for number in sorted({number for _, number in stands}):
        mine = {name: stands[name, number] for name in TARGETS}
        for name, leader in FOLLOWS.items():
            if mine[leader].applied < mine[leader].account.version:
                mine[name] = mine[leader]
        left = [stand for stand in mine.values() if not stand.reached]
        state = "failed" if any(stand.failed for stand in left) else "waiting" if left else "completed"
        row, version = rows.get(number), mine["directory"].account.version
        if (number, version) in completed:
            state = "completed"
        if row is None or (row.version, row.state) != (version, state):
            told = None if row is None else (row.version, row.state)
            yield f"{number} version {version} is {state}, and is shown as {told}"


def _shown(world: World) -> Iterator[Told]:
    with world.site.database.read() as connection:
        for row in connection.execute(select(propagation_targets)):
            if row.state != "provisioned":
                pending = tuple(sorted(json.loads(row.pending or "[]")))
                yield row.target, row.student_number, row.version, row.reason, pending


def dead_letters_are_announced(world: World) -> Iterator[str]:
    """All work that is given up is announced."""
    said = {event.dead_letter_id for _, event in world.said() if isinstance(event, DeadLetterRecorded)}
    with world.site.database.read() as connection:
        letters = dead_letters.unresolved(connection)
    for letter in letters:
        if letter.student_number is not None and letter.id not in said:
            who = f"{letter.consumer} {letter.student_number}"
            yield f"{who}: a dead letter ({letter.cause}), and nobody said so"


TOLD: dict[str, Callable[[World], Iterator[str]]] = {
    "obstacles are told": obstacles_are_told,
    "it is told everywhere": it_is_told_everywhere,
    "attempts are remembered": attempts_are_remembered,
    "the whole is told": the_whole_is_told,
    "dead letters are announced": dead_letters_are_announced,
}
