"""By which generation of a group a member's partitions are its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from kafka import OffsetAndMetadata
from kafka import TopicPartition as Tp

from pipeline.eventlog.kafka.listener import Listener

A, B, C = (Tp("t", number) for number in range(3))


class Group:
    """Tells a listener what the library would."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.listener.consumer = self

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
