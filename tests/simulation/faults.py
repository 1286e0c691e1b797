"""Where processes are killed, and where the log and the store go away: around the shipped parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from consumers.propagation import Propagation
from pipeline.effects import Effects, Entry
from pipeline.engine import Turn
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import Consumer, LogUnavailable, NewRecord, Record, TopicPartition
from pipeline.eventlog.sqlite_file import LogFile
from pipeline.store import target_states
from pipeline.target import HandlerOutcome
from schemas.envelope import Message
from tests.simulation.targets import Crash, Truth, Weather


@dataclass
class Faults:
    """Where processes are killed and dependencies go away."""

    weather: Weather

    def here(self) -> None:
        if self.weather.strikes(0.01):
            raise Crash
        if self.weather.strikes(0.03):
            raise DependencyDown("away")


class FaultyEffects(Effects):
    """Effects between any two of which the process may be killed."""

    faults: Faults
    truth: Truth

    def enter(self, turns: Sequence[Turn]) -> Entry:
        self.faults.here()
        entry = super().enter(turns)
        self.faults.here()
        return entry

    def publish(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> None:
        self.faults.here()
        super().publish(entry, outcomes)
        self.faults.here()

    def record(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> None:
        self.faults.here()
        super().record(entry, outcomes)
        for number in outcomes:
            self.settle(number, entry.work[number].epoch)
        self.faults.here()

    def settle(self, number: str, epoch: int) -> None:
        """An outcome was recorded under this lease, and it was not an unknown one: the doubt is over."""
        with self._database.read() as connection:
            state = target_states.states_of(connection, self.target, [number])[number]
        if state.lease_epoch == epoch and not state.suspect:
            self.truth.of(number).uncertain = False


class FaultyConsumer:
    """A member of a consumer group that may be killed before or after a commit, and whose log may be away."""

    def __init__(self, inner: Consumer, faults: Faults) -> None:
        self.inner, self._faults = inner, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        if self._faults.weather.strikes(0.01):
            raise LogUnavailable("away")
        return self.inner.poll(max_records, timeout_s)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._faults.here()
        self.inner.commit(offsets)
        self._faults.here()


class FaultyProducer:
    """A producer whose acknowledgements get lost, or whose records do."""

    def __init__(self, inner: Any, weather: Weather) -> None:
        self._inner, self._weather = inner, weather

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        if self._weather.strikes(0.01):
            raise LogUnavailable("away")
        placed: list[tuple[TopicPartition, int]] = self._inner.append(records)
        if self._weather.strikes(0.01):
            raise LogUnavailable("the acknowledgement was lost")
        return placed

    def close(self) -> None:
        self._inner.close()


class FaultyPropagation(Propagation):
    """Propagation, killed now and then in the middle of a transaction."""

    faults: Faults

    def handle(self, connection: Connection, record: Record, message: Message) -> None:
        super().handle(connection, record, message)
        self.faults.here()


def without_flushing(connection: Any, _record: object) -> None:
    """The processes of this world are killed, and the machine is not: nothing has to reach the disk."""
    connection.execute("PRAGMA synchronous=OFF")


class UnflushedFile(LogFile):
    """A log's file that is not flushed either."""

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        without_flushing(connection, None)
        return connection
