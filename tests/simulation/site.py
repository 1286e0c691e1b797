"""The site of the world's processes, which are built of the shipped parts.

They are wired as in `sesame.app.wiring`. Only ports are simulated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from unittest.mock import patch

from cryptography.fernet import Fernet

from consumers.directory.connector import DirectoryConnector
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import ConnectorContext, Secret, SiteFacts
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import Welcome
from consumers.mailbox.welcome_journal import WelcomeMessages
from consumers.moodle.connector import MoodleConnector
from consumers.moodle.site import MoodleSite
from consumers.propagation import rows as propagated
from consumers.propagation.handler import BREACHED, LATE, Propagation
from consumers.propagation.settings import PropagationSettings
from consumers.registry.handler import Registry
from consumers.registry.settings import MembershipTemplate, RegistrySettings
from consumers.timetable.connector import TimetableConnector
from consumers.timetable.settings import TimetableSettings
from pipeline import timers
from pipeline.db.persons import Forgotten, nobody
from pipeline.engine.bell import topics_for
from pipeline.engine.core import Engine
from pipeline.engine.limits import Backoff, Limits
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogUnavailable
from pipeline.facts import FactHandler, FactLoop
from pipeline.letters import Letterhead
from pipeline.outbox import OutboxRelay
from pipeline.runner import WAIT_S_MAX, Effects, TargetWorker
from pipeline.target import Handler
from pipeline.vault import Vault
from schemas import catalogue
from schemas.account import Account, Requirement
from tests.simulation.log import SimulatedLog
from tests.simulation.oracle_entry import SCOPE, UAI
from tests.simulation.ports import FaultyConsumer, FaultyProducer, StoreFaults
from tests.simulation.schedule import Life, Schedule
from tests.simulation.store import Disk, SimulatedDatabase
from tests.simulation.targets.directory import SimulatedDirectory
from tests.simulation.targets.mailboxes import FOLDERS, SimulatedMailboxes
from tests.simulation.targets.moodle import MOODLE, SimulatedMoodle, Unserialised
from tests.simulation.targets.target import LATE_S_MAX, Target
from tests.simulation.targets.timetable import ADDRESS, SimulatedTimetable
from tests.simulation.threads import Stop
from tests.simulation.weather import Weather
from tests.simulation.witness import Witness

PARTITIONS: Final = 4
FOLLOWS: Final = {"mailbox": "directory"}
TARGETS: Final = ("directory", "mailbox", "moodle", "timetable")
LIMITS: Final = Limits(
    batch_size=4,
    linger_s=0.05,
    slots=3,
    ahead=2,
    in_hand_max=12,
    gap_max=40,
    probe_delay_s_max=4.0,
    misconfigured_delay_s=4.0,
    quarantine_delay_s_min=10.0,
    quarantine_delay_s_max=20.0,
)
BACKOFF: Final = Backoff(delay_s_min=1.0, delay_s_max=20.0, attempts_max=5)
RECHECK_S: Final = 600.0
SESSION_S: Final = 12.0
OUTBOX: Final = "outbox"
"""Rung when there is something to send."""
WORK_S_MAX: Final = 8.0
LEASE_MARGIN_S: Final = 2.0
DIRECTORY: Final = DirectorySettings(
    uai=UAI, mail_quota="", call_s_max=WORK_S_MAX, connect_timeout_s=1, timeout_s=1
)
TIMETABLE: Final = TimetableSettings(
    calendar_url=ADDRESS, batch_size=4, call_s_max=WORK_S_MAX, timeout_s=1.0, connect_timeout_s=1.0
)
SETTINGS: Final = RegistrySettings(
    mail_domain="etu.univ-exemple.fr",
    rename="mail",
    cohorts=(
        MembershipTemplate(key="{step}-{year}", name="{step_label} {year}"),
        MembershipTemplate(key="td-{step}-{year}", name="TD {step_label}", requires=Requirement.PEDAGOGICAL),
    ),
    groups=(MembershipTemplate(key="etu-{step}", name="{step_label}", requires=Requirement.PEDAGOGICAL),),
)


class QuickMailbox(MailboxSettings):
    """A mail server that reports sooner than Dovecot that its directory is away."""

    timeout_s: float = 1.0
    connect_timeout_s: float = 1.0


MAILBOX: Final[MailboxSettings] = QuickMailbox(folders=FOLDERS, call_s_max=WORK_S_MAX)


class QuickTimetable(TimetableConnector):
    """Looks again at unscheduled students within the simulated hours."""

    recheck_s = 60.0


class QuickMoodle(MoodleConnector):
    """Looks again at what waits for an operator within the simulated hours."""

    operator_recheck_s = 120.0


class PlainWelcome(Welcome):
    """The welcome message without its letter; other tests check templates and MIME."""

    def render(self, account: Account) -> bytes:
        return f"Message-ID: {self.message_id(account.student_number)}\r\n\r\n".encode()


class Nobody:
    """An observer that does not look."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args: None


def _no_secret(name: str) -> Secret:
    raise AssertionError(f"a target of the simulation wants no {name}")


class Site:
    """The part that outlives the processes, and their start.

    `ended_by`: errors that ended a loop which should not end by them.
    """

    def __init__(self, schedule: Schedule, weather: Weather, wall: Callable[[], float]) -> None:
        self.schedule, self.weather, self.wall = schedule, weather, wall
        self.directory = SimulatedDirectory(schedule, weather)
        self.mailboxes = SimulatedMailboxes(self.directory, schedule, weather)
        self.moodle = SimulatedMoodle(schedule, weather)
        self.timetable = SimulatedTimetable(schedule, weather)
        self.targets: dict[str, Target] = {
            "directory": self.directory,
            "mailbox": self.mailboxes,
            "moodle": self.moodle,
            "timetable": self.timetable,
        }
        self.disk = Disk(self._lease_ended, lambda: schedule.ring(OUTBOX))
        self.database = SimulatedDatabase(self.disk, wall)
        self.log = SimulatedLog(
            clock=lambda: schedule.now,
            wall=wall,
            session_timeout_s=SESSION_S,
            wait=lambda reader, seconds: schedule.sleep(seconds, reader),
            woken=schedule.ring,
            first=schedule.chance.randrange,
        )
        self.log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        self.ended_by: list[str] = []
        self.forgotten: Forgotten = nobody
        self._key = Fernet.generate_key().decode()
        self._lives = 0

    def _lease_ended(self, target: str, number: str) -> None:
        self.targets[target].recorded(number)

    @cached_property
    def vault(self) -> Vault:
        """The vault of those who are no process of the pipeline."""
        return Vault(self.database, [self._key], clock=self.wall)

    # --- processes --------------------------------------------------------------------------------

    def begin(self, what: str, host: str) -> tuple[Life, Stop]:
        """Begin a process: `registry`, `propagation`, `office` (outbox, timers), a target."""
        self._lives += 1
        life = Life(f"{host}:{self._lives}", host)
        stop = Stop(self.schedule)
        if what in TARGETS:
            self._spawn(life, lambda: self._worker(what, life).run(stop))
        elif what == "office":
            self._spawn(life, lambda: self._relay(life, stop))
            self._spawn(life, lambda: self._timers(life, stop))
        else:
            self._spawn(life, lambda: self._facts(what, life).run(stop))
        return life, stop

    def _spawn(self, life: Life, work: Callable[[], None]) -> None:
        def reported() -> None:
            try:
                work()
            except LogUnavailable:
                pass  # it could not even join: its supervisor begins it again
            except Exception as error:  # noqa: BLE001  # it is what a history fails by
                self.ended_by.append(f"{life.host}: {type(error).__name__}: {error}")
            self.schedule.kill(life)

        self.schedule.spawn(life, reported)

    def _database(self) -> SimulatedDatabase:
        return SimulatedDatabase(self.disk, self.wall, StoreFaults(self.schedule, self.weather))

    def producer(self) -> FaultyProducer:
        return FaultyProducer(self.log.producer(), self.schedule, self.weather)

    def _consumer(self, group: str, topics: tuple[str, ...], life: Life) -> FaultyConsumer:
        return FaultyConsumer(self.log.consumer(group, topics, member=life.host), self.schedule, self.weather)

    def _worker(self, name: str, life: Life) -> TargetWorker:
        database, follows = self._database(), FOLLOWS.get(name)
        handler = self._handler(name, database)
        lease_s = WAIT_S_MAX + handler.call_s_max + LATE_S_MAX + LEASE_MARGIN_S
        effects = Effects(
            target=name,
            owner=life.name,
            database=database,
            producer=self.producer(),
            backoff=BACKOFF,
            lease_s=lease_s,
            recheck_s=RECHECK_S,
            follows=follows,
            forgotten=self.forgotten,
            chance=self.schedule.chance,
            clock=lambda: self.schedule.now,
        )
        return TargetWorker(
            handler=Witness(handler, self.targets[name], lease_s),
            engine=Engine(LIMITS),
            effects=effects,
            consumer=self._consumer(name, topics_for(follows), life),
            database=database,
            partitions=PARTITIONS,
            observer=Nobody(),
            follows=follows,
            clock=lambda: self.schedule.now,
            grace_s=10.0,
        )

    def _handler(self, name: str, database: SimulatedDatabase) -> Handler:
        def now() -> float:
            return self.schedule.now

        if name == "directory":
            directory = ConnectorContext(
                "directory",
                DIRECTORY,
                _no_secret,
                passwords=Vault(database, [self._key], clock=self.wall),
                site=SiteFacts(principal_scope=SCOPE),
                monotonic=now,
            )
            return DirectoryConnector(directory, self.directory.client()).handler()
        if name == "mailbox":
            journal = WelcomeMessages(database, clock=self.wall, adopted=lambda _numbers: {})
            welcome = PlainWelcome(Letterhead(sender="sesame@univ-exemple.fr"), lambda: datetime.now(UTC))
            of_mailbox = ConnectorContext("mailbox", MAILBOX, _no_secret, monotonic=now)
            server: Any = self.mailboxes
            return MailboxConnector(of_mailbox, server, server, journal, welcome).handler()
        if name == "timetable":
            with patch("consumers.kit.http.HttpClient", lambda _context, **_more: self.timetable):
                context = ConnectorContext("timetable", TIMETABLE, _no_secret, monotonic=now)
                return QuickTimetable(context).handler()
        site = SiteFacts(is_managed=lambda _key: True)
        ticks = itertools.count()
        moodle = ConnectorContext(
            "moodle",
            MOODLE,
            _no_secret,
            site=site,
            monotonic=lambda: now() + next(ticks) * 1e-6,  # of two readings one is the later
        )
        functions: Any = self.moodle
        return QuickMoodle(moodle, MoodleSite(moodle, functions, Unserialised())).handler()

    def _facts(self, name: str, life: Life) -> FactLoop:
        database = self._database()
        handler: FactHandler = self._registry(database) if name == "registry" else self._propagation(database)
        return FactLoop(
            handler=handler,
            consumer=self._consumer(name, handler.topics, life),
            database=database,
            observer=Nobody(),
            after=lambda: None,
            clock=lambda: self.schedule.now,
        )

    def _registry(self, database: SimulatedDatabase) -> Registry:
        return Registry(
            database, Vault(database, [self._key], clock=self.wall), SETTINGS, propagated=propagated
        )

    def _propagation(self, database: SimulatedDatabase) -> Propagation:
        return Propagation(database, targets=TARGETS, follows=FOLLOWS, objectives=PropagationSettings())

    def _relay(self, life: Life, stop: Stop) -> None:
        relay = OutboxRelay(self._database(), self.producer())
        for _ in _until(stop):
            try:
                while relay.send_page():
                    pass
            except (DependencyDown, LogUnavailable):
                stop.wait(1.0)
            if self.weather.strikes("relay", 0.02):
                self.schedule.sleep(self.weather.chance.uniform(1.0, 20.0))
            self.schedule.sleep(self.weather.chance.uniform(4.0, 10.0), OUTBOX)
            self.schedule.sleep(self.weather.chance.uniform(0.0, 0.2))

    def _timers(self, life: Life, stop: Stop) -> None:
        database = self._database()
        propagation, registry = self._propagation(database), self._registry(database)
        kinds = {LATE: propagation.on_late, BREACHED: propagation.on_breached, **registry.timers()}
        for _ in _until(stop):
            with suppress(DependencyDown):
                timers.run_due(database, kinds)
            stop.wait(10.0)

    def close(self) -> None:
        self.schedule.end()
        self.disk.close()


def _until(stop: Stop) -> Iterator[None]:
    while not stop.is_set():
        yield
