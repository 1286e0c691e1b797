"""The import of a file of teaching units and groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pipeline.eventlog.port import Producer
from producers.registrar.faults import Rejection
from producers.registrar.feed import ImportMemory, TeachingMemory
from producers.registrar.guard import Fingerprint, Threshold, YearFigures, judge
from producers.registrar.import_steps import ImportDeps, ImportOptions, Progress, run_import
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile
from producers.registrar.records import IntendedList
from producers.registrar.report import Comparison, Counts, ImportKind, ImportReport
from producers.registrar.rows import Fact
from producers.registrar.teachings import affected, rows
from producers.registrar.teachings.differences import ListToPublish, TeachingDifferences
from producers.registrar.teachings.spool import TeachingSpool


def import_groups(
    path: Path,
    order: ImportOptions,
    *,
    profile: FeedProfile,
    feed: TeachingMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Import one file of teaching units and groups; see `import_steps.run_import`, also for what it raises.

    Args:
        path: the file.
        order: what is to be done with it.
        profile: how to read it; see `profiles.choose_groups`.
        feed: what was published before.
        producer, clock, progress, sleep: see `import_steps.ImportDeps`.
    """
    with TeachingSpool(profile) as spool:
        around = ImportDeps(producer, clock, progress, sleep)
        return run_import(path, order, _Teachings(profile, feed, spool), around)


class _Teachings:
    """An `ImportSubject`: a fact is the list of one student's year, and a line states a part of one."""

    kind = ImportKind.TEACHINGS

    def __init__(self, profile: FeedProfile, feed: TeachingMemory, spool: TeachingSpool) -> None:
        self.profile = profile
        self.spool = spool
        self.memory: ImportMemory[IntendedList] = feed
        self._feed = feed
        self._known: dict[int, int] = {}
        self._found = TeachingDifferences(spool, profile.name)

    def parse(self, line: Line) -> Fact | list[Rejection]:
        return rows.parse(line, self.profile)

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Counts:
        self._known = dict(self._feed.people(self.profile.name))
        return self._found.find(self._feed, fingerprint, comparison)

    def judge(self, threshold: Threshold) -> tuple[YearFigures, ...]:
        return judge(
            self._found.affected_people(),
            known=self._known,
            in_file=self.spool.people(),
            threshold=threshold,
        )

    def write_affected(self, path: Path, separator: str) -> None:
        affected.write(path, self._found.affected(), separator=separator)

    def remove_affected(self, path: Path) -> None:
        affected.remove(path)

    def remember_accepted(self, import_id: int) -> int:
        del import_id  # a list of units has no names
        return 0

    def changes(self) -> Iterator[list[ListToPublish]]:
        return self._found.to_publish()
