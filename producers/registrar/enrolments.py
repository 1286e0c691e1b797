"""The main file: who is enrolled in which step."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from pipeline.eventlog.port import Producer
from producers.registrar import affected, rows
from producers.registrar.differences import Differences, add_absent
from producers.registrar.faults import Fault, Rejection
from producers.registrar.feed import FeedMemory, ImportMemory, ToPublish
from producers.registrar.guard import Acceptance, Fingerprint, Threshold, YearFigures, judge
from producers.registrar.import_steps import ImportDeps, ImportOptions, Progress, run_import
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile
from producers.registrar.records import Intended
from producers.registrar.report import Comparison, Counts, ImportKind, ImportReport
from producers.registrar.rows import Fact
from producers.registrar.spool import Spool, canonical


def import_file(
    path: Path,
    order: ImportOptions,
    *,
    profile: FeedProfile,
    feed: FeedMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Import one export of enrolments; see `import_steps.run_import`, also for what it raises.

    Args:
        path: the export.
        order: what is to be done with it.
        profile: how to read it; see `producers.registrar.profile`.
        feed: what was published before.
        producer, clock, progress, sleep: see `import_steps.ImportDeps`.
    """
    with Spool(profile) as spool:
        around = ImportDeps(producer, clock, progress, sleep)
        return run_import(path, order, _Enrolments(profile, feed, spool, order.acceptance), around)


class _Enrolments:
    """An `ImportSubject`: a fact is an enrolment, and a line states one."""

    kind = ImportKind.ENROLMENTS

    def __init__(
        self, profile: FeedProfile, feed: FeedMemory, spool: Spool, acceptance: Acceptance | None
    ) -> None:
        self.profile = profile
        self.spool = spool
        self.memory: ImportMemory[Intended] = feed
        self._feed = feed
        self._known: dict[int, int] = {}
        self._in_file: dict[int, int] = {}
        self._found = Differences(spool, profile.name)
        self._acceptance = acceptance
        self._remembered: Collection[tuple[str, str]] | None = None
        self._accepted: set[tuple[str, str]] = set()

    def parse(self, line: Line) -> Fact | list[Rejection]:
        parsed = rows.parse(line, self.profile)
        if isinstance(parsed, list) and self._is_accepted(parsed):
            return rows.parse(line, self.profile, accepted=True)
        return parsed

    def _is_accepted(self, rejections: Sequence[Rejection]) -> bool:
        """Whether a line has no other fault than values that look damaged, and an operator knows them."""
        if any(each.fault is not Fault.DAMAGED_TEXT for each in rejections):
            return False
        if self._remembered is None:
            self._remembered = self._feed.accepted()
        student = rejections[0].student_number
        values = canonical([student, *([each.column, each.value] for each in rejections)])
        key = student, blake2b(values.encode(), digest_size=16).hexdigest()
        if key in self._remembered:
            return True
        if self._acceptance is None or student not in self._acceptance.students:
            return False
        self._accepted.add(key)
        return True

    def remember_accepted(self, import_id: int) -> int:
        if self._accepted and self._acceptance is not None:
            self._feed.accept(import_id, self._accepted, actor=self._acceptance.actor)
        return len({student for student, _ in self._accepted})

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        source = self.profile.name
        if comparison.full_year is not None:
            add_absent(self.spool, self._feed, source, comparison.full_year, last_line=comparison.last_line)
        self._in_file = self.spool.people()
        self._known = dict(self._feed.people(source))
        return self._found.find(
            self._feed, fingerprint, republish=comparison.republish, progress=comparison.progress
        )

    def judge(self, threshold: Threshold) -> tuple[YearFigures, ...]:
        people = self._found.affected_people()
        return judge(people, known=self._known, in_file=self._in_file, threshold=threshold)

    def write_affected(self, path: Path, separator: str) -> None:
        affected.write(path, self._found.affected(), separator=separator)

    def remove_affected(self, path: Path) -> None:
        affected.remove(path)

    def changes(self) -> Iterator[list[ToPublish]]:
        return self._found.to_publish()
