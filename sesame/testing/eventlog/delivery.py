"""Delivery: at least once from the committed offset, which only `commit` moves."""

from __future__ import annotations

import threading

import pytest

from pipeline.eventlog.port import (
    Consumer,
    NewRecord,
    NotAssigned,
    OffsetOutOfRange,
    Producer,
    TopicPartition,
)
from sesame.testing.eventlog.adapter import Adapter, open_log
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import numbered, numbers, own, read, until


def values(consumer: Consumer, count: int) -> list[int]:
    return [int(record.value) for record in read(consumer, count)]


def test_a_group_that_never_committed_starts_at_the_earliest_record(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    producer.append(numbered(topic, "key", 5))
    consumer = join(topic)
    assert values(consumer, 5) == [0, 1, 2, 3, 4]
    assert consumer.committed(TopicPartition(topic, 0)) is None


def test_what_was_read_but_not_committed_is_delivered_again(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    producer.append(numbered(topic, "key", 5))
    first = join(topic)
    assert values(first, 5) == [0, 1, 2, 3, 4]
    first.close()
    assert values(join(topic), 5) == [0, 1, 2, 3, 4]


def test_the_next_member_starts_at_the_committed_offset(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 5))
    first = join(topic)
    read(first, 4)
    first.commit({tp: 2})
    assert first.committed(tp) == 2
    first.close()
    second = join(topic)
    assert values(second, 3) == [2, 3, 4]
    assert second.committed(tp) == 2


def test_a_commit_may_go_back(producer: Producer, new_topic: NewTopic, join: Join) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 5))
    first = join(topic)
    read(first, 5)
    first.commit({tp: 5})
    first.commit({tp: 1})
    first.close()
    assert values(join(topic), 4) == [1, 2, 3, 4]


def test_a_commit_for_a_foreign_partition_is_refused_and_the_others_are_kept(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic, other = new_topic(), new_topic()
    producer.append(numbered(topic, "key", 3))
    consumer = join(topic)
    read(consumer, 3)
    ours, foreign = TopicPartition(topic, 0), TopicPartition(other, 0)
    with pytest.raises(NotAssigned, match=other):
        consumer.commit({foreign: 1, ours: 3})
    assert consumer.committed(ours) == 3
    assert consumer.committed(foreign) is None


def test_seek_reads_again_from_there_without_a_commit(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 6))
    consumer = join(topic)
    read(consumer, 6)
    consumer.seek(tp, 4)
    assert values(consumer, 2) == [4, 5]
    consumer.seek(tp, 0)
    assert values(consumer, 6) == [0, 1, 2, 3, 4, 5]
    assert consumer.committed(tp) is None


def test_the_end_of_the_log_is_an_offset_to_read_from(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 3))
    consumer = join(topic)
    read(consumer, 1)
    consumer.seek(tp, 3)
    assert consumer.poll(10, 0.2) == []
    producer.append(numbered(topic, "key", 1, start=3))
    assert values(consumer, 1) == [3]


@pytest.mark.parametrize("offset", [4, 1_000_000])
def test_an_offset_that_is_not_in_the_log_is_an_error_until_the_operator_decides(
    offset: int, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 3))
    consumer = join(topic)
    read(consumer, 3)
    consumer.seek(tp, offset)
    for _ in range(2):
        with pytest.raises(OffsetOutOfRange, match=rf"{offset}.*{topic}.*0"):
            until(lambda: bool(consumer.poll(10, 0.5)), "the offset is refused")
    consumer.seek(tp, 1)
    assert values(consumer, 2) == [1, 2]


def test_a_partition_that_is_not_assigned_cannot_be_sought(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic, other = new_topic(), new_topic()
    consumer = join(topic)
    own(consumer)
    with pytest.raises(NotAssigned, match=other):
        consumer.seek(TopicPartition(other, 0), 0)


def test_poll_returns_no_more_than_was_asked_and_goes_on_from_there(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(3)
    producer.append([record for key in "abcdef" for record in numbered(topic, key, 50)])
    consumer = join(topic)
    records = []

    def all_read() -> bool:
        got = consumer.poll(7, 0.5)
        assert len(got) <= 7
        records.extend(got)
        return len(records) == 300

    until(all_read, "all are read in small steps")
    for key in "abcdef":
        assert numbers(records, key) == list(range(50))


def test_a_partition_with_a_backlog_does_not_keep_the_others_waiting(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    backlog, fresh = new_topic(), new_topic()
    producer.append(numbered(backlog, "bulk", 2_000))
    producer.append(numbered(fresh, "person", 1))
    consumer = join(backlog, fresh)
    seen = [record.topic for _ in range(10) for record in consumer.poll(100, 1.0)]
    assert fresh in seen
    assert len(seen) <= 1_000


def test_poll_of_an_empty_topic_returns_nothing(new_topic: NewTopic, join: Join) -> None:
    consumer = join(new_topic(2))
    assert consumer.poll(10, 0) == []
    assert consumer.poll(10, 0.05) == []


def test_a_waiting_poll_is_woken_by_an_append(producer: Producer, new_topic: NewTopic, join: Join) -> None:
    topic = new_topic()
    consumer = join(topic)
    own(consumer)
    later = threading.Timer(0.2, producer.append, [numbered(topic, "key", 1)])
    later.start()
    (record,) = consumer.poll(10, 120)  # longer than the test may last
    later.join()
    assert record.value == b"0"


def test_a_paused_partition_is_silent_and_resumes_where_it_was(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic, bulk = new_topic(), new_topic()
    tp = TopicPartition(bulk, 0)
    consumer = join(topic, bulk)
    own(consumer)
    producer.append(numbered(bulk, "batch", 4))
    assert values(consumer, 2) == [0, 1]
    consumer.pause([tp])
    producer.append(numbered(topic, "person", 3))
    assert {record.topic for record in read(consumer, 3)} == {topic}
    assert consumer.poll(10, 0.2) == []
    assert tp in consumer.assignment()
    consumer.resume([tp])
    assert values(consumer, 2) == [2, 3]


def test_lag_counts_what_lies_above_the_committed_offset(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    consumer = join(topic)
    own(consumer)
    assert consumer.lag() == {tp: 0}
    producer.append(numbered(topic, "key", 5))
    assert consumer.lag() == {tp: 5}
    read(consumer, 4)
    assert consumer.lag() == {tp: 5}
    consumer.commit({tp: 3})
    assert consumer.lag() == {tp: 2}


def test_a_second_handle_on_the_log_sees_what_the_first_one_appended(
    adapter: Adapter, producer: Producer, new_topic: NewTopic
) -> None:
    topic = new_topic(2)
    producer.append([NewRecord(topic, f"key-{n}", b"") for n in range(10)])
    other = open_log(adapter)
    consumer = other.consumer("directory", [topic], member="one")
    assert {record.key for record in read(consumer, 10)} == {f"key-{n}" for n in range(10)}
    assert sum(other.end_offsets(topic).values()) == 10
    consumer.close()
    other.close()
