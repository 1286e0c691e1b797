"""What must always hold, looked at after a history has come to its end. Each check yields what is broken.

The names are those of the design's list, shortened; what cannot be seen in this world (identity, secrets,
throughput) has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pipeline.store import accounts, dead_letters, parking, target_states
from pipeline.store.parking import Kind, Parked
from pipeline.store.target_states import State, TargetState
from schemas import catalogue
from schemas.events import Outcome, PropagationCompleted
from tests.simulation.world import FOLLOWS, TARGETS, World


class Violation(NamedTuple):
    """A promise that was not kept.

    Attributes:
        invariant: which, by its name in `INVARIANTS`.
        what: where, and what was found.
    """

    invariant: str
    what: str


class Standing(NamedTuple):
    """One target and one student, at the end.

    Attributes:
        version: of the newest account.
        state: what is recorded of the target; None: nothing.
        parked: its row in the parking lot.
    """

    version: int
    state: TargetState | None
    parked: Parked | None

    @property
    def reached(self) -> bool:
        """Whether the target is said to have the newest version."""
        state = self.state
        return (
            state is not None and state.state is State.PROVISIONED and state.applied_version == self.version
        )


def violations(world: World) -> list[Violation]:
    """Everything that is broken in a world that has come to rest."""
    return [Violation(name, what) for name, check in INVARIANTS.items() for what in check(world)]


def standing(world: World) -> dict[tuple[str, str], Standing]:
    """By target and student."""
    found = {}
    with world.database.read() as connection:
        newest = accounts.newest(connection, world.students)
        parked = {number: parking.all_parked_of(connection, number) for number in newest}
        for name in TARGETS:
            states = target_states.states_of(connection, name, world.students)
            for number, account in newest.items():
                row = parked[number].get(name)
                found[name, number] = Standing(account.version, states.get(number), row)
    return found


def nothing_is_lost(world: World) -> Iterator[str]:
    """Each version ends applied, superseded, waiting with a reason, or in the dead letters."""
    stands = standing(world)
    with world.database.read() as connection:
        letters = {(d.consumer, d.student_number) for d in dead_letters.unresolved(connection)}
    for (name, number), stand in stands.items():
        where = f"{name} {number} version {stand.version}"
        if _after_leader(stands, name, number):
            continue  # the leader has its own reason
        row = stand.parked
        if row is not None and row.kind is not Kind.WAITING and row.due_at is None:
            yield f"{where}: parked, and nothing will ever wake it"
        yield from _ends(where, stand, lettered=(name, number) in letters)


def _after_leader(stands: Mapping[tuple[str, str], Standing], name: str, number: str) -> bool:
    """Whether a follower waits for the target that it follows."""
    leader = stands.get((FOLLOWS.get(name, ""), number))
    if leader is None:
        return False
    return leader.state is None or leader.state.applied_version < stands[name, number].version


def _ends(where: str, stand: Standing, *, lettered: bool) -> Iterator[str]:
    state = stand.state
    if state is None:
        yield f"{where}: nothing was ever recorded"
    elif stand.reached:
        if stand.parked is not None:
            yield f"{where}: applied, and still parked as {stand.parked.kind}"
    elif state.state is State.WAITING:
        if state.state_version != stand.version or not state.reason:
            yield f"{where}: waits since version {state.state_version}, because {state.reason}"
        if stand.parked is None or stand.parked.kind is not Kind.WAITING:
            yield f"{where}: waits, and is not parked as waiting"
    elif (state.state, state.state_version) != (State.FAILED, stand.version):
        yield f"{where}: {state.state} at version {state.state_version}, applied {state.applied_version}"
    elif not lettered:
        yield f"{where}: failed, and not in the dead letters"


def order(world: World) -> Iterator[str]:
    """No target goes back to an older version."""
    for truth in world.truths.values():
        yield from truth.went_back


def doubt_is_compared(world: World) -> Iterator[str]:
    """What may have been written, and of which nothing was recorded, is compared before the next write."""
    for truth in world.truths.values():
        yield from truth.not_compared


def effectively_once(world: World) -> Iterator[str]:
    """What was announced as provisioned is there, and replays have mended what somebody changed by hand."""
    stands = standing(world)
    for (name, number), stand in stands.items():
        held, state = world.truths[name].of(number), stand.state
        if state is None:
            continue
        if state.suspect and _after_leader(stands, name, number):
            continue  # known to be in doubt: compared when the leader has the newest version
        if held.version < state.applied_version:
            yield f"{name} {number}: recorded {state.applied_version}, holds {held.version}"
        if state.state is State.PROVISIONED:
            if held.version != state.applied_version:
                yield f"{name} {number}: provisioned {state.applied_version}, holds {held.version}"
            owed = stand.parked is not None and stand.parked.replay  # a follower's, after its leader
            if not held.intact and not owed:
                yield f"{name} {number}: a replay was asked for, and what was changed by hand is not mended"


def dead_letters_end(world: World) -> Iterator[str]:
    """A dead letter is of a failure that lasts: a newer success has resolved the others."""
    stands = standing(world)
    with world.database.read() as connection:
        letters = dead_letters.unresolved(connection)
    for letter in letters:
        stand = stands.get((letter.consumer, letter.student_number or ""))
        if stand is None or letter.version is None:
            yield f"{letter.consumer}: a dead letter of nobody ({letter.cause})"
        elif (
            stand.state is not None
            and stand.state.state is State.PROVISIONED
            and stand.state.applied_version >= letter.version
        ):
            who = f"{letter.consumer} {letter.student_number}"
            yield f"{who}: version {letter.version} was reached, and is in the dead letters"


def one_completion(world: World) -> Iterator[str]:
    """One completion per student and version, for all that reached every target."""
    said: dict[tuple[str, int], set[str]] = {}
    for identity, event in _completions(world):
        said.setdefault((event.student_number, event.version), set()).add(identity)
    yield from (f"{who} is complete under {len(ids)} ids" for who, ids in said.items() if len(ids) > 1)
    stands = standing(world)
    for number in {number for _, number in stands}:
        mine = [stands[name, number] for name in TARGETS]
        if all(stand.reached for stand in mine) and (number, mine[0].version) not in said:
            yield f"{number} version {mine[0].version} is everywhere, and nobody said so"


def complete_means_observed(world: World) -> Iterator[str]:
    """What was announced as complete has been in each target, no later than it is said to."""
    for _, event in _completions(world):
        for name in TARGETS:
            if (event.student_number, event.version) not in world.truths[name].ever:
                yield f"{event.student_number} version {event.version} is complete, and was never in {name}"


def the_window_is_kept(world: World) -> Iterator[str]:
    """A window opens when the person asked, not when a newer version came in between."""
    for _, event in _completions(world):
        opened = world.opened[event.student_number, event.version]
        if event.opened_at != opened:
            who = f"{event.student_number} version {event.version}"
            yield f"{who}: opened {opened}, announced as {event.opened_at}"


def outcomes_are_told_apart(world: World) -> Iterator[str]:
    """One id says one thing; a redelivery, and nothing else, shares it."""
    said: dict[str, tuple[object, ...]] = {}
    for message in world.said(*catalogue.both_lanes(catalogue.OUTCOMES)):
        event = message.event
        if not isinstance(event, Outcome):
            yield f"{event.type} among the outcomes"
            continue
        number, cause = event.student_number, message.caused_by
        what = (event.type, number, event.target, event.version, cause, event.attempt)
        if said.setdefault(message.id, what) != what:
            yield f"one id, two outcomes: {what} and {said[message.id]}"


def it_ends(world: World) -> Iterator[str]:
    """With no fault any more everything comes to rest: nobody waits behind one student, nor for ever."""
    if not world.settled:
        yield "with no fault any more, it does not come to an end"


def _completions(world: World) -> list[tuple[str, PropagationCompleted]]:
    return [
        (message.id, message.event)
        for message in world.said(catalogue.PROPAGATION)
        if isinstance(message.event, PropagationCompleted)
    ]


INVARIANTS: dict[str, Callable[[World], Iterator[str]]] = {
    "it ends": it_ends,
    "nothing lost": nothing_is_lost,
    "order": order,
    "doubt is compared": doubt_is_compared,
    "effectively once": effectively_once,
    "dead letters end": dead_letters_end,
    "one completion": one_completion,
    "complete means observed": complete_means_observed,
    "the window is kept": the_window_is_kept,
    "outcomes are told apart": outcomes_are_told_apart,
}
