"""What a file changes, found by comparing it with what was published before, and kept on disk.

Nothing is published while this is found out: the guard looks at the whole before the first fact goes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from producers.registrar.faults import UnusableFile
from producers.registrar.feed import FeedMemory, ToPublish
from producers.registrar.guard import Affected, Fingerprint
from producers.registrar.outline import GONE, Outline, OutlineChange, changes_between, changes_of_person
from producers.registrar.physical import LINES_MAX
from producers.registrar.records import Published, StepKey
from producers.registrar.report import Counts
from producers.registrar.rows import Fact
from producers.registrar.spool import Spool, Spooled

_PAGE = 500
_TABLES = """
CREATE TABLE to_publish (line INTEGER PRIMARY KEY, base INTEGER NOT NULL, outline TEXT NOT NULL);
CREATE TABLE affected (
    student TEXT NOT NULL, year INTEGER NOT NULL, step TEXT NOT NULL, version TEXT NOT NULL,
    change TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL
);
"""
_STATES = frozenset({OutlineChange.CANCELLED, OutlineChange.GONE, OutlineChange.NOT_IN_FORCE})


def add_absent(spool: Spool, memory: FeedMemory, source: str, year: int, *, last_line: int) -> None:
    """Take what the feed holds of `year` and the file does not have as cancelled, on lines after the last.

    Raises:
        UnusableFile: more lines than a source sequence can tell apart.
    """
    line = last_line
    for page in memory.live_steps(source, year):
        for student, _year, step, version in spool.absent(page):
            line += 1
            fact: Fact = {
                "student_number": student,
                "year": year,
                "step": step,
                "step_version": version,
                "reason": GONE,
            }
            spool.keep(line, fact)
    if line > LINES_MAX:
        raise UnusableFile(f"more than {LINES_MAX} lines and absent enrolments", remedy="Split the export.")


class Differences:
    """One import's differences, in its spool's temporary database.

    Args:
        spool: the file's facts, settled.
        source: the feed's name.
    """

    def __init__(self, spool: Spool, source: str) -> None:
        self._spool = spool
        self._source = source
        self._database = spool.database
        self._database.executescript(_TABLES)  # which ends the transaction that the spool is in
        self._database.execute("BEGIN")

    def find(
        self,
        memory: FeedMemory,
        fingerprint: Fingerprint,
        *,
        republish: bool,
        progress: Callable[[int], None],
    ) -> Counts:
        """Compare every fact with what was published before.

        Args:
            memory: what was published before.
            fingerprint: told of every difference.
            republish: take everything as to be published, for a log that has lost it.
            progress: told the line that has been compared.
        """
        tally = Counts()
        others = [source for source in memory.sources() if source != self._source]
        for page in self._spool.facts():
            students = {each.student for each in page}
            known = memory.published(self._source, students)
            anywhere = _newest_of_each([known, *(memory.published(other, students) for other in others)])
            newest = _newest(anywhere)
            for each in page:
                before = known.get(each.step_key)
                same = before is not None and before.fingerprint == each.fingerprint
                if same and before is not None and before.confirmed and not republish:
                    tally.unchanged += 1
                    continue
                _count(tally, each)
                self._keep_to_publish(each, before, anywhere.get(each.step_key), newest.get(each.student))
                if not same:
                    was = None if before is None else before.fingerprint
                    fingerprint.add(each.step_key, was, each.fingerprint)
            progress(page[-1].line)
        return tally

    def _keep_to_publish(
        self, each: Spooled, before: Published | None, held: Published | None, newest: Published | None
    ) -> None:
        """Keep a fact, and what it takes or changes.

        Args:
            each: the fact.
            before: what this feed published of the enrolment.
            held: what any feed published of it last: the registry asks no fact which feed it comes from.
            newest: what any feed published last of the student.
        """
        base = 0
        if before is not None:  # the same fact again has the same base, and so the same event id
            base = before.base if before.fingerprint == each.fingerprint else before.sequence
        recalled = Outline.read(held.outline) if held is not None else None
        outline = Outline.of(each.fact, recalled)
        self._database.execute("INSERT INTO to_publish VALUES (?, ?, ?)", (each.line, base, outline.text()))
        if held is not None and held.live:
            changes = changes_between(recalled, outline, gone=each.fact.get("reason") == GONE)
        else:
            elsewhere = Outline.read(newest.outline) if newest is not None else None
            changes = [] if elsewhere is None else changes_of_person(elsewhere, outline)
        for change in changes:
            was = recalled.state if recalled is not None and change in _STATES else ""
            self._database.execute(
                "INSERT INTO affected VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*each.step_key, change.value, was, _shown(change, each.fact)),
            )

    def to_publish(self) -> Iterator[list[ToPublish]]:
        """What the log does not have yet, in the order of the lines, some hundreds at a time."""
        rows = self._database.execute(
            "SELECT line, fingerprint, fact, base, outline"
            " FROM to_publish JOIN facts USING (line) ORDER BY line"
        )
        while page := rows.fetchmany(_PAGE):
            yield [
                ToPublish(Spooled(line, fingerprint, json.loads(fact)), base, outline)
                for line, fingerprint, fact, base, outline in page
            ]

    def affected(self) -> Iterator[Affected]:
        """Every enrolment that is lost or changed unusually, by year and student."""
        rows = self._database.execute(
            "SELECT student, year, step, version, change, before, after FROM affected"
            " ORDER BY year, student, step, version, change"
        )
        for student, year, step, version, change, before, after in rows:
            yield Affected((student, year, step, version), OutlineChange(change), before, after)

    def affected_people(self) -> Iterator[tuple[int, str, frozenset[OutlineChange]]]:
        """Year, student, and what is unusual about them; by year."""
        rows = self._database.execute("SELECT year, student, change FROM affected ORDER BY year, student")
        for (year, student), found in groupby(rows, key=itemgetter(0, 1)):
            yield year, student, frozenset(OutlineChange(change) for _, _, change in found)


def _count(tally: Counts, spooled: Spooled) -> None:
    """One that has to be published."""
    if not spooled.cancelled:
        tally.recorded += 1
    elif spooled.fact["reason"] == GONE:
        tally.gone += 1
    else:
        tally.cancelled += 1


def _newest_of_each(feeds: Sequence[Mapping[StepKey, Published]]) -> Mapping[StepKey, Published]:
    """Of each enrolment what was published last, by whichever feed."""
    if len(feeds) == 1:
        return feeds[0]
    found: dict[StepKey, Published] = {}
    for feed in feeds:
        for key, published in feed.items():
            if key not in found or found[key].sequence < published.sequence:
                found[key] = published
    return found


def _newest(known: Mapping[StepKey, Published]) -> dict[str, Published]:
    """The last fact of each student that tells who they are."""
    found: dict[str, Published] = {}
    for (student, *_), published in known.items():
        if published.outline and (student not in found or found[student].sequence < published.sequence):
            found[student] = published
    return found


def _shown(change: OutlineChange, fact: Fact) -> str:
    """What the file says now, for the operator's eye."""
    parts: Iterable[object] = {
        OutlineChange.IDENTITY: (fact.get("given_name"), fact.get("birth_name"), fact.get("birth_date")),
        OutlineChange.INE: (fact.get("ine"),),
        OutlineChange.PERSONAL_MAIL: (fact.get("personal_mail"),),
        OutlineChange.PEDAGOGICAL: (fact.get("pedagogical"),),
        OutlineChange.COMPONENT: (fact.get("component"),),
    }.get(change, (fact.get("reason") or fact.get("administrative"),))
    return " ".join(str(part) for part in parts if part)
