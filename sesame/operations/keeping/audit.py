"""The audit: who did what, when and why, and whether it is unchanged since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel

from pipeline import audit
from pipeline.audit import verification
from sesame.acts import acts
from sesame.acts.acts import LOOKS, OPERATORS, Actor, Report, act, utc
from sesame.acts.ports import Stored
from sesame.operations.keeping import spreadsheet


class AuditEntry(Report):
    """One act, and its object.

    Attributes:
        reason: the operator's own words, None once removed.
        hash: of its place in the chain; kept elsewhere, it can be looked for later.
    """

    id: int
    at: datetime
    actor: str
    action: str
    detail: Mapping[str, Any]
    reason: str | None
    hash: str


class AuditRequest(BaseModel):
    """Filter of audit entries.

    Attributes:
        actor: by this user, under any rights.
        action: this one, or all of a kind: `hold` means hold.place and hold.lift.
        student: to this student number, alone or among others.
        about: a student number, a consumer, a replay's or a file's name.
        since, until: from this time on, and before this one (Unix time, in seconds).
        acts_only: without what only looked at persons.
    """

    actor: str | None = None
    action: str | None = None
    student: str | None = None
    about: str | None = None
    since: float = 0.0
    until: float | None = None
    acts_only: bool = False

    def wanted(self) -> dict[str, Any]:
        """The filter, as the store has it."""
        return self.model_dump(exclude={"acts_only"}) | {"without": LOOKS if self.acts_only else ()}


class AuditPageRequest(AuditRequest):
    """A page of entries. `limit`: at most; `before`: older than the entry of this id."""

    before: int | None = None
    limit: int


@act(
    "audit.list",
    OPERATORS,
    shows=lambda _report, page: {"student_number": page.student} if page.student is not None else None,
)
def entries(site: Stored, _actor: Actor, request: AuditPageRequest) -> list[AuditEntry]:
    """The matching entries, the newest first."""
    with site.database.read() as connection:
        found = audit.entries(connection, **request.wanted())
    return [AuditEntry(**asdict(entry) | {"at": utc(entry.at)}) for entry in found]


_EXPORT_PAGE: Final = 500


@act("audit.export", OPERATORS)
def export(site: Stored, actor: Actor, request: AuditRequest, form: Literal["csv", "jsonl"]) -> Iterator[str]:
    """Export the matching entries as lines of a file, the newest first. One page of them is in memory.

    Record the export before its first line is read, with the filter except `about`, which may name a person.
    """
    wanted = {"by": request.actor, "act": request.action, "student_number": request.student}
    times = {"since": request.since or None, "until": request.until}
    acts.note(site.database, actor, "audit.export", format=form, **wanted, **times)
    return _lines(site, request, form)


def _lines(site: Stored, request: AuditRequest, form: Literal["csv", "jsonl"]) -> Iterator[str]:
    if form == "csv":
        yield spreadsheet.MARK + spreadsheet.line(AuditEntry.model_fields)
    before: int | None = None
    while True:
        with site.database.read() as connection:
            found = audit.entries(connection, **request.wanted(), before=before, limit=_EXPORT_PAGE)
        for each in found:
            entry = AuditEntry(**asdict(each) | {"at": utc(each.at)})
            yield entry.model_dump_json() + "\n" if form == "jsonl" else spreadsheet.line(_cells(entry))
        if len(found) < _EXPORT_PAGE:
            return
        before = found[-1].id


def _cells(entry: AuditEntry) -> Iterator[str]:
    for value in entry.model_dump(mode="json").values():
        if value is None or isinstance(value, str):
            yield value or ""
        else:
            yield json.dumps(value, ensure_ascii=False)


class AuditBreak(Report):
    """A break of the chain, and its kind: a name of `pipeline.audit.verification`."""

    entry: int
    kind: str


class AuditVerified(Report):
    """Result of verifying the audit's chain.

    Attributes:
        whole: there is no break.
        entries: walked ones, from `first` to `last`; None: there are none.
        head: the last one's hash: keep it elsewhere.
        removed_to: the entries up to this one are in the archive; None: none were removed.
        removed_at: when the last one of these was noted.
        forgotten: removed persons' names: their entries no longer prove whom they are about.
        breaks: the first ones.
        beyond: the number of further ones.
    """

    whole: bool
    entries: int
    first: int | None
    last: int | None
    head: str
    removed_to: int | None
    removed_at: datetime | None
    forgotten: int
    breaks: tuple[AuditBreak, ...]
    beyond: int


class Head(BaseModel):
    """The hash of an entry that was noted elsewhere; None: do not compare."""

    hash: str | None = None


@act("audit.verify", OPERATORS)
def verify(site: Stored, _actor: Actor, request: Head) -> AuditVerified:
    """Walk the audit's chain, and name each break."""
    found = verification.verify(site.database, head=request.hash)
    removed = found.removed if found.removed.entry_id else None
    return AuditVerified(
        whole=not found.breaks,
        entries=found.entries,
        first=found.first_id,
        last=found.head.entry_id if found.entries else None,
        head=found.head.hash,
        removed_to=None if removed is None else removed.entry_id,
        removed_at=None if removed is None else utc(removed.at),
        forgotten=found.forgotten,
        breaks=tuple(AuditBreak(entry=each.entry_id, kind=each.kind) for each in found.breaks),
        beyond=found.beyond,
    )
