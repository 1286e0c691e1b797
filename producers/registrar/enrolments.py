"""The main file: who is enrolled in which step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pipeline.eventlog.port import Producer
from pipeline.store.feeds import Intended
from producers.registrar import affected, rows
from producers.registrar.differences import Differences, add_absent
from producers.registrar.faults import Rejection
from producers.registrar.feed import FeedMemory, ImportMemory, ToPublish
from producers.registrar.guard import Fingerprint, Threshold, YearFigures, judge
from producers.registrar.importing import Order, Progress, Surroundings, run_import
from producers.registrar.physical import Line
from producers.registrar.profile import Profile
from producers.registrar.report import Comparison, ImportReport, Kind, Tally
from producers.registrar.rows import Fact
from producers.registrar.spool import Spool


def import_file(
    path: Path,
    order: Order,
    *,
    profile: Profile,
    feed: FeedMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Import one export of enrolments; see `importing.run_import`, also for what it raises.

    Args:
        path: the export.
        order: what is to be done with it.
        profile: how to read it; see `producers.registrar.profile`.
        feed: what was published before.
        producer, clock, progress, sleep: see `importing.Surroundings`.
    """
    with Spool(profile) as spool:
        around = Surroundings(producer, clock, progress, sleep)
        return run_import(path, order, _Enrolments(profile, feed, spool), around)


class _Enrolments:
    """A `Matter`: a fact is an enrolment, and a line states one."""

    kind = Kind.ENROLMENTS

    def __init__(self, profile: Profile, feed: FeedMemory, spool: Spool) -> None:
        self.profile = profile
        self.spool = spool
        self.memory: ImportMemory[Intended] = feed
        self._feed = feed
        self._known: dict[int, int] = {}
        self._in_file: dict[int, int] = {}
        self._found = Differences(spool, profile.name)

    def parse(self, line: Line) -> Fact | list[Rejection]:
        return rows.parse(line, self.profile)

    def compare(self, fingerprint: Fingerprint, comparison: Comparison) -> Tally:
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
