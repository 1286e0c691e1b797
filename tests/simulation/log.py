"""A simulated event log: see `pipeline.eventlog.port`. In memory, in one process, honest.

It keeps every promise of the port but two, which a log in memory cannot: nothing survives the process, and no
other process can open it. The faults of processes are put around it (`tests.simulation.ports`). The
conformance suite runs on it, without the tests that need another process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from pipeline.eventlog.port import (
    RECORD_BYTES_MAX,
    LogError,
    NewRecord,
    OffsetOutOfRange,
    Record,
    RecordTooLarge,
    TopicPartition,
    UnknownTopic,
)
from pipeline.eventlog.sqlite import partition_of
from tests.simulation.groups import Group
from tests.simulation.reader import Reader

Wait = Callable[["Reader", float], None]
"""Wait for at most so many seconds, less if `SimulatedLog.woken` gets this reader."""


class SimulatedLog:
    """See `pipeline.eventlog.port.EventLog`.

    Args:
        clock: seconds, for sessions.
        wall: seconds since the epoch, for the records' time.
        wait: how a reader waits; None: as a thread does.
        woken: called with each reader that has something new.
        first: which of so many partitions with records is served first.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        session_timeout_s: float,
        wait: Wait | None = None,
        woken: Callable[[Reader], None] = lambda _reader: None,
        first: Callable[[int], int] | None = None,
    ) -> None:
        self.clock = clock
        self.session_timeout_s = session_timeout_s
        self.lock = threading.RLock()
        self.news = threading.Condition(self.lock)
        self.records: dict[TopicPartition, list[Record]] = {}
        self.groups: dict[str, Group] = {}
        self.wait = wait or self._wait
        self.first = first
        self._wall = wall
        self._woken = woken
        self._topics: dict[str, int] = {}
        self._readers: list[Reader] = []

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        with self.lock:
            for topic, number in partitions.items():
                have = self._topics.setdefault(topic, number)
                if have != number:
                    raise LogError(f"topic {topic!r} has {have} partitions, not {number}")
                for each in range(number):
                    self.records.setdefault(TopicPartition(topic, each), [])

    def producer(self) -> SimulatedProducer:
        return SimulatedProducer(self)

    def consumer(self, group: str, topics: Sequence[str], *, member: str) -> Reader:
        for topic in topics:
            self.partitions(topic)
        with self.lock:
            joined = self.groups.get(group)
            if joined is None:
                joined = Group(group, self.session_timeout_s, self.clock, self.partitions, self._moved)
                self.groups[group] = joined
            reader = Reader(self, joined, member, topics)
            self._readers.append(reader)
            return reader

    def reader(self, topic: str, offsets: Mapping[int, int]) -> SimulatedTopicReader:
        begin = {TopicPartition(topic, n): offsets.get(n, 0) for n in range(self.partitions(topic))}
        return SimulatedTopicReader(self, begin)

    def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        with self.lock:
            tps = [TopicPartition(topic, number) for number in range(self.partitions(topic))]
            return {tp: len(self.records[tp]) for tp in tps}

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        with self.lock:
            kept = self.groups[group].committed if group in self.groups else {}
            return {tp: kept.get(tp, 0) for tp in self.end_offsets(topic)}

    def close(self) -> None:
        """See `pipeline.eventlog.port.EventLog`."""

    # --- for its parts ----------------------------------------------------------------------------

    def partitions(self, topic: str) -> int:
        """The number of a topic's partitions. Raises `UnknownTopic`, naming it."""
        if topic not in self._topics:
            raise UnknownTopic(f"there is no topic {topic!r} in this log")
        return self._topics[topic]

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        for record in records:
            if len(record.value) > RECORD_BYTES_MAX:
                raise RecordTooLarge(f"a record has more than {RECORD_BYTES_MAX} bytes: nothing was appended")
        with self.lock:
            places = [
                TopicPartition(new.topic, partition_of(new.key, self.partitions(new.topic)))
                for new in records
            ]
            placed = []
            for tp, new in zip(places, records, strict=True):
                part, moment_ms = self.records[tp], int(self._wall() * 1000)
                placed.append((tp, len(part)))
                part.append(Record(*tp, len(part), new.key, new.value, new.headers, moment_ms))
            self._tell(set(places))
        return placed

    def erase(self, key: str, pseudonym: str, *, before: float) -> int:
        """As `pipeline.eventlog.sqlite.SqliteEventLog`, of the person's own records."""
        changed = 0
        with self.lock:
            for part in self.records.values():
                for at, each in enumerate(part):
                    if each.key == key and each.timestamp_ms < 1000 * before:
                        part[at] = each._replace(key=pseudonym, value=b"{}", headers=())
                        changed += 1
        return changed

    def forget(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    def _moved(self, group: Group) -> None:
        for reader in self._readers:
            if reader.group is group:
                self._woken(reader)
        self.news.notify_all()

    def _tell(self, tps: set[TopicPartition]) -> None:
        for reader in self._readers:
            if reader.reads(tps):
                reader.news = True
                self._woken(reader)
        self.news.notify_all()

    def _wait(self, _reader: Reader, seconds: float) -> None:
        with self.news:
            self.news.wait(seconds)


class SimulatedProducer:
    """See `pipeline.eventlog.port.Producer`."""

    def __init__(self, log: SimulatedLog) -> None:
        self._log = log

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        return self._log.append(records)

    def close(self) -> None:
        """See `pipeline.eventlog.port.Producer`."""


class SimulatedTopicReader:
    """See `pipeline.eventlog.port.TopicReader`. It does not wait: those who wait are in a group here."""

    def __init__(self, log: SimulatedLog, positions: dict[TopicPartition, int]) -> None:
        self._log = log
        self._positions = positions

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        del timeout_s
        found: list[Record] = []
        with self._log.lock:
            for tp, position in self._positions.items():
                records = self._log.records[tp]
                if position > len(records):
                    raise OffsetOutOfRange("not in the log", tp=tp, offset=position, first=0)
                some = records[position : position + max_records - len(found)]
                self._positions[tp] += len(some)
                found += some
        return found

    def close(self) -> None:
        """See `pipeline.eventlog.port.TopicReader`."""
