"""A reader without a group reads all from a given offset, and affects no group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pipeline.eventlog.port import (
    EventLog,
    OffsetOutOfRange,
    Producer,
    Record,
    TopicPartition,
    TopicReader,
    UnknownTopic,
)
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import numbered, read, until

Read = Callable[..., TopicReader]


@pytest.fixture
def reading(log: EventLog) -> Iterator[Read]:
    """Reads a topic; every reader is closed at the end of the test."""
    with ExitStack() as closing:

        def reader(topic: str, offsets: dict[int, int] | None = None) -> TopicReader:
            made = log.reader(topic, offsets or {})
            closing.callback(made.close)
            return made

        yield reader


def taken(reader: TopicReader, count: int) -> list[Record]:
    records: list[Record] = []

    def enough() -> bool:
        records.extend(reader.poll(count - len(records), 0.1))
        return len(records) == count

    until(enough, f"{count} records are read")
    return records


def test_a_reader_reads_every_partition_from_its_first_record_on(
    producer: Producer, new_topic: NewTopic, reading: Read
) -> None:
    topic = new_topic(3)
    for key in "abcdef":
        producer.append(numbered(topic, key, 4))
    found = taken(reading(topic), 24)
    for key in "abcdef":
        assert [record.value for record in found if record.key == key] == [b"0", b"1", b"2", b"3"]


def test_a_reader_goes_on_from_the_offsets_that_it_is_told(
    producer: Producer, new_topic: NewTopic, reading: Read
) -> None:
    topic = new_topic()
    producer.append(numbered(topic, "k", 5))
    first = taken(reading(topic), 3)
    rest = taken(reading(topic, {0: first[-1].offset + 1}), 2)
    assert [record.value for record in rest] == [b"3", b"4"]


def test_a_reader_sees_what_comes_later(producer: Producer, new_topic: NewTopic, reading: Read) -> None:
    topic = new_topic()
    reader = reading(topic)
    assert reader.poll(5, 0.1) == []
    producer.append(numbered(topic, "k", 2))
    assert [record.value for record in taken(reader, 2)] == [b"0", b"1"]


def test_readers_take_nothing_from_a_group_nor_from_one_another(
    producer: Producer, new_topic: NewTopic, reading: Read, join: Join
) -> None:
    topic = new_topic()
    producer.append(numbered(topic, "k", 3))
    values = [b"0", b"1", b"2"]
    assert [record.value for record in taken(reading(topic), 3)] == values
    assert [record.value for record in taken(reading(topic), 3)] == values
    assert [record.value for record in read(join(topic), 3)] == values


def test_an_offset_that_the_log_does_not_have_is_no_silent_jump(
    producer: Producer, new_topic: NewTopic, reading: Read
) -> None:
    topic = new_topic()
    producer.append(numbered(topic, "k", 3))
    reader = reading(topic, {0: 17})

    def refused() -> bool:
        try:
            return reader.poll(5, 0.1) != []
        except OffsetOutOfRange as error:
            return (error.tp, error.offset, error.first) == (TopicPartition(topic, 0), 17, 0)

    until(refused, "the offset is refused")


def test_a_topic_that_is_not_there_is_named(reading: Read) -> None:
    with pytest.raises(UnknownTopic, match="t-nowhere"):
        reading("t-nowhere")
