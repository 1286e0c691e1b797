"""Recognise a restored store before anything is written to a target from it.

A restored store does not know what was done after its backup: a hold, above all. Each process that runs
consumers counts in the store while it works and when it ends, and notes the count in `data_dir` too: a
store that counts less than was noted there went back. So did one whose embedded file, or whose table in
PostgreSQL, is another than the one that was left, and one that has worked before on a machine that knows
nothing of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from pipeline import status
from pipeline.db.database import Database, StoreUnavailable
from pipeline.errors import SesameError
from sesame.acts import life
from sesame.acts.life import Life
from sesame.acts.ports import Store

BEAT_EVERY_S = 10.0
_ALIVE_S = 120.0


class StoreRestored(SesameError):
    """The store was restored, or is another one than the one that worked here: it may not know whom a target
    shows shut. Nothing is written to any target until that was looked at. Run `sesame restored check`: it
    reads every target, keeps shut whoever is shut without a reason that the store knows, and lists them
    (docs/how-to/back-up-restore-upgrade.md). If the wrong file was put there, put the right one back
    instead."""

    exit_code = 5


@dataclass(frozen=True)
class Note:
    """What is noted outside the store: its name, its count, and its file's number.

    `file`: the number of the embedded file, or of the table in PostgreSQL.
    """

    store: str
    beats: int
    file: int | None


class Notes:
    """The file of these notes.

    Args:
        path: created by the first note.
        database: the store.
        store_file: the embedded store's; None: it is a server's.
    """

    def __init__(self, path: Path, database: Database, store_file: Path | None) -> None:
        self.path = path
        self._database = database
        self._store_file = store_file

    @classmethod
    def of(cls, site: Store) -> Notes:
        """This machine's notes."""
        return cls(site.notes_file, site.database, site.store_file)

    def read(self) -> Note | None:
        """What was noted last; None: nothing, or nothing that can be read."""
        try:
            return Note(**json.loads(self.path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, store: str, beats: int) -> None:
        """Write a note, unless another process of this machine has noted more."""
        before = self.read()
        if before is not None and before.store == store and before.beats > beats:
            return
        made = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        made.write_text(json.dumps(asdict(Note(store, beats, self.present()))), encoding="utf-8")
        made.replace(self.path)

    def present(self) -> int | None:
        """The number of the embedded store's file (inode), or of its PostgreSQL table.

        It changes once the file was put back, or the table made again from a dump.
        """
        if self._store_file is None:
            with self._database.read() as connection:
                return life.table_number(connection)
        with suppress(FileNotFoundError):
            return self._store_file.stat().st_ino
        return None


def admit(site: Store, *, works: bool) -> None:
    """Check that this store may be trusted, before anything is written to a target.

    Args:
        site: whose store.
        works: whether this process runs consumers: it must know the store, then reports that it is there, and
            then counts (`count`): of two that begin at once, each sees the other or only one does.

    Raises:
        StoreRestored: it may not, until an operator has checked.
    """
    database, notes = site.database, Notes.of(site)

    def look(connection: Connection) -> str:
        present, now = life.of(connection, database), database.now(connection)
        noted = notes.read()
        why = present.shut_why
        if not why and noted is not None:
            why = _contradiction(noted, present, notes.present())
        elif not why and present.beats and (database.is_sqlite or (works and not _alive(connection, now))):
            why = f"it has worked before, and {notes.path} is not there: it came from elsewhere"
        if why:
            life.shut(connection, why, now)
        elif works:  # before counting: a process that starts at the same time must find it
            notes.write(present.name, present.beats)
        return why

    why = database.transact(look)
    if why:
        raise StoreRestored(f"the store cannot be believed: {why}", remedy=_REMEDY)


_REMEDY = (
    "Run `sesame restored check`: it reads every target, and keeps shut whoever is shut there for a reason"
    " that this store does not know. If the wrong store was put there, put the right one back instead"
    " (docs/how-to/back-up-restore-upgrade.md)."
)


def _contradiction(noted: Note, present: Life, file: int | None) -> str:
    if noted.store != present.name:
        return "it is another store than the one that worked here"
    if noted.beats > present.beats:
        return f"it counts {present.beats}, and {noted.beats} was noted here: it is an older one"
    if noted.file is not None and file != noted.file:
        return "its file, or table, is another than the one that was left: it was restored, or copied"
    return ""


def count(site: Store) -> None:
    """Count for a process that begins or ends: a backup from just before counts less.

    Does nothing if the store is down or shut.
    """
    with suppress(StoreUnavailable, StoreRestored):
        Heart(site).look()


def _alive(connection: Connection, now: float) -> bool:
    """Whether other machines work with this store: then it was not just restored."""
    return any(each.seen_at > now - _ALIVE_S for each in status.statuses(connection))


class Heart:
    """Counts for an admitted process; notices when the store goes back or is shut.

    Args:
        monotonic: seconds.
    """

    def __init__(self, site: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = site.database
        self._notes = Notes.of(site)
        self._monotonic = monotonic
        self._last = 0
        self._beat_at = 0.0

    def look(self) -> None:
        """Check the store, and count if it is time.

        Raises:
            StoreRestored: this process must stop.
            StoreUnavailable: the store is down.
        """
        with self._database.read() as connection:
            found = life.look(connection)
        if found is None or found.beats < self._last:
            found = self._went_back()
        if found.shut_why:
            raise StoreRestored(f"the store cannot be believed: {found.shut_why}", remedy=_REMEDY)
        self._last = found.beats
        if self._monotonic() >= self._beat_at:
            self.beat(found.name)

    def _went_back(self) -> Life:
        """Shut the store, so that other processes stop too."""

        def shut(connection: Connection) -> Life:
            beats, now = life.of(connection, self._database).beats, self._database.now(connection)
            life.shut(connection, f"it counts {beats}, and counted {self._last} before: it is older", now)
            return life.of(connection, self._database)

        return self._database.transact(shut)

    def beat(self, name: str) -> None:
        """Count, and note it."""
        self._last = self._database.transact(life.beat)
        self._notes.write(name, self._last)
        self._beat_at = self._monotonic() + BEAT_EVERY_S
