"""Groups are independent; in a group each partition has at most one live member."""

from __future__ import annotations

import pytest

from pipeline.eventlog.port import (
    Consumer,
    EventLog,
    LogError,
    NotAssigned,
    Producer,
    TopicPartition,
    UnknownTopic,
)
from sesame.testing.eventlog.adapter import SESSION_TIMEOUT_S
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import numbered, numbers, own, read, until


def test_each_group_reads_everything_and_commits_for_itself(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 5))
    groups = {group: join(topic, group=group) for group in ("directory", "moodle", "timetable")}
    for number, consumer in enumerate(groups.values(), start=1):
        assert numbers(read(consumer, 5), "key") == [0, 1, 2, 3, 4]
        consumer.commit({tp: number})
    assert [consumer.committed(tp) for consumer in groups.values()] == [1, 2, 3]


def test_whoever_asks_is_told_where_each_group_would_read_on(
    log: EventLog, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic, other = new_topic(2), new_topic()
    producer.append([record for key in "abcdef" for record in numbered(topic, key, 3)])
    producer.append(numbered(other, "key", 2))
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer = join(topic)
    assert len(read(consumer, 18)) == 18
    group = "directory"
    assert log.committed(group, topic) == {first: 0, second: 0}
    consumer.commit({first: 2})
    assert log.committed(group, topic) == {first: 2, second: 0}
    consumer.commit({first: 3, second: 1})
    consumer.close()
    assert log.committed(group, topic) == {first: 3, second: 1}
    assert log.committed(group, other) == {TopicPartition(other, 0): 0}
    assert log.committed("nobody", topic) == {first: 0, second: 0}
    with pytest.raises(UnknownTopic, match=r"sesame\.nowhere"):
        log.committed(group, "sesame.nowhere")


def test_two_members_of_a_group_never_share_a_partition_and_miss_nothing(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(4)
    members = [join(topic, member="one"), join(topic, member="two")]

    def settled() -> bool:
        for member in members:
            member.poll(1, 0.1)
        owned = [tp for member in members for tp in member.assignment()]
        assert len(owned) == len(set(owned))
        return len(owned) == 4

    until(settled, "every partition has an owner")
    producer.append([record for key in "abcdefgh" for record in numbered(topic, key, 10)])
    records = []

    def all_read() -> bool:
        for member in members:
            got = member.poll(15, 0.1)
            assert {record.tp for record in got} <= member.assignment().keys()
            records.extend(got)
        return len({(record.tp, record.offset) for record in records}) == 80

    until(all_read, "all are read")
    for key in "abcdefgh":  # nothing was committed: a new owner begins at the first one
        assert list(dict.fromkeys(numbers(records, key))) == list(range(10))


def test_a_member_that_leaves_hands_over_at_its_commit(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    first = join(topic, member="one")
    own(first)
    second = join(topic, member="two")
    producer.append(numbered(topic, "key", 6))
    read(first, 4)
    first.commit({tp: 3})
    first.close()
    assert numbers(read(second, 3), "key") == [3, 4, 5]
    assert second.assignment().keys() == {tp}


def stall_until_replaced(stalled: Consumer, successor: Consumer) -> None:
    """Poll the successor only, until it owns what the stalled member owned."""
    lost = stalled.assignment().keys()
    assert lost

    def taken_over() -> bool:
        successor.poll(1, 0.1)
        return successor.assignment().keys() >= lost

    until(taken_over, "the session of the stalled member has expired")


def test_a_stale_member_can_neither_commit_nor_read(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    stale, successor = join(topic, member="one"), join(topic, member="two")
    own(stale)
    producer.append(numbered(topic, "key", 5))
    read(stale, 3)
    stall_until_replaced(stale, successor)
    successor.commit({tp: 1})
    with pytest.raises(NotAssigned):
        stale.commit({tp: 3})
    assert successor.committed(tp) == 1
    assert stale.assignment() == {}
    assert stale.poll(10, 0.1) == []
    successor.commit({tp: 2})


def test_a_stale_member_serves_again_after_its_successor_left_from_the_committed_offset(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    stale, successor = join(topic, member="one"), join(topic, member="two")
    own(stale)
    producer.append(numbered(topic, "key", 5))
    read(stale, 1)
    before = stale.assignment()
    assert before.keys() == {tp}
    assert before == stale.assignment()
    stall_until_replaced(stale, successor)
    successor.commit({tp: 4})
    successor.close()
    assert numbers(read(stale, 1), "key") == [4]
    assert stale.assignment().keys() == {tp}
    assert stale.assignment() != before  # a member that did not poll meanwhile sees that others were there
    stale.commit({tp: 5})
    assert stale.committed(tp) == 5


def test_a_member_restarted_under_its_name_shuts_its_former_self_out(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    former = join(topic, member="one")
    own(former)
    producer.append(numbered(topic, "key", 3))
    read(former, 3)
    present = join(topic, member="one")
    assert numbers(read(present, 3), "key") == [0, 1, 2]
    with pytest.raises(NotAssigned):
        former.commit({tp: 3})
    present.commit({tp: 1})
    assert present.committed(tp) == 1


def test_a_member_keeps_its_partitions_by_polling_even_with_everything_paused(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    owner, other = join(topic, member="one"), join(topic, member="two")
    own(owner)
    owner.pause([tp])
    producer.append(numbered(topic, "key", 3))
    for _ in range(int(2.5 * SESSION_TIMEOUT_S / 0.2)):
        assert owner.poll(10, 0.1) == []
        assert other.poll(10, 0.1) == []
    owner.commit({tp: 0})
    assert owner.assignment().keys() == {tp}


def test_a_group_cannot_read_a_topic_that_does_not_exist(log: EventLog, new_topic: NewTopic) -> None:
    with pytest.raises(UnknownTopic, match=r"sesame\.nowhere"):
        log.consumer("directory", [new_topic(), "sesame.nowhere"], member="one")


def test_end_offsets_of_an_unknown_topic_are_refused(log: EventLog) -> None:
    with pytest.raises(UnknownTopic, match=r"sesame\.nowhere"):
        log.end_offsets("sesame.nowhere")


def test_topics_are_created_once_and_keep_their_number_of_partitions(
    log: EventLog, producer: Producer, new_topic: NewTopic
) -> None:
    topic = new_topic(4)
    producer.append(numbered(topic, "key", 3))
    log.ensure_topics({topic: 4})
    assert sum(log.end_offsets(topic).values()) == 3
    with pytest.raises(LogError, match=f"{topic}.*4"):
        log.ensure_topics({topic: 6})
    assert len(log.end_offsets(topic)) == 4
