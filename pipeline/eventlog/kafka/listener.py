"""The rebalance listener of a group member."""

from __future__ import annotations

from contextlib import suppress

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata
from kafka import TopicPartition as Tp
from kafka import errors as e


class Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Called by the library's thread, while the consumer's own thread waits in `poll`."""

    def __init__(self) -> None:
        self.consumer: KafkaConsumer = None
        self.owed: dict[Tp, OffsetAndMetadata] = {}  # to be committed, once the group lets us
        self.given: dict[Tp, int] = {}  # by which generation; kept while no other one took it away
        self.generation = -1
        self.shared_out = False  # since this was last looked at: others may have committed meanwhile
        self.lost: set[Tp] = set()  # taken away without notice: positions begin again at what was committed

    async def on_partitions_revoked(self, revoked: set[Tp]) -> None:
        """Commit pending offsets of partitions to be revoked; they are ours until then."""
        owed = {tp: offset for tp, offset in self.owed.items() if tp in revoked}
        if owed:
            with suppress(e.KafkaError):  # their next owner repeats what was not committed
                await self.consumer.commit_async(owed)
                self.owed = {tp: offset for tp, offset in self.owed.items() if tp not in owed}

    async def on_partitions_assigned(self, assigned: set[Tp]) -> None:
        """Drop uncommitted work of partitions that are others' now; they will redo it."""
        self.shared_out = True
        generation: int = self.consumer.group_metadata().generation_id
        kept = self.given if generation == self.generation + 1 else {}  # else others had a part in between
        self.owed = {tp: offset for tp, offset in self.owed.items() if tp in assigned and tp in kept}
        self.given = {tp: kept.get(tp, generation) for tp in assigned}
        self.generation = generation

    async def on_partitions_lost(self, lost: set[Tp]) -> None:
        """Drop everything: the group continued without us."""
        self.owed, self.given = {}, {}
        self.lost |= lost
