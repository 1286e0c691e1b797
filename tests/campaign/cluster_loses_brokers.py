"""Three brokers lose one, then two, in a burst: `pytest tests/campaign/cluster_loses_brokers.py`.

With `acks=all` and `min.insync.replicas=2` one is not missed; without two of them nothing is taken, which is
said, and what was taken before is still there when they are back. Part of `make faults`, not of `make test`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from sandbox.kafka import Kafka
from sandbox.process import wait_until
from sesame.testing.servers import require_service
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY, ManySite, kafka_settings
from tests.acceptance.reading import completions, outcomes, versions_went_back

pytestmark = [pytest.mark.timeout(900), pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]

BROKERS, PARTITIONS, STUDENTS = 3, 6, 150
DEPENDENCY_DOWN = 4


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    with require_service(lambda: Kafka(nodes=BROKERS)) as kafka:
        yield kafka


@pytest.fixture
def site(tmp_path: Path, store_url: str, kafka: Kafka) -> Iterator[ManySite]:
    settings = kafka_settings(kafka.servers, PARTITIONS, replication=BROKERS)
    with closing(ManySite(tmp_path, store_url, log=settings)) as site:
        site.sesame.run("topics", "apply", "--yes")
        yield site


def test_one_of_three_brokers_is_not_missed_and_without_two_nothing_is_taken_nor_lost(
    site: ManySite, kafka: Kafka
) -> None:
    for name in (REGISTRY, PROPAGATION, MOODLE):
        site.start("consume", name)
    site.moodle.set(latency_per_call_s=0.5)
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts", 120.0)
    numbers = site.numbers()
    first, second, third = numbers[0::3], numbers[1::3], numbers[2::3]

    site.sesame.run("activate", *first)
    wait_until(lambda: site.settled() > 0, "the burst to be under way", 120.0)
    assert site.settled() < len(first)
    kafka.kill(1)
    site.sesame.run("activate", *second)
    wait_until(lambda: site.settled() == len(first) + len(second), "two brokers to do", 300.0)

    kafka.kill(2)
    refused = site.sesame.run("activate", *third, allowed=(DEPENDENCY_DOWN,))
    assert "Traceback" not in refused.err
    assert "log" in refused.err
    assert site.settled() == len(first) + len(second)

    kafka.start()
    site.sesame.run("activate", *third)
    site.moodle.set(latency_per_call_s=0.0)
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting", 300.0)
    assert site.dead_letters() == 0
    access = Access(tuple(kafka.servers), client_id="test", timing=Timing())
    with closing(KafkaEventLog(access, group_prefix="")) as log:
        announced, done = outcomes(log), completions(log)
    assert {event.student_number for event in announced} == set(numbers)
    assert versions_went_back(announced) == []
    assert [key for key, ids in done.items() if len(ids) > 1] == []
