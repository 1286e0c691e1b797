"""Whoever publishes in whatever language agrees with us on a student's partition."""

from __future__ import annotations

from typing import Any

from kafka.partitioner import DefaultPartitioner

from pipeline.eventlog.kafka.producer import Remembering


class Cluster:
    """A topic of twelve partitions."""

    def topics(self) -> set[str]:
        return {"topic"}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(range(12))

    available_partitions_for_topic = partitions_for_topic


def test_a_remembered_partition_is_the_one_of_kafkas_default_partitioner() -> None:
    ours, theirs, cluster = Remembering(), DefaultPartitioner(), Cluster()
    keys = [f"{22_000_000 + index}".encode() for index in range(300)] * 2  # the second time from memory

    def partitions(partitioner: Any) -> list[int]:
        return [partitioner.partition("topic", None, key, None, None, cluster) for key in keys]

    assert partitions(ours) == partitions(theirs)
    assert len(set(partitions(ours))) == 12
