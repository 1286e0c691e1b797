"""Kafka's rights as shipped (ops/kafka/acls.toml): enough for each process, and not one too many."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from consumers.propagation.handler import Propagation
from consumers.registry.handler import Registry
from consumers.webhooks.handler import Webhooks
from pipeline.engine.bell import topics_for
from pipeline.eventlog.kafka import Access, KafkaEventLog, Security
from pipeline.eventlog.kafka.rights import Granting, Right, read_rights
from pipeline.eventlog.port import Consumer, NewRecord, NotAllowed, TopicPartition, UnknownTopic
from sandbox.kafka import Kafka
from sandbox.process import PATIENCE_S
from schemas import catalogue
from sesame.cli.errors import ExitCode
from sesame.testing.servers.brokers import PATIENT
from sesame.testing.servers.command import sesame

FILE = Path(__file__).parents[3] / "ops" / "kafka" / "acls.toml"
RIGHTS = read_rights(FILE)
USERS = sorted({right.user for right in RIGHTS})
FIRSTS = {
    frozenset(right[1:] for right in RIGHTS if right.user == user and right.kind == "TOPIC"): user
    for user in reversed(USERS)
}.values()
"""Of users with the same rights to topics, the first: for the others, only their own groups are tried."""


def access(kafka: Kafka, user: str, password: str = "password") -> Access:
    timing = replace(PATIENT, session_timeout_s=6.0, known_within_s=0.0)
    return Access(
        tuple(kafka.servers), "tests", Security.SASL_SSL, kafka.ca_file, user, password, timing=timing
    )


def of(user: str, operation: str, kind: str = "TOPIC") -> list[str]:
    return sorted(right.name for right in RIGHTS if right[:3] == (user, operation, kind))


@pytest.fixture(scope="module")
def granting(secure_kafka: Kafka) -> Iterator[Granting]:
    """All topics with a record in each, and all rights as the file lists them."""
    admin = access(secure_kafka, "admin", secure_kafka.admin_password)
    with closing(KafkaEventLog(admin)) as log, closing(log.producer()) as producer:
        missing = [topic for topic in catalogue.TOPICS if not _exists(log, topic)]
        log.ensure_topics(dict.fromkeys(missing, 1))
        producer.append([NewRecord(topic, "22600001", b"{}") for topic in catalogue.TOPICS])
    with closing(Granting(admin)) as granting:
        granting.grant(RIGHTS)
        yield granting
        granting.revoke(RIGHTS)


def _exists(log: KafkaEventLog, topic: str) -> bool:
    try:
        return bool(log.end_offsets(topic))
    except UnknownTopic:
        return False


def test_the_file_lists_what_the_code_reads() -> None:
    assert of("sesame-registry", "READ") == sorted(Registry.topics)
    assert of("sesame-propagation", "READ") == sorted(Propagation.topics)
    assert of("sesame-webhooks", "READ") == sorted(Webhooks.topics)
    for target in ("directory", "mailbox", "moodle", "timetable"):
        leader = "directory" if target == "mailbox" else None
        assert of(f"sesame-{target}", "READ") == sorted(topics_for(leader))
        assert of(f"sesame-{target}", "READ", "GROUP") == [f"sesame.{target}"]
    assert {right.name for right in RIGHTS if right.kind == "TOPIC"} == set(catalogue.TOPICS)


def use(log: KafkaEventLog, user: str) -> None:
    """All that the user's process does with the log.

    Raises:
        NotAllowed, UnknownTopic: something of it may not be done.
    """
    for topic in of(user, "DESCRIBE"):
        log.end_offsets(topic)
    if written := of(user, "WRITE"):
        with closing(log.producer()) as producer:
            producer.append([NewRecord(topic, "22600001", b"{}") for topic in written])
    for topic in _read_in_no_group(user):
        _listen(log, topic)
    for group in of(user, "READ", "GROUP"):
        topics = of(user, "READ")
        with closing(log.consumer(group, topics, member="one")) as consumer:
            give_up_at, unread = time.monotonic() + PATIENCE_S, set(topics)
            while unread:
                assert time.monotonic() < give_up_at, f"nothing came from {unread}"
                unread -= {record.topic for record in consumer.poll(100, 0.05)}
            consumer.lag()
            offsets = {TopicPartition(topic, 0): 0 for topic in topics}  # so that it is all there again
            consumer.commit(offsets)
            assert consumer.committed(TopicPartition(topics[0], 0)) == 0


@pytest.mark.parametrize("user", USERS)
def test_what_a_process_may_do_is_enough_and_each_right_is_needed(
    user: str, granting: Granting, secure_kafka: Kafka
) -> None:
    with closing(KafkaEventLog(access(secure_kafka, user))) as log:
        use(log, user)
    with closing(KafkaEventLog(access(secure_kafka, user))) as log:
        for topic in of(user, "DESCRIBE"):
            needed(granting, Right(user, "DESCRIBE", "TOPIC", topic), partial(log.end_offsets, topic))
        if user in FIRSTS:
            _writes_are_needed(granting, log, user)
        _reads_are_needed(granting, log, user)


def _read_in_no_group(user: str) -> list[str]:
    return [] if of(user, "READ", "GROUP") else of(user, "READ")


def _listen(log: KafkaEventLog, topic: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    with closing(log.reader(topic, {})) as reader:
        while not reader.poll(1, 0.05):
            assert time.monotonic() < give_up_at, f"nothing came from {topic}"


def _writes_are_needed(granting: Granting, log: KafkaEventLog, user: str) -> None:
    if written := of(user, "WRITE"):
        with closing(log.producer()) as producer:
            for topic in written:
                record = NewRecord(topic, "22600001", b"{}")
                right = Right(user, "WRITE", "TOPIC", topic)
                needed(granting, right, partial(producer.append, [record]))


def _reads_are_needed(granting: Granting, log: KafkaEventLog, user: str) -> None:
    for topic in _read_in_no_group(user):
        needed(granting, Right(user, "READ", "TOPIC", topic), partial(_listen, log, topic))
    for group in of(user, "READ", "GROUP"):
        with _member(log, group, of(user, "READ")) as consumer:
            for topic in of(user, "READ") if user in FIRSTS else []:
                right = Right(user, "READ", "TOPIC", topic)
                needed(granting, right, partial(consumer.poll, 100, 0.02))
            place = TopicPartition(of(user, "READ")[0], 0)
            needed(granting, Right(user, "READ", "GROUP", group), partial(consumer.committed, place))


@contextmanager
def _member(log: KafkaEventLog, group: str, topics: list[str]) -> Iterator[Consumer]:
    """A member of a group that owns its partitions."""
    with closing(log.consumer(group, topics, member="one")) as consumer:
        give_up_at = time.monotonic() + PATIENCE_S
        while not consumer.assignment():
            assert time.monotonic() < give_up_at, f"{group} owns nothing"
            consumer.poll(100, 0.02)
        yield consumer


def needed(granting: Granting, right: Right, attempt: Callable[[], object]) -> None:
    """Take a right back, and see that the attempt is refused for it; give it back, and see that it works."""
    granting.revoke([right])
    give_up_at = time.monotonic() + PATIENCE_S
    while True:  # the servers take a moment to know of it
        assert time.monotonic() < give_up_at, f"not refused, so not needed: {right}"
        try:
            attempt()
        except (NotAllowed, UnknownTopic) as refused:
            if right.name in str(refused):
                break
    granting.grant([right])
    while True:
        assert time.monotonic() < give_up_at, f"still refused: {right}"
        try:
            attempt()
        except (NotAllowed, UnknownTopic):
            continue
        return


def test_the_command_grants_what_the_file_lists_and_takes_back_what_it_does_not(
    granting: Granting, secure_kafka: Kafka, tmp_path: Path, no_variables: None
) -> None:
    (tmp_path / "password").write_text(secure_kafka.admin_password)
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "sesame.toml").write_text(
        f'data_dir = "."\n[log]\nkind = "kafka"\nservers = ["{secure_kafka.servers[0]}"]\n'
        f'ca_file = "{secure_kafka.ca_file}"\nusername = "admin"\npassword_file = "password"\n',
        encoding="utf-8",
    )

    def rights(command: str, *options: str) -> Result:
        return sesame("--config", str(tmp_path / "sesame.toml"), "rights", command, str(FILE), *options)

    too_much = Right("sesame-monitor", "WRITE", "TOPIC", catalogue.ACCOUNTS)
    granting.grant([too_much])
    missing = Right("sesame-monitor", "READ", "TOPIC", catalogue.PROPAGATION)
    granting.revoke([missing])
    differing = (RIGHTS - {missing}) | {too_much}
    changes = [{"change": "grant", **missing._asdict()}, {"change": "revoke", **too_much._asdict()}]

    found, tried = rights("diff", "--json"), rights("apply", "--dry-run", "--json")
    assert (found.exit_code, json.loads(found.stdout)) == (ExitCode.FAILED, changes)
    assert (tried.exit_code, json.loads(tried.stdout)) == (ExitCode.DONE, changes)
    assert granting.present(set(USERS)) == differing
    assert rights("apply", "--yes").exit_code == ExitCode.DONE
    assert granting.present(set(USERS)) == RIGHTS
    assert rights("diff").exit_code == ExitCode.DONE
    assert rights("apply", "--dry-run").exit_code == ExitCode.DONE
