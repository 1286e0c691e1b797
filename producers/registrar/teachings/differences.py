"""What a file of units and groups changes, found by comparing each list with the one published before.

A line that is missing from the file means nothing, unless the file is complete for its year: then what is not
in the file is taken away. Nothing is taken from a student one of whose lines was refused: it may have been in
that line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from pipeline.eventlog.port import NewRecord
from producers.registrar.faults import UnusableFile
from producers.registrar.feed import TeachingMemory, new_record
from producers.registrar.guard import Fingerprint
from producers.registrar.outline import OutlineChange
from producers.registrar.physical import LINES_MAX
from producers.registrar.records import IntendedList, Listed, PublishedList
from producers.registrar.report import Comparison, Counts
from producers.registrar.spool import canonical
from producers.registrar.teachings.affected import AffectedTeaching
from producers.registrar.teachings.spool import Stated, TeachingSpool
from schemas.events import TEACHINGS_MAX, TeachingsRecorded

_PAGE = 500
_TABLES = """
CREATE TABLE to_publish (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, base INTEGER NOT NULL,
    listed TEXT NOT NULL
);
CREATE TABLE affected (
    student TEXT NOT NULL, year INTEGER NOT NULL, element TEXT NOT NULL, grp TEXT NOT NULL,
    change TEXT NOT NULL, after TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class ListToPublish:
    """A list that the log does not have yet; a `feed.Change`.

    Attributes:
        base: source sequence of the fact before it; 0: none.
    """

    line: int
    student: str
    year: int
    base: int
    listed: Listed

    def intended(self, sequence: int) -> IntendedList:
        """See `Change.intended`."""
        return IntendedList((self.student, self.year), self.fingerprint, sequence, self.base, self.listed)

    def record(self, source: str, sequence: int, time: datetime) -> NewRecord:
        """See `Change.record`."""
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


class TeachingDifferences:
    """One import's differences, in its spool's temporary database.

    Args:
        spool: what the file states, settled.
        source: the feed's name.
    """

    def __init__(self, spool: TeachingSpool, source: str) -> None:
        self._spool = spool
        self._source = source
        self._database = spool.database
        self._database.executescript(_TABLES)  # which ends the transaction that the spool is in
        self._database.execute("BEGIN")

    def find(self, memory: TeachingMemory, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        """Compare every list with what was published before; see `import_steps.ImportSubject.compare`.

        Raises:
            UnusableFile: more lines than a source sequence can tell apart.
        """
        if comparison.full_year is not None:
            self._add_absent(memory, comparison.full_year, comparison.last_line)
        tally = Counts()
        for page in self._spool.stated():
            students = {each.student for each in page}
            known = memory.published(self._source, students)
            enrolled = memory.enrolled(students)
            for each in page:
                key = (each.student, each.year)
                tally.not_enrolled += bool(each.held) and key not in enrolled
                self._compare(each, known.get(key), fingerprint, comparison, tally)
            comparison.progress(page[-1].line)
        return tally

    def _add_absent(self, memory: TeachingMemory, year: int, last_line: int) -> None:
        line = last_line
        for page in memory.listed_students(self._source, year):
            line = self._spool.add_absent(page, year, line)
        if line > LINES_MAX:
            raise UnusableFile(f"more than {LINES_MAX} lines and absent students", remedy="Split the export.")

    def _compare(
        self,
        stated: Stated,
        before: PublishedList | None,
        fingerprint: Fingerprint,
        comparison: Comparison,
        tally: Counts,
    ) -> None:
        was: Listed = {} if before is None else before.listed
        complete = stated.year == comparison.full_year
        listed = _after(stated, was, complete=complete and stated.whole)
        if complete and not stated.whole and not was.keys() <= stated.held.keys():
            tally.spared += 1
        after = ListToPublish(stated.line, stated.student, stated.year, 0, listed)
        same = before is not None and before.fingerprint == after.fingerprint
        if (before is None and not listed) or (
            same and before is not None and before.confirmed and not comparison.republish
        ):
            tally.unchanged += 1
            return
        base = 0
        if before is not None:  # the same fact again has the same base, and so the same event id
            base = before.base if same else before.sequence
        if listed:
            tally.recorded += 1
        elif stated.dropped:
            tally.cancelled += 1
        else:
            tally.gone += 1
        document = [[*key, label] for key, label in listed.items()]
        self._database.execute(
            "INSERT INTO to_publish VALUES (?, ?, ?, ?, ?)",
            (stated.line, stated.student, stated.year, base, json.dumps(document, ensure_ascii=False)),
        )
        if not same:
            old = None if before is None else before.fingerprint
            fingerprint.add((stated.student, stated.year), old, after.fingerprint)
            self._note_losses(stated, was, listed)

    def _note_losses(self, stated: Stated, was: Listed, listed: Listed) -> None:
        """Whatever the student would not have any more: the year's list, a unit, or a group of a unit."""
        absent = not listed and not stated.dropped
        units = {element for element, _ in listed}
        for element, group in sorted(was.keys() - listed.keys()):
            if not group and element in units:
                continue  # it has got groups
            groups = sorted(other for unit, other in listed if unit == element and other)
            change = OutlineChange.GROUP if element in units else OutlineChange.TEACHING
            self._database.execute(
                "INSERT INTO affected VALUES (?, ?, ?, ?, ?, ?)",
                (
                    stated.student,
                    stated.year,
                    element,
                    group,
                    (OutlineChange.GONE if absent else change).value,
                    ", ".join(groups),
                ),
            )

    def to_publish(self) -> Iterator[list[ListToPublish]]:
        """What the log does not have yet, in the order of the lines, some hundreds at a time."""
        rows = self._database.execute("SELECT * FROM to_publish ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [
                ListToPublish(line, student, year, base, _listed(listed))
                for line, student, year, base, listed in page
            ]

    def affected(self) -> Iterator[AffectedTeaching]:
        """Every unit and group that would be taken away, by year and student."""
        rows = self._database.execute(
            "SELECT student, year, element, grp, change, after FROM affected"
            " ORDER BY year, student, element, grp"
        )
        for student, year, element, group, change, after in rows:
            yield AffectedTeaching(student, year, element, group, OutlineChange(change), after)

    def affected_people(self) -> Iterator[tuple[int, str, frozenset[OutlineChange]]]:
        """Year, student, and what they would lose; by year."""
        rows = self._database.execute("SELECT year, student, change FROM affected ORDER BY year, student")
        for (year, student), found in groupby(rows, key=itemgetter(0, 1)):
            yield year, student, frozenset(OutlineChange(change) for _, _, change in found)


def _after(stated: Stated, was: Listed, *, complete: bool) -> Listed:
    """The list as it will be. A cancelled unit takes its groups with it; a unit that has got groups is
    followed in these. A list that only grows would one day be longer than an event can say: then the file's
    own one counts, and the guard sees what that takes away."""
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
