"""The site and its world for years, with rules that erase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from sqlalchemy import func, select

from consumers.kit.connector import ConnectorContext
from consumers.kit.settings import ClientSettings
from consumers.propagation import rows as propagated
from consumers.propagation.handler import Propagation
from consumers.propagation.settings import PropagationSettings
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.handler import Registry
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.settings import RegistrySettings
from pipeline.target import Handler
from pipeline.timers import timers
from pipeline.vault import Vault
from tests.simulation.schedule import Schedule
from tests.simulation.site import FOLLOWS, Site, _no_secret
from tests.simulation.store import SimulatedDatabase
from tests.simulation.weather import Weather
from tests.simulation.world import World
from tests.simulation.years.cabinet import Cabinet, CabinetConnector
from tests.simulation.years.truth import ACCOUNT, DATA, DOMAIN, GRACE

NAMES: Final = ("directory", "mailbox", "moodle")
REGISTRY: Final = RegistrySettings(mail_domain=DOMAIN, rename="mail", grace_days=GRACE.days)
RULES: Final = LifecycleSettings(erase=True, data_days=DATA.days, account_days=ACCOUNT.days)
_DUE: Final = select(func.min(timers.c.due_at))


class Campus(Site):
    """A site whose three targets are cabinets. `privacy`: recognises erased persons."""

    privacy: PrivacyKey | None = None

    def __init__(self, schedule: Schedule, weather: Weather, wall: Callable[[], float]) -> None:
        super().__init__(schedule, weather, wall)
        self.cabinets = {name: Cabinet(name, schedule, weather) for name in NAMES}
        self.targets = dict(self.cabinets)

    def connector(self, name: str) -> CabinetConnector:
        context = ConnectorContext(name, ClientSettings(), _no_secret, monotonic=lambda: self.schedule.now)
        return CabinetConnector(context, self.cabinets[name])

    def _handler(self, name: str, _database: SimulatedDatabase) -> Handler:
        return self.connector(name).handler()

    def _registry(self, database: SimulatedDatabase) -> Registry:
        vault = Vault(database, [self._key], clock=self.wall)
        services = tuple(name for name in NAMES if name not in FOLLOWS.values())
        return Registry(
            database,
            vault,
            REGISTRY,
            propagated=propagated,
            rules=RULES,
            services=services,
            privacy=self.privacy,
        )

    def _propagation(self, database: SimulatedDatabase) -> Propagation:
        return Propagation(
            database,
            targets=NAMES,
            follows=FOLLOWS,
            objectives=PropagationSettings(),
            forgotten=self.forgotten,
        )


class Compared:
    """The campus as far as the shipped comparison needs it."""

    store_file = None

    def __init__(self, campus: Campus, folder: Path) -> None:
        self.database, self.producer, self.follows = campus.database, campus.producer(), FOLLOWS
        self.notes_file = folder / "store.life"
        self.settings = SimpleNamespace(targets=NAMES)
        self._campus = campus

    @contextmanager
    def connector(self, target: str) -> Iterator[CabinetConnector]:
        yield self._campus.connector(target)


class CampusWorld(World):
    """A world in which whole days pass, and which comes to rest on each."""

    site_of = Campus
    targets = NAMES
    site: Campus

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 0)
        self.weather.rough = False
        self.campus = self.site
        self.settled = self._evening = True
        self.schedule.spawn(self._outside, self._supervise)

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.site.wall(), UTC).date()

    def dawn(self, day: date) -> None:
        """Make it the morning of this day. Nothing is under way."""
        self._ahead_s = datetime.combine(day, time(8), UTC).timestamp() - self.schedule.now

    def next_timer(self) -> date | None:
        """The day of the next due timer."""
        with self.site.database.read() as connection:
            due = connection.execute(_DUE).scalar_one_or_none()
        return None if due is None else datetime.fromtimestamp(due, UTC).date()

    def rest(self) -> None:
        """Come to rest, else fail."""
        quiet, before = 0, self._position()
        for _ in range(5_000):
            self.schedule.run(self.schedule.now + 4.0)
            now = self._position()
            busy = (
                now != before
                or self._behind()
                or self._coming_again()
                or self._timer_is_due()
                or self.leased()
            )
            quiet, before = 0 if busy else quiet + 1, now
            if quiet >= 2:
                return
        raise AssertionError("it does not come to rest")

    def _timer_is_due(self) -> bool:
        with self.site.database.read() as connection:
            due = connection.execute(_DUE).scalar_one_or_none()
        return due is not None and due <= self.site.wall()
