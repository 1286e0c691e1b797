"""The embedded store's file: create it, detect a replaced or damaged one."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from schemas.language import gettext

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
LOOKS_S = 0.001
"""The pause between two looks of a writer at the queue."""
REMEDY = (
    "Stop every process of Sésame, keep a copy of what is left of the file and its -wal, and restore the last"
    " backup (docs/how-to/back-up-restore-upgrade.md)."
)


class File:
    """An SQLite file that this process has open, or will open.

    SQLite keeps writing to a deleted file, and creates an empty one where it finds none: what is written to
    the first is lost, and a process that opens the second finds an empty store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None

    def make(self) -> None:
        """Create a missing file, personal data, for its owner only. SQLite gives `-wal`, `-shm` its mode."""
        # Open only a file that this call creates: closing one that SQLite has open in this process would drop
        # its locks (a property of POSIX advisory locks).
        with suppress(OSError):  # it is there, or SQLite says better what is wrong
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def opened(self) -> None:
        """Note which file SQLite has opened."""
        self._opened = self._opened or self._present()

    def moved(self) -> str:
        """Return why the opened file is not the one at its path any more; empty: it is."""
        if self._opened is None or (present := self._present()) == self._opened:
            return ""
        what = "is gone" if present is None else "is another file now"
        return f"{self.path} {what}: this process still has the one that was there open"

    @contextmanager
    def queue(self, wait_s: float) -> Iterator[None]:
        """Queue with other processes for the write lock; continue after `wait_s` anyway.

        The folder is locked, not the file: closing it would drop SQLite's locks.
        """
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY)
        except OSError:  # SQLite says better what is wrong
            yield
            return
        ends_at = time.monotonic() + wait_s
        try:
            while time.monotonic() < ends_at:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(LOOKS_S)
            yield
        finally:
            os.close(descriptor)

    def is_queued_for(self) -> bool:
        """Whether a process waits for the write lock (`queue`)."""
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def broken(self) -> str:
        """Return what SQLite finds damaged in the file; empty: nothing. Reads all of it.

        Runs `PRAGMA quick_check` on a separate connection, which does not see other connections' memory.

        Raises:
            sqlite3.Error: it cannot be read at all.
        """
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True)) as connection:
            try:
                [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                found = str(error)
        return "" if found == "ok" else f"{self.path} is damaged: {' '.join(found.split())}"

    def _present(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite found the file's contents broken."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGE


def file_of(path: str | None) -> File | None:
    """Return the file of a database's URL; None: `:memory:` or SQLite's own URI."""
    return File(Path(path)) if path and path != ":memory:" and not path.startswith("file:") else None


def processes_with(path: Path) -> Iterator[str]:
    """Iterate over the other processes with this file open. Linux (proc(5)); those that this user may see."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue  # it has ended, or belongs to another user
        if any(_is(each, wanted) for each in descriptors):
            yield gettext("process {number}", number=process.name)


def _is(descriptor: Path, wanted: os.stat_result) -> bool:
    try:
        found = descriptor.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
