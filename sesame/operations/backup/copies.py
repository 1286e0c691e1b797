"""A backup: a folder with the embedded files, copied by SQLite itself, and a manifest of what they hold.

The log is copied before the store. A log that were newer than its store would say of a fact that it was read,
which the store does not have: it would be lost. The other way round it is read again, and recognised.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.errors import SesameError, system_words
from pipeline.eventlog.sqlite_file import LogFile
from schemas.language import gettext

MANIFEST: Final = "manifest.json"
STORE, LOG = "sesame.db", "events.db"
"""What the copies are called, wherever the files are that they are made of."""

_ORDER: Final = (LOG, STORE)
_BUSY_S: Final = 30.0


class BackupUnusable(SesameError):
    """A backup is not whole, was changed since it was made, or is of a newer version. Use another one."""


class BackupFailed(SesameError):
    """A backup could not be made; nothing is left of it. Make room, or name another folder."""


class FileNote(BaseModel):
    """One file of a backup: its size in bytes, and its SHA-256 as hex digits."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        made_at: when it was begun.
        version: of Sésame.
        revision: of the store's form; empty: the store is not in it.
        files: by name, in the order in which they were copied.
        rows: of each table of the store.
        records: how many the log holds.
    """

    made_at: datetime
    version: str
    revision: str = ""
    files: dict[str, FileNote]
    rows: dict[str, int] = {}
    records: int = 0


def make(folder: Path, sources: Mapping[str, Path], *, made_at: datetime, version: str) -> Manifest:
    """Copy these files, by what they are called in a backup, into a new folder.

    Args:
        folder: of this backup; made, closed to others, and there only when it is whole.

    Raises:
        BackupFailed: nothing is left of it.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        files = {}
        for name in _ORDER:
            if name in sources:
                _copy(sources[name], partial / name)
                files[name] = _note(partial / name)
        manifest = _told(partial, Manifest(made_at=made_at, version=version, files=files))
        with _private(partial / MANIFEST) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        _sync(partial)
        partial.rename(folder)
        _sync(folder.parent)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        why = system_words(error) if isinstance(error, OSError) else str(error)
        raise BackupFailed(gettext("{folder}: {why}", folder=folder, why=why)) from error
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """What a backup says of itself.

    Raises:
        BackupUnusable: there is none, or it was cut off.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        text = gettext("{folder} is no whole backup: it has no {file}", folder=folder, file=MANIFEST)
        raise BackupUnusable(text) from error
    except (OSError, ValidationError) as error:
        text = gettext("{folder}: {file} cannot be read", folder=folder, file=MANIFEST)
        raise BackupUnusable(text) from error


def prove(folder: Path) -> Manifest:
    """Restore a backup into a scratch folder, and look whether all of it is there and can be used.

    Raises:
        BackupUnusable: it cannot, and why.
    """
    manifest = read_manifest(folder)
    with _scratch(folder) as scratch:
        for name, noted in manifest.files.items():
            _take(folder / name, scratch / name)
            found = _note(scratch / name)
            if found != noted:
                raise BackupUnusable(
                    gettext("{file} is not what was backed up: changed, or cut off", file=folder / name)
                )
            _examine(scratch / name)
        told = _told(scratch, manifest)
        if told != manifest:
            raise BackupUnusable(gettext("{folder} holds other rows than its manifest says", folder=folder))
        _open(scratch, manifest)
    return manifest


def place(folder: Path, manifest: Manifest, targets: Mapping[str, Path], aside: Path) -> list[Path]:
    """Put a backup's files where they are worked with; keep what was there in `aside`. Return what is kept.

    At no moment is there no file where one was: whoever looked would make an empty one.

    Args:
        targets: where each file belongs, by what it is called in a backup.
        aside: a folder that is made if it is needed.

    Raises:
        BackupFailed: what was there is there.
    """
    kept = []
    try:
        for name in manifest.files:
            _take(folder / name, _new(targets[name]))
        for name in manifest.files:
            target = targets[name]
            for there in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm"))):
                if there.exists():
                    aside.mkdir(parents=True, exist_ok=True, mode=0o700)
                    if there == target:
                        os.link(there, aside / there.name)
                    else:
                        there.rename(aside / there.name)
                    kept.append(aside / there.name)
            _new(target).replace(target)
            _sync(target.parent)
    except OSError as error:
        for name in manifest.files:
            _new(targets[name]).unlink(missing_ok=True)
        raise BackupFailed(system_words(error)) from error
    return kept


def backups_in(folder: Path) -> list[Path]:
    """The whole backups of a folder, the oldest first."""
    found = [(read_manifest(each.parent).made_at, each.parent) for each in folder.glob(f"*/{MANIFEST}")]
    return [path for _, path in sorted(found)]


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    with TemporaryDirectory(prefix=".sesame-verify-", dir=folder.parent) as made:
        yield Path(made)


def _reading(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S))


def _copy(source: Path, copy: Path) -> None:
    """Copy a database that others may be writing to, page by page, as of one moment."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with _reading(source) as read, closing(sqlite3.connect(copy)) as written:
        read.backup(written, pages=-1)
        written.execute("PRAGMA journal_mode = DELETE")  # one file, whole without another one beside it


def _take(source: Path, copy: Path) -> None:
    with source.open("rb") as read, _private(copy) as written:
        shutil.copyfileobj(read, written, 1 << 20)
    owner = copy.parent.stat()
    if os.geteuid() == 0:  # the folder's owner works with it
        os.chown(copy, owner.st_uid, owner.st_gid)


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """A new file that nobody else may read, on the disk at the end."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _note(path: Path) -> FileNote:
    with path.open("rb") as file:
        return FileNote(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new(target: Path) -> Path:
    return target.with_name(f".{target.name}.restored")


def _told(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with what the files themselves say."""
    revision, rows, records = "", {}, 0
    if STORE in manifest.files:
        with _reading(folder / STORE) as store:
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            ours = sorted(name for name in names if not name.startswith("sqlite_"))
            rows = {name: int(store.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in ours}  # noqa: S608
            [(revision,)] = store.execute("SELECT version_num FROM alembic_version").fetchall() or [("",)]
    if LOG in manifest.files:
        with _reading(folder / LOG) as log:
            [records] = log.execute("SELECT count(*) FROM records").fetchone()
    return manifest.model_copy(update={"revision": revision, "rows": rows, "records": records})


def _examine(path: Path) -> None:
    with _reading(path) as database:
        try:
            [found] = database.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
    if found != "ok":
        raise BackupUnusable(gettext("{file} is damaged: {why}", file=path.name, why=" ".join(found.split())))


def _open(scratch: Path, manifest: Manifest) -> None:
    """Open the files as this version does: a store of an older one is migrated, in the scratch folder."""
    try:
        if LOG in manifest.files:
            LogFile(scratch / LOG, busy_timeout_s=_BUSY_S)
        if STORE in manifest.files:
            database = Database(f"sqlite:///{scratch / STORE}")
            try:
                migrate.upgrade(database)
                migrate.check(database)
            finally:
                database.close()
    except SesameError as error:
        raise BackupUnusable(str(error), remedy=error.remedy) from error
