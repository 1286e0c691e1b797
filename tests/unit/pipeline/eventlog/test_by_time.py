"""Records of several partitions, in the order of their appends."""

from __future__ import annotations

from pipeline.eventlog.port import Record, by_time


def record(partition: int, offset: int, at_ms: int, topic: str = "t") -> Record:
    return Record(topic, partition, offset, "A", b"", (), at_ms)


def test_partitions_are_merged_by_time_and_what_was_appended_at_once_stays_as_it_was_read() -> None:
    read = [record(0, 0, 10), record(0, 1, 30), record(1, 0, 5), record(1, 1, 30), record(1, 2, 40)]
    assert by_time(read) == [read[2], read[0], read[1], read[3], read[4]]


def test_a_partition_keeps_its_order_whatever_its_producers_clocks_say() -> None:
    read = [record(0, 0, 100), record(0, 1, 20), record(0, 2, 110), record(1, 0, 50)]
    assert by_time(read) == [read[3], read[0], read[1], read[2]]


def test_partitions_of_two_topics_are_two() -> None:
    read = [record(0, 7, 100), record(0, 3, 20, topic="u")]
    assert by_time(read) == [read[1], read[0]]
