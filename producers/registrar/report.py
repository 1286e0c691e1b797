"""Results of an import in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from producers.registrar.faults import Fault
from producers.registrar.guard import YearFigures
from producers.registrar.sheets import Row


class ImportKind(StrEnum):
    """The subject of a file."""

    ENROLMENTS = "enrolments"
    TEACHINGS = "teachings"


class ImportEnd(StrEnum):
    """How an import ended."""

    DONE = "done"
    HELD = "held"  # the guard let nothing be published
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # by the actor, or by a system failure


class Difference(BaseModel):
    """The numbers of new, gone and changed people or enrolments."""

    model_config = ConfigDict(frozen=True)

    new: int = 0
    gone: int = 0
    changed: int = 0


class YearDifference(BaseModel):
    """What a file makes of one academic year, against all files before it.

    Attributes:
        year: its first calendar year.
        people: new: nothing was held of them in that year; gone: nothing is any more.
        programmes: enrolments, by programme step: of those `PROGRAMMES_MAX` in which most differs.
        others: how many more programme steps have a difference.
    """

    model_config = ConfigDict(frozen=True)

    year: int
    people: Difference
    programmes: dict[str, Difference]
    others: int = 0


PROGRAMMES_MAX = 100
ROWS_MAX = 1_000
REFUSED_KEPT_MAX = 200


class NewPerson(NamedTuple):
    """A person who is new to every feed. `birth_date`: ISO 8601."""

    student_number: str
    birth_name: str
    given_name: str
    birth_date: str
    ine: str | None


class KeptRejection(BaseModel):
    """A fault of a line as it is kept: no value and no student. `column`: empty: the whole line."""

    model_config = ConfigDict(frozen=True)

    line: int
    column: str
    fault: Fault


_COUNTED = ("lines", "students", "recorded", "cancelled", "gone", "unchanged", "duplicates", "rejected")


class ImportDetail(BaseModel):
    """What is kept of an import apart from its counts. It names only the actor.

    Attributes:
        kind: what the file is about: see `ImportKind`.
        actor: who ran it.
        ended, ended_at: how and when (epoch seconds); None: it is under way, or was killed.
        error: what was wrong, in the command's words.
        published: facts that the log has acknowledged; of a broken-off import alone.
        faults: refused lines by class of fault.
        refused: the first of them, `REFUSED_KEPT_MAX`.
        years: what would have changed unusually: see `guard.YearFigures.to_json`.
        rejects, affected: where these files were written; None: there was nothing to write.
        approval: the id that approves it, or did.
        approved_by: who has approved a held one, for the next time that the same is sent.
        first_approver: the first of two, until the second approves.
        last_line: the file's, as soon as it has been read.
        differences: by academic year; of a held import, what they would be. None: it ended before they were
            known, or is not of enrolments.
    """

    model_config = ConfigDict(frozen=True)

    kind: ImportKind
    actor: str
    ended: ImportEnd | None = None
    ended_at: float | None = None
    error: str = ""
    published: int = 0
    sha256: str = ""
    encoding: str = ""
    form: str = ""
    full_year: int | None = None
    faults: dict[str, int] = {}
    refused: tuple[KeptRejection, ...] = ()
    years: tuple[dict[str, Any], ...] = ()
    rejects: str | None = None
    affected: str | None = None
    approval: str | None = None
    approved_by: str | None = None
    first_approver: str | None = None
    last_line: int = 0
    differences: tuple[YearDifference, ...] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How to compare a file with what was published before.

    Attributes:
        full_year: the academic year that it is complete for; None: absence means nothing.
        last_line: the number of its last line; absent facts count as on the lines after it.
        republish: publish everything, for a log that has lost it.
        progress: called with the line that has been compared.
    """

    full_year: int | None
    last_line: int
    republish: bool
    progress: Callable[[int], None]


@dataclass
class Counts:
    """Counts of the file's facts by what is new in them; see `ImportReport`."""

    recorded: int = 0
    cancelled: int = 0
    gone: int = 0
    unchanged: int = 0
    spared: int = 0
    not_enrolled: int = 0
    differences: tuple[YearDifference, ...] | None = None
    arrivals: tuple[NewPerson, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of one import.

    Of enrolments: lines = recorded + cancelled + unchanged + duplicates + rejected. Of teachings a fact is
    the list of one student's year, made of several lines. Of a held import, and of a dry run, the numbers are
    of what would be published.

    Attributes:
        digest: SHA-256 of the file's bytes, in hexadecimal.
        import_id: None for a dry run.
        lines: lines below the header, without blank ones.
        students: different student numbers among the lines that were taken.
        recorded: enrolments, or lists, published.
        cancelled: cancellations, or empty lists, published that a line states.
        gone: the same, published since a file that is complete for its year has no line.
        unchanged: enrolments, or lists, as published before.
        duplicates: further copies of a line, word for word the same.
        rejected: lines refused; one line may have several faults.
        faults: how many of each class.
        rejects_path: the rejects file; None when nothing was rejected, or no file was wanted.
        encoding: as found: `utf-8`, `utf-8-sig`, `windows-1252`.
        separator: as found; empty for JSON lines.
        form: of the packing: `gzip`, `zip`, `xlsx`, `ods`, or `zip, xlsx`; empty: none.
        sheet: the spreadsheet's sheet; empty: it is none.
        titles, footers: how many lines above the header and at the end were skipped, without empty ones.
        dates: how many birth dates are written in each form.
        held: the guard let nothing be published; in a dry run, would let nothing be.
        approval: the id by which the held import can be approved, or was.
        years: what would change unusually, by academic year.
        affected_path: the file of affected people; likewise.
        refused, affected: the first rows of both, `ROWS_MAX` each, where no file was wanted.
        refused_lines: see `ImportDetail.refused`.
        arrivals: the first `ROWS_MAX` new persons; of enrolments.
        full_year: the academic year that the file is declared complete for.
        unattributed: refused lines that name no student; with any, a full year cancels no absent student.
        spared: of teachings: lists from which nothing was taken, since a line of the student was refused.
        damaged: refused lines that hold damaged text, or bytes that are wrong in the file's encoding.
        misread: so many lines hold damaged text that the file is held for it.
        likely_encoding: the one that would be right, of `encodings.ENCODINGS`; empty: none, or not known.
        accepted: for how many students an operator accepted values that look damaged.
        not_enrolled: of teachings: lists of students who are not enrolled in that year, by any feed.
        differences: see `ImportDetail`.
        parts: of lines that were sent one by one: the report of each that was taken, by its number.
    """

    source: str
    dry_run: bool
    digest: str
    lines: int
    students: int
    duplicates: int
    rejected: int
    import_id: int | None = None
    recorded: int = 0
    cancelled: int = 0
    gone: int = 0
    unchanged: int = 0
    faults: Mapping[Fault, int] = field(default_factory=dict)
    rejects_path: Path | None = None
    encoding: str = "utf-8"
    separator: str = ";"
    form: str = ""
    sheet: str = ""
    titles: int = 0
    footers: int = 0
    dates: Mapping[str, int] = field(default_factory=dict)
    held: bool = False
    approval: str | None = None
    years: tuple[YearFigures, ...] = ()
    affected_path: Path | None = None
    refused: Sequence[Row] = ()
    refused_lines: tuple[KeptRejection, ...] = ()
    arrivals: tuple[NewPerson, ...] = ()
    affected: Sequence[Row] = ()
    full_year: int | None = None
    unattributed: int = 0
    kind: ImportKind = ImportKind.ENROLMENTS
    spared: int = 0
    not_enrolled: int = 0
    misread: bool = False
    likely_encoding: str = ""
    accepted: int = 0
    damaged: int = 0
    differences: tuple[YearDifference, ...] | None = None
    parts: Mapping[int, ImportReport] = field(default_factory=dict)

    @property
    def published(self) -> int:
        """How many facts were published; for a dry run, would be."""
        return self.recorded + self.cancelled + self.gone

    @property
    def absence_unknown(self) -> bool:
        """True if no absent student could be cancelled, as refused lines name no student."""
        return self.full_year is not None and self.unattributed > 0

    def counts(self) -> dict[str, int]:
        """The numbers, for the store and for metrics."""
        return {name: getattr(self, name) for name in _COUNTED}

    def detail(self, actor: str, ended_at: float) -> ImportDetail:
        """The rest to keep, apart from the counts. `ended_at`: seconds since the epoch, UTC."""
        return ImportDetail(
            kind=self.kind,
            actor=actor,
            ended=ImportEnd.HELD if self.held else ImportEnd.DONE,
            ended_at=ended_at,
            sha256=self.digest,
            encoding=self.encoding,
            form=self.form,
            full_year=self.full_year,
            faults={fault.value: count for fault, count in self.faults.items()},
            refused=self.refused_lines,
            years=tuple(figures.to_json() for figures in self.years),
            rejects=None if self.rejects_path is None else str(self.rejects_path),
            affected=None if self.affected_path is None else str(self.affected_path),
            approval=self.approval,
            differences=self.differences,
        )

    def to_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "kind": self.kind.value,
            "source": self.source,
            "import_id": self.import_id,
            "dry_run": self.dry_run,
            **self.counts(),
            "faults": {fault.value: count for fault, count in sorted(self.faults.items())},
            "rejects": None if self.rejects_path is None else str(self.rejects_path),
            "encoding": self.encoding,
            "separator": self.separator,
            "form": self.form,
            "sheet": self.sheet,
            "titles": self.titles,
            "footers": self.footers,
            "dates": dict(sorted(self.dates.items())),
            "sha256": self.digest,
            "held": self.held,
            "approval": self.approval,
            "years": [figures.to_json() for figures in self.years],
            "affected": None if self.affected_path is None else str(self.affected_path),
            "full_year": self.full_year,
            "unattributed": self.unattributed,
            "spared": self.spared,
            "not_enrolled": self.not_enrolled,
            "damaged": self.damaged,
            "misread": self.misread,
            "likely_encoding": self.likely_encoding,
            "accepted": self.accepted,
            "differences": None
            if self.differences is None
            else [each.model_dump() for each in self.differences],
        }
