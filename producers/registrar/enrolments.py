"""The main file: enrolments in steps, compared with those published before.

Nothing is published during the comparison: the guard judges the whole before the first fact is published.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.eventlog.port import NewRecord, Producer
from producers.registrar import rows
from producers.registrar.acceptance import AcceptedValues
from producers.registrar.affected import OF_PERSON, RecordedPersons, shown
from producers.registrar.faults import Rejection, UnusableFile
from producers.registrar.feed import FactRow, Published, StepKey, base_after, new_record
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.guard import (
    GONE,
    Fingerprint,
    Judged,
    Outline,
    OutlineChange,
    changes_between,
    changes_of_person,
)
from producers.registrar.import_runs import Note, no_note
from producers.registrar.import_steps import run_import
from producers.registrar.import_subject import ImportDeps, ImportOptions, ImportSubject, Progress
from producers.registrar.physical import LINES_MAX, Line
from producers.registrar.profile import FeedProfile
from producers.registrar.report import ROWS_MAX, Comparison, Counts, ImportKind, ImportReport, NewPerson
from producers.registrar.rows import Fact
from producers.registrar.sheets import AFFECTED
from producers.registrar.spool import Spool, Spooled
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from schemas.language import gettext

_PAGE = 500


def import_file(
    path: Path,
    options: ImportOptions,
    *,
    profile: FeedProfile,
    feed: SqlFeedMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    note: Note = no_note,
    persons: RecordedPersons | None = None,
) -> ImportReport:
    """Import one export of enrolments; raises as `import_steps.run_import`.

    Args:
        profile: how to read it; see `producers.registrar.profile`.
        feed: remembers published facts.
        producer, clock, progress, sleep, note: see `import_steps.ImportDeps`.
        persons: earlier persons, for the file of affected people; None: unknown.
    """
    with Spool(profile) as spool:
        deps = ImportDeps(producer, clock, progress, sleep, note)
        subject = _Enrolments(profile, feed, spool, options, persons)
        return run_import(path, options, subject, deps)


class _Noted(NamedTuple):
    """A change to show: its fact, and the one published before."""

    spooled: Spooled
    change: OutlineChange
    was: Outline | None


@dataclass(frozen=True, slots=True)
class ToPublish:
    """An enrolment that the log lacks, or has otherwise; a `feed.UnpublishedFact`.

    Attributes:
        base: source sequence of the fact before it; 0: none.
        outline: what to recall of it.
    """

    spooled: Spooled
    base: int
    outline: str

    @property
    def line(self) -> int:
        """See `UnpublishedFact.line`."""
        return self.spooled.line

    def row(self, sequence: int) -> FactRow:
        """See `UnpublishedFact.row`."""
        key = ("student_number", "year", "step", "step_version")
        return {
            **{name: self.spooled.fact[name] for name in key},
            "fingerprint": self.spooled.fingerprint,
            "sequence": sequence,
            "base": self.base,
            "live": not self.spooled.cancelled,
            "outline": self.outline,
        }

    def record(self, source: str, sequence: int, time: datetime) -> NewRecord:
        """See `UnpublishedFact.record`."""
        spooled = self.spooled
        model = EnrolmentCancelled if spooled.cancelled else EnrolmentRecorded
        event = model.model_validate({**spooled.fact, "source": source, "source_sequence": sequence})
        identity = (*spooled.step_key, spooled.fingerprint, str(self.base))
        return new_record(event, identity, time)


class _Enrolments(ImportSubject):
    """A fact is an enrolment, and a line states one."""

    kind = ImportKind.ENROLMENTS
    affected_sheet = AFFECTED

    def __init__(
        self,
        profile: FeedProfile,
        feed: SqlFeedMemory,
        spool: Spool,
        options: ImportOptions,
        persons: RecordedPersons | None,
    ) -> None:
        self.profile = profile
        self.spool: Spool = spool
        self.memory: SqlFeedMemory = feed
        self._accepted = AcceptedValues(options.acceptance, feed)
        self._persons = persons
        self._date_forms: dict[int, str] | None = {} if options.together else None
        self._turns = options.turns

    def lost(self, since: float) -> Mapping[int, int]:
        return self.memory.lost(self.profile.name, since)

    def parse(self, line: Line) -> Fact | list[Rejection]:
        parsed = rows.parse(line, self.profile)
        place = self.profile.place_of("birth_date")
        if self._date_forms is not None and line.cells and place is not None:
            self._date_forms[line.number] = rows.date_form(line.cells[place])
        if not isinstance(parsed, list):
            self._accepted.note(str(parsed["student_number"]))
            return parsed
        self._accepted.note(parsed[0].student_number)
        return self._accepted.judge(parsed) or rows.parse(line, self.profile, accepted=True)

    def check_accepted(self, path: Path) -> None:
        self._accepted.check(path)

    def remember_accepted(self, import_id: int) -> int:
        return self._accepted.remember(import_id)

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        if comparison.full_year is not None:
            self._add_absent(comparison.full_year, comparison.last_line)
        counts, arrivals = Counts(), dict[str, NewPerson]()
        source = self.profile.name
        others = [other for other in self.memory.sources() if other != source]
        for page in self.spool.facts():
            students = {each.student for each in page}
            known = self.memory.published(source, students)
            anywhere = _newest_of_each([known, *(self.memory.published(other, students) for other in others)])
            newest = _newest(anywhere)
            live = Counter((key[0], key[1]) for key, published in anywhere.items() if published.live)
            strangers = {each.student for each in page if each.cancelled} - {key[0] for key in anywhere}
            erased = self._persons.erased(strangers) if self._persons is not None and strangers else ()
            noted: list[_Noted] = []
            for each in page:
                if each.cancelled and each.student in erased:  # it would bring the number back, for nothing
                    counts.unchanged += 1
                    continue
                before = known.get(each.step_key)
                same = before is not None and before.fingerprint == each.fingerprint
                if same and before is not None and before.confirmed and not comparison.republish:
                    counts.unchanged += 1
                    continue
                _count(counts, each)
                held, last = anywhere.get(each.step_key), newest.get(each.student)
                if held is None and last is None and not each.cancelled and len(arrivals) < ROWS_MAX:
                    arrivals.setdefault(each.student, _arrival(each))
                noted += self._keep_to_publish(each, before, held, last)
                if not same:
                    self._note_difference(each, held, live)
                    was = None if before is None else before.fingerprint
                    fingerprint.add(each.step_key, was, each.fingerprint)
            self._note_affected(noted)
            comparison.progress(page[-1].line)
        counts.differences = self.spool.differences()
        counts.arrivals = tuple(arrivals.values())
        return counts

    def _add_absent(self, year: int, last_line: int) -> None:
        """Cancel enrolments of `year` that the file lacks, on lines after the last one.

        Raises UnusableFile: more lines than a source sequence can tell apart.
        """
        line = last_line
        for page in self.memory.live_steps(self.profile.name, year):
            for student, _year, step, version in self.spool.absent(page):
                line += 1
                fact: Fact = {
                    "student_number": student,
                    "year": year,
                    "step": step,
                    "step_version": version,
                    "reason": GONE,
                }
                self.spool.keep(line, fact)
        if line > LINES_MAX:
            what = gettext("more than {limit} lines and absent enrolments", limit=LINES_MAX)
            raise UnusableFile(what, remedy=gettext("Split the export."), sent=what)

    def _keep_to_publish(
        self, each: Spooled, before: Published | None, held: Published | None, newest: Published | None
    ) -> list[_Noted]:
        """Mark a fact for publishing; return its losses and unusual changes.

        Args:
            before: this feed's last fact of the enrolment.
            held: any feed's last fact of it: the registry ignores which feed a fact comes from.
            newest: any feed's last fact of the student.
        """
        base = base_after(before, each.fingerprint)
        recalled = Outline.read(held.outline) if held is not None else None
        outline = Outline.of(each.fact, recalled)
        self.spool.database.execute(
            "INSERT INTO to_publish VALUES (?, ?, ?)", (each.line, base, outline.text())
        )
        if held is not None and held.live:
            changes = changes_between(recalled, outline, gone=each.fact.get("reason") == GONE)
            return [_Noted(each, change, recalled) for change in changes]
        elsewhere = Outline.read(newest.outline) if newest is not None else None
        changes = [] if elsewhere is None else changes_of_person(elsewhere, outline)
        return [_Noted(each, change, elsewhere) for change in changes]

    def _note_difference(
        self, each: Spooled, held: Published | None, live: Mapping[tuple[str, int], int]
    ) -> None:
        """Record a fact's difference for the counts: new, changed, gone, or none."""
        was = held is not None and held.live
        if not was and each.cancelled:
            return
        kind = "gone" if each.cancelled else "changed" if was else "new"
        student, year, *_ = each.step_key
        self.spool.note_difference(each.step_key, kind, live.get((student, year), 0))

    def _note_affected(self, noted: Sequence[_Noted]) -> None:
        """Record these changes for display; fetch earlier persons only where they changed."""
        changed = {each.spooled.student for each in noted if each.change in OF_PERSON}
        persons = self._persons.recorded(changed) if self._persons is not None and changed else {}
        for spooled, change, was in noted:
            person = persons.get(spooled.student)
            self.spool.note_affected(
                spooled.step_key, change, shown(change, spooled.fact, was, person, self.profile)
            )

    def parts(self, whole: ImportReport, judged: Judged) -> Iterator[tuple[int, ImportReport]]:
        affected = list(self.spool.affected_people())
        for line, student, cancels, changes in self.spool.taken():
            counts = Counts(
                recorded=int(changes and not cancels),
                cancelled=int(changes and cancels),
                unchanged=int(not changes),
                differences=self.spool.differences(student),
            )
            form = (self._date_forms or {}).get(line)
            own: dict[str, Any] = {"students": 1, "dates": {form: 1} if form else {}, **vars(counts)}
            own["years"] = judged(each for each in affected if each[1] == student)
            yield line, replace(whole, lines=1, duplicates=0, rejected=0, faults={}, **own)

    def changes(self) -> Iterator[list[ToPublish]]:
        place, order = "line", ""
        if self._turns:
            self.spool.give_turns(self._turns)
            place = "ROW_NUMBER() OVER (ORDER BY turn IS NULL, turn, line)"
            order = " LEFT JOIN turns USING (student)"
        found = self.spool.database.execute(
            f"SELECT {place}, fingerprint, fact, base, outline"  # noqa: S608 (both texts are above)
            f" FROM to_publish JOIN facts USING (line){order} ORDER BY 1"
        )
        while page := found.fetchmany(_PAGE):
            yield [
                ToPublish(Spooled(line, fingerprint, json.loads(fact)), base, outline)
                for line, fingerprint, fact, base, outline in page
            ]


def _arrival(spooled: Spooled) -> NewPerson:
    birth_name, given_name = (str(spooled.fact.get(name) or "") for name in ("birth_name", "given_name"))
    ine = spooled.fact.get("ine")
    return NewPerson(spooled.student, birth_name, given_name, str(spooled.fact["birth_date"]), ine)


def _count(counts: Counts, spooled: Spooled) -> None:
    if not spooled.cancelled:
        counts.recorded += 1
    elif spooled.fact["reason"] == GONE:
        counts.gone += 1
    else:
        counts.cancelled += 1


def _newest_of_each(feeds: Sequence[Mapping[StepKey, Published]]) -> Mapping[StepKey, Published]:
    if len(feeds) == 1:
        return feeds[0]
    found: dict[StepKey, Published] = {}
    for feed in feeds:
        for key, published in feed.items():
            if key not in found or found[key].sequence < published.sequence:
                found[key] = published
    return found


def _newest(known: Mapping[StepKey, Published]) -> dict[str, Published]:
    """Each student's last fact that has the person's identity."""
    found: dict[str, Published] = {}
    for (student, *_), published in known.items():
        if published.outline and (student not in found or found[student].sequence < published.sequence):
            found[student] = published
    return found
