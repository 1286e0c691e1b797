"""What is the embedded log's own, beside the conformance suite: its file, and how it meets trouble."""

from __future__ import annotations

import resource
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.errors import SesameError
from pipeline.eventlog.port import LogUnavailable, NewRecord, Producer
from pipeline.eventlog.sqlite_file import MIGRATIONS, DamagedLog, ForeignFile, LogFile, NewerFile
from sesame.testing.eventlog.kit import Child, run_at_once
from tests.conformance.adapters import OPENER
from tests.unit.pipeline.eventlog.sqlite_kit import TOPIC, TP, opened

# --- the file --------------------------------------------------------------------------------------------


def test_the_file_is_its_owner_s_alone(path: Path) -> None:
    with opened(path):
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {0o600}


def test_every_connection_flushes_at_each_commit_in_wal_mode(path: Path) -> None:
    with opened(path), closing(LogFile(path, busy_timeout_s=1).connect()) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_processes_that_open_a_new_file_at_once_agree_on_it(path: Path) -> None:
    run_at_once(
        [Child("create", OPENER, f"sqlite:{path}", topics={f"t-{n}": 2, "common": 3}) for n in range(4)]
    )
    with opened(path) as log:
        assert [len(log.end_offsets(f"t-{n}")) for n in range(4)] == [2] * 4
        assert len(log.end_offsets("common")) == 3


def test_a_file_of_the_future_is_refused_and_left_alone(path: Path) -> None:
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with (
        pytest.raises(NewerFile, match=rf"version {len(MIGRATIONS) + 1}.*up to {len(MIGRATIONS)}"),
        opened(path),
    ):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


def test_an_older_file_is_migrated_once_and_keeps_its_records(path: Path) -> None:
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
        with closing(log.producer()) as producer:
            producer.append([NewRecord(TOPIC, "22604711", b"x")])
    newer = (*MIGRATIONS, ("ALTER TABLE partitions ADD COLUMN note TEXT",))
    LogFile(path, busy_timeout_s=1, migrations=newer)
    file = LogFile(path, busy_timeout_s=1, migrations=newer)
    with closing(file.connect()) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert connection.execute("SELECT note, next_offset FROM partitions").fetchall() == [(None, 1)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with opened(path):
        pass
    broken = (*MIGRATIONS, ("CREATE TABLE new (x)", "CREATE TABLE partitions (x)"))
    with pytest.raises(LogUnavailable, match="already exists"):
        LogFile(path, busy_timeout_s=1, migrations=broken)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'new'").fetchone() == (0,)


def test_another_program_s_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (student_number TEXT)")
    with pytest.raises(ForeignFile, match="not an event log"), opened(path):
        pass


def test_a_file_that_is_no_database_is_called_damaged(path: Path) -> None:
    path.write_bytes(b"COD_ETU;COD_NNE_IND\n" * 1_000)
    with pytest.raises(DamagedLog, match="not a database"), opened(path):
        pass


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "log.db"
    with pytest.raises(LogUnavailable, match=str(missing)) as caught, opened(missing):
        pass
    assert isinstance(caught.value.__cause__, FileNotFoundError)


# --- trouble ---------------------------------------------------------------------------------------------


def test_a_file_locked_for_too_long_is_unavailable_then_works_again(path: Path) -> None:
    with opened(path, busy_timeout_s=0.1) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 1})
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable, match="locked for too long") as caught:
                producer.append([NewRecord(TOPIC, "22604711", b"x")])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert producer.append([NewRecord(TOPIC, "22604711", b"x")]) == [(TP, 0)]


@contextmanager
def disk_that_is_full(path: Path) -> Iterator[None]:
    """No file of this process may grow beyond the size of the log's largest."""
    size = max(each.stat().st_size for each in path.parent.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def append_until_refused(producer: Producer, batch: list[NewRecord]) -> None:
    for _ in range(100):
        producer.append(batch)


def test_a_full_disk_refuses_an_append_whole_and_nothing_acknowledged_is_lost(path: Path) -> None:
    batch = [NewRecord(TOPIC, f"2260{n:04}", b"x" * 20_000) for n in range(20)]
    with opened(path) as log, closing(log.producer()) as producer:
        log.ensure_topics({TOPIC: 1})
        producer.append(batch)
        with disk_that_is_full(path), pytest.raises(LogUnavailable) as caught:
            append_until_refused(producer, batch)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        held = log.end_offsets(TOPIC)[TP]
        assert held % len(batch) == 0
        assert producer.append(batch)[0] == (TP, held)
        with closing(log.consumer("registry", [TOPIC], member="one")) as consumer:
            read = [record.key for _ in range(held) for record in consumer.poll(500, 0)]
        assert read == [record.key for record in batch] * (held // len(batch) + 1)


def test_a_log_that_was_closed_says_so_in_the_log_s_own_words(path: Path) -> None:
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
        producer, consumer = log.producer(), log.consumer("registry", [TOPIC], member="one")
        for closed in (producer, consumer):
            closed.close()
            closed.close()
        with pytest.raises(LogUnavailable, match="closed"):
            producer.append([NewRecord(TOPIC, "22604711", b"x")])
        with pytest.raises(LogUnavailable, match="closed"):
            consumer.poll(1, 0)


def test_a_damaged_page_is_reported_and_never_read_as_records(path: Path) -> None:
    with opened(path) as log:
        log.ensure_topics({TOPIC: 1})
        with closing(log.producer()) as producer:
            producer.append([NewRecord(TOPIC, "22604711", b"x" * 50_000)])
    content = bytearray(path.read_bytes())
    content[4_096 * 2 :] = b"\xff" * (len(content) - 4_096 * 2)
    path.write_bytes(content)
    with pytest.raises(DamagedLog), opened(path) as log, closing(log.producer()) as producer:
        producer.append([NewRecord(TOPIC, "22604711", b"x")])


def test_every_error_of_the_log_is_sesame_s() -> None:
    assert all(issubclass(error, SesameError) for error in (DamagedLog, ForeignFile, NewerFile))
