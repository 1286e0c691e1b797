"""By which generation of a group a member's partitions are its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from kafka import OffsetAndMetadata
from kafka import TopicPartition as Tp
from kafka.errors import KafkaConnectionError

from pipeline.eventlog.kafka.listener import Listener

A, B, C = (Tp("t", number) for number in range(3))


class Group:
    """Tells a listener what the library would."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.listener.consumer = self
        self.committed: dict[Tp, int] = {}
        self.away = False

    async def commit_async(self, offsets: dict[Tp, OffsetAndMetadata]) -> None:
        if self.away:
            raise KafkaConnectionError
        self.committed |= {tp: offset.offset for tp, offset in offsets.items()}

    def take(self, *taken: Tp) -> None:
        asyncio.run(self.listener.on_partitions_revoked(set(taken)))

    def group_metadata(self) -> SimpleNamespace:
        return SimpleNamespace(generation_id=self.generation)

    def share_out(self, generation: int, *given: Tp) -> dict[Tp, int]:
        self.generation = generation
        asyncio.run(self.listener.on_partitions_assigned(set(given)))
        return self.listener.given


def test_what_is_kept_from_one_generation_to_the_next_has_the_same_number() -> None:
    group = Group()
    assert group.share_out(4, A, B) == {A: 4, B: 4}
    assert group.share_out(5, B, C) == {B: 4, C: 5}
    assert group.share_out(6, A, B) == {A: 6, B: 4}


def test_after_a_generation_without_us_everything_has_another_number_and_nothing_is_owed() -> None:
    group = Group()
    group.share_out(4, A, B)
    group.listener.owed = {A: OffsetAndMetadata(7, "", -1)}
    assert group.share_out(6, A, B) == {A: 6, B: 6}
    assert group.listener.owed == {}


def test_what_was_lost_has_another_number_when_it_comes_back() -> None:
    group = Group()
    group.share_out(4, A)
    asyncio.run(group.listener.on_partitions_lost({A}))
    assert group.listener.given == {}
    assert group.share_out(5, A) == {A: 5}
    group.listener.owed = {A: OffsetAndMetadata(7, "", -1)}
    assert group.share_out(6, A) == {A: 5}
    assert group.listener.owed == {A: OffsetAndMetadata(7, "", -1)}


def test_what_is_owed_for_a_partition_that_is_taken_is_committed_before_it_goes() -> None:
    group = Group()
    group.share_out(4, A, B)
    group.listener.owed = {A: OffsetAndMetadata(7, "", -1), B: OffsetAndMetadata(9, "", -1)}
    group.take(A)
    assert group.committed == {A: 7}
    assert group.listener.owed == {B: OffsetAndMetadata(9, "", -1)}
    group.share_out(5, B)
    group.take(B)
    assert group.committed == {A: 7, B: 9}


def test_what_cannot_be_committed_before_it_goes_is_left_to_the_next_owner() -> None:
    group = Group()
    group.share_out(4, A, B)
    group.listener.owed = {A: OffsetAndMetadata(7, "", -1), B: OffsetAndMetadata(9, "", -1)}
    group.away = True
    group.take(A, B)
    group.away = False
    group.share_out(5, B)
    assert group.listener.owed == {B: OffsetAndMetadata(9, "", -1)}
    group.take(B)
    assert group.committed == {B: 9}
