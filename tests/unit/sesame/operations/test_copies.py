"""The copies of a backup are of one moment, whoever writes meanwhile."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.db.embedded import File
from sesame.operations.keeping.backup import copies
from sesame.operations.keeping.backup.copies import LOG, STORE
from sesame.testing.servers.waiting import until

ROUNDS = 40


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A log and a store on which somebody publishes and confirms, and somebody applies and says how far."""
    paths = {name: tmp_path / name for name in (LOG, STORE)}
    stopping = threading.Event()
    for path in paths.values():
        with closing(opened(path)) as database:
            database.execute("CREATE TABLE noted (what TEXT, upto INTEGER)")
            database.execute("INSERT INTO noted VALUES ('published', 0), ('read', 0)")

    def work(what: str, *order: str) -> None:
        with closing(opened(paths[order[0]])) as first, closing(opened(paths[order[1]])) as then:
            upto = 0
            while not stopping.is_set():
                upto += 1
                for database in (first, then):
                    database.execute("UPDATE noted SET upto = ? WHERE what = ?", (upto, what))

    writers = [
        threading.Thread(target=work, args=("published", LOG, STORE)),
        threading.Thread(target=work, args=("read", STORE, LOG)),
    ]
    for writer in writers:
        writer.start()
    yield paths
    stopping.set()
    for writer in writers:
        writer.join()


def upto(path: Path, what: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        [found] = database.execute("SELECT upto FROM noted WHERE what = ?", (what,)).fetchone()
    return int(found)


def test_what_a_copy_says_was_published_or_read_its_other_half_has(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    until(lambda: all(upto(sources[LOG], what) > 5 for what in ("published", "read")))
    for number in range(ROUNDS):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        copies._copy(sources, folder)  # noqa: SLF001  (what both halves are made by)
        assert upto(folder / STORE, "published") <= upto(folder / LOG, "published"), (
            "confirmed, and not there"
        )
        assert upto(folder / LOG, "read") <= upto(folder / STORE, "read"), "read, and not applied"
    assert upto(tmp_path / "copy-0" / STORE, "published") > 0, "somebody was writing"


def test_a_log_alone_is_copied_too(sources: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    copies._copy({LOG: sources[LOG]}, folder)  # noqa: SLF001
    assert upto(folder / LOG, "published") >= 0
    assert not (folder / STORE).exists()


def test_who_writes_to_an_opened_copy_waits_for_nobody(tmp_path: Path) -> None:
    """The scratch folder is locked while it is used, and so is the folder of a store by each writer."""
    with copies._scratch(tmp_path) as folder:  # noqa: SLF001
        assert not File(folder / STORE).is_queued_for()
        [held] = tmp_path.iterdir()
        assert File(held / STORE).is_queued_for(), "and is nobody else's to remove"
    assert list(tmp_path.iterdir()) == []
