"""A backup: a folder of copied, sealed embedded files, and a manifest.

Both files are copied as of one moment. A log newer than its store would mark as read a fact that the store
lacks; a store newer than its log would mark as published a row that the log lacks: either would be lost. For
that moment writers of the store wait: confirmations of publishing and commits of offsets.

Persons are in clear only in a scratch folder next to the store, never in a file of a backup: `sealing`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, Final
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, column, inspect, table

from consumers.registry.erasure.erasures import erasures
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.errors import SesameError, system_words
from pipeline.eventlog.sqlite_file import LogFile
from pipeline.person_keys import Destroyed, PersonKeys, PersonKeysError
from schemas.language import gettext
from sesame.operations.keeping.backup import sealing
from sesame.operations.keeping.backup.sealing import Identifier, Owned

MANIFEST: Final = "manifest.json"
STORE, LOG = "sesame.db", "events.db"
"""Names of the copies, wherever the original files are."""

_ORDER: Final = (LOG, STORE)
_BUSY_S: Final = 30.0
_TRIES_MAX: Final = 3
_SCRATCH: Final = ".backup-scratch-"

RECORDS: Final = Owned("records", ("key",), {"headers": "[]", "value": b"{}"}, ("value",))
"""The log's records: an erased one keeps its place, so that offsets hold."""
_KEYS: Final = Identifier("records", "key", "key")


class BackupUnusable(SesameError):
    """A backup is not whole, was changed since it was made, or is of a newer version. Use another one."""


class BackupDamaged(BackupUnusable):
    """A backup is not what was made: a file of it was changed, or cut off. Use another one."""

    exit_code = 6


class BackupFailed(SesameError):
    """A backup could not be made; nothing is left of it. Make room, or name another folder."""


class FileNote(BaseModel):
    """One file of a backup: its size in bytes, and its SHA-256 as hex digits."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """A backup's contents.

    Attributes:
        made_at: when it was begun.
        version: of Sésame.
        revision: of the store's form; empty: the store is not in it.
        files: by name, in the order in which they were copied.
        rows: of each table of the store.
        records: of the log.
        id: drawn for this backup; empty: it is of an older version, and nothing in it is sealed.
        keys: the name of the persons' keys that it is sealed with.
        sealed: number of sealed values in each file.
        erased: the destructions of keys that had been done before.
    """

    made_at: datetime
    version: str
    revision: str = ""
    files: dict[str, FileNote]
    rows: dict[str, int] = {}
    records: int = 0
    id: str = ""
    keys: str = ""
    sealed: dict[str, int] = {}
    erased: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Opened:
    """An opened, proved backup: its files in a scratch folder, in this version's form.

    Attributes:
        erased: how many of its persons were erased since and left out of these files.
    """

    folder: Path
    manifest: Manifest
    erased: int


def make(
    folder: Path,
    sources: Mapping[str, Path],
    *,
    tables: Sequence[Owned],
    identifiers: Sequence[Identifier],
    keys: PersonKeys,
    scratch: Path,
    made_at: datetime,
    version: str,
) -> Manifest:
    """Copy these files into a new folder, with the persons sealed.

    Args:
        folder: of this backup; made private, and visible only once it is whole.
        sources: each file, by its name in a backup.
        identifiers: by which the store's texts may name persons.
        scratch: where persons may be in clear during the copy.

    Raises:
        BackupFailed: nothing is left of it.
        PersonKeysUnusable: likewise.
    """
    made = folder.with_name(f".{folder.name}.partial")
    try:
        for _ in range(_TRIES_MAX):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True, mode=0o700)
            manifest = Manifest(
                made_at=made_at,
                version=version,
                files={},
                id=secrets.token_hex(16),
                keys=keys.name(),
                erased=keys.destructions(),
            )
            with _scratch(scratch) as clear:
                manifest = _sealed(
                    manifest, sources, clear, made, tables=tables, identifiers=identifiers, keys=keys
                )
            if keys.destructions() == manifest.erased:  # else it may hold a person erased meanwhile
                break
        else:
            raise BackupFailed(gettext("{folder}: persons are being erased; try again", folder=folder))
        with _private(made / MANIFEST) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        _sync(made)
        made.rename(folder)
        _sync(folder.parent)
    except (OSError, sqlite3.Error) as error:
        why = system_words(error) if isinstance(error, OSError) else str(error)
        raise BackupFailed(gettext("{folder}: {why}", folder=folder, why=why)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def _sealed(
    manifest: Manifest,
    sources: Mapping[str, Path],
    clear: Path,
    made: Path,
    *,
    tables: Sequence[Owned],
    identifiers: Sequence[Identifier],
    keys: PersonKeys,
) -> Manifest:
    names = [name for name in _ORDER if name in sources]
    _copy({name: sources[name] for name in names}, clear)
    if STORE in names:
        sealing.leave_out(clear / STORE, tables)
    told = _told(clear, manifest.model_copy(update={"files": dict.fromkeys(names)}))
    files, values = {}, {}
    for name in names:
        os.close(os.open(made / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        owned, named_by, beside = tables, tuple(identifiers), None
        if name == LOG:  # its records may name persons who are no longer in any record's key
            beside = clear / STORE if STORE in names else None
            owned, named_by = (RECORDS,), (_KEYS, *(named_by if beside else ()))
        about = _about(manifest, name)
        values[name] = sealing.seal_file(clear / name, made / name, owned, keys, about, named_by, beside)
        with (made / name).open("rb") as file:
            os.fsync(file.fileno())
        files[name] = _note(made / name)
    return told.model_copy(update={"files": files, "sealed": values})


def _about(manifest: Manifest, name: str) -> sealing.About:
    """The context bound to a sealed value: this file of this backup."""
    return lambda position, keys: f"{manifest.id}/{name}/{position}/{keys}".encode()


def read_manifest(folder: Path) -> Manifest:
    """Read a backup's manifest. Raises `BackupUnusable`: it is missing or incomplete."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        text = gettext("{folder} is no whole backup: it has no {file}", folder=folder, file=MANIFEST)
        raise BackupUnusable(text) from error
    except (OSError, ValidationError) as error:
        text = gettext("{folder}: {file} cannot be read", folder=folder, file=MANIFEST)
        raise BackupDamaged(text) from error


@contextmanager
def opened(folder: Path, *, keys: PersonKeys, scratch: Path) -> Iterator[Opened]:
    """Restore a backup into a scratch folder and check that it is whole and usable.

    Persons erased since are not restored; the names that no other person may ever get are put back.
    `scratch`: where persons may be in clear meanwhile.

    Raises:
        BackupUnusable: it cannot, and why.
        PersonKeysError: these keys do not open it.
    """
    manifest = read_manifest(folder)
    if manifest.id and keys.read_name() != manifest.keys:
        raise PersonKeysError(gettext("{path} has other keys than {folder}", path=keys.path, folder=folder))
    with _scratch(scratch) as clear:
        erased: set[int] = set()
        for name, noted in manifest.files.items():
            source = folder / name
            if source.is_file():
                _take(source, clear / name)
            if not source.is_file() or _note(clear / name) != noted:
                raise BackupDamaged(
                    gettext("{file} is not what was backed up: changed, or cut off", file=source)
                )
            _examine(clear / name)
            if manifest.id:
                erased |= _unseal(clear / name, manifest, keys)
        if not _fits(_told(clear, manifest), manifest, erased=bool(erased)):
            raise BackupDamaged(gettext("{folder} holds other rows than its manifest says", folder=folder))
        destroyed = keys.destroyed() if manifest.id else []
        _open(clear, manifest, [each for each in destroyed if each.id not in manifest.erased])
        yield Opened(clear, manifest, _persons(erased, destroyed))


def prove(folder: Path, *, keys: PersonKeys, scratch: Path) -> Opened:
    """Open and prove a backup, then remove the scratch folder."""
    with opened(folder, keys=keys, scratch=scratch) as found:
        return found


def _unseal(path: Path, manifest: Manifest, keys: PersonKeys) -> set[int]:
    name = path.name
    try:
        return sealing.unseal_file(path, keys, _about(manifest, name), values=manifest.sealed[name])
    except (sqlite3.Error, KeyError) as error:
        raise BackupDamaged(gettext("{file} is damaged: {why}", file=name, why=error)) from error


def _fits(told: Manifest, manifest: Manifest, *, erased: bool) -> bool:
    """Whether the rows are those backed up, except persons erased since.

    In a backup of an older version a record that named two persons did not keep its place.
    """
    if not erased:
        return told == manifest
    rows = {table: min(count, manifest.rows.get(table, 0)) for table, count in told.rows.items()}
    same = {"rows": manifest.rows, "records": manifest.records}
    fewer = rows == told.rows and told.records <= manifest.records
    return fewer and told.model_copy(update=same) == manifest


def _persons(erased: set[int], destroyed: Sequence[Destroyed]) -> int:
    """Count the persons of these keys: one for each of their numbers."""
    first: dict[str, str] = {}
    for each in destroyed:
        for row in each.kept.get(erasures.name, ()):
            first |= dict.fromkeys(json.loads(row["noted"]).get("pseudonyms", ()), each.pseudonym)
    whose = [each.pseudonym for each in destroyed if each.key_id in erased]
    return len({first.get(each, each) for each in whose})


def put_back(connection: Connection, database: Database, erased: Iterable[Destroyed]) -> None:
    """Put back what the store must always know of erased persons, where it is missing.

    Raises:
        BackupUnusable: the store has no such table.
    """
    for each in erased:
        for name, rows in each.kept.items():
            if not inspect(connection).has_table(name):
                raise BackupUnusable(gettext("there is no table {table}", table=name))
            known = {column["name"] for column in inspect(connection).get_columns(name)}
            for row in rows:
                values = {column: value for column, value in row.items() if column in known}
                into = table(name, *(column(each) for each in values))
                connection.execute(database.insert(into).values(values).on_conflict_do_nothing())


def place(folder: Path, manifest: Manifest, targets: Mapping[str, Path], aside: Path) -> list[Path]:
    """Put opened files in place and keep the former ones in `aside`; return those.

    Swap atomically: a reader that finds no file would create an empty store. `targets`: where each file
    belongs, by its name in a backup.

    Raises:
        BackupFailed: the former files are in place.
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
    """A temporary private folder; those left by killed processes are removed."""
    for old in folder.glob(f"{_SCRATCH}*"):
        with _held(old) as free:
            if free:
                shutil.rmtree(old, ignore_errors=True)
    fresh = Path(mkdtemp(dir=folder, prefix=".backup-"))
    with _held(fresh):
        made = fresh.rename(folder / f"{_SCRATCH}{fresh.name}")  # found by others once it is held
        inside = made / "clear"  # writers of a store lock its folder too
        inside.mkdir(mode=0o700)
        try:
            yield inside
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock a folder, at most until the process ends; yield False if it is taken."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _reading(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S))


def _copy(sources: Mapping[str, Path], folder: Path) -> None:
    """Copy databases page by page, all as of one moment, while others may write."""
    with ExitStack() as stack:
        read = {name: stack.enter_context(_reading(source)) for name, source in sources.items()}
        with _nobody_writing(sources[STORE]) if STORE in sources else nullcontext():
            for source in read.values():
                source.execute("BEGIN")
                source.execute(
                    "SELECT count(*) FROM sqlite_schema"
                ).fetchone()  # it reads this state from now on
        for name, source in read.items():
            copy = folder / name
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(copy)) as written:
                source.backup(written, pages=-1)
                written.execute("PRAGMA journal_mode = DELETE")  # a single file, without WAL


@contextmanager
def _nobody_writing(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def _take(source: Path, copy: Path) -> None:
    with source.open("rb") as read, _private(copy) as written:
        shutil.copyfileobj(read, written, 1 << 20)
    owner = copy.parent.stat()
    if os.geteuid() == 0:  # the folder's owner works with it
        os.chown(copy, owner.st_uid, owner.st_gid)


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """Open a new file with mode 0600; flush it to the disk at the end."""
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
    """The manifest with what the files show."""
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
        raise BackupDamaged(gettext("{file} is damaged: {why}", file=path.name, why=" ".join(found.split())))


def _open(scratch: Path, manifest: Manifest, erased: Sequence[Destroyed]) -> None:
    """Open the files with this version.

    A store of an older version is migrated, and gets what it must know of erased persons.
    """
    try:
        if LOG in manifest.files:
            LogFile(scratch / LOG, busy_timeout_s=_BUSY_S)
        if STORE in manifest.files:
            database = Database(f"sqlite:///{scratch / STORE}")
            try:
                migrate.upgrade(database)
                migrate.check(database)
                with database.write() as connection:
                    put_back(connection, database, erased)
            finally:
                database.close()
    except SesameError as error:
        raise BackupUnusable(str(error), remedy=error.remedy) from error
    for name in manifest.files:
        with closing(sqlite3.connect(scratch / name)) as file:
            file.execute("PRAGMA journal_mode = DELETE")  # one file again
