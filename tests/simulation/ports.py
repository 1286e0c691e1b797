"""Each process's way to log and database, with deaths, outages, lost answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.db.database import StoreUnavailable
from pipeline.eventlog.port import Consumer, LogUnavailable, NewRecord, Producer, Record, TopicPartition
from tests.simulation.schedule import Schedule
from tests.simulation.weather import Weather

KILLED = 0.0012
STORE_AWAY = 0.002
LOG_AWAY = 0.004
NOT_ACKNOWLEDGED = 0.008
SHORT_READ = 0.1


@dataclass(frozen=True)
class StoreFaults:
    """See `tests.simulation.store.Faults`."""

    schedule: Schedule
    weather: Weather

    def before(self) -> None:
        self.schedule.breathe()
        self._killed()
        if self.weather.strikes("store", STORE_AWAY):
            raise StoreUnavailable("away")

    def at_commit(self) -> None:
        self._killed()
        if self.weather.strikes("store", STORE_AWAY):
            raise StoreUnavailable("away at the commit: nothing was written")

    def after(self) -> None:
        self._killed()
        if self.weather.strikes("store", STORE_AWAY):
            raise StoreUnavailable("away at the commit: it was carried out")
        self.schedule.breathe()

    def _killed(self) -> None:
        if self.weather.strikes("kill", KILLED):
            self.schedule.die()


@dataclass(frozen=True)
class FaultyProducer:
    """A producer that loses acknowledgements or records.

    A lost acknowledgement makes its caller append again: a duplicate.
    """

    inner: Producer
    schedule: Schedule
    weather: Weather

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        self.schedule.breathe()
        if self.weather.strikes("kill", KILLED):
            self.schedule.die()
        if self.weather.strikes("log", LOG_AWAY):
            raise LogUnavailable("away")
        some = records
        if len(records) > 1 and self.weather.strikes("log", NOT_ACKNOWLEDGED):
            some = records[: self.weather.chance.randrange(len(records))]
        placed = self.inner.append(some) if some else []
        if self.weather.strikes("kill", KILLED):
            self.schedule.die()
        if len(some) < len(records) or self.weather.strikes("log", NOT_ACKNOWLEDGED):
            raise LogUnavailable("the acknowledgement was lost")
        return placed

    def close(self) -> None:
        self.inner.close()


class FaultyConsumer:
    """A group member that is killed around a commit, or whose log is away or slow."""

    def __init__(self, inner: Consumer, schedule: Schedule, weather: Weather) -> None:
        self._inner, self._schedule, self._weather = inner, schedule, weather
        for name in ("assignment", "committed", "seek", "pause", "resume", "lag"):
            setattr(self, name, getattr(inner, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self._schedule.breathe()
        if self._weather.strikes("log", LOG_AWAY / 4):
            raise LogUnavailable("away")
        if max_records > 1 and self._weather.chance.random() < SHORT_READ:
            max_records = self._weather.chance.randint(1, max_records)
        return self._inner.poll(max_records, timeout_s)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._schedule.breathe()
        if self._weather.strikes("kill", 4 * KILLED):
            self._schedule.die()
        if self._weather.strikes("log", LOG_AWAY):
            raise LogUnavailable("away")
        self._inner.commit(offsets)
        if self._weather.strikes("kill", KILLED):
            self._schedule.die()

    def close(self) -> None:
        self._schedule.breathe(0.0)  # a process that was killed closes nothing
        self._inner.close()
