"""Take the registrar's files from a folder: each once, when it is whole, and none of last year's.

Below the folder: `groups` has the second files; `work` a file while it is imported, so that one that comes
under its name meanwhile is another; `taken` what was imported, or came before; `held` what waits for a
person.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import InstanceOf

from pipeline.errors import SesameError, meaning, system_words
from producers.registrar import polls
from producers.registrar.faults import UnusableFile
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_runs import SqlImports
from producers.registrar.report import ImportEnd, ImportKind, ImportReport
from schemas.language import gettext
from sesame.acts.acts import OFFICE, Actor, ActRequest, Report, act
from sesame.acts.ports import Registering
from sesame.operations.imports.acts import ImportRequest, import_files, lists_of

FEED: Final = "folder"
"""Under which the last look at a folder is noted."""
SETTLED_S: Final = 60.0
"""A file that nothing has changed for so long is whole."""
GROUPS, WORK, TAKEN, HELD = "groups", "work", "taken", "held"
_UNFINISHED: Final = (".part", ".filepart", ".tmp", ".crdownload")
"""Names under which programs write what is not whole yet."""
_BEGINS_IN: Final = 9
"""Academic years begin in September: before it two of them have exports of their own."""
_RUNS: Final = 500
_MODE: Final = 0o700


class DropFolderUnusable(SesameError):
    """The folder cannot be used. Create it for the user that runs Sésame, who must be able to write to it."""

    exit_code = 2


class FolderInUse(SesameError):
    """Another process takes the files of this folder. Let it end."""

    exit_code = 4


class DroppedEnd(StrEnum):
    """What became of a file."""

    IMPORTED = "imported"
    HELD = "held"  # by the guard
    REFUSED = "refused"  # it cannot be read
    LAST_YEAR = "last_year"  # it would only change years that are over
    REPEATED = "repeated"  # an import had the same bytes


class DroppedFile(Report):
    """A file that was taken, and where it lies now. `report` None: it was not imported, for `why`."""

    file: Path
    end: DroppedEnd
    report: InstanceOf[ImportReport] | None = None
    why: str = ""
    remedy: str = ""


class Collected(Report):
    """The files that were taken. `arriving`: how many are still being written."""

    files: tuple[DroppedFile, ...]
    arriving: int


class CollectRequest(ActRequest):
    """The folder, and how its files are imported: see `ImportRequest`."""

    folder: Path
    profile: str | None = None
    full_year: int | None = None


@act("import.collect", OFFICE)
def collect(
    site: Registering,
    actor: Actor,
    request: CollectRequest,
    *,
    clock: Callable[[], datetime],
    each: Callable[[DroppedFile], None],
) -> Collected:
    """Import what has come to the folder, the oldest first.

    `each`: called with a file as soon as it was put away.

    Raises:
        DropFolderUnusable, FolderInUse, UnknownProfile, MappingUnusable: nothing was done.
        LogUnavailable, StoreUnavailable, ImportInterrupted: the rest is taken the next time.
    """
    taken = []
    with _alone(request.folder):
        found, arriving = _found(request.folder, clock)
        for path in found:
            taken.append(_take(site, actor, request, path, clock))
            each(taken[-1])
    with site.database.write() as connection:
        polls.finish(connection, site.database, FEED, int(clock().timestamp()))
    return Collected(files=tuple(taken), arriving=arriving)


def _take(
    site: Registering, actor: Actor, request: CollectRequest, path: Path, clock: Callable[[], datetime]
) -> DroppedFile:
    """Import one file, and put it away with what to do about it."""
    kind = ImportKind.TEACHINGS if path.parent.parent.name == GROUPS else ImportKind.ENROLMENTS
    asked = ImportRequest(**request.model_dump(exclude={"folder"}), **{_FIELDS[kind]: path})
    found = _imported(site, actor, asked, kind, path, clock)
    folder = TAKEN if found.end in (DroppedEnd.IMPORTED, DroppedEnd.REPEATED) else HELD
    place = _moved(path, path.parent.parent / folder)
    if found.end not in (DroppedEnd.HELD, DroppedEnd.LAST_YEAR):
        return found.model_copy(update={"file": place})
    approve = [] if found.report is None else ["--approve", str(found.report.approval)]
    command = shlex.join([*_command(request, kind, place), *approve])
    remedy = gettext("If the file is right: {command}", command=command)
    return found.model_copy(update={"file": place, "remedy": remedy})


def _imported(
    site: Registering,
    actor: Actor,
    asked: ImportRequest,
    kind: ImportKind,
    path: Path,
    clock: Callable[[], datetime],
) -> DroppedFile:
    """Import one file, unless something speaks against it. It stays where it is."""
    if path.is_symlink():
        return DroppedFile(file=path, end=DroppedEnd.REFUSED, why=gettext("it is a link to another file"))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (before := _before(site, kind, digest)) is not None:
        why = gettext("the same bytes were imported as {file}: import {id}", file=before[1], id=before[0])
        return DroppedFile(file=path, end=DroppedEnd.REPEATED, why=why)
    dry = asked.model_copy(update={"dry_run": True, "passing": True})
    try:
        if kind is ImportKind.ENROLMENTS:
            [report] = import_files(site, actor, dry, clock=clock, progress=lambda *_: None).reports
            if why := _is_older(site, report, clock().date()):
                return DroppedFile(file=path, end=DroppedEnd.LAST_YEAR, why=why)
        [report] = import_files(site, actor, asked, clock=clock, progress=lambda *_: None).reports
    except UnusableFile as error:
        remedy = error.remedy or gettext(meaning(type(error)))
        return DroppedFile(file=path, end=DroppedEnd.REFUSED, why=str(error), remedy=remedy)
    return DroppedFile(file=path, end=DroppedEnd.HELD if report.held else DroppedEnd.IMPORTED, report=report)


_FIELDS: Final = {ImportKind.ENROLMENTS: "file", ImportKind.TEACHINGS: "groups"}


def _command(request: CollectRequest, kind: ImportKind, place: Path) -> list[str]:
    """The command that imports the file by itself, likewise."""
    words = ["sesame", "import", *(["--groups"] if kind is ImportKind.TEACHINGS else []), str(place)]
    words += [] if request.profile is None else ["--profile", request.profile]
    return words + ([] if request.full_year is None else ["--full", "--year", str(request.full_year)])


def _is_older(site: Registering, report: ImportReport, today: date) -> str:
    """Why a file is of a year that is over; empty: it is not.

    It would change that year, and none that goes on, while this feed has published the present one.
    """
    present = today.year if today.month >= _BEGINS_IN else today.year - 1
    newest = max(SqlFeedMemory(site.database).people(report.source), default=0)
    last = max((each.year for each in report.differences or ()), default=present)
    if last >= present or newest < present:
        return ""
    return gettext("it ends with {year}, and {newest} was imported before", year=last, newest=newest)


def _before(site: Registering, kind: ImportKind, digest: str) -> tuple[int, str] | None:
    """The finished import that had these bytes: its id, and its file's name."""
    for run in SqlImports(site.database).past(before=None, limit=_RUNS, persons=False):
        kept = run.detail
        if kept is not None and (kept.kind, kept.sha256, kept.ended) == (kind, digest, ImportEnd.DONE):
            return run.id, run.file_name
    return None


# --- the folder ---------------------------------------------------------------------------------------


def _found(folder: Path, clock: Callable[[], datetime]) -> tuple[list[Path], int]:
    """The whole files, now in `work`; and how many are not whole."""
    found: list[Path] = []
    arriving = 0
    for place in (folder, folder / GROUPS):
        if not place.is_dir():
            continue
        left = set((place / WORK).glob("*"))  # of a run that was cut off
        found += sorted(left.difference(*map(lists_of, left)))
        waiting = [
            path for path in place.iterdir() if path.is_file() and not path.name.startswith((".", "~"))
        ]
        for path in sorted(waiting, key=lambda each: each.stat().st_mtime):
            state = path.stat()
            changed_at = max(state.st_mtime, state.st_ctime)  # programs may set the first
            if path.suffix.lower() in _UNFINISHED or abs(clock().timestamp() - changed_at) < SETTLED_S:
                arriving += 1
            else:
                found.append(_moved(path, place / WORK, f"{clock():%Y%m%d-%H%M%S}-{path.name}"))
    return found, arriving


def _moved(path: Path, folder: Path, name: str = "") -> Path:
    """Move a file; from `work` with the lists of its lines that the import wrote beside it."""
    folder.mkdir(mode=_MODE, exist_ok=True)
    for beside in lists_of(path):
        if path.parent.name == WORK and beside.exists():
            beside.replace(folder / beside.name)
    place = folder / (name or path.name)
    for again in itertools.count(2):
        if not place.exists():
            return path.replace(place)
        place = folder / f"{again}-{name or path.name}"
    raise AssertionError


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with (folder / ".sesame.lock").open("w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderInUse from None
            yield
    except OSError as error:
        why = system_words(error)
        raise DropFolderUnusable(gettext("{path}: {why}", path=error.filename or folder, why=why)) from error
