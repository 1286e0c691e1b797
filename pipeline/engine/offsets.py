"""What may be committed: the lowest offset below which everything is settled."""

from __future__ import annotations


class OffsetTracker:
    """One partition's offsets: records are read in order and settled in any.

    `position` is the next offset to commit: everything below it is settled. Offsets may have holes (a
    compacted or transactional log): what was never read needs no settling.
    """

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # read, not settled; insertion order is offset order
        self._read_to: int | None = None  # one above the highest offset that was read
        self._committed: int | None = None

    def read(self, offset: int) -> bool:
        """Note that a record was read. False if it was read before (a redelivery within one life)."""
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
        """How far reading is ahead of the position."""
        position = self.position
        return 0 if position is None or self._read_to is None else self._read_to - position

    def to_commit(self) -> int | None:
        """The position, if it moved since it was last committed."""
        position = self.position
        return position if position is not None and position != self._committed else None

    def committed(self, offset: int) -> None:
        """Note that the log acknowledged this commit."""
        self._committed = offset
