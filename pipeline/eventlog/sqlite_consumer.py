"""Reading the embedded log as a member of a consumer group.

`pipeline.eventlog.sqlite_group` decides who owns the group. `poll` wakes at once for records appended through
the same `SqliteEventLog`; for those of other processes it looks at `PRAGMA data_version` every few
milliseconds, which reads no page of the file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from pipeline.eventlog.port import Headers, LogError, NotAssigned, OffsetOutOfRange, Record, TopicPartition
from pipeline.eventlog.sqlite_file import LogFile, offset_of, record_id
from pipeline.eventlog.sqlite_group import GroupMembership

POLL_BYTES_MAX = 16_000_000  # one poll returns no more than about this, and at least one record
_LOOK_S = 0.02  # how often a waiting poll looks for other processes' appends


class Wakeup:
    """Notifies the waiting consumers of one process of appended records. Thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._watched = False

    @property
    def count(self) -> int:
        """The number of notifications."""
        return self._count

    def notify(self) -> None:
        """Announce appended records."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> bool:
        """Wait for a notification since the count was `seen`; False: a time-out."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count != seen, timeout_s)

    def watch(self) -> bool:
        """Become the one that looks for other processes' appends, until `unwatch`; False: another does."""
        with self._condition:
            taken, self._watched = not self._watched, True
            return taken

    def unwatch(self) -> None:
        """Leave the looking to another consumer."""
        with self._condition:
            self._watched = False
            self._condition.notify_all()

    def follow(self, seen: int, timeout_s: float) -> bool:
        """Wait `timeout_s` at most for a notification (True), or the end of the looking."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen or not self._watched, timeout_s)
            return self._count != seen


def share(available: Mapping[TopicPartition, int], wanted: int) -> dict[TopicPartition, int]:
    """Share at most `wanted` records among the partitions, as evenly as can be."""
    if wanted < len(available):
        return dict.fromkeys(list(available)[:wanted], 1)
    taken: dict[TopicPartition, int] = {}
    left = wanted
    for waiting, tp in zip(
        range(len(available), 0, -1), sorted(available, key=lambda tp: available[tp]), strict=True
    ):
        taken[tp] = min(available[tp], left // waiting)
        left -= taken[tp]
    return taken


def _unpack(headers: str) -> Headers:
    if headers == "[]":
        return ()
    flat: list[str] = json.loads(headers)
    return tuple(zip(flat[::2], [text.encode("latin-1") for text in flat[1::2]], strict=True))


class SqliteReader:
    """See `pipeline.eventlog.port.TopicReader`. Owned by one thread.

    Args:
        connection: this reader's own; closed with it.
        partition_ids: each partition's number in the file.
        positions: where to begin; what is not named begins at its first record.
        name: whose offset it is, where one is not in the log.
    """

    def __init__(
        self,
        file: LogFile,
        connection: sqlite3.Connection,
        wakeup: Wakeup,
        *,
        partition_ids: Mapping[TopicPartition, int],
        positions: Mapping[TopicPartition, int],
        name: str = "a reader",
    ) -> None:
        self._file, self._connection, self._wakeup = file, connection, wakeup
        self._ids = dict(partition_ids)
        self._name = name
        self._positions = dict(positions)
        self._paused: set[TopicPartition] = set()
        self._turns = 0  # polls that returned records: rotates the partition served first

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `pipeline.eventlog.port.TopicReader`."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen, version = self._wakeup.count, self._data_version()
            records = self._fetch(max_records)
            left_s = deadline - time.monotonic()
            if records or left_s <= 0:
                return records
            self._wait(seen, version, left_s)

    def close(self) -> None:
        """See `pipeline.eventlog.port.TopicReader`."""
        self._connection.close()

    def _fetch(self, wanted: int) -> list[Record]:
        positions = dict(self._positions)
        with self._file.reading(self._connection):
            if len(positions) < len(self._ids):
                heads = self._heads()
                positions = {tp: heads[each][0] for tp, each in self._ids.items()} | positions
            records = self._from(positions, wanted)
        self._positions = positions
        return records

    def _from(self, positions: dict[TopicPartition, int], wanted: int) -> list[Record]:
        """Read, moving `positions`."""
        available = self._available(positions)
        records = self._read(positions, share(available, wanted)) if available else []
        self._turns += bool(records)
        return records

    def _available(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Count the records ahead, per partition that is not paused, in rotating order."""
        heads = self._heads()
        available = {}
        for tp, position in positions.items():
            first, end = heads[self._ids[tp]]
            if tp in self._paused:
                continue
            if not first <= position <= end:
                raise OffsetOutOfRange(
                    f"{self._name}: offset {position} of {tp.topic} partition {tp.partition} is not"
                    f" in the log: what is there starts at {first}, and the next to be written is {end}",
                    tp=tp,
                    offset=position,
                    first=first,
                )
            if position < end:
                available[tp] = end - position
        turn = self._turns % len(available) if available else 0
        order = list(available)
        return {tp: available[tp] for tp in order[turn:] + order[:turn]}

    def _read(
        self, positions: dict[TopicPartition, int], counts: Mapping[TopicPartition, int]
    ) -> list[Record]:
        """Read the given count per partition, moving `positions`; fewer large records."""
        records: list[Record] = []
        volume = 0
        for (topic, partition), count in counts.items():
            tp = TopicPartition(topic, partition)
            start = record_id(self._ids[tp], positions[tp])
            rows = self._connection.execute(
                "SELECT id, timestamp_ms, key, headers, value FROM records"
                " WHERE id >= ? AND id < ? ORDER BY id",
                (start, start + count),
            )
            for identifier, timestamp_ms, key, headers, value in rows:
                offset = offset_of(identifier)
                records.append(Record(topic, partition, offset, key, value, _unpack(headers), timestamp_ms))
                positions[tp] = offset + 1
                volume += len(value)
                if volume >= POLL_BYTES_MAX:
                    return records
        return records

    def _heads(self) -> dict[int, tuple[int, int]]:
        """First and next offset, per partition of every topic."""
        rows = self._connection.execute("SELECT id, first_offset, next_offset FROM partitions")
        return {identity: (first, end) for identity, first, end in rows}

    def _wait(self, seen: int, version: int, timeout_s: float) -> None:
        """Wait until any process has written, or `timeout_s` has passed."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            if not self._wakeup.watch():
                # What was written before the watcher began is seen here; later writes, there.
                if self._data_version() != version or self._wakeup.follow(seen, left_s):
                    return
                continue
            try:
                self._look(seen, version, deadline)
            finally:
                self._wakeup.unwatch()
            return

    def _look(self, seen: int, version: int, deadline: float) -> None:
        """Look for other processes' appends, and notify this process's consumers."""
        while (left_s := deadline - time.monotonic()) > 0:
            if self._wakeup.wait(seen, min(left_s, _LOOK_S)):
                return
            if self._data_version() != version:
                self._wakeup.notify()
                return

    def _data_version(self) -> int:
        """A number that changes when another connection, of any process, has written."""
        with self._file.explained():
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version


class SqliteConsumer(SqliteReader):
    """See `pipeline.eventlog.port.Consumer`. Owned by one thread.

    Args:
        connection: this consumer's own; closed with it.
        membership: on the same connection; joined already.
        partition_ids: the subscription: each partition's number in the file.
    """

    def __init__(
        self,
        file: LogFile,
        connection: sqlite3.Connection,
        wakeup: Wakeup,
        membership: GroupMembership,
        *,
        group: str,
        partition_ids: Mapping[TopicPartition, int],
    ) -> None:
        super().__init__(
            file, connection, wakeup, partition_ids=partition_ids, positions={}, name=f"group {group!r}"
        )
        self._membership = membership
        self._group = group
        self._epoch: int | None = None  # the epoch that `_positions` belong to
        self._follow_membership()

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `pipeline.eventlog.port.Consumer`."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen, version = self._wakeup.count, self._data_version()
            self._membership.keep()
            self._follow_membership()
            records = self._fetch(max_records)
            left_s = deadline - time.monotonic()
            if records or left_s <= 0:
                return records
            self._wait(seen, version, min(left_s, self._membership.patience_s))

    def assignment(self) -> Mapping[TopicPartition, int]:
        """See `pipeline.eventlog.port.Consumer`."""
        return {} if self._epoch is None else dict.fromkeys(self._positions, self._epoch)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `pipeline.eventlog.port.Consumer`."""
        ours = {tp: offset for tp, offset in offsets.items() if tp in self._ids}
        if ours:
            try:
                with self._membership.writing():
                    self._connection.executemany(
                        "INSERT INTO committed_offsets (group_name, partition_id, next_offset)"
                        " VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
                        [(self._group, self._ids[tp], offset) for tp, offset in ours.items()],
                    )
            finally:
                self._follow_membership()
        if len(ours) < len(offsets):
            raise NotAssigned(f"group {self._group!r} does not read {sorted(set(offsets) - set(ours))}")

    def committed(self, tp: TopicPartition) -> int | None:
        """See `pipeline.eventlog.port.Consumer`."""
        with self._file.explained():
            row = self._connection.execute(
                "SELECT o.next_offset FROM committed_offsets o JOIN partitions p ON p.id = o.partition_id"
                " WHERE o.group_name = ? AND p.topic = ? AND p.partition = ?",
                (self._group, tp.topic, tp.partition),
            ).fetchone()
        return None if row is None else int(row[0])

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See `pipeline.eventlog.port.Consumer`. Raises NotAssigned for a partition of another member."""
        if tp not in self._positions:
            raise NotAssigned(f"{tp} is not assigned to this member of group {self._group!r}")
        self._positions[tp] = offset

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See `pipeline.eventlog.port.Consumer`. Outlasts a change of owner."""
        self._paused.update(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See `pipeline.eventlog.port.Consumer`."""
        self._paused.difference_update(tps)

    def lag(self) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.Consumer`. What was pruned is not counted."""
        with self._file.reading(self._connection):
            committed, heads = self._committed_offsets(), self._heads()
        lag = {}
        for tp in self._positions:
            first, end = heads[self._ids[tp]]
            lag[tp] = max(0, end - max(first, committed.get(self._ids[tp], first)))
        return lag

    def close(self) -> None:
        """See `pipeline.eventlog.port.Consumer`. If the log is out of order, the session expires alone."""
        with suppress(LogError):
            self._membership.leave()
        self._positions = {}
        self._connection.close()

    def _follow_membership(self) -> None:
        """Start at the committed offsets when this member gains the group; stop at loss."""
        epoch = self._membership.epoch
        if epoch == self._epoch:
            return
        positions = {}
        if epoch is not None:
            with self._file.reading(self._connection):
                committed, heads = self._committed_offsets(), self._heads()
            for tp, identity in self._ids.items():
                first, _ = heads[identity]
                positions[tp] = committed.get(identity, first)
        self._epoch, self._positions = epoch, positions

    def _fetch(self, wanted: int) -> list[Record]:
        if self._epoch is None:
            return []
        positions = dict(self._positions)
        try:
            with self._file.reading(self._connection):
                self._membership.check()
                records = self._from(positions, wanted)
        except NotAssigned:
            self._follow_membership()
            return []
        self._positions = positions
        return records

    def _committed_offsets(self) -> dict[int, int]:
        rows = self._connection.execute(
            "SELECT partition_id, next_offset FROM committed_offsets WHERE group_name = ?", (self._group,)
        )
        return dict(rows.fetchall())
