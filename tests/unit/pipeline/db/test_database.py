"""Transactions: what was written is there or is not, whoever else writes; a store that is away says so."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from pipeline.db import database as module
from pipeline.db.database import Database, StoreUnavailable, stores_fault
from pipeline.errors import remedy_of
from pipeline.locks import site_locks
from pipeline.timers import timers
from sandbox.process import wait_until
from sesame.testing.servers.database_kit import ONLY_POSTGRESQL, ONLY_SQLITE, Clock, kept, put, undone


def test_what_fails_leaves_nothing(database: Database) -> None:
    with undone(database) as connection:
        connection.execute(insert(timers).values(kind="test", student_number="A", due_at=1.0))
    put(database, "B")
    assert kept(database) == ["B"]


def test_a_savepoint_undoes_its_own_part_only(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(timers).values(kind="test", student_number="A", due_at=1.0))
        savepoint = connection.begin_nested()
        connection.execute(insert(timers).values(kind="test", student_number="B", due_at=1.0))
        savepoint.rollback()
        connection.execute(insert(timers).values(kind="test", student_number="C", due_at=1.0))
    assert kept(database) == ["A", "C"]


def test_a_broken_rule_of_the_database_is_no_outage_and_the_connection_is_good_again(
    database: Database,
) -> None:
    put(database, "A")
    with pytest.raises(IntegrityError):
        put(database, "A")
    put(database, "B")
    assert kept(database) == ["A", "B"]


@ONLY_POSTGRESQL
def test_connections_that_the_server_ended_while_they_were_idle_are_replaced(database: Database) -> None:
    with database.read(), database.read():
        put(database, "A")
    ended = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with create_engine(database.engine.url, poolclass=NullPool).connect() as outside:
        assert outside.scalars(ended).all() == [True] * 3
    with database.read(), database.read():
        put(database, "B")
    assert kept(database) == ["A", "B"]


def test_a_look_writes_nothing_and_sees_one_moment(database: Database) -> None:
    put(database, "A")
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(timers)).scalar_one() == 1
        writer = threading.Thread(target=put, args=(database, "B"))
        writer.start()
        writer.join()
        assert connection.execute(select(func.count()).select_from(timers)).scalar_one() == 1
    assert kept(database) == ["A", "B"]


def test_threads_that_write_at_once_lose_nothing(database: Database) -> None:
    def add(thread: int) -> None:
        for index in range(20):
            with database.write() as connection:
                database.alone(connection, "test")
                number = connection.execute(select(func.count()).select_from(timers)).scalar_one()
                connection.execute(
                    insert(timers).values(kind=f"{thread}", student_number=str(index), due_at=float(number))
                )

    threads = [threading.Thread(target=add, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        counted = list(connection.scalars(select(timers.c.due_at).order_by(timers.c.due_at)))
    assert counted == [float(index) for index in range(80)]  # each saw all that came before it


@ONLY_SQLITE
def test_a_database_that_others_keep_locked_is_unavailable_and_nothing_is_lost(
    store_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    impatient = Database(store_url)
    with database.write():
        with pytest.raises(StoreUnavailable, match="locked") as locked:
            put(impatient, "A")
        with pytest.raises(StoreUnavailable, match="locked"):
            impatient.check_writing()
        assert kept(impatient) == []
    assert "Give the command again" in remedy_of(locked.value)
    put(impatient, "A")
    impatient.close()
    assert kept(database) == ["A"]


@ONLY_SQLITE
def test_another_process_that_waits_is_next_however_often_one_writes(
    store_url: str, database: Database
) -> None:
    order: list[str] = []

    def write_once() -> None:
        with closing(Database(store_url)) as other, other.write():
            order.append("other")

    other = threading.Thread(target=write_once)
    with database.write():
        assert not database.others_wait()
        other.start()
        wait_until(database.others_wait, "the other one to wait")
    with database.write():
        order.append("again")
    other.join()
    assert order == ["other", "again"]


@ONLY_SQLITE
def test_a_thread_that_waits_too_long_for_its_turn_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    with database.write(), pytest.raises(StoreUnavailable, match="another thread"):
        put(database, "A")


@ONLY_SQLITE
def test_a_failure_at_the_commit_is_an_outage_and_nothing_was_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:

    def full(connection: object, how: str) -> None:
        if how == "COMMIT":
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(module, "_end_sqlite", full)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            put(database, "A")
    put(database, "B")
    assert kept(database) == ["B"]


def test_a_database_whose_connections_are_all_busy_is_unavailable(
    store_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(module, "CONNECTION_WAIT_S", 0.05)
    small = Database(store_url)
    with small.read(), pytest.raises(StoreUnavailable, match="busy"):
        kept(small)
    small.close()


def test_a_store_that_can_be_read_and_not_written_is_seen_by_a_write(
    database: Database, store_url: str
) -> None:
    database.check_writing()
    with closing(Database(store_url)) as told:
        if told.is_sqlite:
            listens, refusal = told.engine, "PRAGMA query_only=1"
        else:
            listens, refusal = told.engine, "SET default_transaction_read_only = on"
        with listens.connect() as connection:
            connection.exec_driver_sql(refusal)
            connection.commit()
        with told.read():
            pass
        with pytest.raises(StoreUnavailable):
            told.check_writing()


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path / 'no such folder' / 'store.db'}")
    with pytest.raises(StoreUnavailable), away.read():
        pass
    away.close()


def test_an_embedded_store_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        site_locks.create(connection)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    database.close()


@ONLY_SQLITE
def test_an_embedded_store_survives_a_power_cut(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


def test_what_is_the_stores_fault_is_told_from_what_was_asked() -> None:
    lost = IntegrityError("x", {}, Exception("gone"), connection_invalidated=True)
    assert stores_fault(StoreUnavailable())
    assert stores_fault(OperationalError("x", {}, Exception("deadlock")))
    assert stores_fault(lost)
    assert not stores_fault(IntegrityError("x", {}, Exception("twice")))
    assert not stores_fault(ValueError("oops"))


def test_the_databases_time_is_the_one_that_was_told(database: Database, clock: Clock) -> None:
    with database.read() as connection:
        first = database.now(connection)
        clock.now += 5.0
        assert database.now(connection) == first + 5.0


def test_the_databases_time_is_utc_whoever_tells_it(store_url: str) -> None:
    with closing(Database(store_url)) as database, database.read() as connection:
        assert database.now(connection) == pytest.approx(time.time(), abs=60)
