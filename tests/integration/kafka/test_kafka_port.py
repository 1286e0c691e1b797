"""Kafka's adapter under refusal, loss and silence: what passes the port is the port's own, and in time."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Protocol, TypeVar
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion
from kafka.errors import KafkaConnectionError
from kafka.net import inet

from pipeline.eventlog.kafka import Access, KafkaEventLog, Security, Timing
from pipeline.eventlog.kafka.rights import Granting, Right
from pipeline.eventlog.port import (
    Consumer,
    LogError,
    LogRefused,
    LogUnavailable,
    NewRecord,
    NotAllowed,
    Producer,
    TopicPartition,
    UnknownTopic,
)
from sandbox.kafka import Kafka
from sesame.testing.eventlog.kit import until


class Closeable(Protocol):
    def close(self) -> None: ...


Closes = TypeVar("Closes", bound=Closeable)

USER = "sesame-nobody"
TIMING = Timing(
    session_timeout_s=6.0,
    request_timeout_s=1.5,
    delivery_timeout_s=2.0,
    known_within_s=0.3,
    metadata_age_s_max=0.2,  # so that a member soon hears what has changed
)


def access(kafka: Kafka, user: str, password: str) -> Access:
    return Access(
        tuple(kafka.servers), "tests", Security.SASL_SSL, kafka.ca_file, user, password, timing=TIMING
    )


class KafkaHarness:
    """A user's log, producer and member of a group, on two topics that nobody else uses."""

    def __init__(self, kafka: Kafka) -> None:
        self._ended = ExitStack()
        administrator = access(kafka, "admin", kafka.admin_password)
        self.topic, self.other, self.group = (f"t-{uuid4().hex[:12]}" for _ in range(3))
        self.granting = self._closed(Granting(administrator))
        self.administrators_log = self._closed(KafkaEventLog(administrator))
        self.administrators_log.ensure_topics({self.topic: 1, self.other: 1})
        self.uses = [Right(USER, operation, "TOPIC", self.topic) for operation in ("READ", "WRITE")]
        self.joins = [Right(USER, "READ", "GROUP", self.group)]
        rights = [*self.uses, *self.joins, Right(USER, "READ", "TOPIC", self.other)]
        self.granting.grant(rights)
        self._ended.callback(self.granting.revoke, rights)
        self.log = self._closed(KafkaEventLog(access(kafka, USER, "password")))
        self.producer: Producer = self._closed(self.log.producer())
        until(lambda: not isinstance(said(self.topics), LogError), "the rights to be known")
        self.consumer: Consumer = self._closed(
            self.log.consumer(self.group, [self.topic, self.other], member="one")
        )
        until(self._reads, "the member to read")

    def _closed(self, thing: Closes) -> Closes:
        return self._ended.enter_context(closing(thing))

    def topics(self) -> object:
        return [self.log.end_offsets(topic) for topic in (self.topic, self.other)]

    def _reads(self) -> bool:
        self.consumer.poll(10, 0.1)
        return len(self.consumer.assignment()) == 2

    def close(self) -> None:
        self._ended.close()

    def append(self) -> object:
        return self.producer.append([NewRecord(self.topic, "22600001", b"{}")])

    def calls(self) -> Sequence[Callable[[], object]]:
        """Every call of the port that asks the servers for something of the topic or the group."""
        place = TopicPartition(self.topic, 0)
        return (
            lambda: self.consumer.poll(10, 0.1),
            self.consumer.lag,
            lambda: self.consumer.committed(place),
            lambda: self.consumer.commit({place: 0}),
            lambda: self.consumer.seek(place, 0),
            lambda: self.log.end_offsets(self.topic),
            lambda: self.log.ensure_topics({self.topic: 1}),
            lambda: self.log.consumer("another", [self.topic], member="one").close(),
            self.append,
        )


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Those that clients open from now on, by handles of the test's own."""
    opened: list[socket.socket] = []

    def connect(_: object, sock: socket.socket, address: tuple[str, int]) -> int:
        opened.append(sock.dup())
        return sock.connect_ex(address)

    monkeypatch.setattr(inet.KafkaNetSocket, "connect_ex", connect)
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def desk(secure_kafka: Kafka) -> Iterator[KafkaHarness]:
    desk = KafkaHarness(secure_kafka)
    yield desk
    desk.close()


def said(call: Callable[[], object]) -> object:
    """What a call gives, or the port's error that it raises; any other error passes."""
    try:
        return call()
    except LogError as error:
        return error


def test_a_right_that_goes_comes_back_and_goes_again_is_missed_each_time(desk: KafkaHarness) -> None:
    def answers() -> list[object]:
        return [said(lambda: desk.consumer.poll(10, 0.0)), said(desk.consumer.lag)]

    def refused() -> bool:
        return [type(answer) for answer in answers()] == [NotAllowed, NotAllowed]

    for _ in range(2):
        desk.granting.revoke(desk.uses)
        until(lambda: {type(answer) for answer in answers()} == {NotAllowed}, "it is refused")
        # A poll that does not wait may end before the servers answer; none is silent once the cluster does
        # not show the topic any more.
        hidden_at = time.monotonic() + 2 * TIMING.metadata_age_s_max
        while time.monotonic() < hidden_at:
            answers()
        until(lambda: all(refused() for _ in range(20)), "each poll is refused")
        desk.granting.grant(desk.uses)
        until(lambda: not isinstance(said(desk.append), LogError), "it takes records again")
        until(lambda: [type(answer) for answer in answers()] == [list, dict], "it reads again")


def test_whatever_is_refused_what_passes_the_port_is_its_own_error(desk: KafkaHarness) -> None:
    place = TopicPartition(desk.topic, 0)
    for rights in (desk.uses, desk.joins):
        desk.granting.revoke(rights)
        until(lambda: isinstance(said(lambda: desk.consumer.committed(place)), NotAllowed), "it is refused")
        answers = [said(call) for _ in range(2) for call in desk.calls()]
        assert [str(answer) for answer in answers if isinstance(answer, LogUnavailable)] == []
        desk.granting.grant(rights)
        until(lambda: not isinstance(said(desk.consumer.lag), LogError), "it is allowed again")


def test_a_topic_that_is_gone_is_named_by_whoever_reads_or_appends(
    desk: KafkaHarness, secure_kafka: Kafka
) -> None:
    with closing(
        KafkaAdminClient(**access(secure_kafka, "admin", secure_kafka.admin_password).configuration())
    ) as administrator:
        administrator.delete_topics([desk.topic])
    until(lambda: isinstance(said(lambda: desk.consumer.poll(10, 0.1)), UnknownTopic), "the reader says so")
    until(lambda: isinstance(said(desk.append), UnknownTopic), "the writer says so")
    for call in desk.calls():
        said(call)
    with pytest.raises(UnknownTopic, match=desk.topic):
        desk.consumer.poll(10, 0.0)
    desk.administrators_log.ensure_topics({desk.topic: 1})
    until(lambda: not isinstance(said(desk.append), LogError), "it takes records again")
    until(lambda: bool(said(lambda: desk.consumer.poll(10, 0.1)) == []), "it reads without a complaint")


def test_a_server_that_died_and_is_still_listed_is_not_the_only_one_asked(
    desk: KafkaHarness, secure_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three servers one was killed, and the process that began next asked it alone (`make faults`)."""
    describe, dead = KafkaAdminClient.describe_topics, list(range(4))

    def first_ask_the_dead(self: KafkaAdminClient, topics: Sequence[str]) -> object:
        if dead:
            raise KafkaConnectionError(f"node {dead.pop()} refuses")
        return describe(self, topics)

    administrator = access(secure_kafka, "admin", secure_kafka.admin_password)
    three = replace(administrator, servers=3 * administrator.servers)
    with closing(KafkaEventLog(three)) as log:
        monkeypatch.setattr(KafkaAdminClient, "describe_topics", first_ask_the_dead)
        with pytest.raises(LogUnavailable, match=desk.topic):
            log.end_offsets(desk.topic)  # none of the three answers
        dead += [1, 2]
        assert list(log.end_offsets(desk.topic)) == [TopicPartition(desk.topic, 0)]


def test_a_password_that_is_changed_on_the_servers_is_said_and_work_goes_on_once_it_is_right(
    connections: list[socket.socket], desk: KafkaHarness, secure_kafka: Kafka
) -> None:
    calls = (lambda: desk.consumer.poll(10, 0.1), desk.consumer.lag, desk.append)
    administrator = access(secure_kafka, "admin", secure_kafka.admin_password)
    with closing(KafkaAdminClient(**administrator.configuration())) as admin:

        def change(password: str) -> None:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(USER, "SCRAM-SHA-512", password)]
            )

        change("another")
        try:
            for each in connections:  # who is in, stays in
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            until(lambda: {type(said(call)) for call in calls} == {LogRefused}, "each call is refused")
        finally:
            change("password")
    until(lambda: [type(said(call)) for call in calls] == [list, dict, list], "it works again")


HANG_UP = struct.pack("ii", 1, 0)  # for SO_LINGER: what closes the connection resets it


def test_a_server_that_hangs_up_before_tls_begins_leaves_no_reader_blind(
    connections: list[socket.socket], desk: KafkaHarness, secure_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, well_at = inet.KafkaNetSocket.connect_ex, time.monotonic() + 2.0

    def hung_up(self: inet.KafkaNetSocket, sock: socket.socket, address: tuple[str, int]) -> int:
        if time.monotonic() > well_at:
            return int(connect(self, sock, address))
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock.setblocking(True)
            sock.connect(server.getsockname())
            sock.setblocking(False)
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
        return 0

    monkeypatch.setattr(inet.KafkaNetSocket, "connect_ex", hung_up)
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)

    def well() -> bool:
        return said(lambda: desk.consumer.poll(10, 0.1)) == [] and time.monotonic() > well_at

    until(well, "it reads again")
    with closing(
        KafkaAdminClient(**access(secure_kafka, "admin", secure_kafka.admin_password).configuration())
    ) as administrator:
        administrator.delete_topics([desk.topic])
    until(lambda: isinstance(said(lambda: desk.consumer.poll(10, 0.1)), UnknownTopic), "it hears of it")


def test_a_server_that_is_frozen_keeps_nobody_waiting_for_ever(
    desk: KafkaHarness, secure_kafka: Kafka
) -> None:
    secure_kafka.pause()
    try:
        with ThreadPoolExecutor() as pool:
            answers = list(
                pool.map(
                    said,
                    [
                        desk.consumer.lag,
                        desk.append,
                        lambda: [desk.log.end_offsets(desk.topic) for _ in range(2)],
                    ],
                )
            )
    finally:
        secure_kafka.resume()
    assert [type(answer) for answer in answers] == [LogUnavailable] * 3
    assert {"no answer within" in str(answer) for answer in answers} == {True}
    until(lambda: not isinstance(said(desk.append), LogError), "it takes records again")
