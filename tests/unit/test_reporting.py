"""What several workers of one consumer show as one."""

from __future__ import annotations

from pipeline.eventlog.port import TopicPartition
from pipeline.store import status
from pipeline.store.database import Database
from sesame.observability.metrics import Metrics
from sesame.reporting import Reporter


def gauge(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_backlogs_of_two_workers_are_shown_together(database: Database) -> None:
    metrics = Metrics()
    one = Reporter(metrics, database, process="p")
    other = one.of_worker(2)
    one.lag("moodle", {TopicPartition("t", 0): 3, TopicPartition("t", 1): 4})
    other.lag("moodle", {TopicPartition("t", 2): 5})
    assert gauge(metrics, "sesame_lag_records", consumer="moodle", topic="t") == 12
    other.lag("moodle", {})  # its partitions went to somebody else
    assert gauge(metrics, "sesame_lag_records", consumer="moodle", topic="t") == 7


def test_a_consumer_is_up_while_all_its_workers_are_and_each_has_a_row(database: Database) -> None:
    metrics = Metrics()
    one = Reporter(metrics, database, process="p")
    other = one.of_worker(2)
    for reporter in (one, other):
        reporter.state("moodle", "running", "")
    assert gauge(metrics, "sesame_consumer_up", consumer="moodle") == 1
    assert gauge(metrics, "sesame_circuit_state", consumer="moodle") == 0
    other.state("moodle", "stopped", "oops")
    one.state("moodle", "running", "still")
    assert gauge(metrics, "sesame_consumer_up", consumer="moodle") == 0
    with database.read() as connection:
        rows = {each.process: each.state for each in status.statuses(connection)}
    assert rows == {"p": "running", "p#2": "stopped"}
