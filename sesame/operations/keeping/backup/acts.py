"""Back up during work, verify a backup, and restore one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from sqlalchemy import MetaData

from consumers.registry.ledger import ledger
from consumers.registry.people import people
from pipeline.audit.trail import audit_persons
from pipeline.db import persons
from pipeline.db.persons import OnErasure
from pipeline.errors import SesameError
from pipeline.person_keys import PersonKeys, PersonKeysError
from schemas.language import gettext
from sesame.acts import acts
from sesame.acts.acts import ADMINISTRATORS, Actor, Report, act
from sesame.acts.ports import Configured, HasSettings, Stored
from sesame.operations.keeping.backup import copies
from sesame.operations.keeping.backup.copies import LOG, STORE, BackupFailed, Manifest
from sesame.operations.keeping.backup.sealing import Identifier, Owned
from sesame.settings import folders

NAME = "sesame-{at:%Y%m%dT%H%M%S.%fZ}"
"""Name of a backup's folder: the moment when it was begun, in UTC."""

KEYS = "person-keys.db"
ASIDE = "before-restore-"
"""Prefix of the folder in which a restore keeps the former files."""

_KEY_COPY_DAYS: Final = 7
"""Days that copies of the persons' keys live: as long old backups open, and erased persons can be found."""
_LEFT = {audit_persons.name: {"salt": None}}
"""What a row that outlives its person's erasure keeps, next to the pseudonym."""
_IDENTIFIERS = (
    *(
        Identifier(people.name, name, "student_number")
        for name in ("student_number", "ine", "esi", "personal_mail", "mobile", "mail_redirect")
    ),
    Identifier(ledger.name, "value", "student_number"),
)
"""Columns by which a text may name a person: an erasure looks for them."""


class NotEmbedded(SesameError):
    """The store is a PostgreSQL server's and the log is Kafka's: each is backed up by its own tools, and put
    back by them. See docs/how-to/back-up-restore-upgrade.md."""

    exit_code = 2


class StillInUse(SesameError):
    """A process has the files open that are to be replaced. Stop every process of Sésame first: the units,
    the timers, the pages."""

    exit_code = 5


class BackupRequest(BaseModel):
    """Where to back up; keep the newest `keep` backups there (None: all)."""

    folder: Path
    keep: int | None = None


class BackupReport(Report):
    """A backup that was made or proved.

    Attributes:
        bytes: of its files.
        store: whether the store is in it; else it is a server's, which is backed up after this.
        accounts, records: how many are in it.
        made_at, version, revision: of its manifest.
        removed: older backups that were removed.
        keys: the copy of the persons' keys that was made with it.
        erased: persons in it who were erased since, and will not be restored.
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
    keys: Path | None = None
    erased: int = 0


class RestoreRequest(BaseModel):
    """The backup to restore. `keys`: a copy of the persons' keys; None: the file in `data_dir`."""

    folder: Path
    keys: Path | None = None


class RestoreReport(Report):
    """The restored backup, and the place of the former files (None: there were none)."""

    restored: BackupReport
    kept: Path | None


@act("backup", ADMINISTRATORS)
def back_up(
    site: Configured,
    actor: Actor,
    request: BackupRequest,
    *,
    metadata: MetaData,
    clock: Callable[[], datetime],
    version: str,
) -> BackupReport:
    """Copy the embedded files online, seal every person, and prove the copy.

    The persons' keys are copied too, into another folder.

    Args:
        metadata: with every table of the store, each of which declares its rows' owner.
        clock: the time, in UTC.
        version: of this program.

    Raises:
        NotEmbedded: nothing was made.
        BackupFailed, FolderUnusable: nothing is left of it.
        BackupUnusable: what was copied cannot be used: the store itself is damaged.
        PersonKeysUnusable: the keys cannot be used, or copied.
    """
    sources, keys, settings = _files(site), person_keys(site), site.settings
    for path in sources.values():
        if not path.exists():
            text = gettext("{path} does not exist yet", path=path)
            raise BackupFailed(text, remedy=gettext("Start `sesame run` once: it makes store and log."))
    for needed in (request.folder, settings.data_dir, settings.key_copies):
        folders.make(needed)
    made_at = clock()
    folder = request.folder / NAME.format(at=made_at)
    acts.note(site.database, actor, "backup", folder=str(folder))
    try:
        made = copies.make(
            folder,
            sources,
            tables=_owned(metadata),
            identifiers=_IDENTIFIERS,
            keys=keys,
            scratch=settings.data_dir,
            made_at=made_at,
            version=version,
        )
        copied = keys.copy(made_at, days=_KEY_COPY_DAYS)
        copies.prove(folder, keys=keys, scratch=settings.data_dir)
    except SesameError as error:
        acts.note_look(site.database, actor, "backup", folder=str(folder), unusable=type(error).__name__)
        raise
    removed = []
    if request.keep is not None:
        for old in copies.backups_in(request.folder)[: -request.keep]:
            shutil.rmtree(old)
            removed.append(old)
    return _report(folder, made).model_copy(update={"removed": tuple(removed), "keys": copied})


@act("backup.verify", ADMINISTRATORS)
def verify(
    site: HasSettings, actor: Actor, request: RestoreRequest, *, store: Stored | None = None
) -> BackupReport:
    """Restore a backup into a scratch folder, open it, compare it with its manifest.

    The scratch folder is in `data_dir`.

    Args:
        store: whose audit keeps the rehearsal, with its result; None: there is none on this machine.

    Raises:
        BackupUnusable: it could not be restored.
        PersonKeysError: these keys do not open it.
    """
    folders.make(site.settings.data_dir)
    keys = person_keys(site) if request.keys is None else PersonKeys(request.keys)
    begun, said = time.monotonic(), {"folder": str(request.folder)}
    try:
        found = copies.prove(request.folder, keys=keys, scratch=site.settings.data_dir)
    except SesameError as error:
        if store is not None:
            acts.note_look(store.database, actor, "backup.verify", **said, unusable=type(error).__name__)
        raise
    report = _report(request.folder, found.manifest, found.erased)
    if store is not None:
        told = report.model_dump(mode="json", include={"accounts", "records", "erased", "made_at"})
        seconds = round(time.monotonic() - begun, 1)
        acts.note_look(store.database, actor, "backup.verify", **said, **told, seconds=seconds)
    return report


@act("restore", ADMINISTRATORS)
def restore(
    site: HasSettings,
    _actor: Actor,
    request: RestoreRequest,
    *,
    clock: Callable[[], datetime],
    in_use: Callable[[Path], Iterable[str]],
) -> RestoreReport:
    """Prove a backup and put it in place of the embedded store and log.

    The former files are kept. The store then refuses work until `sesame restored check` has read the
    targets. Persons erased since the backup are not restored. A copy of the keys that the request names
    becomes the keys' file.

    Args:
        clock: the time, in UTC.
        in_use: the processes that have a file open, in words.

    Raises:
        NotEmbedded, StillInUse, BackupUnusable, PersonKeysError: nothing was changed.
        BackupFailed: the former files are in place.
    """
    targets, data_dir, own = _files(site), site.settings.data_dir, person_keys(site)
    folders.make(data_dir)
    if request.keys is not None and own.path.exists():
        raise PersonKeysError(
            gettext("there is a file of persons' keys at {path}, which knows who was erased", path=own.path),
            remedy=gettext("Restore without `--keys`. If these are others, move the file away first."),
        )
    keys = own if request.keys is None else PersonKeys(request.keys)
    with copies.opened(request.folder, keys=keys, scratch=data_dir) as found:
        targets = {name: path for name, path in targets.items() if name in found.manifest.files}
        users = sorted({user for path in targets.values() for user in in_use(path)})
        if users:
            raise StillInUse(gettext("the files are open: {who}", who=", ".join(users)))
        if request.keys is not None:
            own.take_over(request.keys)
        aside = data_dir / f"{ASIDE}{clock():%Y%m%dT%H%M%SZ}"
        kept = copies.place(found.folder, found.manifest, targets, aside)
    restored = _report(request.folder, found.manifest, found.erased)
    return RestoreReport(restored=restored, kept=aside if kept else None)


def person_keys(site: HasSettings) -> PersonKeys:
    """The persons' keys of this machine, which its backups are sealed with."""
    return PersonKeys(site.settings.data_dir / KEYS, copies=site.settings.key_copies)


def _owned(metadata: MetaData) -> Sequence[Owned]:
    found = []
    for table in metadata.sorted_tables:
        said = persons.declared(table)
        stays = said.on_erasure is OnErasure.PSEUDONYM or table.name in _LEFT
        if said.columns or said.named_in:
            left = _LEFT.get(table.name, {}) if stays else None
            found.append(Owned(table.name, said.columns, left, said.named_in, said.in_backups))
    return found


def _files(site: HasSettings) -> dict[str, Path]:
    """The embedded files of this site, by their names in a backup. Raises `NotEmbedded` if there are none."""
    settings, found = site.settings, {}
    if settings.store_file is not None:
        found[STORE] = settings.store_file
    if settings.log.kind == "sqlite":
        found[LOG] = settings.log_path
    if not found:
        raise NotEmbedded
    return found


def _report(folder: Path, manifest: Manifest, erased: int = 0) -> BackupReport:
    return BackupReport(
        folder=folder,
        bytes=sum(each.bytes for each in manifest.files.values()),
        store=STORE in manifest.files,
        accounts=manifest.rows.get("accounts", 0),
        records=manifest.records,
        made_at=manifest.made_at,
        version=manifest.version,
        revision=manifest.revision,
        erased=erased,
    )
