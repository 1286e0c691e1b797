"""On Kafka and PostgreSQL: workers that join, that are killed and that go, in the middle of a burst."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.eventlog.kafka import Access, KafkaEventLog
from sandbox.kafka import Kafka
from sandbox.process import wait_until
from schemas import catalogue
from sesame.testing.servers import require_service
from sesame.testing.servers.brokers import PATIENT
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY, ManySite, kafka_settings
from tests.acceptance.reading import outcomes, versions_went_back

pytestmark = [pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]

PARTITIONS = 4
STUDENTS = 100


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    with require_service(Kafka) as kafka:
        yield kafka


@pytest.fixture
def log(kafka: Kafka) -> Iterator[KafkaEventLog]:
    access = Access(tuple(kafka.servers), client_id="test", timing=PATIENT)
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
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    site.activate()

    wait_until(lambda: site.settled() > 0, "the burst to be under way")
    second = site.start("consume", MOODLE, "--workers", "2")
    first.kill()
    third = site.start("consume", MOODLE)
    assert second.end(signal.SIGTERM, 60.0) == 0
    assert 0 < site.settled() < STUDENTS
    site.moodle.set(latency_per_call_s=0.0)
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting")

    assert site.dead_letters() == 0
    assert third.end(signal.SIGTERM, 30.0) == 0
    assert versions_went_back(outcomes(log)) == []
