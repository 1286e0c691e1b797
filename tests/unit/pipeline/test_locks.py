"""Site-wide locks: one holder at a time, over threads and processes, and a dead holder does not keep one."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.db.database import Database, StoreUnavailable
from pipeline.locks import SiteLocks
from sesame.testing.servers.database_kit import Clock, in_processes


def _append_slowly(path: Path, name: str) -> None:
    """Read, then write: loses lines if two do it at once."""
    before = path.read_text() if path.exists() else ""
    time.sleep(0.005)
    path.write_text(f"{before}{name}\n")


def _hold_often(results: Any, url: str, path: str, name: str) -> None:
    database = Database(url)
    locks = SiteLocks(database)
    for _ in range(10):
        with locks.hold("cohort L1INFO-2026", ttl_s=120.0, wait_s=60.0):
            _append_slowly(Path(path), name)
    results.put(name)
    database.close()


def test_two_processes_never_hold_one_lock_at_once(
    store_url: str, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    in_processes(_hold_often, [(store_url, str(path), name) for name in ("one", "other")])
    assert sorted(path.read_text().split()) == ["one"] * 10 + ["other"] * 10


def test_threads_of_one_process_take_turns(database: Database, tmp_path: Path) -> None:
    path, locks = tmp_path / "lines", SiteLocks(database)

    def hold() -> None:
        for _ in range(5):
            with locks.hold("cohort", ttl_s=120.0, wait_s=60.0):
                _append_slowly(path, "x")

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(path.read_text().split()) == 15


def test_another_process_waits_and_gives_up_in_time(database: Database) -> None:
    here, elsewhere = SiteLocks(database), SiteLocks(database)
    with (
        here.hold("cohort", ttl_s=120.0),
        pytest.raises(StoreUnavailable, match="another process"),
        elsewhere.hold("cohort", ttl_s=120.0, wait_s=0.05),
    ):
        pass
    with elsewhere.hold("cohort", ttl_s=120.0):
        pass


def test_another_thread_waits_and_gives_up_in_time(database: Database) -> None:
    locks = SiteLocks(database)
    with (
        locks.hold("cohort", ttl_s=120.0),
        pytest.raises(StoreUnavailable, match="another thread"),
        locks.hold("cohort", ttl_s=120.0, wait_s=0.05),
    ):
        pass
    with locks.hold("cohort", ttl_s=120.0):
        pass


def test_different_locks_do_not_hinder_each_other(database: Database) -> None:
    locks = SiteLocks(database)
    held = []
    with locks.hold("one", ttl_s=120.0), locks.hold("other", ttl_s=120.0):
        held.append(True)
    assert held


def test_a_holder_that_died_loses_its_lock_after_its_time(database: Database, clock: Clock) -> None:
    dead = SiteLocks(database).hold("cohort", ttl_s=40.0)
    dead.__enter__()  # and never its end
    locks = SiteLocks(database)
    with pytest.raises(StoreUnavailable), locks.hold("cohort", ttl_s=120.0):
        pass
    clock.now += 39.0
    with pytest.raises(StoreUnavailable), locks.hold("cohort", ttl_s=40.0):
        pass
    clock.now += 2.0
    held = []
    with locks.hold("cohort", ttl_s=120.0):
        held.append(True)
    assert held


def test_a_holder_whose_time_was_over_does_not_free_its_successors_lock(
    database: Database, clock: Clock
) -> None:
    slow, successor = SiteLocks(database), SiteLocks(database)
    third = SiteLocks(database)
    with slow.hold("cohort", ttl_s=10.0):
        clock.now += 11.0
        held = successor.hold("cohort", ttl_s=120.0)
        held.__enter__()
    with pytest.raises(StoreUnavailable), third.hold("cohort", ttl_s=120.0):
        pass


def test_a_failure_under_a_lock_frees_it(database: Database) -> None:
    locks = SiteLocks(database)
    with pytest.raises(KeyError), locks.hold("cohort", ttl_s=120.0):
        raise KeyError("oops")
    held = []
    with locks.hold("cohort", ttl_s=120.0):
        held.append(True)
    assert held
