"""Imports of the registrar's files, and how their first lines are read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, InstanceOf, model_serializer
from sqlalchemy import Connection

from consumers.registry.erasure.erasures import has_forgotten
from consumers.registry.people import People
from pipeline.audit import operator_notes
from producers.registrar.acceptance import Acceptance
from producers.registrar.affected import RecordedPerson
from producers.registrar.enrolments import import_file
from producers.registrar.explanation import ImportExplanation
from producers.registrar.explanation import explain as explain_file
from producers.registrar.faults import UnusableFile
from producers.registrar.feed_memory import SqlFeedMemory, SqlTeachingMemory
from producers.registrar.guard import Approval
from producers.registrar.import_subject import ImportInterrupted, ImportOptions
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import choose, choose_groups
from producers.registrar.report import ImportKind, ImportReport
from producers.registrar.settings import RegistrarSettings
from producers.registrar.teachings import import_groups, parse
from schemas.account import NO_YEAR
from schemas.language import gettext, gettext_noop
from sesame.acts import acts
from sesame.acts.acts import OFFICE, Actor, Report, act
from sesame.acts.ports import HasSettings, Recognising, Registering
from sesame.operations.imports.first_courses import first_courses

if TYPE_CHECKING:
    from sesame.settings import Settings

_YEARS_AHEAD = 2
"""An academic year this far ahead of the calendar is still plausible."""
LEAK_DAYS: Final = 30
"""Days whose losses are added up: a few people lost with each night's file are seen within a month."""

Progress = Callable[[ImportKind, int, int | None], None]
"""Called with the file's kind, steps done, and steps in all (None: unknown)."""


REQUEST_S_MAX: Final = 1_800.0
"""Time limit of an import started by a web request; the command has no limit."""
_AGAIN: Final = gettext_noop("Import the same file again: what was published is recognised.")
_TOO_LONG: Final = gettext_noop(
    "By a page or the API an import takes 30 minutes at most. Import the file with `sesame import`."
)


class ImportStop:
    """Stops an import started by a web request: on request or at its time limit."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ends_at = monotonic() + REQUEST_S_MAX
        self._wanted = threading.Event()

    def want(self) -> None:
        """Stop the import at its next step."""
        self._wanted.set()

    def check(self) -> None:
        """Raise `ImportInterrupted` if it is to stop."""
        if self._wanted.is_set():
            raise ImportInterrupted(remedy=gettext(_AGAIN))
        if self._monotonic() >= self._ends_at:
            raise ImportInterrupted(remedy=gettext(_TOO_LONG))


class Reading(BaseModel):
    """Files to read, and their form.

    Attributes:
        file: of enrolments.
        groups: of teaching units and groups.
        profile: a built-in one or a mapping file; None: the settings'.
        encoding: None: detect it.
        sheet: of a spreadsheet; None: the only non-empty one.
    """

    file: Path | None = None
    groups: Path | None = None
    profile: str | None = None
    encoding: str | None = None
    sheet: str | None = None


class ExplainRequest(Reading):
    """`lines_max`: how many of the first lines to show."""

    lines_max: int


class ImportRequest(Reading):
    """An import of files; see `ImportOptions`.

    Attributes:
        approve: the id reported when the file was held; `reason`: why that is right.
        accept: codes of values that are right although they look damaged.
        rejects, affected: where to write them; None: in the file's folder.
        passing: the file is gone afterwards: neither is written, the report has their first rows.
        sent: the file's content; None: it is on disk.
        together: how many requests sent the lines of `file`, one each; 0: it is a file.
        first_courses: a file of when each component's first course is; theirs are published in that order.
    """

    dry_run: bool = False
    republish: bool = False
    full_year: int | None = None
    approve: str | None = None
    reason: str | None = None
    accept: tuple[str, ...] = ()
    rejects: Path | None = None
    affected: Path | None = None
    passing: bool = False
    sent: bytes | None = Field(default=None, repr=False)
    together: int = 0
    first_courses: Path | None = None


class Imported(Report):
    """The reports of both files, that of enrolments first."""

    reports: tuple[InstanceOf[ImportReport], ...]

    @model_serializer
    def _document(self) -> dict[str, Any]:
        return _joined([report.to_json() for report in self.reports])


class FileExplained(Report):
    """A file's form, and its first lines as read."""

    file: Path
    profile: InstanceOf[FeedProfile]
    explanation: InstanceOf[ImportExplanation]

    @model_serializer
    def _document(self) -> dict[str, Any]:
        layout = self.explanation.layout
        return {
            "profile": self.profile.name,
            "encoding": layout.encoding,
            "separator": layout.separator,
            "form": layout.form,
            "sheet": layout.sheet,
            "titles": layout.titles,
            "footers": layout.footers,
            "lines": self.explanation.rows,
            "ignored_columns": self.explanation.ignored,
            "read": [line.to_json() for line in self.explanation.lines],
        }


class Explained(Report):
    """Both files explained, that of enrolments first."""

    files: tuple[FileExplained, ...]

    @model_serializer
    def _document(self) -> dict[str, Any]:
        return _joined([file.model_dump() for file in self.files])


@act("import", OFFICE)
def import_files(
    site: Registering,
    actor: Actor,
    request: ImportRequest,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Imported:
    """Import the files: publish what differs from earlier imports.

    One file that is held does not hold the other.

    Raises:
        UnusableFile, UnknownProfile, MappingUnusable, AcceptanceUnfit: nothing of this file was published.
        ImportInterrupted: of a KeyboardInterrupt or of `progress`; it has the reports of the files before.
        LogUnavailable, StoreUnavailable: repeat the import.
    """
    settings = site.settings.registrar
    profile, groups_profile = _profiles(request, site.settings, clock())
    parts: list[tuple[ImportKind, str, Path, Callable[..., ImportReport]]] = []
    if profile is not None and profile.prefix and request.full_year is not None:
        request = request.model_copy(update={"full_year": NO_YEAR})
    if request.file is not None and profile is not None:
        feed, persons = SqlFeedMemory(site.database), _Recorded(site)
        work = partial(import_file, profile=profile, feed=feed, persons=persons)
        parts.append((ImportKind.ENROLMENTS, "import", request.file, work))
    if request.groups is not None and groups_profile is not None:
        work = partial(import_groups, profile=groups_profile, feed=SqlTeachingMemory(site.database))
        parts.append((ImportKind.TEACHINGS, "import.groups", request.groups, work))
    reports = []
    for kind, action, path, run in parts:
        order = _order(request, path, settings, actor)
        progress(kind, 0, None)
        told = partial(progress, kind)
        try:
            note = partial(_note, site, actor, action, request, path)
            reports.append(run(path, order, producer=site.producer, clock=clock, progress=told, note=note))
        except ImportInterrupted as interrupted:
            interrupted.done = tuple(reports)
            raise
    return Imported(reports=tuple(reports))


def import_sent(
    site: Registering,
    actor: Actor,
    request: ImportRequest,
    file: Path,
    *,
    clock: Callable[[], datetime],
    stop: ImportStop | None = None,
    progress: Progress = lambda _kind, _done, _of: None,
) -> ImportReport:
    """Import one file that was sent. Its content is in memory, or in a temporary place.

    `stop` None: only its time limit stops it.

    Raises:
        As `import_files`; no error names its place.
    """
    stop = stop or ImportStop()

    def advance(kind: ImportKind, done: int, of: int | None) -> None:
        stop.check()
        progress(kind, done, of)

    try:
        sent = request.model_copy(update={"passing": True})
        done = import_files(site, actor, sent, clock=clock, progress=advance)
    except UnusableFile as error:
        text = str(error).replace(str(file), file.name)
        choices: dict[str, Any] = {"sheets": error.sheets, "header": error.header}
        raise UnusableFile(text, remedy=error.remedy, sent=error.sent, **choices) from error
    [report] = done.reports
    return report


def stop_sent(site: Registering, actor: Actor, stop: ImportStop, file_name: str) -> None:
    """Stop an import started by a request; it needs the right to import."""
    acts.check(actor, "import")
    acts.note(site.database, actor, "import.stop", file=file_name)
    stop.want()


class RejectedLine(Report):
    """A refused line, and why. `fault`: see docs/reference/rejections.md; `column`: or the whole line."""

    line: int
    student_number: str
    column: str
    fault: str
    detail: str
    remedy: str


def for_programs(detail: str) -> str:
    """Reword a line's error for a program: command options become parameters."""
    return detail.replace("(--accept ", "(accept=")


def json_lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """A program's data, as the content of a file."""
    return "".join(json.dumps(each) + "\n" for each in objects).encode("ascii")


def rejected_lines(report: ImportReport) -> list[RejectedLine]:
    """The first refused lines of what was sent, without the refused values."""
    names = ("line", "student_number", "column", "value", "detail", "remedy", "fault")
    rows = (dict(zip(names, row, strict=True)) for row in report.refused)
    return [RejectedLine.model_validate(row) for row in rows]


@act("import.explain", OFFICE)
def explain(
    site: HasSettings, _actor: Actor, request: ExplainRequest, *, clock: Callable[[], datetime]
) -> Explained:
    """Read the first lines of each file; compare and publish nothing.

    Raises:
        UnusableFile, UnknownProfile, MappingUnusable: it cannot be read.
    """
    profile, groups_profile = _profiles(request, site.settings, clock())
    found = []
    if request.file is not None and profile is not None:
        explanation = explain_file(request.file, profile, request.lines_max)
        found.append(FileExplained(file=request.file, profile=profile, explanation=explanation))
    if request.groups is not None and groups_profile is not None:
        explanation = explain_file(request.groups, groups_profile, request.lines_max, parse=parse)
        found.append(FileExplained(file=request.groups, profile=groups_profile, explanation=explanation))
    return Explained(files=tuple(found))


def erased_among(site: Recognising, students: Collection[str]) -> set[str]:
    """Those of these students who were erased, and are not back."""
    if (privacy := site.privacy_if_any) is None:
        return set()
    with site.database.read() as connection:
        back = People(site.database).known_among(connection, students)
        return {
            each
            for each in students
            if each not in back and has_forgotten(connection, privacy.pseudonym(each))
        }


class _Recorded:
    """`producers.registrar.affected.RecordedPersons`, read from the registry."""

    def __init__(self, site: Recognising) -> None:
        self._site = site
        self._database = site.database
        self._people = People(site.database)

    def erased(self, students: Collection[str]) -> set[str]:
        return erased_among(self._site, students)

    def recorded(self, students: Collection[str]) -> dict[str, RecordedPerson]:
        with self._database.read() as connection:
            known = self._people.known_among(connection, students)
        return {
            number: RecordedPerson(
                person.identity.birth_name,
                person.identity.given_name,
                person.identity.birth_date.isoformat(),
                person.ine,
                person.personal_mail,
                person.mobile,
            )
            for number, person in known.items()
        }


def _profiles(
    request: Reading, site: Settings, now: datetime
) -> tuple[FeedProfile | None, FeedProfile | None]:
    """The profile of each file; None: there is no such file."""
    settings, registry = site.registrar, site.registry
    profile, groups = None, None
    if request.file is not None:
        profile = choose(
            request.profile or settings.mapping or settings.profile,
            payment_required=settings.payment_required,
            one_name=settings.one_name,
        )
        labels = {each.name: each.label for each in registry.populations}
        profile = replace(_completed(profile, request, settings, now), populations=labels)
    if request.groups is not None:
        which = request.profile or settings.groups_mapping or settings.mapping or settings.profile
        groups = _completed(choose_groups(which), request, settings, now)
    return profile, groups


def _completed(
    profile: FeedProfile, request: Reading, settings: RegistrarSettings, now: datetime
) -> FeedProfile:
    """The profile, completed by the operator's options and the settings."""
    return replace(
        profile,
        encoding=request.encoding or profile.encoding,
        file=replace(profile.file, sheet=request.sheet or profile.file.sheet),
        student_number=profile.student_number or ("" if profile.prefix else settings.student_number_pattern),
        year_max=now.year + _YEARS_AHEAD,
    )


def lists_of(path: Path) -> tuple[Path, Path]:
    """Where the refused lines and the affected people of a file are written by default."""
    return path.with_name(f"{path.stem}.rejects.csv"), path.with_name(f"{path.stem}.affected.csv")


def _order(request: ImportRequest, path: Path, settings: RegistrarSettings, actor: Actor) -> ImportOptions:
    rejects, affected = lists_of(path)
    return ImportOptions(
        rejects_path=None if request.passing else request.rejects or rejects,
        affected_path=None if request.passing else request.affected or affected,
        dry_run=request.dry_run,
        republish=request.republish,
        full_year=request.full_year,
        threshold=settings.threshold,
        leak=settings.leak,
        leak_days=LEAK_DAYS,
        approval=None if request.approve is None else Approval(request.approve, actor.name),
        acceptance=Acceptance(frozenset(request.accept), actor.name),
        actor=actor.name,
        sent=request.sent,
        together=request.together > 1,
        turns=first_courses(request.first_courses),
    )


def _note(
    site: Registering, actor: Actor, action: str, request: ImportRequest, file: Path, connection: Connection
) -> None:
    ref = None
    if request.reason is not None:
        about, words = request.approve or "", request.reason
        who: Any = {"student_number": None, "actor": actor.name}
        ref = operator_notes.keep(connection, site.database, action=action, about=about, words=words, **who)
    acts.note(
        site.database,
        actor,
        action,
        connection,
        file=file.name,
        full_year=request.full_year,
        republish=request.republish or None,
        approval=request.approve if ref else None,
        reason_ref=ref,
        requests=request.together if request.together > 1 else None,
    )


def _joined(documents: list[dict[str, Any]]) -> dict[str, Any]:
    main, *more = documents
    return main | ({"groups": more[0]} if more else {})
