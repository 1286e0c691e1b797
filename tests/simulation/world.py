"""A small world in one thread, by a seed: processes twice, users, and trouble."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.eventlog.port import NewRecord, Record
from pipeline.outbox import outbox
from pipeline.parking import Kind
from pipeline.parking.rows import parked
from pipeline.target_states import target_states
from schemas.account import Account
from schemas.envelope import Message, from_record
from schemas.events import Event, PropagationCompleted
from tests.simulation.people import People
from tests.simulation.schedule import Life, Schedule
from tests.simulation.site import TARGETS, Site
from tests.simulation.threads import Stop
from tests.simulation.trouble import Trouble
from tests.simulation.weather import Weather

START = 1_788_163_200.0  # 2026-09-01 08:00:00 UTC
EVENING_S = 20.0
"""How long trouble lasts after the last act, so that no newer event makes up for a lost one."""

DAYS_PART = 0.85
"""The day's share of the wanted events: the evening brings the others, as a rule."""

REST_S, REST_S_MAX = 40.0, 900.0
"""How long nothing may happen before the world is at rest, and how long that may take."""


_CLOCK_S = 0.1
"""The precision of moments: the database adds a little to each."""

_CALL_S_MAX = 60.0
"""How long a call may last, from its start on the clock of that time."""

_ATTEMPTS = select(parked.c.consumer).where(parked.c.kind != Kind.WAITING, parked.c.due_at.is_not(None))
_TO_SEND = select(func.count()).select_from(outbox)
_LEASED = select(target_states.c.target).where(target_states.c.lease_owner.is_not(None)).limit(1)

Version = tuple[Account, Account | None, tuple[int | None, int | None]]
"""An account, the one before it, and its waiting and complete versions at that time."""


@dataclass
class Post:
    """A place for a process, with successive lives."""

    what: str
    host: str
    life: Life
    stop: Stop


class World:
    """The whole world.

    Args:
        without: kinds of trouble that never happen; see `tests.simulation.weather.KINDS`.

    Attributes:
        given_up: target and student of unreplayed dead letters of the trouble.
    """

    site_of: type[Site] = Site
    targets: tuple[str, ...] = TARGETS

    def __init__(self, seed: int, students: int, without: frozenset[str] = frozenset()) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # chance by seed is the point
        self.schedule = Schedule(self.chance, START)
        self.weather = Weather(self.chance, without)
        self._ahead_s = 0.0  # how far the machine's clock is ahead of the time that has passed
        self._lived: list[tuple[float, float]] = []  # by that clock, from each setting of it to the next
        self._set_at = START
        self.site = self.site_of(self.schedule, self.weather, self._wall)
        self.people = People(self.site, students)
        self.settled = self._evening = False
        self.given_up: set[tuple[str, str]] = set()
        self._outside = Life("outside", immune=True)
        self._said: list[tuple[Message, Event]] | None = None
        self._versions: list[Version] | None = None
        self.posts = [
            self._post(what, f"{what}-{number}")
            for number in (1, 2)
            for what in (*self.targets, "registry", "propagation", "office")
        ]
        self.trouble = Trouble(self)

    def _post(self, what: str, host: str) -> Post:
        return Post(what, host, *self.site.begin(what, host))

    # --- the course of a history ------------------------------------------------------------------

    def live(self, events: int) -> None:
        """Live a day or two, until so many events are on the log."""
        self.schedule.spawn(self._outside, self._supervise)
        self._spend(int(events * DAYS_PART))
        if self.settled and self.events < events:
            self._spend(events)
        if self.settled and self.chance.random() < 0.5:
            self._morning()

    def _spend(self, events: int) -> None:
        """Live a day until so many events are on the log, an evening, and a rest.

        The evening is without acts, the rest without trouble.
        """
        self.settled = self._evening = False
        self.weather.rough = True
        self.schedule.spawn(self._outside, lambda: self._day(events))
        self.schedule.spawn(self._outside, self.trouble.brew)
        while not self._evening:
            self.schedule.run(self.schedule.now + 5.0)
        self.schedule.run(self.schedule.now + EVENING_S)
        self.weather.rough = False
        self.trouble.clear()
        self.schedule.run(self.schedule.now + _CALL_S_MAX)  # what was under way may still fail
        self.given_up = set(self.people.dead_letters())
        self._rest()

    def _day(self, events: int) -> None:
        while self.events < events:
            if self.weather.strikes("replay", 0.06):
                self.people.replay_somebody()
            elif self.weather.strikes("drift", 0.05):
                self.people.drift()
            else:
                self.people.act()
            self.schedule.sleep(self.chance.choice((0.0, 0.05, 0.3, 1.5)))
        self._evening = True

    def _morning(self) -> None:
        """Find the work that breaks a target, and replay the dead letters."""
        letters = self.people.dead_letters()
        if letters:
            self.trouble.cure()
            self.schedule.spawn(self._outside, lambda: self.people.replay_all(letters))
            self.given_up = set()
            self.settled = False
            self._rest()

    def _supervise(self) -> None:
        """Restart what ended, sooner or later, under its name, as a supervisor does."""
        while True:
            self.schedule.sleep(0.5)
            for post in self.posts:
                if not post.life.alive and (not self.weather.rough or self.chance.random() < 0.2):
                    post.life, post.stop = self.site.begin(post.what, post.host)

    def _rest(self) -> None:
        give_up_at = self.schedule.now + REST_S_MAX
        quiet_since, before = self.schedule.now, self._position()
        while self.schedule.now < give_up_at:
            self.schedule.run(self.schedule.now + REST_S / 4)
            now = self._position()
            if now != before or self._coming_again():
                quiet_since, before = self.schedule.now, now
            elif self.schedule.now - quiet_since >= REST_S and not self._behind() and not self._stale():
                self.settled = True
                return

    def _position(self) -> tuple[object, ...]:
        groups = self.site.log.groups.values()
        return self.events, [sum(group.committed.values()) for group in groups]

    def _behind(self) -> bool:
        """Whether a group has something to read, or the outbox to send."""
        log = self.site.log
        for group in log.groups.values():
            topics = {topic for seat in group.seats.values() for topic in seat.topics}
            for tp, records in log.records.items():
                if tp.topic in topics and group.committed.get(tp, 0) < len(records):
                    return True
        with self.site.database.read() as connection:
            return connection.execute(_TO_SEND).scalar_one() > 0

    def _coming_again(self) -> bool:
        """Whether a parked student has an attempt to come."""
        with self.site.database.read() as connection:
            return connection.execute(_ATTEMPTS).first() is not None

    def _stale(self) -> bool:
        """Whether a student's calendar has come, and the next look has not."""
        rows = select(parked.c.student_number).where(parked.c.consumer == "timetable")
        with self.site.database.read() as connection:
            waiting = set(connection.execute(rows).scalars())
        timetable = self.site.timetable
        return any(
            number in timetable.calendars and timetable.shown.get(number) is False for number in waiting
        )

    def set_clock(self, seconds: float) -> None:
        self._lived.append((self._set_at, self._wall()))
        self._ahead_s += seconds
        self._set_at = self._wall()

    def has_been(self, moment: float) -> bool:
        """Whether the machine's clock has shown this moment, or would have if never set."""
        spans = [*((a, b + _CALL_S_MAX) for a, b in self._lived), (self._set_at, self._wall())]
        return any(begin - _CLOCK_S <= moment <= end + _CLOCK_S for begin, end in spans)

    def _wall(self) -> float:
        return self.schedule.now + self._ahead_s

    def leased(self) -> bool:
        with self.site.database.read() as connection:
            return connection.execute(_LEASED).first() is not None

    @property
    def acts(self) -> bool:
        """Whether any actor but trouble still acts."""
        return not self._evening

    # --- looking ----------------------------------------------------------------------------------

    @property
    def events(self) -> int:
        return sum(len(part) for part in self.site.log.records.values())

    def records(self) -> list[Record]:
        return [each for part in self.site.log.records.values() for each in part]

    def said(self) -> list[tuple[Message, Event]]:
        """Every event on the log; called when the world is at rest."""
        if self._said is None:
            messages = [
                from_record(each.key, each.headers, each.value, topic=each.topic) for each in self.records()
            ]
            self._said = [(message, message.event) for message in messages]
        return self._said

    def completions(self) -> list[tuple[Message, PropagationCompleted]]:
        return [(message, event) for message, event in self.said() if isinstance(event, PropagationCompleted)]

    def versions(self) -> list[Version]:
        """Every version of every account, in the order of storage."""
        if self._versions is None:
            self._versions = [
                (
                    Account.model_validate_json(each.document),
                    Account.model_validate_json(each.before) if each.before is not None else None,
                    (each.waiting, each.completed),
                )
                for each in self.site.disk.minted
            ]
        return self._versions

    def digest(self) -> str:
        """A digest of the log: event ids, place by place."""
        told = hashlib.sha256()
        for tp, part in self.site.log.records.items():
            told.update(str(tp).encode())
            for each in part:
                told.update(dict(each.headers)["ce_id"])
        return told.hexdigest()

    def repeat(self, record: Record) -> None:
        """Append a record once more: a duplicate, behind what came since."""
        self.site.log.append([NewRecord(record.topic, record.key, record.value, record.headers)])

    def close(self) -> None:
        self.site.close()
