"""Kafka's producer behind a wire that loses the servers' answers: each record is there once, in order."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from kafka.cluster import ClusterMetadata
from kafka.net import inet
from kafka.producer.sender import Sender

from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from pipeline.eventlog.port import LogUnavailable, NewRecord, Record
from sesame.testing.relay import Cut, Relay

PRODUCE, INIT_PRODUCER_ID = 0, 22  # the requests' numbers in Kafka's protocol
COORDINATOR_LOAD_IN_PROGRESS = 14  # what a server answers that has no ids to give, for want of a controller


@dataclass
class Wire:
    """What all connections together carried, and how many answers to appends are still to be lost."""

    lose: int = 0
    swallow: int = 0
    """How many connections are still to lead to where nobody answers, once an answer is lost."""
    nameless: bool = False
    """Whether a producer that asks for its id is put off: it has nothing to send under, and waits."""
    held: threading.Event | None = None
    """What begins to be appended stays in the network until this is set, whoever sent it lives or not."""
    appends: list[bytes] = field(default_factory=list)
    """What was asked to be appended, as it was sent but for the number of each request."""


class Framed:
    """One connection's two directions, cut into Kafka's requests and answers: length, then content."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._appending: set[bytes] = set()  # by the number that request and answer share
        self._naming: set[bytes] = set()
        self._asked, self._answered = b"", b""

    def asked(self, piece: bytes) -> bytes:
        frames, self._asked = whole(self._asked + piece)
        for frame in frames:
            if int.from_bytes(frame[:2]) == PRODUCE:
                self._appending.add(frame[4:8])
                self._wire.appends.append(frame[8:])
            elif int.from_bytes(frame[:2]) == INIT_PRODUCER_ID:
                self._naming.add(frame[4:8])
        if self._asked[4:6] == PRODUCE.to_bytes(2) and (held := self._wire.held) is not None:
            held.wait()
        return piece

    def answered(self, piece: bytes) -> bytes:
        frames, self._answered = whole(self._answered + piece)
        for index, frame in enumerate(frames):
            if frame[:4] in self._appending and self._wire.lose:
                self._wire.lose -= 1
                raise Cut
            if frame[:4] in self._naming and self._wire.nameless:
                frames[index] = frame[:9] + COORDINATOR_LOAD_IN_PROGRESS.to_bytes(2) + frame[11:]
        return b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def whole(content: bytes) -> tuple[list[bytes], bytes]:
    """The frames that are complete, and what is left."""
    frames = []
    while len(content) >= 4 and len(content) >= (end := 4 + int.from_bytes(content[:4])):
        frames.append(content[4:end])
        content = content[end:]
    return frames, content


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Between every client that connects from now on and every server of Kafka."""
    wire, relays = Wire(), dict[str, Relay]()
    with ExitStack() as opened:
        nowhere = opened.enter_context(socket.create_server(("127.0.0.1", 0)))  # accepts, and never speaks

        def connect(_: object, sock: socket.socket, address: tuple[str, int]) -> int:
            if wire.swallow and not wire.lose:
                wire.swallow -= 1
                return sock.connect_ex(nowhere.getsockname())
            server = f"{address[0]}:{address[1]}"
            if server not in relays:
                relays[server] = opened.enter_context(Relay(server, lambda _: Framed(wire)))
            return sock.connect_ex(("127.0.0.1", relays[server].port))

        monkeypatch.setattr(inet.KafkaNetSocket, "connect_ex", connect)
        yield wire


def everything(log: KafkaEventLog, topic: str) -> list[Record]:
    records: list[Record] = []
    with closing(log.consumer(f"g-{topic}", [topic], member="one")) as consumer:
        while len(records) < sum(log.end_offsets(topic).values()):
            records += consumer.poll(100, 0.1)
    return records


@pytest.mark.parametrize("lost", [1, 3])
def test_an_append_whose_answer_was_lost_is_sent_again_and_is_there_once_in_order(
    lost: int, kafka_servers: list[str], wire: Wire
) -> None:
    topic = f"t-{uuid4().hex[:12]}"
    values = [str(number).encode() * 100_000 for number in range(6)]  # several batches
    with (
        closing(KafkaEventLog(Access(tuple(kafka_servers), "tests"))) as log,
        closing(log.producer()) as producer,
    ):
        log.ensure_topics({topic: 1})
        wire.lose = lost
        placed = producer.append([NewRecord(topic, "22600001", value) for value in values])
        assert wire.lose == 0
        again = len(wire.appends) - len(set(wire.appends))
        assert again >= lost, "for each answer lost, the servers were asked to append the same once more"
        producer.append([NewRecord(topic, "22600001", b"the next")])
        records = everything(log, topic)
    assert [record.value[:8] for record in records] == [value[:8] for value in (*values, b"the next")]
    assert placed == [(record.tp, record.offset) for record in records[:-1]]


def test_a_connection_that_nobody_answers_is_given_up_in_time_for_another(
    kafka_servers: list[str], wire: Wire
) -> None:
    topic = f"t-{uuid4().hex[:12]}"
    timing = Timing(request_timeout_s=2.0, delivery_timeout_s=9.0)
    with (
        closing(KafkaEventLog(Access(tuple(kafka_servers), "tests"))) as log,
        closing(KafkaEventLog(Access(tuple(kafka_servers), "tests", timing=timing))) as hasty,
        closing(hasty.producer()) as producer,
    ):
        log.ensure_topics({topic: 1})
        wire.lose, wire.swallow = 1, 1
        placed = producer.append([NewRecord(topic, "22600001", b"{}")])
        assert (wire.lose, wire.swallow) == (0, 0)
        assert placed == [(record.tp, record.offset) for record in everything(log, topic)]


def test_what_an_append_that_failed_left_waiting_is_never_sent(kafka_servers: list[str], wire: Wire) -> None:
    topic = f"t-{uuid4().hex[:12]}"
    timing = Timing(request_timeout_s=1.0, delivery_timeout_s=2.0)
    with closing(KafkaEventLog(Access(tuple(kafka_servers), "tests", timing=timing))) as log:
        log.ensure_topics({topic: 1})
        wire.nameless = True
        with closing(log.producer()) as producer:
            with pytest.raises(LogUnavailable):
                producer.append([NewRecord(topic, "22600001", b"older")])
            assert not senders(), "whoever could still send it has ended"
            wire.nameless = False
            producer.append([NewRecord(topic, "22600001", b"newer")])
        assert not senders()
        assert [record.value for record in everything(log, topic)] == [b"newer"]


def test_what_an_append_that_failed_left_in_the_network_does_not_arrive(
    kafka_servers: list[str], wire: Wire
) -> None:
    topic = f"t-{uuid4().hex[:12]}"
    older, newer = (word * 100_000 for word in (b"older", b"newer"))  # more than what waits at the other end
    timing = Timing(request_timeout_s=1.0, delivery_timeout_s=2.0)
    with (
        closing(KafkaEventLog(Access(tuple(kafka_servers), "tests", timing=timing))) as log,
        closing(log.producer()) as producer,
    ):
        log.ensure_topics({topic: 1})
        wire.held = held = threading.Event()
        try:
            with pytest.raises(LogUnavailable):
                producer.append([NewRecord(topic, "22600001", older)])
            wire.held = None
            producer.append([NewRecord(topic, "22600001", newer)])
        finally:
            held.set()
        time.sleep(1.0)  # whatever still comes is there by now
        assert [record.value[:5] for record in everything(log, topic)] == [b"newer"]


def senders() -> list[str]:
    """The threads of the library's producers in this process."""
    return [thread.name for thread in threading.enumerate() if isinstance(thread, Sender)]


@pytest.mark.parametrize("missing", ["topics", "partitions_for_topic"])
def test_a_topic_that_leaves_the_library_s_metadata_between_two_of_its_lines_is_the_port_s_own_error(
    missing: str, kafka_servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"t-{uuid4().hex[:12]}"
    known = ClusterMetadata.partitions_for_topic
    looks = []

    def topics(_cluster: ClusterMetadata) -> set[str]:
        return set()

    def partitions_for_topic(cluster: ClusterMetadata, name: str) -> set[int] | None:
        looks.append(name)
        return known(cluster, name) if len(looks) == 1 else None

    with (
        closing(KafkaEventLog(Access(tuple(kafka_servers), "tests"))) as log,
        closing(log.producer()) as producer,
    ):
        log.ensure_topics({topic: 1})
        producer.append([NewRecord(topic, "22600001", b"before")])
        with monkeypatch.context() as leaving:
            leaving.setattr(ClusterMetadata, missing, locals()[missing])
            with pytest.raises(LogUnavailable):
                producer.append([NewRecord(topic, "22600001", b"during")])
        producer.append([NewRecord(topic, "22600001", b"after")])
        assert [record.value for record in everything(log, topic)] == [b"before", b"after"]
