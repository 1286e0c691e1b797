"""What must always hold, looked at after a history has come to its end. Each check yields what is broken.

The names are those of the design's list, shortened. What cannot be seen in this world (rates, the order of
lanes under load) has tests and benchmarks of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.store import accounts, dead_letters, parking, target_states
from pipeline.store.parking import Kind, Parked
from pipeline.store.target_states import State, TargetState
from schemas.account import Account
from tests.simulation.invariants_registry import REGISTRY
from tests.simulation.invariants_said import SAID
from tests.simulation.site import FOLLOWS, TARGETS
from tests.simulation.world import World


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
        account: the newest one.
        state: what is recorded of the target; None: nothing.
        parked: its row in the parking lot.
    """

    account: Account
    state: TargetState | None
    parked: Parked | None

    @property
    def wanted(self) -> bool:
        """Whether any target is asked for this account at all."""
        return self.account.activated_at is not None

    @property
    def reached(self) -> bool:
        """Whether the target is said to have the newest version."""
        state, version = self.state, self.account.version
        return state is not None and state.state is State.PROVISIONED and state.applied_version == version


def violations(world: World) -> list[Violation]:
    """Everything that is broken in a world that has come to rest."""
    return [Violation(name, what) for name, check in INVARIANTS.items() for what in check(world)]


@lru_cache(maxsize=1)  # a world at rest stays as it is
def standing(world: World) -> dict[tuple[str, str], Standing]:
    """By target and student, of those for whom a target is asked."""
    found = {}
    numbers = [each.number for each in world.people.students]
    with world.site.database.read() as connection:
        newest = accounts.newest(connection, numbers)
        parked = {number: parking.all_parked_of(connection, number) for number in newest}
        for name in TARGETS:
            states = target_states.states_of(connection, name, numbers)
            for number, account in newest.items():
                stand = Standing(account, states.get(number), parked[number].get(name))
                if stand.wanted:
                    found[name, number] = stand
    return found


def it_runs(world: World) -> Iterator[str]:
    """No loop ends by an error."""
    yield from world.site.ended_by


def it_ends(world: World) -> Iterator[str]:
    """With no fault any more everything comes to rest: nobody waits behind one student, nor for ever."""
    if not world.settled:
        yield "with no fault any more, it does not come to an end"


def nothing_is_lost(world: World) -> Iterator[str]:
    """Each version ends applied, superseded, waiting with a reason, or in the dead letters."""
    stands = standing(world)
    with world.site.database.read() as connection:
        letters = {(d.consumer, d.student_number) for d in dead_letters.unresolved(connection)}
    for (name, number), stand in stands.items():
        where = f"{name} {number} version {stand.account.version}"
        leader = stands.get((FOLLOWS.get(name, ""), number))
        if leader is not None and (
            leader.state is None or leader.state.applied_version < stand.account.version
        ):
            continue  # after its leader, which has its own reason
        row = stand.parked
        if row is not None and row.kind is not Kind.WAITING and row.due_at is None:
            yield f"{where}: parked, and nothing will ever wake it"
        yield from _ends(where, stand, lettered=(name, number) in letters)


def _ends(where: str, stand: Standing, *, lettered: bool) -> Iterator[str]:
    state, version = stand.state, stand.account.version
    if state is None:
        yield f"{where}: nothing was ever recorded"
    elif stand.reached:
        if stand.parked is not None:
            yield f"{where}: applied, and still parked as {stand.parked.kind}"
    elif state.state is State.WAITING:
        if state.state_version != version or not state.reason:
            yield f"{where}: waits since version {state.state_version}, because {state.reason}"
        if stand.parked is None or stand.parked.kind is not Kind.WAITING:
            yield f"{where}: waits, and is not parked as waiting"
    elif (state.state, state.state_version) != (State.FAILED, version):
        yield f"{where}: {state.state} at version {state.state_version}, applied {state.applied_version}"
    elif not lettered:
        yield f"{where}: failed, and not in the dead letters"


def order(world: World) -> Iterator[str]:
    """No target goes back to an older version."""
    for target in world.site.targets.values():
        yield from target.went_back


def doubt_is_compared(world: World) -> Iterator[str]:
    """What may have been written, and of which nothing was recorded, is compared before the next write."""
    for target in world.site.targets.values():
        yield from target.not_compared


def observed(world: World) -> Iterator[str]:
    """What a handler called done was so, when it read it back."""
    for target in world.site.targets.values():
        yield from target.not_so


def effectively_once(world: World) -> Iterator[str]:
    """What was announced as provisioned is there, as the account wants it, and replays have mended what
    somebody changed by hand."""
    for (name, number), stand in standing(world).items():
        owed = stand.parked is not None and stand.parked.replay  # a follower's, after its leader
        if stand.reached and not owed:
            differs = world.site.targets[name].differs(stand.account)
            if differs:
                yield f"{name} {number}: provisioned at {stand.account.version}, and {differs} differs"


def one_welcome(world: World) -> Iterator[str]:
    """Nobody is welcomed twice."""
    for address, box in world.site.mailboxes.boxes.items():
        if len(box.messages) > len(set(box.messages)):
            yield f"{world.site.mailboxes.numbers.get(address, '?')} was welcomed {len(box.messages)} times"


def dead_letters_end(world: World) -> Iterator[str]:
    """A dead letter is of a target's failure that lasts: a newer success has resolved the others."""
    stands = standing(world)
    with world.site.database.read() as connection:
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
    for message, event in world.completions():
        said.setdefault((event.student_number, event.version), set()).add(message.id)
    yield from (f"{who} is complete under {len(ids)} ids" for who, ids in said.items() if len(ids) > 1)
    stands = standing(world)
    for number in sorted({number for _, number in stands}):
        mine = [stands[name, number] for name in TARGETS]
        version = mine[0].account.version
        if all(stand.reached for stand in mine) and (number, version) not in said:
            yield f"{number} version {version} is everywhere, and nobody said so"


INVARIANTS: dict[str, Callable[[World], Iterator[str]]] = {
    "it runs": it_runs,
    "it ends": it_ends,
    "nothing lost": nothing_is_lost,
    "order": order,
    "doubt is compared": doubt_is_compared,
    "observed": observed,
    "effectively once": effectively_once,
    "one welcome": one_welcome,
    "dead letters end": dead_letters_end,
    "one completion": one_completion,
    **SAID,
    **REGISTRY,
}
