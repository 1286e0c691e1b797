"""Past imports: which there were, how each ended, and what it would have changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, Field
from sqlalchemy import func, select

from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.feed_memory import feed_rows
from producers.registrar.import_runs import ImportRun, SqlImports
from producers.registrar.report import ImportDetail, ImportEnd, KeptRejection, YearDifference
from schemas.account import Stage
from sesame.acts import acts
from sesame.acts.acts import OFFICE, OPERATORS, Actor, ActPath, Report, act, utc, utc_or_none
from sesame.acts.ports import Configured, Stored
from sesame.operations.imports.losses import ImportLoss, check_typed, loss_of

_DAY_S = 86_400.0
SUPERSEDED, UNFINISHED = "superseded", "unfinished"


class NoSuchImport(SesameError):
    """There is no import of this id. `sesame imports list` shows them; those of which nothing is in force are
    removed when `store.history_days` are over."""


class ImportNotHeld(SesameError):
    """The guard does not hold this import: there is nothing to approve."""


class PastImport(Report):
    """One import.

    Attributes:
        feed: the profile's name.
        kind: `enrolments` or `teachings`; None: it was not recorded then.
        file: without folders.
        actor: who ran it; None: it was not recorded then.
        state: `done`, `held`, `failed`, `interrupted`, `superseded` (a newer one continued alone), or
            `unfinished`: under way, or killed.
        duration_s: None: no end is known.
        counts: of lines and facts; of a broken-off import, of the published ones.
        line, last_line: of an unfinished one: the log has its facts up to this line of so many; None: it has
            not come so far, or is done.
    """

    id: int
    feed: str
    kind: str | None
    file: str
    actor: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_s: float | None
    state: str
    counts: dict[str, int]
    error: str
    line: int | None = None
    last_line: int | None = None


class PastImportShown(PastImport):
    """One import with what it would have changed.

    See `producers.registrar.report.ImportDetail`.

    `before`: the last done import before it of the same feed and kind; None: it is not kept.
    """

    full_year: int | None = None
    sha256: str = ""
    encoding: str = ""
    form: str = ""
    faults: dict[str, int] = Field(default_factory=dict)
    years: tuple[dict[str, Any], ...] = ()
    rejects: str | None = None
    affected: str | None = None
    approval: str | None = None
    approved_by: str | None = None
    first_approver: str | None = Field(default=None, exclude=True)
    refused: tuple[KeptRejection, ...] = Field(default=(), exclude=True)
    differences: tuple[YearDifference, ...] | None = None
    before: PastImport | None = None


class ImportsRequest(BaseModel):
    """Filter of imports.

    Attributes:
        limit: of the page.
        after: the id that ended the page before.
        persons: those by which programs sent one person each, instead of files; None: both.
        held: only those that the guard holds.
    """

    limit: int
    after: int | None = None
    persons: bool | None = False
    held: bool = False


class ImportsReport(Report):
    """A page of imports, the newest first.

    Attributes:
        next: the id to give as `after`; None: there are no more.
        persons_sent: how often programs have sent a person in the last 24 hours.
    """

    imports: tuple[PastImport, ...]
    next: int | None
    persons_sent: int


@act("import.list", OFFICE)
def listed(site: Stored, _actor: Actor, request: ImportsRequest) -> ImportsReport:
    """The matching imports, the newest first."""
    runs = SqlImports(site.database)
    which: dict[str, Any] = {"persons": request.persons, "held": request.held}
    found = runs.past(before=request.after, limit=request.limit + 1, **which)
    shown = found[: request.limit]
    with site.database.read() as connection:
        now = site.database.now(connection)
    return ImportsReport(
        imports=tuple(PastImport(**_told(run)) for run in shown),
        next=shown[-1].id if len(found) > len(shown) else None,
        persons_sent=runs.persons_since(now - _DAY_S),
    )


@act("import.show", OFFICE, path=ActPath("show_import", "GET", "/imports/{import_id}"))
def shown(site: Stored, actor: Actor, import_id: int) -> PastImportShown:
    """One import in full; audited.

    Raises:
        NoSuchImport: there is none.
    """
    runs = SqlImports(site.database)
    run = runs.run_of(import_id)
    if run is None:
        raise NoSuchImport
    before = runs.ended_before(run)
    acts.note(site.database, actor, "import.show", import_id=import_id)
    return PastImportShown(**_shown(run), before=None if before is None else PastImport(**_told(before)))


class ImportAccounts(NamedTuple):
    """The accounts of an import's students.

    Attributes:
        ready: may be activated.
        begun: were activated before.
        awaited: the registry has not made them yet, or a question about the person is open.
    """

    ready: int
    begun: int
    awaited: int


def accounts_of(site: Stored, actor: Actor, import_id: int) -> ImportAccounts:
    """What has become of the students whose enrolments this import published."""
    acts.check(actor, "import.list")
    run = SqlImports(site.database).run_of(import_id)
    if run is None:
        return ImportAccounts(0, 0, 0)
    mine = feed_rows.c.source == run.source, feed_rows.c.import_id == run.id, feed_rows.c.live.is_not(False)
    students = select(feed_rows.c.student_number).where(*mine).distinct().subquery()
    number, stage = accounts.accounts.c.student_number, accounts.accounts.c.stage
    joined = students.outerjoin(accounts.accounts, number == students.c.student_number)
    with site.database.read() as connection:
        rows = connection.execute(select(stage, func.count()).select_from(joined).group_by(stage)).all()
    counts = {row[0]: row[1] for row in rows}
    ready, awaited = counts.get(Stage.PRECREATED.value, 0), counts.get(None, 0)
    return ImportAccounts(ready, sum(counts.values()) - ready - awaited, awaited)


@act("import.approve", OPERATORS, path=ActPath("approve_import", "POST", "/imports/{import_id}/approve", 204))
def approve(site: Stored, actor: Actor, import_id: int) -> None:
    """Approve an import that the guard holds, for when the same is sent again.

    It must be sent within the guard's days. This is for programs, which cannot pass an approval.

    Raises:
        NoSuchImport, ImportNotHeld: nothing was done.
    """
    _approve(site, actor, import_id)


def approve_loss(site: Configured, actor: Actor, import_id: int, people: int, reason: str) -> bool:
    """Approve a loss that was read; return whether no second person has to.

    Args:
        people: how many it concerns, as typed.
        reason: why it is right.

    Raises:
        OtherCount, NoSuchImport, ImportNotHeld: nothing was done.
    """
    acts.check(actor, "import.approve")
    run = SqlImports(site.database).run_of(import_id)
    if run is None:
        raise NoSuchImport
    check_typed(people, held_loss(site, PastImportShown(**_shown(run))))
    return _approve(site, actor, import_id, reason=reason, by_two=site.settings.lifecycle.release_by_two)


def held_loss(site: Configured, one: PastImportShown) -> ImportLoss:
    """The loss that this import would bring if it were approved today."""
    with site.database.read() as connection:
        today = utc(site.database.now(connection)).date()
    return loss_of(site, one.years, one.counts.get("rejected", 0), today)


def _approve(
    site: Stored, actor: Actor, import_id: int, *, reason: str | None = None, by_two: bool = False
) -> bool:
    runs = SqlImports(site.database)
    run = runs.run_of(import_id)
    if run is None or run.detail is None:
        raise NoSuchImport
    about = {"import_id": import_id, "approval": run.detail.approval}
    if reason is None:
        acts.note(site.database, actor, "import.approve", **about)
    else:
        with site.database.write() as connection:
            operator_notes.keep_and_audit(
                connection,
                site.database,
                action="import.approve",
                about=run.detail.approval or "",
                student_number=None,
                actor=actor.name,
                words=reason,
                detail=about,
            )
    if not runs.approve_held(import_id, actor.name, by_two=by_two):
        raise ImportNotHeld
    approved = runs.run_of(import_id)
    return approved is not None and approved.detail is not None and approved.detail.approved_by is not None


_KEPT = set(PastImportShown.model_fields) - set(PastImport.model_fields) - {"before"}


def _shown(run: ImportRun) -> dict[str, Any]:
    return _told(run) | ({} if run.detail is None else run.detail.model_dump(include=_KEPT))


def _told(run: ImportRun) -> dict[str, Any]:
    detail = run.detail
    ended_at = run.finished_at
    if ended_at is None and detail is not None:
        ended_at = detail.ended_at
    counts = {name: count for name, count in run.counts.items() if name != ImportEnd.HELD.value}
    if not counts and detail is not None and detail.ended is not None:
        counts = {"published": detail.published}
    return {
        "id": run.id,
        "feed": run.source,
        "kind": None if detail is None else detail.kind.value,
        "file": run.file_name,
        "actor": None if detail is None else detail.actor,
        "started_at": utc(run.started_at),
        "ended_at": utc_or_none(ended_at),
        "duration_s": None if ended_at is None else round(max(0.0, ended_at - run.started_at), 1),
        "state": _state(run, detail),
        "counts": counts,
        "error": "" if detail is None else detail.error,
        **_progress(run, detail),
    }


def _progress(run: ImportRun, detail: ImportDetail | None) -> dict[str, int]:
    if run.finished_at is not None or detail is None or not detail.last_line:
        return {}
    done = run.confirmed_through - run.id * SEQUENCES_PER_IMPORT if run.confirmed_through else 0
    return {"line": min(done, detail.last_line), "last_line": detail.last_line}


def _state(run: ImportRun, detail: ImportDetail | None) -> str:
    if run.finished_at is not None:
        return (ImportEnd.HELD if run.counts.get(ImportEnd.HELD.value) else ImportEnd.DONE).value
    if detail is not None and detail.ended is not None:
        return detail.ended.value
    return SUPERSEDED if run.superseded else UNFINISHED
