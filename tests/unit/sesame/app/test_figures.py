"""What metrics say of propagations and imports: read from the store, or counted when it is said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from consumers.propagation.rows import propagation
from pipeline.db.database import Database
from pipeline.outbox import OutboxRelay
from producers.registrar import polls
from producers.registrar.feed_memory import SqlFeedMemory
from schemas.account import Lane
from schemas.events import PropagationBreached, PropagationCompleted, PropagationLate, Window
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.testing.servers.database_kit import START, Clock

OPENED = datetime.fromtimestamp(START, UTC)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Nobody:
    """A producer that is never asked."""


@pytest.fixture
def reporter(database: Database) -> Reporter:
    return Reporter(Metrics(), database, process="here", clock=lambda: START)


def shown(reporter: Reporter, database: Database) -> Samples:
    metrics = reporter._metrics  # noqa: SLF001  # what it was given
    metrics.refresh_with(reporter.refresh_from(OutboxRelay(database, Nobody())))  # type: ignore[arg-type]
    text = metrics.exposition().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"sesame_{name}", frozenset(labels.items())))


def follow(
    database: Database, number: str, state: str, lane: Lane, opened_at: float, waited_s: float = 0.0
) -> None:
    with database.write() as connection:
        connection.execute(
            insert(propagation).values(
                student_number=number,
                version=1,
                lane=lane,
                opened_at=opened_at,
                state=state,
                waited_s=waited_s,
                completed_version=0,
            )
        )


def test_propagations_are_counted_by_state_and_the_oldest_in_progress_is_told(
    reporter: Reporter, database: Database, clock: Clock
) -> None:
    follow(database, "A", "in_progress", Lane.PERSONAL, START - 100)
    follow(database, "B", "in_progress", Lane.PERSONAL, START - 500, waited_s=450.0)
    follow(database, "C", "waiting", Lane.PERSONAL, START - 9000)
    follow(database, "D", "completed", Lane.BULK, START - 9000)
    samples = shown(reporter, database)
    assert value(samples, "propagations", state="in_progress", lane="personal") == 2
    assert value(samples, "propagations", state="waiting", lane="personal") == 1
    assert value(samples, "propagations", state="completed", lane="bulk") == 1
    oldest = value(samples, "propagation_oldest_seconds", lane="personal")
    assert oldest == pytest.approx(100 + clock() - START, abs=60)  # not B, which waited for a precondition
    assert value(samples, "propagation_oldest_seconds", lane="bulk") == 0


def test_a_feeds_last_import_is_told_and_one_that_is_held_is_no_success(
    reporter: Reporter, database: Database
) -> None:
    assert value(shown(reporter, database), "import_held", feed="apogee") is None
    memory = SqlFeedMemory(database)
    counts = {"lines": 50, "rejected": 2, "recorded": 40, "cancelled": 0, "unchanged": 8, "held": 0}
    first = memory.begin("apogee", file_name="first.csv", started_at=START)
    memory.finish(first, confirmed=0, finished_at=START + 5, summary=counts)
    second = memory.begin("apogee", file_name="second.csv", started_at=START + 100)
    samples = shown(reporter, database)  # the second one is running
    assert value(samples, "import_finished_timestamp_seconds", feed="apogee") == START + 5
    assert value(samples, "import_lines", feed="apogee", result="read") == 50
    assert value(samples, "import_lines", feed="apogee", result="rejected") == 2
    assert value(samples, "import_held", feed="apogee") == 0
    memory.finish(second, confirmed=0, finished_at=START + 105, summary={**counts, "lines": 3, "held": 1})
    samples = shown(reporter, database)
    assert value(samples, "import_held", feed="apogee") == 1
    assert value(samples, "import_lines", feed="apogee", result="read") == 3
    assert value(samples, "import_finished_timestamp_seconds", feed="apogee") == START + 5


def test_each_edge_of_the_window_is_counted_and_begins_at_zero(
    reporter: Reporter, database: Database
) -> None:
    before = shown(reporter, database)
    assert value(before, "propagation_late_total", edge="15_min") == 0
    assert value(before, "propagation_in_window_total", window="within_15_min") == 0
    common = {"student_number": "A", "version": 1, "opened_at": OPENED}
    late = {**common, "elapsed_s": 900.0, "outstanding": ("moodle",)}
    reporter.said(PropagationLate(**late))
    reporter.said(PropagationBreached(**late))
    reporter.said(
        PropagationCompleted(
            **common,
            lane=Lane.PERSONAL,
            window=Window.BEYOND,
            completed_at=OPENED,
            elapsed_s=4000.0,
            waited_s=0.0,
            targets_s={"moodle": 4000.0},
        )
    )
    samples = shown(reporter, database)
    assert value(samples, "propagation_late_total", edge="15_min") == 1
    assert value(samples, "propagation_late_total", edge="60_min") == 1
    assert value(samples, "propagation_in_window_total", window="beyond") == 1
    assert value(samples, "propagation_seconds_count", target="moodle", lane="personal") == 1


def test_a_live_feed_that_was_given_up_a_week_ago_is_no_series_any_more(
    reporter: Reporter, database: Database, clock: Clock
) -> None:
    for days, feed in ((8, "Folder"), (6, "folder")):
        clock.now = START - days * 86_400.0
        with database.write() as connection:
            polls.finish(connection, database, feed, 1)
    clock.now = START
    samples = shown(reporter, database)
    assert value(samples, "import_polled_timestamp_seconds", feed="folder") == START - 6 * 86_400.0
    assert value(samples, "import_polled_timestamp_seconds", feed="Folder") is None
