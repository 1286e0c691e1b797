"""On Kafka and PostgreSQL: workers that join, that are killed and that go, in the middle of a burst."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from pipeline.eventlog.port import TopicPartition
from sandbox.kafka import Kafka
from sandbox.process import wait_until
from schemas import catalogue
from schemas.envelope import from_record
from schemas.events import Outcome
from tests.acceptance.processes import MOODLE, PROPAGATION, REGISTRY, ManySite, kafka_settings
from tests.conftest import require_service

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("store_url", ["postgresql"], indirect=True),
]

PARTITIONS = 4
STUDENTS = 100


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    with require_service(Kafka) as kafka:
        yield kafka


@pytest.fixture
def log(kafka: Kafka) -> Iterator[KafkaEventLog]:
    access = Access(tuple(kafka.servers), client_id="test", timing=Timing())
    with closing(KafkaEventLog(access, group_prefix="")) as log:
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        yield log


@pytest.fixture
def site(tmp_path: Path, store_url: str, kafka: Kafka, log: KafkaEventLog) -> Iterator[ManySite]:
    with closing(ManySite(tmp_path, store_url, log=kafka_settings(kafka.servers, PARTITIONS))) as site:
        yield site


def test_workers_that_join_are_killed_and_go_in_a_burst_lose_and_reorder_nothing(
    site: ManySite, log: KafkaEventLog
) -> None:
    for name in (REGISTRY, PROPAGATION):
        site.start("consume", name)
    site.moodle.set(latency_per_call_s=1.0)
    first = site.start("consume", MOODLE)
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts", 60.0)
    site.activate()

    wait_until(lambda: site.settled() > 0, "the burst to be under way", 60.0)
    second = site.start("consume", MOODLE, "--workers", "2")
    first.kill()
    third = site.start("consume", MOODLE)
    assert second.end(signal.SIGTERM, 60.0) == 0
    assert 0 < site.settled() < STUDENTS
    site.moodle.set(latency_per_call_s=0.0)
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting", 240.0)

    assert site.dead_letters() == 0
    assert third.end(signal.SIGTERM, 30.0) == 0
    assert versions_went_back(outcomes(log)) == []


def outcomes(log: KafkaEventLog) -> list[Outcome]:
    """Every outcome, in the order of each student's."""
    topics = catalogue.both_lanes(catalogue.OUTCOMES)
    ends = {tp: end for topic in topics for tp, end in log.end_offsets(topic).items()}
    found: list[Outcome] = []
    with closing(log.consumer("look", topics, member="look")) as consumer:
        seen: dict[TopicPartition, int] = dict.fromkeys(ends, 0)

        def read_to_the_end() -> bool:
            for record in consumer.poll(500, 0.5):
                seen[record.tp] = record.offset + 1
                event = from_record(record.key, record.headers, record.value).event
                assert isinstance(event, Outcome)
                found.append(event)
            return all(seen[tp] >= end for tp, end in ends.items())

        wait_until(read_to_the_end, "the outcomes to be read", 60.0)
    return found


def versions_went_back(found: list[Outcome]) -> list[tuple[str, int, int]]:
    """Where a later lease announced an older version: (student number, version before, version after)."""
    newest: dict[str, int] = {}
    back = []
    for event in sorted(found, key=lambda event: (event.lease_epoch, event.sequence)):
        before = newest.get(event.student_number, 0)
        if event.version < before:
            back.append((event.student_number, before, event.version))
        newest[event.student_number] = event.version
    assert len(newest) > 0
    return back
