"""Durability through kill -9: real processes, killed for real."""

from __future__ import annotations

import random

import pytest

from pipeline.eventlog.port import EventLog, Producer, TopicPartition
from sesame.testing.eventlog.adapter import Adapter, open_log
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import Child, numbered, numbers, read, run_at_once


def present(adapter: Adapter, topic: str, group: str) -> list[int]:
    """The numbers in the log, in partition 0's order, by a new handle and group."""
    log = open_log(adapter)
    consumer = log.consumer(group, [topic], member="auditor")
    try:
        return [int(record.value) for record in read(consumer, sum(log.end_offsets(topic).values()))]
    finally:
        consumer.close()
        log.close()


@pytest.mark.processes
@pytest.mark.parametrize("seed", range(4))
def test_every_append_that_was_acknowledged_survives_kill_9(
    seed: int, adapter: Adapter, new_topic: NewTopic
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a reproducible sequence
    topic = new_topic()
    held: list[int] = []
    for life in range(adapter.lives):
        start = len(held)
        with Child(
            "append", adapter.opener, adapter.url, topic=topic, start=start, seed=chance.randrange(10**9)
        ) as child:
            acknowledged = start
            for _ in range(chance.randint(1, 60)):
                acknowledged = child.report()
            acknowledged = max([acknowledged, *child.kill()])
        held = present(adapter, topic, f"audit-{life}")
        # All that was acknowledged, in order, and beyond it at most the batch under way.
        assert held == list(range(len(held)))
        assert acknowledged <= len(held) <= acknowledged + 40


@pytest.mark.processes
def test_a_consumer_killed_before_its_commit_is_given_the_records_again(
    adapter: Adapter, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    tp = TopicPartition(topic, 0)
    producer.append(numbered(topic, "key", 10))
    with Child(
        "consume",
        adapter.opener,
        adapter.url,
        topic=topic,
        group="directory",
        member="one",
        commit=4,
        beyond=3,
    ) as child:
        assert child.report() == [str(number) for number in range(7)]
        child.kill()
    restarted = join(topic, group="directory", member="one")
    assert numbers(read(restarted, 6), "key") == [4, 5, 6, 7, 8, 9]
    assert restarted.committed(tp) == 4


@pytest.mark.processes
def test_a_group_goes_on_under_another_name_when_its_owner_was_killed(
    adapter: Adapter, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(3)
    producer.append([record for key in "abc" for record in numbered(topic, key, 4)])
    with Child(
        "consume",
        adapter.opener,
        adapter.url,
        topic=topic,
        group="directory",
        member="one",
        commit=12,
        beyond=0,
    ) as child:
        assert len(child.report()) == 12
        child.kill()
    producer.append(numbered(topic, "a", 2, start=4))
    assert numbers(read(join(topic, group="directory", member="two"), 2), "a") == [4, 5]


@pytest.mark.processes
def test_processes_that_start_at_once_make_one_log(adapter: Adapter, log: EventLog) -> None:
    log.close()
    children = [
        Child("create", adapter.opener, adapter.url, topics={f"t-{n}": 2, "common": 3}) for n in range(4)
    ]
    run_at_once(children)
    opened = open_log(adapter)
    assert [len(opened.end_offsets(f"t-{n}")) for n in range(4)] == [2] * 4
    assert len(opened.end_offsets("common")) == 3
    opened.close()
