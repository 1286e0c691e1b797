"""The invariants of the log's events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import select

from consumers.propagation.rows import propagation
from consumers.propagation.settings import PropagationSettings
from schemas import catalogue
from schemas.account import Lane
from schemas.events import Outcome, PropagationLate
from tests.simulation.site import TARGETS
from tests.simulation.world import World

_LATE_S = PropagationSettings().late_s
_MOMENTS = ("opened_at", "started_at", "finished_at", "completed_at")
TIMERS_S = 60.0
"""How long a due timer may go unseen."""


def complete_means_observed(world: World) -> Iterator[str]:
    """A version announced as complete was read back from each target."""
    for _, event in world.completions():
        for name in TARGETS:
            if (event.student_number, event.version) not in world.site.targets[name].ever:
                yield f"{event.student_number} version {event.version} is complete, and was never in {name}"


def the_window_is_kept(world: World) -> Iterator[str]:
    """A window opens at the person's request, by the account, whatever comes later."""
    opened = {
        (account.student_number, account.version): account.opened_at for account, _, _ in world.versions()
    }
    for _, event in world.completions():
        at = opened.get((event.student_number, event.version))
        if at is None or abs((event.opened_at - at).total_seconds()) > 1e-3:
            who = f"{event.student_number} version {event.version}"
            yield f"{who}: opened {at}, announced as {event.opened_at}"


def lateness_is_told(world: World) -> Iterator[str]:
    """A person's window open for too long was announced late, through any outage."""
    late = {event.student_number for _, event in world.said() if isinstance(event, PropagationLate)}
    with world.site.database.read() as connection:
        query = select(propagation).where(propagation.c.lane == Lane.PERSONAL)
        for row in connection.execute(query):
            running = row.state in ("in_progress", "failed") and row.completed_version < row.version
            open_s = world.site.wall() - row.opened_at - row.waited_s
            if running and open_s > _LATE_S + TIMERS_S and row.student_number not in late:
                yield f"{row.student_number} is open for {open_s:.0f} s, and nobody called it late"


def moments_are_the_clock_s(world: World) -> Iterator[str]:
    """The machine's clock has shown each moment that an event names."""
    for message, event in world.said():
        named = {"time": message.time, **{name: getattr(event, name, None) for name in _MOMENTS}}
        for name, moment in named.items():
            if moment is not None and not world.has_been(moment.timestamp()):
                yield f"{event.type} of {event.student_number}: {name} is {moment}, which has never been"


def outcomes_are_told_apart(world: World) -> Iterator[str]:
    """One id has one content; only a redelivery shares it."""
    said: dict[str, tuple[object, ...]] = {}
    for message, event in world.said():
        what: tuple[object, ...] = (event.type, event.student_number)
        if isinstance(event, Outcome):
            what += (event.target, event.version, message.caused_by, event.attempt)
        if said.setdefault(message.id, what) != what:
            yield f"one id, two events: {what} and {said[message.id]}"


def nobody_is_named(world: World) -> Iterator[str]:
    """No secret is on the log, and no name but in the registrar's own facts."""
    names = [
        part.encode()
        for part in ("Martin", "Tour", "Brien", "martin", "tour", "brien", "etu.univ", "ailleurs")
    ]
    for record in world.records():
        if b"argon2" in record.value:
            yield f"a password's hash is on {record.topic}"
        if record.topic != catalogue.ENROLMENTS and any(name in record.value for name in names):
            yield f"somebody is named on {record.topic}"


SAID: dict[str, Callable[[World], Iterator[str]]] = {
    "complete means observed": complete_means_observed,
    "the window is kept": the_window_is_kept,
    "lateness is told": lateness_is_told,
    "moments are the clock's": moments_are_the_clock_s,
    "outcomes are told apart": outcomes_are_told_apart,
    "nobody is named": nobody_is_named,
}
