"""The second file: students' units and groups, compared with those published.

A fact is the whole list of one student's year; a line states one unit, or one group of it. A line missing
from the file means nothing, unless the file is complete for its year: then absent units are taken away,
except from students with a refused line, which may have stated them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple

from pipeline.eventlog.port import NewRecord, Producer
from producers.registrar.faults import Fault, Rejection, UnusableFile
from producers.registrar.feed import (
    FactRow,
    Listed,
    PublishedList,
    base_after,
    listed_in,
    listed_text,
    new_record,
)
from producers.registrar.feed_memory import SqlTeachingMemory
from producers.registrar.guard import Fingerprint, OutlineChange
from producers.registrar.import_runs import Note, no_note
from producers.registrar.import_steps import run_import
from producers.registrar.import_subject import ImportDeps, ImportOptions, ImportSubject, Progress
from producers.registrar.lines import Lines, storable
from producers.registrar.physical import LINES_MAX, Line
from producers.registrar.profile import FeedProfile
from producers.registrar.report import Comparison, Counts, ImportKind, ImportReport
from producers.registrar.rows import Fact, TeachingRow, checked
from producers.registrar.sheets import AFFECTED_TEACHINGS
from producers.registrar.spool import canonical
from schemas.events import TEACHINGS_MAX, TeachingsRecorded
from schemas.language import gettext

_PAGE = 500
_SCHEMA = """
CREATE TABLE facts (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, cancels INTEGER NOT NULL,
    element TEXT NOT NULL, grp TEXT NOT NULL, label TEXT NOT NULL, said BLOB NOT NULL
);
CREATE TABLE lists (line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL);
CREATE TABLE to_publish (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, base INTEGER NOT NULL,
    listed TEXT NOT NULL
);
"""
_LIST = "student = ? AND year = ?"
_SAME = "student = ? AND year = ? AND element = ? AND grp = ?"


class Stated(NamedTuple):
    """The file's contents of one student's year.

    Attributes:
        line: its first line; after the last one if it has none.
        held: unit and group to the unit's name, of the lines that hold.
        dropped: unit and group of those that the file cancels.
        whole: no line of this student was refused.
    """

    line: int
    student: str
    year: int
    held: dict[tuple[str, str], str]
    dropped: frozenset[tuple[str, str]]
    whole: bool


class TeachingSpool(Lines):
    """One import's units and groups, and its rejections."""

    schema = _SCHEMA

    def keep(self, line: int, fact: Fact) -> None:
        """Store the contents of a line."""
        said = blake2b(canonical(fact).encode(), digest_size=16).digest()
        self._database.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                line,
                fact["student_number"],
                fact["year"],
                fact["state"] == "cancelled",
                fact["element"],
                fact["group"] or "",
                fact["element_label"] or "",
                said,
            ),
        )

    def settle(self) -> int:
        """Compare the lines: reject contradictions, drop copies. Return how many were copies."""
        self._database.execute("CREATE INDEX by_list ON facts (student, year, element, grp, said)")
        self._database.execute("CREATE INDEX by_rejected_student ON rejections (student)")
        contradictory = self._database.execute(
            "SELECT student, year, element, grp FROM facts"
            " GROUP BY student, year, element, grp HAVING COUNT(DISTINCT said) > 1"
        )
        for same in contradictory.fetchall():
            detail = gettext(
                "{lines} are about the same student, year, unit and group, and differ in {what}",
                lines=self.shown_lines(_SAME, *same),
                what=self._different(same),
            )
            self.reject_facts(
                _SAME, *same, field="element", shown="element", fault=Fault.CONFLICTING_LINES, detail=detail
            )
        copies = self._database.execute(
            "DELETE FROM facts WHERE line NOT IN"
            " (SELECT MIN(line) FROM facts GROUP BY student, year, element, grp)"
        ).rowcount
        too_many = self._database.execute(
            "SELECT student, year FROM facts GROUP BY student, year HAVING COUNT(*) > ?", (TEACHINGS_MAX,)
        )
        fault = Fault.TOO_MANY_TEACHINGS
        for student, year in too_many.fetchall():
            detail = gettext(
                "{lines} give one student more than {what} units and groups in one year",
                lines=self.shown_lines(_LIST, student, year),
                what=str(TEACHINGS_MAX),
            )
            self.reject_facts(
                _LIST, student, year, field="element", shown="element", fault=fault, detail=detail
            )
        self._database.execute("INSERT INTO lists SELECT MIN(line), student, year FROM facts GROUP BY 2, 3")
        return copies

    def _different(self, same: tuple[str | int, ...]) -> str:
        """The columns in which lines with the same key differ."""
        labels, states = self._database.execute(
            f"SELECT COUNT(DISTINCT label), COUNT(DISTINCT cancels) FROM facts WHERE {_SAME}",  # noqa: S608
            same,
        ).fetchone()
        fields = (("element_label", labels), ("state", states))
        return ", ".join(self._profile.column_of(field) for field, values in fields if values > 1)

    def add_absent(self, students: Iterable[str], year: int, line: int) -> int:
        """Add an empty list of `year` per absent student, on lines after `line`. Return the last one."""
        for student in students:
            query = "SELECT 1 FROM facts WHERE student = ? AND year = ? LIMIT 1"
            if self._database.execute(query, (student, year)).fetchone() is None:
                line += 1
                self._database.execute("INSERT INTO lists VALUES (?, ?, ?)", (line, student, year))
        return line

    def stated(self) -> Iterator[list[Stated]]:
        """The file's contents of each student's year, by line, some hundreds at a time."""
        rows = self._database.execute("SELECT line, student, year FROM lists ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [self._stated(line, student, year) for line, student, year in page]

    def _stated(self, line: int, student: str, year: int) -> Stated:
        held: dict[tuple[str, str], str] = {}
        dropped = set()
        for element, group, label, gone in self._database.execute(
            "SELECT element, grp, label, cancels FROM facts WHERE student = ? AND year = ?", (student, year)
        ):
            if gone:
                dropped.add((element, group))
            else:
                held[element, group] = label
        refused = self._database.execute(
            "SELECT 1 FROM rejections WHERE student = ? LIMIT 1", (storable(student),)
        ).fetchone()
        return Stated(line, student, year, held, frozenset(dropped), whole=refused is None)


def import_groups(
    path: Path,
    options: ImportOptions,
    *,
    profile: FeedProfile,
    feed: SqlTeachingMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    note: Note = no_note,
) -> ImportReport:
    """Import one file of units and groups; raises as `import_steps.run_import`.

    Args:
        profile: how to read it; see `profiles.choose_groups`.
        feed: remembers published facts.
        producer, clock, progress, sleep, note: see `import_steps.ImportDeps`.
    """
    with TeachingSpool(profile) as spool:
        deps = ImportDeps(producer, clock, progress, sleep, note)
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

    def row(self, sequence: int) -> FactRow:
        """See `UnpublishedFact.row`."""
        return {
            "student_number": self.student,
            "year": self.year,
            "fingerprint": self.fingerprint,
            "sequence": sequence,
            "base": self.base,
            "listed": listed_text(self.listed),
        }

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


class _Teachings(ImportSubject):
    """A fact is one student's year, and a line states a part of it."""

    kind = ImportKind.TEACHINGS
    affected_sheet = AFFECTED_TEACHINGS

    def __init__(self, profile: FeedProfile, feed: SqlTeachingMemory, spool: TeachingSpool) -> None:
        self.profile = profile
        self.spool: TeachingSpool = spool
        self.memory: SqlTeachingMemory = feed

    def parse(self, line: Line) -> Fact | list[Rejection]:
        return parse(line, self.profile)

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        if comparison.full_year is not None:
            self._add_absent(comparison.full_year, comparison.last_line)
        counts = Counts()
        for page in self.spool.stated():
            students = {each.student for each in page}
            known = self.memory.published(self.profile.name, students)
            enrolled = self.memory.enrolled(students)
            for each in page:
                key = (each.student, each.year)
                counts.not_enrolled += bool(each.held) and key not in enrolled
                self._compare(each, known.get(key), fingerprint, comparison, counts)
            comparison.progress(page[-1].line)
        return counts

    def _add_absent(self, year: int, last_line: int) -> None:
        """Publish empty lists for students of `year` whom the file lacks.

        Raises UnusableFile: more lines than a source sequence can tell apart.
        """
        line = last_line
        for page in self.memory.listed_students(self.profile.name, year):
            line = self.spool.add_absent(page, year, line)
        if line > LINES_MAX:
            what = gettext("more than {limit} lines and absent students", limit=LINES_MAX)
            raise UnusableFile(what, remedy=gettext("Split the export."), sent=what)

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
        self.spool.database.execute(
            "INSERT INTO to_publish VALUES (?, ?, ?, ?, ?)",
            (stated.line, stated.student, stated.year, base, listed_text(listed)),
        )
        if not same:
            old = None if before is None else before.fingerprint
            fingerprint.add((stated.student, stated.year), old, after.fingerprint)
            self._note_losses(stated, was, listed)

    def _note_losses(self, stated: Stated, was: Listed, listed: Listed) -> None:
        """Record the student's losses: the year's list, a unit, or a unit's group."""
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

    def changes(self) -> Iterator[list[ListToPublish]]:
        found = self.spool.database.execute("SELECT * FROM to_publish ORDER BY line")
        while page := found.fetchmany(_PAGE):
            yield [
                ListToPublish(line, student, year, base, listed_in(listed))
                for line, student, year, base, listed in page
            ]


def _after(stated: Stated, was: Listed, *, complete: bool) -> Listed:
    """The list after this change.

    A cancelled unit takes its groups with it; a unit with groups is followed in these. If additions make it
    longer than an event allows, the file's own list counts, and the guard judges the losses.
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
