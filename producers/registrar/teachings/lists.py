"""The second file: students' units and groups, compared with what was published.

A fact is the whole list of one student's year; a line states one unit, or one group of it. A line that is
missing from the file means nothing, unless the file is complete for its year: then what is not in the file
is taken away. Nothing is taken from a student one of whose lines was refused: it may have been in that
line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pipeline.eventlog.port import NewRecord, Producer
from producers.registrar.faults import Rejection, UnusableFile
from producers.registrar.feed import (
    ImportMemory,
    IntendedList,
    Listed,
    PublishedList,
    TeachingMemory,
    base_after,
    new_record,
)
from producers.registrar.guard import Fingerprint, Judged, OutlineChange
from producers.registrar.import_steps import run_import
from producers.registrar.import_subject import ImportDeps, ImportOptions, Progress
from producers.registrar.physical import LINES_MAX, Line
from producers.registrar.profile import FeedProfile
from producers.registrar.report import Comparison, Counts, ImportKind, ImportReport
from producers.registrar.rows import Fact, TeachingRow, checked
from producers.registrar.sheets import AFFECTED_TEACHINGS
from producers.registrar.spool import canonical
from producers.registrar.teachings.spool import Stated, TeachingSpool
from schemas.events import TEACHINGS_MAX, TeachingsRecorded
from schemas.language import gettext

_PAGE = 500


def import_groups(
    path: Path,
    options: ImportOptions,
    *,
    profile: FeedProfile,
    feed: TeachingMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Import one file of units and groups; raises as `import_steps.run_import`.

    Args:
        path: the file.
        options: what to do with it.
        profile: how to read it; see `profiles.choose_groups`.
        feed: what was published before.
        producer, clock, progress, sleep: see `import_steps.ImportDeps`.
    """
    with TeachingSpool(profile) as spool:
        deps = ImportDeps(producer, clock, progress, sleep)
        return run_import(path, options, _Teachings(profile, feed, spool), deps)


def parse(line: Line, profile: FeedProfile) -> Fact | list[Rejection]:
    """Parse a line: a student, a year, a unit, and perhaps a group; or all its faults."""
    return checked(line, profile, lambda fields: TeachingRow.model_validate(fields).model_dump())


@dataclass(frozen=True, slots=True)
class ListToPublish:
    """A list that the log does not have yet; a `feed.UnpublishedFact`.

    Attributes:
        base: source sequence of the fact before it; 0: none.
    """

    line: int
    student: str
    year: int
    base: int
    listed: Listed

    def intended(self, sequence: int) -> IntendedList:
        """See `UnpublishedFact.intended`."""
        return IntendedList((self.student, self.year), self.fingerprint, sequence, self.base, self.listed)

    def record(self, source: str, sequence: int, time: datetime) -> NewRecord:
        """See `UnpublishedFact.record`."""
        event = TeachingsRecorded.model_validate(
            {**self._fact(), "source": source, "source_sequence": sequence}
        )
        return new_record(event, (self.student, self.year, self.fingerprint, str(self.base)), time)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the fact's canonical JSON, in hexadecimal."""
        return sha256(canonical(self._fact()).encode()).hexdigest()

    def _fact(self) -> dict[str, object]:
        teachings = [
            {name: text for name, text in (("element", element), ("group", group), ("label", label)) if text}
            for (element, group), label in sorted(self.listed.items())
        ]
        return {"student_number": self.student, "year": self.year, "teachings": teachings}


class _Teachings:
    """An `ImportSubject`: a fact is one student's year, a line states a part of it."""

    kind = ImportKind.TEACHINGS
    affected_sheet = AFFECTED_TEACHINGS

    def __init__(self, profile: FeedProfile, feed: TeachingMemory, spool: TeachingSpool) -> None:
        self.profile = profile
        self.spool = spool
        self.memory: ImportMemory[IntendedList] = feed
        self._feed = feed

    def lost(self, since: float) -> Mapping[int, int]:  # noqa: ARG002
        """See `ImportSubject.lost`: teachings end with their term."""
        return {}

    def parse(self, line: Line) -> Fact | list[Rejection]:
        return parse(line, self.profile)

    def check_accepted(self, path: Path) -> None:
        """Accept nothing: a list of units has no names."""

    def remember_accepted(self, import_id: int) -> int:
        del import_id
        return 0

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        if comparison.full_year is not None:
            self._add_absent(comparison.full_year, comparison.last_line)
        counts = Counts()
        for page in self.spool.stated():
            students = {each.student for each in page}
            known = self._feed.published(self.profile.name, students)
            enrolled = self._feed.enrolled(students)
            for each in page:
                key = (each.student, each.year)
                counts.not_enrolled += bool(each.held) and key not in enrolled
                self._compare(each, known.get(key), fingerprint, comparison, counts)
            comparison.progress(page[-1].line)
        return counts

    def _add_absent(self, year: int, last_line: int) -> None:
        """Publish empty lists for students of `year` whom the feed has and the file lacks.

        Raises:
            UnusableFile: more lines than a source sequence can tell apart.
        """
        line = last_line
        for page in self._feed.listed_students(self.profile.name, year):
            line = self.spool.add_absent(page, year, line)
        if line > LINES_MAX:
            raise UnusableFile(
                gettext("more than {limit} lines and absent students", limit=LINES_MAX),
                remedy=gettext("Split the export."),
                sent=gettext("more than {limit} lines and absent students", limit=LINES_MAX),
            )

    def _compare(
        self,
        stated: Stated,
        before: PublishedList | None,
        fingerprint: Fingerprint,
        comparison: Comparison,
        counts: Counts,
    ) -> None:
        was: Listed = {} if before is None else before.listed
        complete = stated.year == comparison.full_year
        listed = _after(stated, was, complete=complete and stated.whole)
        if complete and not stated.whole and not was.keys() <= stated.held.keys():
            counts.spared += 1
        after = ListToPublish(stated.line, stated.student, stated.year, 0, listed)
        same = before is not None and before.fingerprint == after.fingerprint
        if (before is None and not listed) or (
            same and before is not None and before.confirmed and not comparison.republish
        ):
            counts.unchanged += 1
            return
        base = base_after(before, after.fingerprint)
        if listed:
            counts.recorded += 1
        elif stated.dropped:
            counts.cancelled += 1
        else:
            counts.gone += 1
        document = [[*key, label] for key, label in listed.items()]
        self.spool.database.execute(
            "INSERT INTO to_publish VALUES (?, ?, ?, ?, ?)",
            (stated.line, stated.student, stated.year, base, json.dumps(document, ensure_ascii=False)),
        )
        if not same:
            old = None if before is None else before.fingerprint
            fingerprint.add((stated.student, stated.year), old, after.fingerprint)
            self._note_losses(stated, was, listed)

    def _note_losses(self, stated: Stated, was: Listed, listed: Listed) -> None:
        """Record what the student would lose: the year's list, a unit, or a unit's group."""
        absent = not listed and not stated.dropped
        units = {element for element, _ in listed}
        for element, group in sorted(was.keys() - listed.keys()):
            if not group and element in units:
                continue  # it has got groups
            had, left = (
                ", ".join(sorted(other for unit, other in each if unit == element and other))
                for each in (was, listed)
            )
            change = OutlineChange.GROUP if element in units else OutlineChange.TEACHING
            self.spool.note_affected(
                (stated.student, stated.year, element, group),
                OutlineChange.GONE if absent else change,
                ("", had, left),
            )

    def parts(self, _whole: ImportReport, _judged: Judged) -> Iterable[tuple[int, ImportReport]]:
        return ()

    def changes(self) -> Iterator[list[ListToPublish]]:
        found = self.spool.database.execute("SELECT * FROM to_publish ORDER BY line")
        while page := found.fetchmany(_PAGE):
            yield [
                ListToPublish(line, student, year, base, _listed(listed))
                for line, student, year, base, listed in page
            ]


def _after(stated: Stated, was: Listed, *, complete: bool) -> Listed:
    """The list after this change.

    A cancelled unit takes its groups with it; a unit with groups is followed in these. A list that only
    grows would become longer than an event allows: then the file's own list counts, and the guard judges
    the losses.
    """
    if complete:
        return stated.held
    grouped = {element for element, group in stated.held if group}
    kept = {
        (element, group): label
        for (element, group), label in was.items()
        if stated.dropped.isdisjoint({(element, group), (element, "")}) and (group or element not in grouped)
    }
    listed = {**kept, **stated.held}
    return listed if len(listed) <= TEACHINGS_MAX else stated.held


def _listed(document: str) -> Listed:
    return {(element, group): label for element, group, label in json.loads(document)}
