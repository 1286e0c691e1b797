"""Bad input met by `sesame run` itself, a process on PostgreSQL: each is told, nothing is lost, work goes on.

What each piece does with it, case by case: `tests/unit/pipeline/test_bad_input.py` (future records, clocks,
rows edited by hand, settings), `tests/integration/kafka/test_events_one_by_one.py` (every bad event on every
topic) and `tests/integration/keeping/test_postgres.py` (a database that only reads).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from pipeline.dead_letters.rows import unresolved
from pipeline.eventlog.port import NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from sandbox.process import wait_until
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, event_id, to_record
from schemas.events import AccountChanged, Cause
from sesame.testing.servers.processes import ManySite

pytestmark = [pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]

STUDENTS, STRANGER = 12, "22699999"
REFUSED, DEPENDENCY_DOWN = 1, 4


def test_poison_a_database_that_only_reads_and_other_settings_are_told_and_lose_nobody(
    site: ManySite, store_url: str
) -> None:
    run = site.start("run")
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    throw(site, bad_records())
    expected = {"not_an_event", "unknown_event_type", "unknown_student"}
    wait_until(lambda: causes(site) == expected, "the dead letters")

    with only_read(store_url):
        refused = site.sesame.run("activate", "--all", "--yes", allowed=(DEPENDENCY_DOWN,))
    assert "read-only transaction" in refused.err
    assert "make it writable" in refused.err
    assert run.end(signal.SIGTERM, 60.0) == 0

    change(site, "log.partitions = 16\n")
    wrong = site.sesame.run("run", allowed=(REFUSED, 2))
    assert "has 8 partitions, not 16" in wrong.err
    change(site, "moodle.batch_size = 2\n")
    again = site.start("run")
    site.activate()
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting")
    assert again.end(signal.SIGTERM, 60.0) == 0
    assert causes(site) == expected


def bad_records() -> list[NewRecord]:
    """A poison record, one of a version to come, and one of somebody whom the registry does not know."""
    event = AccountChanged(
        student_number=STRANGER, version=1, stage=Stage.ACTIVE, lane=Lane.PERSONAL, cause=Cause.ACTIVATION
    )
    identity = event_id(event.type, "test", STRANGER)
    headers, value = to_record(Message(identity, "/sesame/test", datetime.now(UTC), event))
    future = tuple((name, text.replace(b".v1", b".v9")) for name, text in headers)
    return [
        NewRecord(catalogue.ACCOUNTS, STRANGER, b"\x00", ()),
        NewRecord(catalogue.ACCOUNTS, STRANGER, value, future),
        NewRecord(catalogue.ACCOUNTS, STRANGER, value, headers),
    ]


def throw(site: ManySite, records: list[NewRecord]) -> None:
    """Append them as a program of somebody else's would, beside `sesame run`."""
    with (
        closing(SqliteEventLog(site.folder / "data" / "events.db")) as log,
        closing(log.producer()) as producer,
    ):
        producer.append(records)


def causes(site: ManySite) -> set[str]:
    with site.database.read() as connection:
        return {letter.cause for letter in unresolved(connection)}


@contextmanager
def only_read(url: str) -> Iterator[None]:
    """Let new connections only read until the end of the block; present ones are ended."""
    let_read_only(url, "on")
    try:
        yield
    finally:
        let_read_only(url, "off")


def let_read_only(url: str, word: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")  # this connection's own
        name = sql.Identifier(connection.info.dbname)
        setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        connection.execute(setting.format(name, sql.Literal(word)))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def change(site: ManySite, line: str) -> None:
    """Say one setting otherwise than before; those changed earlier are as they were."""
    kept = site.settings_file.with_suffix(".kept")
    if not kept.exists():
        kept.write_text(site.settings_file.read_text(encoding="utf-8"), encoding="utf-8")
    section, name = re.split(r"[.\s]", line)[:2]
    lines = [each for each in kept.read_text("utf-8").splitlines() if not each.startswith(f"{name} =")]
    lines.insert(lines.index(f"[{section}]") + 1, line.partition(".")[2].strip())
    site.settings_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
