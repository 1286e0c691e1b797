"""The invariants of a history that has ended. Each check yields what is broken.

The names are those of the design's list, shortened. What cannot be seen in this world (rates, the order of
lanes under load) has other tests and benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeline.dead_letters import rows as dead_letters
from pipeline.parking import Kind
from pipeline.target_states import State
from schemas.events import TargetProvisioned
from tests.simulation import oracle
from tests.simulation.invariants_registry import REGISTRY
from tests.simulation.invariants_said import SAID
from tests.simulation.invariants_told import TOLD
from tests.simulation.site import FOLLOWS, TARGETS
from tests.simulation.standing import Standing, standing
from tests.simulation.world import World


class Violation(NamedTuple):
    """A broken promise.

    Attributes:
        invariant: its name in `INVARIANTS`.
        what: the place and the finding.
    """

    invariant: str
    what: str


def violations(world: World) -> list[Violation]:
    """All that is broken in a world at rest."""
    return [Violation(name, what) for name, check in INVARIANTS.items() for what in check(world)]


def it_runs(world: World) -> Iterator[str]:
    """No loop ends by an error."""
    yield from world.site.ended_by


def it_ends(world: World) -> Iterator[str]:
    """Without faults everything comes to rest. No student's work blocks others', and no wait is endless."""
    if not world.settled:
        yield "with no fault any more, it does not come to an end"


def nothing_is_lost(world: World) -> Iterator[str]:
    """Each version ends applied, superseded, waiting with a reason, or dead-lettered.

    A follower comes after its leader's outcome, which may not be recorded.
    """
    stands = standing(world)
    with world.site.database.read() as connection:
        letters = {(d.consumer, d.student_number) for d in dead_letters.unresolved(connection)}
    said = {
        (event.target, event.student_number, event.version)
        for _, event in world.said()
        if isinstance(event, TargetProvisioned)
    }
    for (name, number), stand in stands.items():
        where = f"{name} {number} version {stand.account.version}"
        row = stand.parked
        leader = stands.get((FOLLOWS.get(name, ""), number))
        if leader is not None and leader.applied < stand.account.version:
            if stand.applied > leader.applied and (FOLLOWS[name], number, stand.applied) not in said:
                yield f"{where}: applied {stand.applied}, before its leader, which has {leader.applied}"
            yield from _after(where, stand, leader)
        else:
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


def _after(where: str, stand: Standing, leader: Standing) -> Iterator[str]:
    """Check a follower whose leader is behind, for the leader's own reason.

    It does nothing but shut access, and no other failure of it counts.
    """
    state = stand.state
    if state is not None and oracle.access(stand.account):
        failed = state.state in (State.FAILED, State.RETRYING)
        if failed and state.state_version > leader.applied:
            yield f"{where}: {state.state} at version {state.state_version}, and its leader is not there yet"
    row = stand.parked
    if row is not None and row.kind is Kind.RETRY and row.due_at is not None:
        yield f"{where}: due for an attempt of its own, and its leader is not there yet"


def access_is_shut(world: World) -> Iterator[str]:
    """A hold ends a mailbox's sessions, even if the directory could not be written."""
    closed_for = world.site.mailboxes.closed_for
    for (name, number), stand in standing(world).items():
        behind = name == "mailbox" and not stand.reached and not stand.failed
        asked = stand.account.holds and stand.account.stage != "precreated"
        if behind and asked and closed_for.get(number, 0) < stand.account.version:
            yield f"{number} version {stand.account.version} is held, and nobody ended the mailbox's sessions"


def order(world: World) -> Iterator[str]:
    """No target returns to an older version."""
    for target in world.site.targets.values():
        yield from target.went_back


def doubt_is_compared(world: World) -> Iterator[str]:
    """A possible write without a recorded outcome is compared before the next write."""
    for target in world.site.targets.values():
        yield from target.not_compared


def observed(world: World) -> Iterator[str]:
    """A read-back confirmed what a handler called done."""
    for target in world.site.targets.values():
        yield from target.not_so


def effectively_once(world: World) -> Iterator[str]:
    """An announced student is there as wanted. Replays have mended changes by hand."""
    for (name, number), stand in standing(world).items():
        owed = stand.parked is not None and stand.parked.replay  # a follower's, after its leader
        if stand.reached and not owed:
            differs = world.site.targets[name].differs(stand.account)
            if differs:
                yield f"{name} {number}: provisioned at {stand.account.version}, and {differs} differs"


def one_welcome(world: World) -> Iterator[str]:
    """Each owner of a mailbox is welcomed once, before mail is redirected."""
    boxes = world.site.mailboxes.boxes
    opened = {
        number
        for (name, number), stand in standing(world).items()
        if name == "mailbox" and stand.reached and oracle.access(stand.account)
    }
    for number in sorted(opened | boxes.keys()):
        times = len(boxes[number].messages) if number in boxes else 0
        if times > 1 or (times == 0 and number in opened):
            yield f"{number} was welcomed {times} times"
    for number in world.site.mailboxes.sent_on:
        yield f"the welcome message of {number} went through a redirection"


def dead_letters_end(world: World) -> Iterator[str]:
    """A dead letter is of a lasting failure: a newer success has resolved the others."""
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


def a_well_target_gives_nobody_up(world: World) -> Iterator[str]:
    """After the trouble nothing more is given up, and replays succeed.

    Except for the student whose work breaks a target.
    """
    for (name, number), stand in standing(world).items():
        excused = (name, number) in world.given_up or world.site.targets[name].poison == number
        if stand.failed and not excused:
            yield f"{name} is well, and {number} version {stand.account.version} was given up"


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
    "access is shut": access_is_shut,
    "order": order,
    "doubt is compared": doubt_is_compared,
    "observed": observed,
    "effectively once": effectively_once,
    "one welcome": one_welcome,
    "dead letters end": dead_letters_end,
    "a well target gives nobody up": a_well_target_gives_nobody_up,
    "one completion": one_completion,
    **SAID,
    **TOLD,
    **REGISTRY,
}
