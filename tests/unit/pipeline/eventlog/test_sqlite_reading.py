"""What is the embedded log's own in reading: sessions by the clock, fair polls, pruning."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.eventlog import sqlite_consumer
from pipeline.eventlog.port import NewRecord, NotAssigned, OffsetOutOfRange, TopicPartition
from pipeline.eventlog.sqlite import SqliteEventLog, partition_of
from pipeline.eventlog.sqlite_consumer import POLL_BYTES_MAX, share
from pipeline.eventlog.sqlite_file import offset_of, record_id
from pipeline.eventlog.sqlite_group import GroupMembership
from tests.unit.pipeline.eventlog.sqlite_kit import TOPIC, TP, Clock, opened

# --- sessions ---------------------------------------------------------------------------------------------


def test_a_session_expires_by_the_clock_and_not_before(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        first = log.consumer("registry", [TOPIC], member="one")
        second = log.consumer("registry", [TOPIC], member="two")
        clock.pass_(seconds=9)
        first.poll(1, 0)
        clock.pass_(seconds=10)
        second.poll(1, 0)
        assert second.assignment() == {}
        clock.pass_(seconds=0.5)
        second.poll(1, 0)
        assert second.assignment().keys() == {TP}
        with pytest.raises(NotAssigned):
            first.commit({TP: 0})
        first.close()
        second.close()


def test_a_member_restarted_under_its_name_does_not_wait_for_its_former_session(path: Path) -> None:
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
        former = log.consumer("registry", [TOPIC], member="one")
        with closing(log.consumer("registry", [TOPIC], member="one")) as present:
            assert present.assignment().keys() == {TP}
            assert former.poll(1, 0) == []
            assert former.assignment() == {}
            assert present.poll(1, 0) == []
            assert present.assignment().keys() == {TP}
        former.close()


def test_an_owner_that_nobody_replaced_keeps_its_group_after_its_session(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        with closing(log.consumer("registry", [TOPIC], member="one")) as only:
            clock.pass_(minutes=5)
            only.commit({TP: 0})
            assert only.committed(TP) == 0


def test_a_clock_set_back_by_a_day_does_not_lock_a_group_for_a_day(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        first = log.consumer("registry", [TOPIC], member="one")
        clock.pass_(days=-1)
        second = log.consumer("registry", [TOPIC], member="two")
        assert second.assignment().keys() == {TP}
        first.close()
        assert second.poll(1, 0) == []
        assert second.assignment().keys() == {TP}
        second.close()


# --- reading ----------------------------------------------------------------------------------------------


def test_a_poll_returns_no_more_bytes_than_memory_should_hold_and_skips_nothing(path: Path) -> None:
    values = [bytes([n]) * 1_000_000 for n in range(40)]
    with opened(path) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 1})
        for value in values:
            producer.append([NewRecord(TOPIC, "22604711", value)])
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            polls = [consumer.poll(500, 0) for _ in range(3)]
            assert consumer.poll(500, 0) == []
    assert all(sum(len(record.value) for record in poll) <= POLL_BYTES_MAX for poll in polls)
    assert [record.value for poll in polls for record in poll] == values


def test_partitions_take_turns_when_a_poll_is_smaller_than_their_number(path: Path) -> None:
    with opened(path) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 4})
        producer.append([NewRecord(TOPIC, str(n), b"") for n in range(400)])
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            served = [record.partition for _ in range(8) for record in consumer.poll(1, 0)]
    assert sorted(served) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_an_append_of_this_process_wakes_a_poll_without_looking_at_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_consumer, "_LOOK_S", 1_000)
    with opened(path) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 1})
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            assert consumer.poll(1, 0) == []
            monkeypatch.setattr(GroupMembership, "patience_s", 1_000)
            later = threading.Timer(0.1, producer.append, [[NewRecord(TOPIC, "22604711", b"x")]])
            later.start()
            assert len(consumer.poll(1, 1_000)) == 1
            later.join()


def test_an_idle_poll_asks_the_file_for_little(path: Path) -> None:
    asked: list[str] = []
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            consumer._connection.set_trace_callback(asked.append)  # noqa: SLF001 - what it asks is the point
            assert consumer.poll(500, 0.5) == []
    looks = [statement for statement in asked if statement == "PRAGMA data_version"]
    assert 0 < len(looks) <= 0.5 / 0.02 + 5
    assert len(asked) - len(looks) <= 20


# --- retention --------------------------------------------------------------------------------------------


def append(log: SqliteEventLog, topic: str, count: int) -> None:
    with closing(log.producer()) as producer:
        producer.append([NewRecord(topic, "22604711", b"Lef\xc3\xa8vre, Zo\xc3\xa9") for _ in range(count)])


def test_pruning_removes_what_is_older_than_its_topic_s_retention_and_no_more(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1, "sesame.accounts": 1})
        append(log, TOPIC, 4_500)  # more than a page
        append(log, "sesame.accounts", 3)
        clock.pass_(days=10)
        append(log, TOPIC, 2)
        assert log.prune(clock.now + timedelta(days=3)) == 0
        assert log.prune(clock.now + timedelta(days=5)) == 4_500
        assert log.prune(clock.now + timedelta(days=5)) == 0
        assert log.end_offsets(TOPIC) == {TP: 4_502}
        with closing(log.consumer("registry", [TOPIC, "sesame.accounts"], member="one")) as consumer:
            offsets = [(record.topic, record.offset) for record in consumer.poll(10, 0)]
            assert consumer.lag() == {TP: 2, TopicPartition("sesame.accounts", 0): 3}
        assert sorted(offsets) == [
            *(("sesame.accounts", n) for n in range(3)),
            (TOPIC, 4_500),
            (TOPIC, 4_501),
        ]


def test_a_group_whose_offset_was_pruned_is_told_and_never_jumps(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        append(log, TOPIC, 5)
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            consumer.commit({TP: 2})
        clock.pass_(days=15)
        assert log.prune(clock.now) == 5
        assert log.committed("registry", TOPIC) == {TP: 5}, "nothing is left for it below"
        append(log, TOPIC, 1)
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            for _ in range(2):
                with pytest.raises(OffsetOutOfRange, match=r"offset 2 .*starts at 5"):
                    consumer.poll(10, 0)
            assert consumer.committed(TP) == 2
            consumer.seek(TP, 5)
            assert [record.offset for record in consumer.poll(10, 0)] == [5]


def test_a_running_reader_that_was_overtaken_by_pruning_is_told(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        append(log, TOPIC, 5)
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            assert len(consumer.poll(2, 0)) == 2
            log.prune(clock.now + timedelta(days=15))
            with pytest.raises(OffsetOutOfRange, match="offset 2"):
                consumer.poll(10, 0)


def test_a_fully_pruned_partition_goes_on_at_the_next_offset(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        append(log, TOPIC, 3)
        log.prune(clock.now + timedelta(days=15))
        append(log, TOPIC, 1)
        with closing(log.consumer("new", [TOPIC], member="one")) as consumer:
            assert [record.offset for record in consumer.poll(10, 0)] == [3]


def test_what_was_pruned_is_gone_from_the_disk(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as log:
        log.ensure_topics({TOPIC: 1})
        append(log, TOPIC, 200)
        log.prune(clock.now + timedelta(days=15))
        content = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert "Lefèvre".encode() not in content


# --- arithmetic -------------------------------------------------------------------------------------------


def test_a_key_s_partition_is_the_same_for_ever() -> None:
    check_value = 0xCBF43926  # of CRC-32, for the digits 1 to 9
    assert [partition_of("123456789", n) for n in (1, 6, 12)] == [check_value % n for n in (1, 6, 12)]


def test_record_numbers_hold_partition_and_offset() -> None:
    largest = record_id(2**23 - 1, 2**40 - 1)
    assert largest == 2**63 - 1
    assert offset_of(largest) == 2**40 - 1
    assert record_id(3, 0) > record_id(2, 2**40 - 1)


def test_a_poll_is_shared_among_partitions_and_filled() -> None:
    a, b, c = (TopicPartition(TOPIC, n) for n in range(3))
    assert share({a: 1_000, b: 1, c: 1_000}, 101) == {a: 50, b: 1, c: 50}
    assert share({b: 1, a: 1_000, c: 1_000}, 2) == {b: 1, a: 1}
    assert share({a: 3, b: 4}, 100) == {a: 3, b: 4}
    assert share({}, 100) == {}


@given(st.lists(st.integers(1, 50), max_size=6), st.integers(1, 120))
def test_a_poll_takes_all_that_is_wanted_and_no_partition_lags_behind(
    waiting: list[int], wanted: int
) -> None:
    available = {TopicPartition(TOPIC, n): count for n, count in enumerate(waiting)}
    taken = share(available, wanted)
    assert sum(taken.values()) == min(wanted, sum(waiting))
    assert all(0 <= count <= available[tp] for tp, count in taken.items())
    least = min((taken.get(tp, 0) for tp in available if taken.get(tp, 0) < available[tp]), default=wanted)
    rest = wanted % max(len(available), 1)
    assert all(count <= least + 1 + rest for count in taken.values())
