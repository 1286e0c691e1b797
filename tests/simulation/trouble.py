"""Trouble in the world at large: targets, processes, clocks, duplicates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.eventlog.port import Record
from tests.simulation.targets.moodle import SimulatedMoodle
from tests.simulation.targets.target import Target

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES = ("outage", "flap", "throttle", "refuse", "kill", "join", "clock", "duplicate", "poison", "publish")
REPLACED = ("enrolment", "credential", "preference", "hold")
ACTS = ("activation", "credential", "preference", "hold")
REMEMBERED = 12
"""A student's newest acts on each topic that may come again: the registry remembers some more."""


class Trouble:
    """Brews trouble until the weather clears."""

    def __init__(self, world: World) -> None:
        self._world = world

    def brew(self) -> None:
        """Cause one trouble after the other."""
        world = self._world
        while world.weather.rough:
            world.schedule.sleep(world.chance.uniform(0.2, 2.0))
            kind = world.chance.choice(NAMES)
            if kind == "publish":
                world.people.publish_timetable()
            elif world.weather.strikes(kind, 0.6):
                getattr(self, f"_{kind}")()

    def clear(self) -> None:
        """Clear every target's trouble.

        Except for the student whose work it refuses in half of the worlds, suspended for that in all.
        """
        world = self._world
        kept_out = {each.number for each in world.people.students if each.kept_out}
        for target in world.site.targets.values():
            target.away_until = target.flapping_until = 0.0
            target.throttled_until = target.refusing_until = 0.0
            if target.poison not in kept_out and world.chance.random() < 0.5:
                target.poison = None
        world.people.publish_timetable(everybody=True)

    def cure(self) -> None:
        """Clear all targets' trouble with a student's work."""
        for target in self._world.site.targets.values():
            target.poison = None

    def _until(self, longest_s: float) -> float:
        return self._world.schedule.now + self._world.chance.uniform(0.5, longest_s)

    def _outage(self) -> None:
        self._some_target().away_until = self._until(15.0)

    def _flap(self) -> None:
        self._some_target().flapping_until = self._until(10.0)

    def _refuse(self) -> None:
        self._some_target().refusing_until = self._until(6.0)

    def _throttle(self) -> None:
        throttling = [t for t in self._world.site.targets.values() if isinstance(t, SimulatedMoodle)]
        throttling[0].throttled_until = self._until(6.0)

    def _poison(self) -> None:
        """Let a recent student's work end every call from now on.

        Perhaps the directory's, and an operator suspends that one until the cause is known.
        """
        world, student = self._world, self._world.people.somebody()
        if world.acts and not student.holds and world.chance.random() < 0.25:
            world.site.directory.poison = student.number
            world.people.hold(student, stays=True)
        else:
            self._some_target().poison = student.number

    def _some_target(self) -> Target:
        return self._world.chance.choice(list(self._world.site.targets.values()))

    def _kill(self) -> None:
        """Kill a process at its present place, rather one with work."""
        world = self._world
        world.schedule.kill(world.chance.choice(world.posts).life)

    def _join(self) -> None:
        """Stop a process, to begin again later; or let one more join its group."""
        world = self._world
        post = world.chance.choice(world.posts)
        if world.chance.random() < 0.5:
            post.stop.set()
            return
        index = len(world.posts) + 1
        life, stop = world.site.begin(post.what, f"{post.what}-{index}")

        def leave() -> None:
            stop.wait(world.chance.uniform(2.0, 15.0))
            stop.set()

        world.schedule.spawn(life, leave)

    def _clock(self) -> None:
        """Set the machine's time.

        Forward only while no call is under way: no lease can prevent its end during a call.
        """
        world = self._world
        seconds = world.chance.choice((2.0, 60.0, 3600.0))
        if world.chance.random() < 0.5:
            world.set_clock(-seconds)
        elif not world.leased():
            world.set_clock(seconds)

    def _duplicate(self) -> None:
        """Deliver some earlier records once more: half of the time outdated facts."""
        world = self._world
        for _ in range(world.chance.randint(1, 3)):
            records = _remembered(world.records())
            if world.chance.random() < 0.5:
                records = _outdated(records) or records
            if records:
                world.repeat(world.chance.choice(records))


def _remembered(records: list[Record]) -> list[Record]:
    """The records without acts too old for a redelivery: the registry remembers 32."""
    later: Counter[tuple[str, str]] = Counter()
    kept = []
    for each in reversed(records):  # of one student and topic, the newest first
        act = _kind(each) in ACTS
        later[each.topic, each.key] += act
        if not act or later[each.topic, each.key] <= REMEMBERED:
            kept.append(each)
    return kept[::-1]


def _outdated(records: list[Record]) -> list[Record]:
    """The facts that another one has replaced."""
    facts = [(each, (each.key, kind)) for each in records if (kind := _kind(each)) in REPLACED]
    last = {what: each for each, what in facts}
    return [each for each, what in facts if each is not last[what]]


def _kind(record: Record) -> str:
    """The kind of its event: `hold`, placed or lifted."""
    return dict(record.headers)["ce_type"].decode().split(".")[2]
