"""What several workers of one consumer show as one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from pipeline import status, throughput
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.eventlog.port import TopicPartition
from pipeline.target import Done
from sesame.app import retention
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.testing.servers.database_kit import START, Clock
from sesame.testing.servers.directory_kit import account
from sesame.testing.servers.population_kit import stretch
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


# --- stretches --------------------------------------------------------------------------------------------


def stretches(database: Database, target: str = "moodle") -> list[tuple[bool, int, int, int, float, float]]:
    with database.read() as connection:
        return [
            (each.queued, each.students, each.calls, each.called, each.down_s, each.throttled_s)
            for each in throughput.stretches(connection, target)
        ]


def turns(reporter: Reporter, count: int, *, calls: int = 1) -> None:
    for _ in range(calls):
        reporter.batch("moodle", count // calls, 1.5)
    for _ in range(count):
        reporter.outcome("moodle", Done("x", changed=True), turn(account()))


def waits(reporter: Reporter, records: int) -> None:
    reporter.lag("moodle", {TopicPartition("sesame.accounts.bulk", 0): records})


def test_what_a_worker_did_while_work_waited_is_kept(database: Database, clock: Clock) -> None:
    reporter = Reporter(Metrics(), database, process="p", clock=clock)
    waits(reporter, 1_000)
    reporter.state("moodle", "running", "")
    turns(reporter, 60, calls=3)
    clock.now += 6.0
    waits(reporter, 940)
    reporter.state("moodle", "running", "")
    turns(reporter, 60, calls=3)
    clock.now += 6.0
    waits(reporter, 10)
    reporter.state("moodle", "running", "")
    assert stretches(database) == [(False, 60, 3, 60, 0.0, 0.0), (False, 60, 3, 60, 0.0, 0.0)], (
        "before the first nothing was known of the queue, and the second's ended"
    )
    for _ in range(2):
        waits(reporter, 1_000)
        turns(reporter, 60, calls=3)
        clock.now += 6.0
        reporter.state("moodle", "running", "")
    assert [each[0] for each in stretches(database)][2:] == [False, True]


def test_an_outage_and_a_pause_that_the_target_asked_for_are_counted_apart(
    database: Database, clock: Clock
) -> None:
    reporter = Reporter(Metrics(), database, process="p", clock=clock)
    waits(reporter, 1_000)
    for state, seconds in (("running", 6.0), ("running", 2.0), ("open", 3.0), ("throttled", 5.0)):
        reporter.state("moodle", state, state)
        clock.now += seconds
    reporter.state("moodle", "running", "")
    assert sum(each[4] for each in stretches(database)) == 3.0
    assert sum(each[5] for each in stretches(database)) == 5.0


def test_records_that_concern_nobody_tell_nothing_of_the_target(database: Database, clock: Clock) -> None:
    reporter = Reporter(Metrics(), database, process="p", clock=clock)
    for _ in range(5):
        waits(reporter, 1_000)
        reporter.state("moodle", "running", "")
        clock.now += 6.0
    assert stretches(database) == []


def test_a_few_turns_of_persons_are_no_rush(database: Database, clock: Clock) -> None:
    reporter = Reporter(Metrics(), database, process="p", clock=clock)
    for _ in range(5):
        reporter.state("moodle", "running", "")
        turns(reporter, 3)
        clock.now += 6.0
    assert stretches(database) == []


def test_what_was_halted_by_somebody_is_not_the_targets_time(database: Database, clock: Clock) -> None:
    reporter = Reporter(Metrics(), database, process="p", clock=clock)
    for state in ("running", "paused", "running"):
        waits(reporter, 1_000)
        reporter.state("moodle", state, state)
        turns(reporter, 60)
        clock.now += 6.0
    reporter.state("moodle", "running", "")
    assert len(stretches(database)) == 2, "all but the one in which it was paused"


def test_old_stretches_are_removed_and_a_year_is_kept(database: Database) -> None:
    now = START + 500 * 86_400.0
    for days in (10, 390, 410, 450):
        with database.write() as connection:
            throughput.record(connection, database, stretch("moodle", now - days * 86_400.0, 60))
    with database.write() as connection:
        done = retention.prune(connection, now=now, history_before=START, audit_before=START)
    assert done == {"throughput": 2}
    with database.read() as connection:
        left = [each.until for each in throughput.stretches(connection, "moodle")]
    assert left == [now - 390 * 86_400.0, now - 10 * 86_400.0]
