"""One import, from the file to the log: read, validate, compare, judge, publish."""

from __future__ import annotations

import hmac
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pipeline.eventlog.port import Producer
from producers.registrar import affected, reading, rejects, rows
from producers.registrar.differences import Differences, add_absent
from producers.registrar.faults import UnusableFile
from producers.registrar.feed import FeedMemory, Publisher
from producers.registrar.guard import Approval, Fingerprint, Threshold, judge
from producers.registrar.physical import Layout
from producers.registrar.profile import Profile
from producers.registrar.report import ImportReport
from producers.registrar.spool import Spool

_PROGRESS_LINES = 500

Progress = Callable[[int, int | None], None]
"""Told how many steps are done, and how many there are in all: two per line (read, compared)."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with a file.

    Attributes:
        rejects_path: where to write what was refused. Replaced if something was; a former one is removed if
            nothing was.
        affected_path: where to write who would lose an enrolment or change unusually; treated alike.
        dry_run: compare and report only. Both files are written all the same.
        republish: publish unchanged rows too, for a log that has lost them.
        full_year: the academic year that the file is complete for: what it does not have is cancelled.
        threshold: how much may change before the file is held.
        approval: an operator's word for a file that was held.
    """

    rejects_path: Path
    affected_path: Path
    dry_run: bool = False
    republish: bool = False
    full_year: int | None = None
    threshold: Threshold = field(default_factory=Threshold)
    approval: Approval | None = None


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
    """Import one export: publish what differs from what was published before, and refuse what is wrong.

    Nothing is published before the whole file has been read and compared, both files about it are written,
    and the guard has let it pass. Memory stays bounded whatever the file's size; the temporary copy needs
    about twice the file's size on disk.

    Args:
        path: the export.
        order: what is to be done with it.
        profile: how to read it; see `producers.registrar.profile`.
        feed: what was published before.
        producer: appends to the log. Not used in a dry run, nor when the file is held.
        clock: the time, with a zone.
        progress: see `Progress`.
        sleep: waits between attempts to append; seconds.

    Raises:
        UnusableFile: the file as a whole is no export, or a file about it cannot be written.
        SpoolFailed: no room for the temporary copy.
        ImportSuperseded: a newer import of the same source goes on alone.
        LogUnavailable, StoreUnavailable: try again; what is in doubt is published again.
    """
    _refuse_one_place_for_two(path, order)
    with Spool(profile) as spool:
        return _Import(path, order, profile, feed, producer, clock, progress, sleep, spool).run()


@dataclass
class _Import:
    """One import's steps, and what each of them found out."""

    path: Path
    order: Order
    profile: Profile
    feed: FeedMemory
    producer: Producer
    clock: Callable[[], datetime]
    progress: Progress
    sleep: Callable[[float], None]
    spool: Spool

    def run(self) -> ImportReport:
        started_at = self.clock()
        layout = reading.examine(self.path, self.profile)
        report = self._read(layout)
        import_id = None
        if not self.order.dry_run:
            import_id = self.feed.begin(
                self.profile.name, file_name=self.path.name, started_at=started_at.timestamp()
            )
        if report.full_year is not None and not report.absence_unknown:
            add_absent(self.spool, self.feed, self.profile.name, report.full_year, last_line=layout.lines)
        differences = Differences(self.spool, self.profile.name)
        report = self._judge(replace(report, import_id=import_id), differences, layout)
        if import_id is None:
            return report
        if not report.held:
            self._approve(import_id, report)
            publisher = Publisher(
                import_id=import_id,
                source=self.profile.name,
                started_at=started_at,
                memory=self.feed,
                producer=self.producer,
                sleep=self.sleep,
            )
            for page in differences.to_publish():
                publisher.publish(page)
                self._advance(layout, 1.5, page[-1].spooled.line)
        self._advance(layout, 2.0, 0)
        summary = {**report.counts(), "held": int(report.held)}
        self.feed.finish(import_id, finished_at=self.clock().timestamp(), summary=summary)
        return report

    def _read(self, layout: Layout) -> ImportReport:
        """Put every line's fact or faults into the spool, and compare the lines with one another."""
        digest = sha256()
        lines = 0
        dates: Counter[str] = Counter()
        birth_date = self.profile.place_of("birth_date")
        for line in reading.read(self.path, layout, self.profile, digest=digest):
            lines += 1
            if line.cells and birth_date is not None:
                dates[rows.date_form(line.cells[birth_date])] += 1
            parsed = rows.parse(line, self.profile)
            if isinstance(parsed, list):
                for rejection in parsed:
                    self.spool.reject(rejection)
            else:
                self.spool.keep(line.number, parsed)
            if lines % _PROGRESS_LINES == 0:
                self._advance(layout, 0.0, line.number)
        if not lines:
            raise UnusableFile(
                f"{self.path}, line {layout.header_line}: a header, and no line below it",
                remedy="Check the export's selection: it holds no enrolment.",
            )
        duplicates = self.spool.settle()
        rejected, faults = self.spool.rejected()
        rejects_path = self.order.rejects_path if rejected else None
        if rejects_path is not None:
            rejects.write(rejects_path, self.spool.rejections(), separator=layout.sheet_separator)
        else:
            rejects.remove(self.order.rejects_path)
        if self.order.full_year is not None:
            self._refuse_a_year_without_lines(self.order.full_year)
        return ImportReport(
            source=self.profile.name,
            dry_run=self.order.dry_run,
            digest=digest.hexdigest(),
            lines=lines,
            students=self.spool.students(),
            duplicates=duplicates,
            rejected=rejected,
            faults=faults,
            rejects_path=rejects_path,
            encoding=layout.encoding,
            separator=layout.separator,
            dates={form: count for form, count in dates.items() if form},
            full_year=self.order.full_year,
            unattributed=self.spool.unattributed(),
        )

    def _refuse_a_year_without_lines(self, year: int) -> None:
        if not self.spool.has_year(year):
            raise UnusableFile(
                f"{self.path}: said to be complete for {year}, and holds no enrolment of that year",
                remedy="Check the year, and the export's selection.",
            )

    def _judge(self, report: ImportReport, differences: Differences, layout: Layout) -> ImportReport:
        """Compare the facts with what was published before, and let the guard look at the whole."""
        order, source = self.order, self.profile.name
        people = self.spool.people()
        known = self.feed.people(source)
        fingerprint = Fingerprint(source, report.digest, str(order.full_year))
        tally = differences.find(
            self.feed,
            fingerprint,
            republish=order.republish,
            progress=lambda line: self._advance(layout, 1.0, line),
        )
        years = judge(differences.affected_people(), known=known, in_file=people, threshold=order.threshold)
        if years:
            affected.write(order.affected_path, differences.affected(), separator=layout.sheet_separator)
        else:
            affected.remove(order.affected_path)
        over = any(figures.over for figures in years)
        given = "" if order.approval is None else order.approval.id
        approved = hmac.compare_digest(given.encode(), fingerprint.approval_id.encode())
        return replace(
            report,
            recorded=tally.recorded,
            cancelled=tally.cancelled,
            gone=tally.gone,
            unchanged=tally.unchanged,
            held=over and not approved,
            approval=fingerprint.approval_id if over else None,
            years=years,
            affected_path=order.affected_path if years else None,
        )

    def _approve(self, import_id: int, report: ImportReport) -> None:
        """Note who let pass what the guard would have held."""
        if report.approval is None or self.order.approval is None:
            return
        detail = {
            "approval": report.approval,
            "source": report.source,
            "file": self.path.name,
            "sha256": report.digest,
            "full_year": report.full_year,
            "years": [figures.to_json() for figures in report.years],
        }
        self.feed.approve(import_id, actor=self.order.approval.actor, detail=detail)

    def _advance(self, layout: Layout, part: float, line: int) -> None:
        """Tell how far it is: reading is one step per line, comparing and publishing are half a step each."""
        steps = min(line, layout.lines) if part < 1 else min(line, layout.lines) // 2
        self.progress(int(part * layout.lines) + steps, 2 * layout.lines)


def _refuse_one_place_for_two(path: Path, order: Order) -> None:
    places = {path.resolve(): "export"}
    for name, place in (
        ("rejects file", order.rejects_path),
        ("file of affected people", order.affected_path),
    ):
        taken = places.setdefault(place.resolve(), name)
        if taken != name:
            raise UnusableFile(
                f"{place}: the {name} would replace the {taken}", remedy="Choose another place for it."
            )
