"""Committable offsets: per partition, the lowest with all below it settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.engine.bell import Place
from schemas.account import Lane
from schemas.catalogue import lane_of

Partition = tuple[str, int]


class OffsetTracker:
    """One partition's offsets: records are read in order and settled in any.

    `position` is the next offset to commit: everything below it is settled. Offsets may have holes (a
    compacted or transactional log): what was never read needs no settling.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._open: dict[int, None] = {}  # read, not settled; insertion order is offset order
        self._read_to: int | None = None  # one above the highest offset that was read
        self._committed: int | None = None

    def read(self, offset: int) -> bool:
        """Note that a record was read. False: it is a redelivery within one life."""
        if self._read_to is not None and offset < self._read_to:
            return False
        self._open[offset] = None
        self._read_to = offset + 1
        return True

    def settle(self, offset: int) -> None:
        """Note that nothing more has to happen for this record. Settling twice is harmless."""
        self._open.pop(offset, None)

    @property
    def position(self) -> int | None:
        """The next offset to read after a crash; None before anything was read."""
        return next(iter(self._open), self._read_to)

    @property
    def gap(self) -> int:
        """The number of offsets that reading is ahead of the position."""
        return 0 if self._read_to is None else self._read_to - next(iter(self._open), self._read_to)

    def to_commit(self) -> int | None:
        """The position, if it moved since it was last committed."""
        position = self.position
        return position if position is not None and position != self._committed else None

    def committed(self, offset: int) -> None:
        """Note that the log acknowledged this commit."""
        self._committed = offset


class Offsets:
    """Every partition's tracker, by generation.

    A partition that was lost and won again has a new generation: what was read under an earlier one settles
    nothing in it.
    """

    def __init__(self) -> None:
        self._trackers: dict[Partition, OffsetTracker] = {}
        self._generations: dict[Partition, int] = {}

    def generation(self, partition: Partition) -> int:
        """Return the generation of this partition's present reads."""
        return self._generations.get(partition, 0)

    def read(self, place: Place) -> bool:
        """Note that a record was read. False if it was read before under this generation."""
        partition = (place.topic, place.partition)
        tracker = self._trackers.get(partition)
        if tracker is None:
            tracker = self._trackers[partition] = OffsetTracker(self.generation(partition))
        return tracker.generation == place.generation and tracker.read(place.offset)

    def settle(self, place: Place) -> None:
        """Settle this record; ignored if read under an earlier generation."""
        tracker = self._trackers.get((place.topic, place.partition))
        if tracker is not None and tracker.generation == place.generation:
            tracker.settle(place.offset)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Start a new generation of partitions that were lost, or are re-read elsewhere."""
        for partition in partitions:
            self._trackers.pop(partition, None)
            self._generations[partition] = self.generation(partition) + 1

    def current(self, place: Place) -> bool:
        """Whether the record was read under the present generation of its partition."""
        return place.generation == self.generation((place.topic, place.partition))

    def gap_reached(self, lane: Lane, gap_max: int) -> bool:
        """Return whether a partition of this lane is read too far ahead of its commit."""
        return any(
            tracker.gap >= gap_max and lane_of(topic) is lane
            for (topic, _), tracker in self._trackers.items()
        )

    def to_commit(self) -> dict[Partition, int]:
        """Per partition, the next offset to read, where it moved."""
        moved = ((partition, tracker.to_commit()) for partition, tracker in self._trackers.items())
        return {partition: offset for partition, offset in moved if offset is not None}

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """Note the offsets that the log has committed."""
        for partition, offset in offsets.items():
            if partition in self._trackers:
                self._trackers[partition].committed(offset)
