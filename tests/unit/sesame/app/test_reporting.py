"""What several workers of one consumer show as one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from pipeline import status
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.eventlog.port import TopicPartition
from pipeline.target import Done
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.testing.servers.database_kit import START, Clock
from sesame.testing.servers.directory_kit import account
from sesame.testing.servers.target_kit import turn

if TYPE_CHECKING:
    from pipeline.outbox import OutboxRelay


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


def test_signs_of_life_are_in_the_databases_time_whatever_a_machines_clock_says(tmp_path: Path) -> None:
    here, there = Clock(), Clock(START + 7200.0)
    database = Database(f"sqlite:///{tmp_path / 'store.db'}", clock=here)
    migrate.upgrade(database)
    reporter = Reporter(Metrics(), database, process="h:1:aa", clock=there)
    reporter.state("moodle", "down", "away")
    for clock in (here, there):
        clock.now += 40.0
    reporter.state("moodle", "down", "away")
    with database.read() as connection:
        [row] = status.statuses(connection)
    assert (row.since, row.seen_at) == (START, START + 40.0)
    database.close()


def test_who_has_died_on_this_machine_is_seen_off_by_who_begins_there(database: Database) -> None:
    alive = {1: False, 2: True, 3: False}
    for process in ("here:1:aa", "here:1:aa#2", "here:2:bb", "there:1:cc", "here:3:me"):
        Reporter(Metrics(), database, process=process).state("moodle", "running", "")
    Reporter(Metrics(), database, process="here:3:me").see_off("here", lambda number: not alive[number])
    with database.read() as connection:
        left = sorted(each.process for each in status.statuses(connection))
    assert left == ["here:2:bb", "here:3:me", "there:1:cc"]


def test_the_store_s_gauges_know_each_process_and_who_is_missing(tmp_path: Path) -> None:
    clock = Clock()
    database = Database(f"sqlite:///{tmp_path / 'store.db'}", clock=clock)
    migrate.upgrade(database)
    metrics = Metrics()
    dead, alive = (Reporter(metrics, database, process=name, clock=clock) for name in ("h:1:a", "h:2:b"))
    dead.state("moodle", "running", "")
    dead.state("mailbox", "running", "")
    clock.now += 43.0
    alive.state("moodle", "misconfigured", "the token is refused")
    relay = cast("OutboxRelay", SimpleNamespace(waiting=lambda: 0))
    metrics.refresh_with(alive.refresh_from(relay, ("registry", "mailbox", "moodle")))
    metrics.exposition()
    count = {
        name: gauge(metrics, "sesame_consumer_processes", consumer=name)
        for name in ("registry", "mailbox", "moodle")
    }
    assert count == {"registry": 0, "mailbox": 0, "moodle": 1}
    assert gauge(metrics, "sesame_consumer_silent_seconds", consumer="moodle", process="h:1") == 43.0
    assert gauge(metrics, "sesame_consumer_silent_seconds", consumer="moodle", process="h:2") == 0.0
    labels = {"consumer": "moodle", "process": "h:2", "state": "misconfigured"}
    assert gauge(metrics, "sesame_consumer_state", **labels) == 1.0
    alive.gone()
    metrics.exposition()
    assert gauge(metrics, "sesame_consumer_processes", consumer="moodle") == 0
    assert gauge(metrics, "sesame_consumer_state", **labels) is None
    database.close()


def test_the_gauge_of_blindness_ends_with_its_cause(database: Database) -> None:
    metrics, broken = Metrics(), [True]

    def refresh() -> None:
        if broken[0]:
            raise KeyError

    metrics.refresh_with(refresh)
    metrics.exposition()
    assert gauge(metrics, "sesame_scrape_failing") == 1.0
    broken[0] = False
    metrics.exposition()
    assert gauge(metrics, "sesame_scrape_failing") == 0.0
    assert gauge(metrics, "sesame_scrape_errors_total") == 1.0


def test_a_consumer_says_how_many_turns_end_in_a_second_of_the_time_since_it_last_said_so(
    database: Database,
) -> None:
    clock = Clock()
    reporter = Reporter(Metrics(), database, process="p", clock=clock)

    def per_s() -> float:
        reporter.state("moodle", "running", "")
        with database.read() as connection:
            (row,) = status.statuses(connection)
        return row.per_s

    assert per_s() == 0
    for _ in range(30):
        reporter.outcome("moodle", Done("x", changed=True), turn(account()))
    clock.now += 10.0
    assert per_s() == 3
    reporter.outcome("moodle", Done("x", changed=True), turn(account()))
    reporter.outcome("directory", Done("x", changed=True), turn(account()))
    clock.now += 1.0
    reporter.state("moodle", "throttled", "x")
    assert per_s() == 3, "a rate of one second would jump about"
    clock.now += 9.0
    assert per_s() == 0.1
    clock.now += 10.0
    assert per_s() == 0
