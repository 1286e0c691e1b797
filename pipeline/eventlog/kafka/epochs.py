"""The leader epoch of each record read: detects a log that lost its end.

A server that restarts after it lost the end of its log leads under a new epoch, and what is written then
takes the offsets of what was lost. A reader that continues at an offset alone skips that in silence; with the
epoch of the record before it, the servers answer where the two logs part (Kafka's KIP-320).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kafka import OffsetAndMetadata
from kafka import TopicPartition as Tp

UNKNOWN: Final = -1


class Epochs:
    """The epochs of each partition's records, with each one's first offset. They change rarely."""

    def __init__(self) -> None:
        self._since: dict[Tp, list[tuple[int, int]]] = {}

    def read(self, found: Mapping[Tp, Sequence[Any]]) -> None:
        """Note the epochs of the records that the library read."""
        for tp, records in found.items():
            self.note(tp, records[0].offset, records[0].leader_epoch)
            if records[-1].leader_epoch != records[0].leader_epoch:
                for record in records:
                    self.note(tp, record.offset, record.leader_epoch)

    def note(self, tp: Tp, offset: int, epoch: int) -> None:
        """Note this record's epoch; drop those of later offsets: gone from the log, or to be read again."""
        since = self._since.setdefault(tp, [])
        while since and since[-1][0] >= offset:
            since.pop()
        if not since or since[-1][1] != epoch:
            since.append((offset, epoch))

    def commit(self, tp: Tp, offset: int) -> OffsetAndMetadata:
        """A commit of this offset, with the epoch of the record before it."""
        before = [epoch for first, epoch in self._since.get(tp, ()) if first < offset]
        return OffsetAndMetadata(offset, "", before[-1] if before else UNKNOWN)
