"""A file that is damaged, or deleted under a running process: that is seen, and the process stops."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text

from pipeline.db import migrate
from pipeline.db.database import Database, StoreDamaged, stores_fault
from pipeline.errors import SesameError, remedy_of
from pipeline.eventlog.port import LogError, NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.eventlog.sqlite_file import DamagedLog, LostFile
from pipeline.timers import timers
from sandbox.postgres import Postgres
from sesame.app import integrity
from sesame.testing.servers.running_kit import Run, Site

PAGE_BYTES = 4096
GUIDE = "docs/how-to/back-up-restore-upgrade.md"


def overwrite_a_page(path: Path) -> None:
    """Of a table: what is in the -wal file is brought into the file first, so that it does not hide it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        rows = connection.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'table' ORDER BY rootpage")
        page = rows.fetchall()[-1][0]
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def delete(path: Path) -> None:
    path.unlink()


def put_an_older_one_back(path: Path) -> None:
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.rename(path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(integrity, "EXAMINE_EVERY_S", 0.2)
    monkeypatch.setattr(integrity, "REST", 0.0)
    run = Run(Site(tmp_path))
    run.start()
    run.until(lambda: run.states().get("moodle", ("", ""))[0] == "running")
    yield run
    run.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("harm", [overwrite_a_page, delete, put_an_older_one_back])
@pytest.mark.parametrize(("name", "kind"), [("sesame.db", StoreDamaged), ("events.db", DamagedLog)])
def test_a_process_stops_by_itself_and_says_what_to_do(
    run: Run, tmp_path: Path, name: str, kind: type[SesameError], harm: Callable[[Path], None]
) -> None:
    harm(tmp_path / name)
    run.thread.join(60.0)
    assert not run.thread.is_alive()
    damage = run.runner._damage  # noqa: SLF001
    assert isinstance(damage, kind)
    assert name in str(damage)
    assert "Stop every process" in remedy_of(damage)
    assert run.stopping.is_set()
    if kind is StoreDamaged:
        with pytest.raises(StoreDamaged), run.site.database.read():  # what /readyz asks
            pass
    if harm is delete:
        assert not (tmp_path / name).exists(), "nobody begins an empty one"


def test_a_deleted_store_is_neither_written_to_nor_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "sesame.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        migrate.upgrade(database)
        path.unlink()
        with pytest.raises(StoreDamaged, match="is gone"), database.write():
            pass
        with pytest.raises(StoreDamaged), database.read():
            pass
    assert not path.exists()


def test_damage_that_a_statement_meets_is_the_stores_and_buries_no_fact(tmp_path: Path) -> None:
    path = tmp_path / "sesame.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        migrate.upgrade(database)
        with closing(sqlite3.connect(path)) as connection:
            [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'timers'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    with closing(Database(f"sqlite:///{path}")) as database:
        with pytest.raises(StoreDamaged, match="malformed") as met, database.read() as connection:
            connection.execute(select(timers)).all()
        assert stores_fault(met.value)
        assert met.value.__cause__ is not None
        assert stores_fault(met.value.__cause__)
        with pytest.raises(StoreDamaged), database.read():  # from now on
            pass


def test_a_log_that_was_deleted_takes_no_record_any_more(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with closing(SqliteEventLog(path)) as log, closing(log.producer()) as producer:
        log.ensure_topics({"t": 1})
        path.unlink()
        with pytest.raises(LostFile):
            producer.append([NewRecord("t", "A", b"1")])
        with pytest.raises(LogError):
            log.consumer("g", ["t"], member="one")


def test_a_page_that_postgresql_finds_damaged_is_told_as_damage(own_postgres: Postgres) -> None:
    with closing(Database(own_postgres.url())) as database:
        migrate.upgrade(database)
        with database.write() as connection:
            connection.execute(database.insert(timers).values(kind="test", student_number="A", due_at=1.0))
        with database.read() as connection:
            where = connection.execute(text("SELECT pg_relation_filepath('timers')")).scalar_one()
    own_postgres.stop()
    [page] = own_postgres.folder.rglob(where)
    with page.open("r+b") as file:
        file.write(b"\xa5" * 8192)
    own_postgres.start()
    with closing(Database(own_postgres.url())) as database:
        with pytest.raises(StoreDamaged, match="invalid page") as met, database.read() as connection:
            connection.execute(select(timers)).all()
        assert GUIDE in met.value.remedy
