"""Inputs of an import: the file's subject, the options, and its dependencies."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pipeline.errors import SesameError
from pipeline.eventlog.port import Producer
from pipeline.threshold import Threshold
from producers.registrar.acceptance import Acceptance
from producers.registrar.faults import Rejection
from producers.registrar.feed import UnpublishedFact
from producers.registrar.feed_memory import SqlFacts
from producers.registrar.guard import Approval, Fingerprint, Judged
from producers.registrar.import_runs import Note, no_note
from producers.registrar.lines import Lines
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile
from producers.registrar.report import Comparison, Counts, ImportKind, ImportReport
from producers.registrar.rows import Fact
from producers.registrar.sheets import WorkbookSheet
from schemas.language import gettext, ngettext

Progress = Callable[[int, int | None], None]
"""Called with the number of lines done, and of all lines (None: unknown).

A line read is half done, one compared three quarters. It raises `ImportInterrupted` to stop the import."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        rejects_path: the file of refused lines; without any, a former one is removed. None: no file; the
            report has its first rows.
        affected_path: the file of people who would lose an enrolment or change unusually; likewise.
        dry_run: compare and report only. Both files are written all the same.
        republish: publish unchanged rows too, for a log that has lost them.
        full_year: the academic year that the file is complete for: what it does not have is cancelled.
        threshold: how much may change before the file is held.
        leak, leak_days: the same, of losses within so many days.
        approval: an operator's approval of a held file.
        acceptance: an operator's acceptance of values that look damaged.
        actor: who runs it.
        sent: the file's content, that a program sent; None: it is at its path.
        together: its lines were sent one by one, of different students: see `ImportReport.parts`.
        turns: which students' enrolments are published first, by their components; the others come last, and
            all in the order of the file without it.
    """

    rejects_path: Path | None = None
    affected_path: Path | None = None
    dry_run: bool = False
    republish: bool = False
    full_year: int | None = None
    threshold: Threshold = field(default_factory=Threshold)
    leak: Threshold = field(default_factory=lambda: Threshold(share=0.1))
    leak_days: int = 30
    approval: Approval | None = None
    acceptance: Acceptance | None = None
    actor: str = ""
    sent: bytes | None = None
    together: bool = False
    turns: Mapping[str, int] = field(default_factory=dict)


class ImportInterrupted(SesameError):
    """An import was interrupted (Ctrl-C, the system's word to end, a stop by an operator or its time limit).
    Import the same file again: what the log has is recognised and not published twice, and the rest
    follows."""

    exit_code = 130

    def __init__(self, published: int = 0, of: int = 0, *, remedy: str = "") -> None:
        text = ngettext(
            "interrupted: {n} of {of} changes was published",
            "interrupted: {n} of {of} changes were published",
            published,
            of=of,
        )
        nothing = gettext("interrupted: nothing was published")
        super().__init__(text if published else nothing, remedy=remedy)
        self.done: tuple[ImportReport, ...] = ()  # the reports of the files before it


class ImportSubject(ABC):
    """The subject of a file. Made for one import; owned by one thread.

    Attributes:
        affected_sheet: the form of the file of affected people.
        profile: how the file is written.
        spool: the import's temporary database, with the file's lines in it.
        memory: the facts published before.
    """

    kind: ClassVar[ImportKind]
    affected_sheet: ClassVar[WorkbookSheet]
    profile: FeedProfile
    spool: Lines
    memory: SqlFacts

    @abstractmethod
    def parse(self, line: Line) -> Fact | list[Rejection]:
        """Parse a line: a fact, or all its faults."""

    @abstractmethod
    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        """Find the differences from published facts; add each to `fingerprint`."""

    @abstractmethod
    def changes(self) -> Iterator[Sequence[UnpublishedFact]]:
        """The facts to publish, in the order of the lines, some hundreds at a time."""

    def lost(self, since: float) -> Mapping[int, int]:  # noqa: ARG002
        """Count people who lost all of an academic year, by year.

        Since then (epoch seconds), and since an operator last approved an import. A subject whose facts come
        and go regularly counts none.
        """
        return {}

    def check_accepted(self, path: Path) -> None:  # noqa: B027 -- most subjects accept nothing
        """Refuse an acceptance that fits no line of the file. Raises AcceptanceUnfit."""

    def remember_accepted(self, import_id: int) -> int:  # noqa: ARG002
        """Record what an operator accepted in this import; return for how many students."""
        return 0

    def parts(self, whole: ImportReport, judged: Judged) -> Iterable[tuple[int, ImportReport]]:  # noqa: ARG002
        """The report that each accepted line would have had alone, by number. Of teachings: none."""
        return ()


@dataclass(frozen=True, slots=True)
class ImportDeps:
    """Dependencies of an import.

    Attributes:
        producer: appends to the log. Not used in a dry run, nor when the file is held.
        clock: the time, with a zone.
        sleep: waits between attempts to append; seconds.
        note: the audit's note, in the transaction that records the import. Not used in a dry run.
    """

    producer: Producer
    clock: Callable[[], datetime]
    progress: Progress
    sleep: Callable[[float], None] = time.sleep
    note: Note = no_note
