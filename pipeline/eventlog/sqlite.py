"""The embedded event log: one SQLite file, shared by the processes of one machine.

How the port's guarantees are kept:

- **Order.** A key's partition is `crc32(key in UTF-8) mod partitions` (`partition_of`): it never changes, and
  is the same in any language. Offsets are given under the file's single write lock, without holes.
- **Durability.** `append` is one transaction with `synchronous=FULL` in WAL mode: it returns after the disk
  has it. Killing every process, or the machine, loses nothing that was acknowledged.
- **Sharing.** Each consumer group has one running owner, which has all partitions of its topics (see
  `pipeline.eventlog.sqlite_group`). Members of one group read the same topics.
- **Lost ends.** A group's commits are in the same file as the records: an older copy of the file that is put
  back takes both back.
- **Limits.** One machine, a local file system (WAL needs shared memory), tens of thousands of records a
  second in batches, and as many writes a second as the disk has flushes.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pipeline.eventlog.port import (
    RECORD_BYTES_MAX,
    Headers,
    LogError,
    LogUnavailable,
    NewRecord,
    RecordTooLarge,
    TopicPartition,
    UnknownTopic,
)
from pipeline.eventlog.sqlite_consumer import SqliteConsumer, SqliteReader, Wakeup
from pipeline.eventlog.sqlite_file import Clock, LogFile, record_id
from pipeline.eventlog.sqlite_group import GroupMembership

BUSY_TIMEOUT_S = 5.0
SESSION_TIMEOUT_S = 10.0
_PRUNE_PAGE = 2_000  # records removed under one lock
_ERASE_PAGE = 500  # records changed under one lock
_NAMING = """SELECT id FROM records
    WHERE timestamp_ms < ?2 AND (key = ?1 OR instr(value, CAST(?1 AS BLOB)) OR instr(headers, ?1))"""
_COMMITTED = """SELECT partition, max(first_offset, coalesce(committed_offsets.next_offset, 0))
    FROM partitions LEFT JOIN committed_offsets ON partition_id = id AND group_name = ? WHERE topic = ?"""


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of `key`: CRC-32 (RFC 1952) of its UTF-8, modulo the count."""
    return zlib.crc32(key.encode()) % partitions


def _pack(headers: Headers) -> str:
    """Return headers as a flat JSON list: names, and values with their bytes as U+0000–U+00FF."""
    if not headers:
        return "[]"
    return json.dumps([text for name, value in headers for text in (name, value.decode("latin-1"))])


class EmbeddedTopics:
    """A cache of topics; they are never removed nor repartitioned, so it stays true."""

    def __init__(self) -> None:
        self._ids: dict[str, tuple[int, ...]] = {}

    def partition_ids(self, connection: sqlite3.Connection, topic: str) -> tuple[int, ...]:
        """Return the numbers in the file of the topic's partitions, by partition. Raises `UnknownTopic`."""
        known = self._ids.get(topic)
        if known is None:
            rows = connection.execute(
                "SELECT id FROM partitions WHERE topic = ? ORDER BY partition", (topic,)
            )
            known = tuple(row[0] for row in rows)
            if not known:
                raise UnknownTopic(f"there is no topic {topic!r} in this log: create the topics first")
            self._ids[topic] = known
        return known


class SqliteProducer:
    """Appends records. Thread-safe: threads take turns."""

    def __init__(self, file: LogFile, turn: threading.Lock, wakeup: Wakeup, clock: Clock) -> None:
        self._file = file
        self._turn = turn
        self._wakeup = wakeup
        self._clock = clock
        self._topics = EmbeddedTopics()
        self._connection = file.connect()

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        """See `pipeline.eventlog.port.Producer`."""
        for record in records:
            if len(record.value) > RECORD_BYTES_MAX:
                raise RecordTooLarge(
                    f"a record for {record.topic!r} has {len(record.value)} bytes, the log takes"
                    f" {RECORD_BYTES_MAX}: nothing of its batch was appended"
                )
        if not records:
            return []
        packed = [_pack(record.headers) for record in records]
        with self._turn, self._file.writing(self._connection):
            placed = self._write(records, packed)
        self._wakeup.notify()
        return placed

    def close(self) -> None:
        """See `pipeline.eventlog.port.Producer`."""
        with self._turn:
            self._connection.close()

    def _write(self, records: Sequence[NewRecord], packed: Sequence[str]) -> list[tuple[TopicPartition, int]]:
        connection = self._connection
        next_offsets: dict[int, int] = {}
        placed, rows = [], []
        timestamp_ms = int(self._clock() * 1000)
        for record, headers in zip(records, packed, strict=True):
            ids = self._topics.partition_ids(connection, record.topic)
            partition = partition_of(record.key, len(ids))
            identity = ids[partition]
            if identity not in next_offsets:
                row = connection.execute("SELECT next_offset FROM partitions WHERE id = ?", (identity,))
                next_offsets[identity] = row.fetchone()[0]
            offset = next_offsets[identity]
            next_offsets[identity] = offset + 1
            placed.append((TopicPartition(record.topic, partition), offset))
            rows.append((record_id(identity, offset), timestamp_ms, record.key, headers, record.value))
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
        connection.executemany(
            "UPDATE partitions SET next_offset = ? WHERE id = ?",
            [(next_offset, identity) for identity, next_offset in next_offsets.items()],
        )
        return placed


class SqliteEventLog:
    """The embedded log.

    Args:
        path: the file; its folder must exist. SQLite keeps `-wal` and `-shm` files next to it.
        clock: seconds since the epoch. All processes that share the file must share the clock.
        session_timeout_s: a consumer that has not polled for this long may be replaced by another member.
        busy_timeout_s: how long a writer waits for other processes before it raises `LogUnavailable`.
        retention_s: how long `prune` keeps the records of each topic; a topic not named is never pruned.

    Raises:
        LogUnavailable, DamagedLog, ForeignFile, NewerFile: each says what to do.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = time.time,
        session_timeout_s: float = SESSION_TIMEOUT_S,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        retention_s: Mapping[str, float] | None = None,
    ) -> None:
        self._clock = clock
        self._session_timeout_s = session_timeout_s
        self._retention_s = dict(retention_s or {})
        self._turn = threading.Lock()  # threads take turns fairly here rather than by SQLite's busy waiting
        self._wakeup = Wakeup()
        self._topics = EmbeddedTopics()
        self._file = LogFile(path, busy_timeout_s=busy_timeout_s)
        self._connection = self._file.connect()

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """See `pipeline.eventlog.port.EventLog`."""
        with self._turn, self._file.writing(self._connection):
            for topic, wanted in partitions.items():
                if wanted < 1:
                    raise LogError(f"topic {topic!r} needs at least one partition, not {wanted}")
                query = "SELECT count(*) FROM partitions WHERE topic = ?"
                present: int = self._connection.execute(query, (topic,)).fetchone()[0]
                if present not in (0, wanted):
                    raise LogError(
                        f"topic {topic!r} has {present} partitions, not {wanted}: changing the number would"
                        " break the order of each student's records; set it back to what it was"
                    )
                if not present:
                    self._connection.executemany(
                        "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
                        [(topic, partition) for partition in range(wanted)],
                    )

    def producer(self) -> SqliteProducer:
        """See `pipeline.eventlog.port.EventLog`."""
        return SqliteProducer(self._file, self._turn, self._wakeup, self._clock)

    def consumer(self, group: str, topics: Sequence[str], *, member: str) -> SqliteConsumer:
        """See `pipeline.eventlog.port.EventLog`."""
        partition_ids = self._partition_ids(topics)
        connection = self._file.connect()
        try:
            membership = GroupMembership(
                self._file,
                connection,
                self._turn,
                group=group,
                member=member,
                clock=self._clock,
                session_timeout_s=self._session_timeout_s,
            )
            membership.join()
            return SqliteConsumer(
                self._file, connection, self._wakeup, membership, group=group, partition_ids=partition_ids
            )
        except BaseException:
            connection.close()
            raise

    def reader(self, topic: str, offsets: Mapping[int, int]) -> SqliteReader:
        """See `pipeline.eventlog.port.EventLog`."""
        partition_ids = self._partition_ids([topic])
        positions = {tp: offsets[tp.partition] for tp in partition_ids if tp.partition in offsets}
        return SqliteReader(
            self._file, self._file.connect(), self._wakeup, partition_ids=partition_ids, positions=positions
        )

    def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.EventLog`."""
        identities = self._partition_ids([topic])
        with self._turn, self._file.reading(self._connection):
            rows = self._connection.execute(
                "SELECT partition, next_offset FROM partitions WHERE topic = ?", (topic,)
            )
            ends = {TopicPartition(topic, partition): end for partition, end in rows}
        return {tp: ends[tp] for tp in identities}

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.EventLog`."""
        self._partition_ids([topic])
        with self._turn, self._file.reading(self._connection):
            rows = self._connection.execute(_COMMITTED, (group, topic)).fetchall()
        return {TopicPartition(topic, partition): offset for partition, offset in rows}

    def prune(self, now: datetime) -> int:
        """Remove the records older than their topic's retention; return how many.

        From the front of each partition only: a record behind a younger one stays as long as that one. A
        group whose committed offset was removed meets `OffsetOutOfRange`, never a silent jump. Other writers
        get their turn between pages. May be called at any time, in any process.

        Raises:
            LogUnavailable: some may be removed; try again.
        """
        removed = 0
        for topic, retention_s in self._retention_s.items():
            limit_ms = int((now.timestamp() - retention_s) * 1000)
            for identity in self._partition_ids([topic]).values():
                while page := self._prune_page(identity, limit_ms):
                    removed += page
        if removed:
            with self._turn, self._file.explained():  # so that what was removed leaves the -wal file too
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed

    def erase(self, key: str, pseudonym: str, *, before: float) -> int:
        """Erase a person from the records older than `before` (epoch seconds). Return how many changed.

        Each record keeps its place, and `pseudonym` replaces the person's number, `key`. The person's own
        records keep nothing but the pseudonym: event ids would reveal the number to a reader who tries all
        numbers. Repeating is harmless.

        Raises:
            LogUnavailable: some may be changed; repeat.
        """
        word = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])")
        with self._turn, self._file.reading(self._connection):
            found = [row[0] for row in self._connection.execute(_NAMING, (key, before * 1000))]
        changed = 0
        for at in range(0, len(found), _ERASE_PAGE):
            with self._turn, self._file.writing(self._connection):
                for identity in found[at : at + _ERASE_PAGE]:
                    changed += self._erase_one(identity, key, pseudonym, word)
        return changed

    def _erase_one(self, identity: int, key: str, pseudonym: str, word: re.Pattern[str]) -> int:
        query = "SELECT key, headers, value FROM records WHERE id = ?"
        before = self._connection.execute(query, (identity,)).fetchone()
        if before is None:  # pruned meanwhile
            return 0
        whose, headers, value = before
        if whose == key:
            after = (pseudonym, "[]", b"{}")
        else:  # bytes that are no UTF-8 are kept as they are
            text = word.sub(pseudonym, value.decode("utf-8", "surrogateescape"))
            after = (whose, word.sub(pseudonym, headers), text.encode("utf-8", "surrogateescape"))
        if after == before:
            return 0
        change = "UPDATE records SET key = ?, headers = ?, value = ? WHERE id = ?"
        self._connection.execute(change, (*after, identity))
        return 1

    def rewrite(self) -> None:
        """Rewrite the file, to leave no removed or replaced data on disk.

        Overwriting what is removed (`secure_delete`) leaves copies that were made when pages were balanced.
        The -wal file is emptied too. Other writers wait meanwhile.

        Raises:
            LogUnavailable: other connections used it for too long; try again.
        """
        with self._turn, self._file.explained():
            self._connection.execute("VACUUM")
            [busy, *_pages] = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise LogUnavailable("the embedded log is being read: its -wal file could not be emptied")

    def examine(self) -> None:
        """Check that the file is whole, and the one that was opened; reads all of it. Raises `DamagedLog`."""
        self._file.examine()

    def check_file(self) -> None:
        """Raise `DamagedLog` if the file was replaced, or damage was met."""
        self._file.check()

    def close(self) -> None:
        """See `pipeline.eventlog.port.EventLog`. Producers and consumers are closed by their own `close`."""
        with self._turn:
            self._connection.close()

    def _partition_ids(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        with self._turn, self._file.explained():
            return {
                TopicPartition(topic, partition): identity
                for topic in topics
                for partition, identity in enumerate(self._topics.partition_ids(self._connection, topic))
            }

    def _prune_page(self, identity: int, limit_ms: int) -> int:
        connection = self._connection
        with self._turn, self._file.writing(connection):
            first, end = connection.execute(
                "SELECT first_offset, next_offset FROM partitions WHERE id = ?", (identity,)
            ).fetchone()
            end = min(end, first + _PRUNE_PAGE)
            bounds = (record_id(identity, first), record_id(identity, end))
            kept = connection.execute(
                "SELECT min(id) FROM records WHERE id >= ? AND id < ? AND timestamp_ms >= ?",
                (*bounds, limit_ms),
            ).fetchone()[0]
            if kept is not None:
                bounds = (bounds[0], kept)
            removed = bounds[1] - bounds[0]
            if removed:
                connection.execute("DELETE FROM records WHERE id >= ? AND id < ?", bounds)
                connection.execute(
                    "UPDATE partitions SET first_offset = ? WHERE id = ?", (first + removed, identity)
                )
        return removed
