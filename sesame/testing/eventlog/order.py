"""Order: records of one key, in the order of appending, from one partition."""

from __future__ import annotations

import pytest

from pipeline.eventlog.port import EventLog, NewRecord, Producer, TopicPartition
from sesame.testing.eventlog.adapter import Adapter
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import Child, numbered, numbers, read, run_at_once

STUDENTS = [f"2026{number:04}" for number in range(40)]


def test_each_student_s_records_are_read_in_the_order_in_which_they_were_appended(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(6)
    for number in range(20):
        producer.append([NewRecord(topic, student, str(number).encode()) for student in STUDENTS])
    records = read(join(topic), 20 * len(STUDENTS))
    for student in STUDENTS:
        assert numbers(records, student) == list(range(20))


def test_all_records_of_a_key_are_in_one_partition_and_the_keys_are_spread(
    producer: Producer, new_topic: NewTopic
) -> None:
    topic = new_topic(6)
    places = [producer.append([NewRecord(topic, student, b"") for student in STUDENTS]) for _ in range(2)]
    first, second = ([tp for tp, _ in placed] for placed in places)
    assert first == second
    assert {tp.partition for tp in first} == set(range(6))


def test_append_says_where_each_record_went(producer: Producer, new_topic: NewTopic, join: Join) -> None:
    topic, other = new_topic(3), new_topic(2)
    batch = [NewRecord((topic, other)[n % 2], f"key-{n}", str(n).encode()) for n in range(30)]
    placed = dict(zip(producer.append(batch), batch, strict=True))
    for record in read(join(topic, other), 30):
        appended = placed.pop((record.tp, record.offset))
        assert (record.topic, record.key, record.value) == (appended.topic, appended.key, appended.value)
    assert not placed


def test_offsets_of_a_partition_have_no_holes(producer: Producer, new_topic: NewTopic, log: EventLog) -> None:
    topic = new_topic()
    placed = [place for _ in range(5) for place in producer.append(numbered(topic, "key", 3))]
    assert placed == [(TopicPartition(topic, 0), offset) for offset in range(15)]
    assert log.end_offsets(topic) == {TopicPartition(topic, 0): 15}


@pytest.mark.processes
def test_processes_that_append_at_once_lose_nothing_and_keep_their_own_order(
    adapter: Adapter, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(3)
    keys = ["imports", "activations", "replays"]
    children = [
        Child("append-some", adapter.opener, adapter.url, topic=topic, key=key, count=300, batch=10)
        for key in keys
    ]
    consumer, records = join(topic), []
    run_at_once(children, lambda: records.extend(read(consumer, 900)))
    for key in keys:
        assert numbers(records, key) == list(range(300))
