"""Kafka's groups under trouble: members come, die and are replaced; a broker restarts; records expire."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as Tp
from kafka.future import Future
from kafka.net import inet

from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from pipeline.eventlog.kafka.consumer import KafkaLogConsumer
from pipeline.eventlog.port import (
    LogUnavailable,
    NewRecord,
    NotAssigned,
    OffsetOutOfRange,
    Record,
    TopicPartition,
)
from sandbox.kafka import Kafka
from sandbox.process import PATIENCE_S
from sesame.testing.eventlog.kit import read as taken
from sesame.testing.eventlog.kit import until
from sesame.testing.relay import Relay, Watcher
from sesame.testing.servers import require_service

TIMING = Timing(
    session_timeout_s=2.0, poll_interval_s_max=10.0, request_timeout_s=3.0, delivery_timeout_s=6.0
)


def opened(servers: list[str], timing: Timing = TIMING) -> KafkaEventLog:
    prefix = f"test-{uuid4().hex[:8]}."
    return KafkaEventLog(Access(tuple(servers), client_id="tests", timing=timing), group_prefix=prefix)


@pytest.fixture
def log(kafka_servers: list[str]) -> Iterator[KafkaEventLog]:
    log = opened(kafka_servers)
    yield log
    log.close()


@pytest.fixture
def between(
    kafka_servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Relay], Watcher]], None]]:
    """Puts watchers between the server and whoever connects from then on."""
    (server,) = kafka_servers
    with ExitStack() as opened:

        def put(watcher: Callable[[Relay], Watcher]) -> None:
            relay = opened.enter_context(Relay(server, watcher))

            def connect(_: object, sock: socket.socket, __: tuple[str, int]) -> int:
                return sock.connect_ex(("127.0.0.1", relay.port))

            monkeypatch.setattr(inet.KafkaNetSocket, "connect_ex", connect)

        yield put


def numbered(topic: str, numbers: range) -> list[NewRecord]:
    return [NewRecord(topic, f"2260{n % 40:04}", str(n).encode()) for n in numbers]


def shared(members: list[KafkaLogConsumer], partitions: int, into: list[Record]) -> Callable[[], bool]:
    """Poll all once; whether each has a part and together they have everything."""

    def settled() -> bool:
        for member in members:
            into.extend(member.poll(500, 0.05))
        parts = [member.assignment() for member in members]
        return all(parts) and sum(map(len, parts)) == len(frozenset().union(*parts)) == partitions

    return settled


def test_two_members_become_three_and_two_again_and_nothing_is_lost_nor_reordered(log: KafkaEventLog) -> None:
    topic, bulk = f"t-{uuid4().hex}", f"t-{uuid4().hex}.bulk"
    log.ensure_topics({topic: 6, bulk: 6})
    producer, read = log.producer(), list[Record]()
    members = [log.consumer("g", [topic, bulk], member=name) for name in ("one", "two")]
    producer.append(numbered(topic, range(300)))
    until(shared(members, 12, read), "two share")
    members.append(log.consumer("g", [topic, bulk], member="three"))
    producer.append(numbered(topic, range(300, 600)))
    until(shared(members, 12, read), "three share")
    for member in members:  # the same partitions of both topics: what belongs together stays together
        own = member.assignment()
        assert {tp.partition for tp in own if tp.topic == topic} == {
            tp.partition for tp in own if tp.topic == bulk
        }
    members.pop(0).close()
    producer.append(numbered(topic, range(600, 900)))
    until(shared(members, 12, read), "two share again")

    def all_read() -> bool:
        for member in members:
            read.extend(member.poll(500, 0.05))
        return {int(record.value) for record in read} == set(range(900))

    until(all_read, "all are read")
    places: dict[TopicPartition, list[int]] = {}
    for record in read:  # again after a change of owner, perhaps, but never a step over one that was not read
        seen = places.setdefault(record.tp, [])
        assert record.offset <= len(seen)
        if record.offset == len(seen):
            seen.append(int(record.value))
    assert all(seen == sorted(seen) for seen in places.values())
    for member in members:
        member.close()
    producer.close()


def test_what_was_asked_before_a_commit_does_not_say_what_is_committed_after_it(log: KafkaEventLog) -> None:
    topic, read = f"t-{uuid4().hex}", list[Record]()
    log.ensure_topics({topic: 1})
    with closing(log.consumer("g", [topic], member="a")) as member:
        until(shared([member], 1, read), "it has its part")
        place, library = TopicPartition(topic, 0), member._consumer  # noqa: SLF001
        whose = Tp(*place)
        nobody_waited = Future().success({})  # a poll that came to its end before the answer
        library._coordinator._offset_fetch_futures[frozenset([whose])] = nobody_waited  # noqa: SLF001
        member.commit({place: 3})
        assert member.committed(place) == 3


def test_what_could_not_be_committed_while_the_group_was_shared_out_is_committed_after_it(
    kafka_servers: list[str],
) -> None:
    topic, read = f"t-{uuid4().hex}", list[Record]()
    # Longer than a busy server stalls: who is shut out owes nothing.
    patient = replace(TIMING, session_timeout_s=15.0)
    with closing(opened(kafka_servers, patient)) as log, ExitStack() as members:
        log.ensure_topics({topic: 3})
        with closing(log.producer()) as producer:
            producer.append(numbered(topic, range(60)))
        first, slow, third = (
            members.enter_context(closing(log.consumer("g", [topic], member=name))) for name in "abc"
        )
        until(shared([first, slow], 3, read), "two share")
        place = TopicPartition(topic, 0)
        refused(first, third, place, 7)
        until(shared([first, slow, third], 3, read), "three share")
        assert place in first.assignment()

        def paid() -> bool:  # with a poll; with a later one if the server does not answer
            first.poll(1, 0.05)
            return first.committed(place) == 7

        until(paid, "what was owed is committed")


def refused(member: KafkaLogConsumer, joins: KafkaLogConsumer, place: TopicPartition, offset: int) -> None:
    """Commit while another joins and a third does not poll: everybody has to wait for that one."""

    def is_refused() -> bool:
        joins.poll(1, 0.05)
        member.poll(1, 0.05)
        try:
            member.commit({place: offset})
        except NotAssigned:
            return True
        member.commit({place: 0})
        return False

    until(is_refused, "a commit is refused")


class Muting:
    """A connection on which nothing is answered any more once a commit was to be, so many times."""

    COMMIT = 8  # the request's number in Kafka's protocol

    def __init__(self, times: list[int]) -> None:
        self._times, self._muted = times, False

    def asked(self, piece: bytes) -> bytes:
        if int.from_bytes(piece[4:6]) == self.COMMIT and self._times:
            self._times.pop()
            self._muted = True
        return piece

    def answered(self, piece: bytes) -> bytes:
        return b"" if self._muted else piece


def test_what_is_committed_is_not_taken_back_by_what_was_to_be_before(
    kafka_servers: list[str], between: Callable[[Callable[[Relay], Watcher]], None]
) -> None:
    topic, read, times = f"t-{uuid4().hex}", list[Record](), list[int]()
    log = opened(kafka_servers, Timing(6.0, 10.0, request_timeout_s=1.0, delivery_timeout_s=2.0))
    log.ensure_topics({topic: 3})
    with closing(log.producer()) as producer:
        producer.append(numbered(topic, range(60)))
    between(lambda _: Muting(times))
    first, slow = (log.consumer("g", [topic], member=name) for name in ("a", "b"))
    until(shared([first, slow], 3, read), "two share")
    third = log.consumer("g", [topic], member="c")
    place = TopicPartition(topic, 0)
    refused(first, third, place, 7)
    times.append(1)
    until(shared([first, slow, third], 3, read), "three share")
    assert not times, "what was to be committed is, and no answer comes"
    first.commit({place: 9})
    first.poll(1, 0.1)
    assert first.committed(place) == 9
    for member in (first, slow, third):
        member.close()
    log.close()


def test_what_others_committed_meanwhile_is_no_lag(log: KafkaEventLog) -> None:
    topic, read = f"t-{uuid4().hex}", list[Record]()
    log.ensure_topics({topic: 2})
    with closing(log.producer()) as producer:
        producer.append(numbered(topic, range(60)))
    stays, goes = (log.consumer("g", [topic], member=name) for name in ("one", "two"))
    until(shared([stays], 2, read), "the first has all")
    ends = log.end_offsets(topic)
    assert stays.lag() == ends
    until(shared([stays, goes], 2, read), "two share")
    theirs = goes.assignment()
    goes.commit({tp: ends[tp] for tp in theirs})
    goes.close()
    until(shared([stays], 2, read), "the first has all again")
    assert stays.lag() == {tp: 0 if tp in theirs else end for tp, end in ends.items()}
    stays.close()


def test_what_a_transaction_took_back_is_not_read(log: KafkaEventLog, kafka_servers: list[str]) -> None:
    topic = f"t-{uuid4().hex}"
    log.ensure_topics({topic: 1})
    other = KafkaProducer(bootstrap_servers=kafka_servers, transactional_id=topic)
    other.init_transactions()
    other.begin_transaction()
    other.send(topic, b"taken back").get(timeout=PATIENCE_S)
    other.abort_transaction()
    other.close()
    producer, consumer = log.producer(), log.consumer("g", [topic], member="one")
    producer.append(numbered(topic, range(1)))
    assert [record.value for record in taken(consumer, 1)] == [b"0"]
    consumer.close()
    producer.close()


def test_a_member_that_hangs_is_replaced_and_shut_out(kafka_servers: list[str]) -> None:
    log = opened(kafka_servers, Timing(session_timeout_s=1.0, poll_interval_s_max=1.0))
    topic = f"t-{uuid4().hex}"
    log.ensure_topics({topic: 2})
    producer, read = log.producer(), list[Record]()
    members = [log.consumer("g", [topic], member=name) for name in ("one", "two")]
    until(shared(members, 2, read), "two share")
    producer.append(numbered(topic, range(50)))
    hangs, works = members

    def has_all() -> bool:
        read.extend(works.poll(500, 0.05))
        return len(works.assignment()) == 2 and {int(record.value) for record in read} >= set(range(50))

    until(has_all, "the other one has its part")
    until(shared([hangs, works], 2, read), "it comes back as any other")
    for member in members:
        member.close()
    producer.close()
    log.close()


def test_who_is_shut_out_by_its_own_name_goes_on_under_another(log: KafkaEventLog) -> None:
    topic = f"t-{uuid4().hex}"
    log.ensure_topics({topic: 2})
    read = list[Record]()
    former = log.consumer("g", [topic], member="same")
    until(shared([former], 2, read), "the former has all")
    present = log.consumer("g", [topic], member="same")
    until(shared([present], 2, read), "the present one has all")
    with pytest.raises(LogUnavailable, match="another process"):
        until(lambda: bool(former.poll(1, 0.1)), "it notices")
    until(shared([former, present], 2, read), "both have a part")
    former.close()
    present.close()


def test_a_broker_that_is_killed_and_comes_back_loses_nothing_and_work_goes_on_by_itself() -> None:
    with require_service(Kafka) as kafka:
        log = opened(kafka.servers, Timing(2.0, 10.0, request_timeout_s=1.5, delivery_timeout_s=2.0))
        log.ensure_topics({"t": 2})
        producer, consumer, read = log.producer(), log.consumer("g", ["t"], member="one"), list[Record]()
        producer.append(numbered("t", range(100)))
        read += taken(consumer, 100)
        consumer.commit(dict.fromkeys(consumer.assignment(), 10))
        kafka.kill()
        with pytest.raises(LogUnavailable, match="Connection refused"):
            producer.append(numbered("t", range(100, 110)))
        with pytest.raises(LogUnavailable, match="Connection refused"):
            consumer.lag()
        kafka.start()

        def appended() -> bool:
            try:
                producer.append(numbered("t", range(100, 200)))
            except LogUnavailable:
                return False
            return True

        until(appended, "it takes records again")

        def all_read() -> bool:
            read.extend(consumer.poll(500, 0.1))
            return {int(record.value) for record in read} == set(range(200))

        until(all_read, "it reads on")
        assert [consumer.committed(TopicPartition("t", n)) for n in range(2)] == [10, 10]
        consumer.close()
        producer.close()
        log.close()


def test_what_retention_took_away_unread_is_said_and_reading_goes_on_where_the_caller_says(
    log: KafkaEventLog, kafka_servers: list[str]
) -> None:
    topic, admin = f"t-{uuid4().hex}", KafkaAdminClient(bootstrap_servers=kafka_servers)
    tp = TopicPartition(topic, 0)
    log.ensure_topics({topic: 1})
    producer = log.producer()
    producer.append(numbered(topic, range(20)))
    first = log.consumer("g", [topic], member="one")
    taken(first, 5)
    first.commit({tp: 5})
    first.close()
    admin.delete_records({tp: 12})
    second = log.consumer("g", [topic], member="one")
    with pytest.raises(OffsetOutOfRange, match=r"offset 5 .* starts at 12") as lost:
        until(lambda: bool(second.poll(5, 0.1)), "it is said")
    assert (lost.value.tp, lost.value.offset, lost.value.first) == (tp, 5, 12)
    assert second.lag() == {tp: 8}
    second.seek(tp, lost.value.first)
    until(
        lambda: [record.offset for record in second.poll(100, 0.1)] == list(range(12, 20)), "the rest is read"
    )
    second.close()
    producer.close()
    admin.close()


def test_short_polls_alone_join_pause_and_read(log: KafkaEventLog) -> None:
    """As a busy worker polls: nothing waited for, half of it paused, resumed at each step."""
    topic, bulk = f"t-{uuid4().hex}", f"t-{uuid4().hex}.bulk"
    log.ensure_topics({topic: 2, bulk: 2})
    producer, read = log.producer(), list[Record]()
    producer.append([*numbered(topic, range(200)), *numbered(bulk, range(200, 2_000))])
    consumer = log.consumer("g", [topic, bulk], member="one")
    steps = 0

    def all_read() -> bool:
        nonlocal steps
        steps += 1
        owned = consumer.assignment()
        paused = {tp for tp in owned if tp.topic == bulk} if steps % 2 else set()
        consumer.pause(paused)
        consumer.resume(owned.keys() - paused)
        assert consumer.poll(0, 0.0) == []
        got = consumer.poll(50, 0.0)
        assert not paused or {record.topic for record in got} <= {topic}
        read.extend(got)
        return len(read) == 2_000

    until(all_read, "all are read")
    assert sorted(int(record.value) for record in read) == list(range(2_000))
    consumer.close()
    producer.close()


class Damaging:
    """A connection on which the answers that hold a certain value arrive with another, so many times."""

    VALUE = b"fragile-"

    def __init__(self, times: list[int]) -> None:
        self._times = times

    def asked(self, piece: bytes) -> bytes:
        return piece

    def answered(self, piece: bytes) -> bytes:
        if self.VALUE in piece and self._times:
            self._times.pop()
            return piece.replace(self.VALUE, b"damaged-")
        return piece


def test_a_record_that_is_damaged_on_the_way_is_said_and_then_read(
    log: KafkaEventLog, between: Callable[[Callable[[Relay], Watcher]], None]
) -> None:
    """Whether its partition is paused or not when it is met: the registry's is at every other poll."""
    topic, other, times = f"t-{uuid4().hex}", f"t-{uuid4().hex}", list(range(3))
    log.ensure_topics({topic: 1, other: 1})
    with closing(log.producer()) as producer:
        for value in (b"0", Damaging.VALUE, b"2"):  # each a batch of its own
            producer.append([NewRecord(topic, "22600001", value)])
        producer.append(numbered(other, range(3)))
    between(lambda _: Damaging(times))
    read, polls, told = list[Record](), 0, list[str]()
    with closing(log.consumer("g", [topic, other], member="one")) as consumer:

        def all_read() -> bool:
            nonlocal polls
            polls += 1
            paused = [TopicPartition(topic, 0)] if polls % 2 else []
            consumer.pause(paused)
            try:
                read.extend(consumer.poll(10, 0.1))
            except LogUnavailable as damaged:
                told.append(str(damaged))
            finally:
                consumer.resume(paused)
            return len(read) == 6

        until(all_read, "all are read")
    assert not times
    assert [record.value for record in read if record.topic == topic] == [b"0", Damaging.VALUE, b"2"]
    assert told
    assert all(f"{topic} partition 0, offset 1" in each for each in told)
