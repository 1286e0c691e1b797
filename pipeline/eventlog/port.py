"""The event log's port, and what every adapter guarantees.

**Order.** Records of one key go to one partition of a topic and are delivered in the order in which one
producer appended them. There is no order across partitions, topics or producers.

**Durability.** When `append` returns, the records are stored as durably as the adapter can: they survive kill
-9 of every process. When it raises, each record may or may not be there, and the caller appends again:
readers recognise duplicates by event id.

**Delivery.** At least once. A consumer group's committed offset is the next one to read; after a crash,
delivery starts again there. Only `commit` commits: there is no automatic commit. A group that never committed
starts at the earliest record.

**Sharing.** Each partition is assigned to at most one live member of a group. A member that dies loses its
partitions within the adapter's session time-out. Any number of processes may append and read at once.

**Limits.** A record's value is at most `RECORD_BYTES_MAX`. An offset that is no longer, or not yet, in the
log raises `OffsetOutOfRange`: never a silent jump. So does one below which the log lost what a group had
read, and has something else now: a group that committed there gets the error, whether its member lived or
restarted, until it seeks.

**Erasure.** A record of a person who was erased keeps its place, under a key that begins with `ERASED_KEY`,
and has no content any more (`Record.is_erased`).

Consumers are not thread-safe: one thread owns one. Producers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pipeline.errors import SesameError

RECORD_BYTES_MAX = 1_000_000
ERASED_KEY = "erased-"
"""The prefix of an erased person's pseudonym."""


class LogError(SesameError):
    """The event log refused or failed."""


class UnknownTopic(LogError):
    """The topic does not exist. Create the topics first (`sesame run` does so on the embedded log)."""


class OffsetOutOfRange(LogError):
    """The offset asked for is not in the log any more, or not yet, or the log lost its end and what was read
    below that offset is something else now. Target consumers and propagation make up
    for what was lost from the store, by themselves; the registry stops and asks for the file again:
    `sesame lost-records list`.

    `tp` and `offset` say where; `first` is where the log can be read from, so that nothing that is there is
    missed."""

    def __init__(
        self, message: str, *, tp: TopicPartition | None = None, offset: int = 0, first: int = 0
    ) -> None:
        super().__init__(message)
        self.tp = tp
        self.offset = offset
        self.first = first


class RecordTooLarge(LogError):
    """The record is larger than the log takes. Nothing of its batch was appended."""


class NotAssigned(LogError):
    """The partition does not belong to this member (any more): its commit was refused."""


class LogUnavailable(LogError):
    """The log cannot be read or written just now. Try again: nothing was lost."""


class LogRefused(LogUnavailable):
    """The log's servers and this process do not accept one another: a certificate, a name, a password. Mend
    what the message names; work goes on by itself, nothing is lost."""


class NotAllowed(LogError):
    """The log does not allow this to the user as whom the process came. Grant the right that is missing."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


Headers = tuple[tuple[str, bytes], ...]


class NewRecord(NamedTuple):
    """A record to append; `key` chooses the partition."""

    topic: str
    key: str
    value: bytes
    headers: Headers = ()


class Record(NamedTuple):
    """A record as read. `timestamp_ms`: when it was appended, milliseconds since the epoch, UTC."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Headers
    timestamp_ms: int

    @property
    def tp(self) -> TopicPartition:
        """The partition that this record is in."""
        return TopicPartition(self.topic, self.partition)

    @property
    def is_erased(self) -> bool:
        """Return whether the record's person was erased: readers skip it."""
        return self.key.startswith(ERASED_KEY)


def by_time(records: list[Record]) -> list[Record]:
    """Records of several partitions in the order of their appends; each partition keeps its own order."""
    latest: dict[tuple[str, int], int] = {}

    def appended(record: Record) -> int:
        last = latest.get(record[:2], 0)  # producers' clocks differ: within a partition offsets decide
        latest[record[:2]] = last = max(last, record.timestamp_ms)
        return last

    return sorted(records, key=appended)


class Producer(Protocol):
    """Appends records. Thread-safe."""

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        """Append a batch, in order; return each record's place once all are durable.

        Raises:
            UnknownTopic, RecordTooLarge: nothing was appended.
            LogUnavailable: the outcome is unknown; append again.
        """

    def close(self) -> None:
        """Release resources."""


def taken_away(
    before: Mapping[TopicPartition, int], now: Mapping[TopicPartition, int]
) -> frozenset[TopicPartition]:
    """Return the partitions not owned all the time between two looks: some may have come back."""
    return frozenset(tp for tp, given in before.items() if now.get(tp) != given)


class Consumer(Protocol):
    """One member of a consumer group. Owned by one thread."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return up to `max_records` of the assigned, unpaused partitions.

        In order per partition. Waits at most `timeout_s` for the first one. Also keeps the membership alive:
        call it often, even with everything paused.

        Raises:
            OffsetOutOfRange: naming topic, partition and offset.
            LogUnavailable: try again.
        """

    def assignment(self) -> Mapping[TopicPartition, int]:
        """Return the partitions that this member owns at present; `poll` may change it.

        The number changes when the partition was taken away and came back: another member may have read and
        committed in between, and reading restarted at the committed offset.
        """

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset to read per partition, durably.

        Raises:
            NotAssigned: a partition was lost to another member; the others were committed.
        """

    def committed(self, tp: TopicPartition) -> int | None:
        """The group's committed offset, or None if it never committed there."""

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read from `offset` on. Checked at the next `poll`."""

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver no records of these partitions until resumed."""

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver these partitions again, from where they were paused."""

    def lag(self) -> dict[TopicPartition, int]:
        """Per assigned partition, how many records are above the committed offset."""

    def close(self) -> None:
        """Leave the group, without committing."""


class TopicReader(Protocol):
    """Reads a topic from given offsets, in no group; commits nothing. Owned by one thread."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return up to `max_records` as `Consumer.poll` does, with the same errors."""

    def close(self) -> None:
        """Release resources."""


class EventLog(Protocol):
    """A log's entry point."""

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Create the missing ones of these topics.

        Raises:
            LogError: a topic has another number of partitions; changing it would break each key's order.
        """

    def producer(self) -> Producer:
        """A new producer."""

    def consumer(self, group: str, topics: Sequence[str], *, member: str) -> Consumer:
        """Join `group` as `member`, reading `topics`; its name is stable over restarts.

        Raises:
            UnknownTopic: naming it.
        """

    def reader(self, topic: str, offsets: Mapping[int, int]) -> TopicReader:
        """Read `topic` from these offsets, by partition; by default from the first.

        Raises:
            UnknownTopic: naming it.
        """

    def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """The next offset to be written, per partition."""

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        """Return where a group would continue to read, per partition: what it committed, or the first record.

        Raises:
            UnknownTopic: naming it.
            LogUnavailable: try again.
        """

    def close(self) -> None:
        """Release resources."""
