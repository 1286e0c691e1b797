"""Back up while everybody works, prove a backup, put one back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.operations import acts
from sesame.operations.acts import Actor, Report, act
from sesame.operations.backup import copies
from sesame.operations.backup.copies import LOG, STORE, Manifest
from sesame.operations.ports import Configured, HasSettings
from sesame.settings import folders

NAME = "sesame-{at:%Y%m%dT%H%M%S.%fZ}"
"""A backup's folder is called after the moment when it was begun, in UTC."""


class NotEmbedded(SesameError):
    """The store is a PostgreSQL server's and the log is Kafka's: each is backed up by its own tools, and put
    back by them. See docs/how-to/back-up-restore-upgrade.md."""

    exit_code = 2


class StillInUse(SesameError):
    """A process has the files open that are to be replaced. Stop every process of Sésame first: the units,
    the timers, the pages."""

    exit_code = 5


class BackupRequest(BaseModel):
    """Where to; of the backups there the newest `keep` stay, None: all of them."""

    folder: Path
    keep: int | None = None


class BackupReport(Report):
    """A backup that was made or proved.

    Attributes:
        folder: of the backup.
        bytes: of its files.
        store: whether the store is in it; else it is a server's, which is backed up after this.
        accounts, records: how many are in it.
        made_at, version, revision: as its manifest says.
        removed: older backups that were removed.
    """

    folder: Path
    bytes: int
    store: bool
    accounts: int
    records: int
    made_at: datetime
    version: str
    revision: str
    removed: tuple[Path, ...] = ()


class RestoreReport(Report):
    """What was put back, and where what was there before is kept; None: nothing was there."""

    restored: BackupReport
    kept: Path | None


@act("backup")
def back_up(
    site: Configured, actor: Actor, request: BackupRequest, *, clock: Callable[[], datetime], version: str
) -> BackupReport:
    """Copy the embedded files while they are worked with, and prove the copy.

    Args:
        clock: the time, in UTC.
        version: of this program.

    Raises:
        NotEmbedded: nothing was made.
        BackupFailed, FolderUnusable: nothing is left of it.
        BackupUnusable: what was copied cannot be used: the store itself is damaged.
    """
    sources = _files(site)
    folders.make(request.folder)
    made_at = clock()
    folder = request.folder / NAME.format(at=made_at)
    acts.note(site.database, actor, "backup", folder=str(folder))
    made = copies.make(folder, sources, made_at=made_at, version=version)
    copies.prove(folder)
    removed = []
    if request.keep is not None:
        for old in copies.backups_in(request.folder)[: -request.keep]:
            shutil.rmtree(old)
            removed.append(old)
    return _report(folder, made, removed)


@act("backup.verify")
def verify(_site: HasSettings, _actor: Actor, folder: Path) -> BackupReport:
    """Restore a backup into a scratch folder beside it, open it, and compare it with its manifest.

    Raises:
        BackupUnusable: it would not help.
    """
    return _report(folder, copies.prove(folder))


@act("restore")
def restore(
    site: HasSettings,
    _actor: Actor,
    folder: Path,
    *,
    clock: Callable[[], datetime],
    in_use: Callable[[Path], Iterable[str]],
) -> RestoreReport:
    """Prove a backup, and put it in the place of the embedded store and log; what was there is kept.

    The store then refuses to be worked with until `sesame restored check` has read the targets.

    Args:
        clock: the time, in UTC.
        in_use: the processes that have a file open, in words.

    Raises:
        NotEmbedded, StillInUse, BackupUnusable: nothing was changed.
        BackupFailed: what was there is there.
    """
    targets = _files(site)
    manifest = copies.prove(folder)
    targets = {name: path for name, path in targets.items() if name in manifest.files}
    users = sorted({user for path in targets.values() for user in in_use(path)})
    if users:
        raise StillInUse(gettext("the files are open: {who}", who=", ".join(users)))
    folders.make(site.settings.data_dir)
    aside = site.settings.data_dir / f"before-restore-{clock():%Y%m%dT%H%M%SZ}"
    kept = copies.place(folder, manifest, targets, aside)
    return RestoreReport(restored=_report(folder, manifest), kept=aside if kept else None)


def processes_with(path: Path) -> Iterator[str]:
    """The other processes that have this file open, as far as this user may see (Linux, proc(5))."""
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
            continue  # it has ended, or is somebody else's
        if any(_is(each, wanted) for each in descriptors):
            yield gettext("process {number}", number=process.name)


def _is(descriptor: Path, wanted: os.stat_result) -> bool:
    try:
        found = descriptor.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def _files(site: HasSettings) -> dict[str, Path]:
    """The embedded files of this site, by what they are called in a backup.

    Raises:
        NotEmbedded: there are none.
    """
    settings, found = site.settings, {}
    if settings.store_file is not None:
        found[STORE] = settings.store_file
    if settings.log.kind == "sqlite":
        found[LOG] = settings.log_path
    if not found:
        raise NotEmbedded
    return found


def _report(folder: Path, manifest: Manifest, removed: Iterable[Path] = ()) -> BackupReport:
    return BackupReport(
        folder=folder,
        bytes=sum(each.bytes for each in manifest.files.values()),
        store=STORE in manifest.files,
        accounts=manifest.rows.get("accounts", 0),
        records=manifest.records,
        made_at=manifest.made_at,
        version=manifest.version,
        revision=manifest.revision,
        removed=tuple(removed),
    )
