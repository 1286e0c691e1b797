"""One import, from the file to the log: read, validate, compare, judge, publish.

The steps are the same whatever a file is about; an `ImportSubject` has the differences: how a line is read
and kept, how the file is compared with earlier facts, and what is published then.

Order of effects, batch by batch: the facts are recorded as intended, appended to the log, and confirmed once
the log has acknowledged them: with the next batch's intents, or with the import's end. A crash anywhere
leaves the last batch in doubt, and the next import publishes those rows again: under the same event ids if
unchanged.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.errors import SesameError
from pipeline.eventlog.port import LogUnavailable
from producers.registrar import reader, rows
from producers.registrar.damage import likely_encoding
from producers.registrar.encodings import repairing
from producers.registrar.faults import DAMAGES, UnusableFile
from producers.registrar.feed import SEQUENCES_PER_IMPORT, UnpublishedFact
from producers.registrar.guard import AffectedPerson, Fingerprint, YearFigures, judge
from producers.registrar.import_subject import ImportDeps, ImportInterrupted, ImportOptions, ImportSubject
from producers.registrar.packing import opened
from producers.registrar.physical import Layout, Source
from producers.registrar.report import (
    REFUSED_KEPT_MAX,
    ROWS_MAX,
    Comparison,
    ImportDetail,
    ImportEnd,
    ImportReport,
    KeptRejection,
)
from producers.registrar.sheets import REJECTS, affected_cells, reject_cells
from schemas.language import gettext

APPEND_ATTEMPTS_MAX = 5
APPEND_WAIT_S_MAX = 5.0
_PROGRESS_LINES = 500
_LOOKED_AT = 1000  # damaged values, to tell the encoding


def run_import(path: Path, options: ImportOptions, subject: ImportSubject, deps: ImportDeps) -> ImportReport:
    """Import one file: publish differences from earlier imports, refuse what is wrong.

    Nothing is published before the whole file has been read and compared, both reports about it are written,
    and the guard has let it pass. Memory stays bounded whatever the file's size; the temporary copy needs
    about twice the file's size on disk.

    Raises:
        UnusableFile: the file as a whole is no export, or a file about it cannot be written.
        AcceptanceUnfit: a code to accept fits no line of it.
        SpoolFailed: no room for the temporary copy.
        HeldTogether: lines that were sent one by one would be held; nothing was published.
        ImportSuperseded: a newer import of the same source continues alone.
        ImportInterrupted: by a KeyboardInterrupt, or by `progress`: repeat it to continue.
        LogUnavailable, StoreUnavailable: retry; facts in doubt are published again.
    """
    _refuse_one_place_for_two(path, options)
    return _Import(path, options, subject, deps).run()


class HeldTogether(SesameError):
    """The guard would hold these lines together. Each is imported by itself."""


class _Import:
    """One import's steps, and the results of each."""

    def __init__(self, path: Path, options: ImportOptions, subject: ImportSubject, deps: ImportDeps) -> None:
        self.path = path
        self.options = options
        self.subject = subject
        self.profile = subject.profile
        self.spool = subject.spool
        self.memory = subject.memory
        self.deps = deps
        self.started_at = deps.clock()
        self.about = ImportDetail(kind=subject.kind, actor=options.actor)
        self.import_id: int | None = None
        self.planned = 0
        self.published = 0  # facts that the log has acknowledged
        self.confirmed = 0  # up to this source sequence
        self.approver: str | None = None

    def run(self) -> ImportReport:
        try:
            return self._run()
        except (KeyboardInterrupt, ImportInterrupted) as stop:
            self._break_off(ImportEnd.INTERRUPTED, "")
            remedy = stop.remedy if isinstance(stop, ImportInterrupted) else ""
            raise ImportInterrupted(self.published, self.planned, remedy=remedy) from None
        except SesameError as error:
            self._break_off(ImportEnd.FAILED, str(error))
            raise

    def _run(self) -> ImportReport:
        heed = partial(self.deps.progress, 0, None)
        with opened(self.path, self.profile, sent=self.options.sent, heed=heed) as source:
            layout = reader.examine(source, self.profile)
            report = self._read(source, layout)
        self.about = self.about.model_copy(update={"last_line": layout.lines})
        if not self.options.dry_run:
            self.import_id = self.memory.begin(
                self.profile.name,
                file_name=self.path.name,
                started_at=self.started_at.timestamp(),
                detail=self.about,
                note=self.deps.note,
            )
        report = self._judge(replace(report, import_id=self.import_id), layout)
        if self.import_id is None:
            return report
        if report.held and self.options.together:
            raise HeldTogether
        if not report.held:
            self._approve(self.import_id, report)
            report = replace(report, accepted=self.subject.remember_accepted(self.import_id))
            self.planned = report.published
            for page in self.subject.changes():
                self._publish(self.import_id, page)
                self._advance(layout, 1.5, page[-1].line)
        self._advance(layout, 2.0, 0)
        ended_at = self.deps.clock().timestamp()
        summary = {**report.counts(), "held": int(report.held)}
        detail = report.detail(self.options.actor, ended_at)
        self.memory.finish(
            self.import_id, confirmed=self.confirmed, finished_at=ended_at, summary=summary, detail=detail
        )
        return report

    def _publish(self, import_id: int, batch: Sequence[UnpublishedFact]) -> None:
        """Append these facts; what is confirmed is recorded with the next ones, or the import's end.

        Raises:
            ImportSuperseded: a newer import continues alone; nothing of this batch was appended.
            LogUnavailable: the log did not take them in several attempts; they are in doubt.
            StoreUnavailable: they are in doubt.
        """
        source = self.profile.name
        facts = [(import_id * SEQUENCES_PER_IMPORT + each.line, each) for each in batch]
        intended = [each.row(sequence) for sequence, each in facts]
        records = [each.record(source, sequence, self.started_at) for sequence, each in facts]
        self.memory.intend(import_id, source, intended, confirmed=self.confirmed)
        for attempt in Retrying(
            retry=retry_if_exception_type(LogUnavailable),
            stop=stop_after_attempt(APPEND_ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.2, max=APPEND_WAIT_S_MAX),
            sleep=self.deps.sleep,
            reraise=True,
        ):
            with attempt:
                self.deps.producer.append(records)
        self.published += len(facts)
        self.confirmed = facts[-1][0]

    def _break_off(self, ended: ImportEnd, error: str) -> None:
        """Record how the import ended, if possible: the store itself may be down."""
        if self.options.dry_run:
            return
        ended_at = self.deps.clock().timestamp()
        update = {"ended": ended, "ended_at": ended_at, "error": error, "published": self.published}
        detail = self.about.model_copy(update=update)
        with suppress(SesameError):
            if self.import_id is None:
                self.memory.note_failed(
                    self.profile.name,
                    file_name=self.path.name,
                    started_at=self.started_at.timestamp(),
                    detail=detail,
                    note=self.deps.note,
                )
            else:
                self.memory.break_off(self.import_id, detail, confirmed=self.confirmed)

    def _read(self, source: Source, layout: Layout) -> ImportReport:
        """Spool every line's fact or faults, and compare the lines with one another."""
        digest = sha256()
        lines = 0
        dates: Counter[str] = Counter()
        birth_date = self.profile.place_of("birth_date")
        for line in reader.read(source, layout, self.profile, digest=digest.update):
            lines += 1
            if line.cells and birth_date is not None:
                dates[rows.date_form(line.cells[birth_date])] += 1
            parsed = self.subject.parse(line)
            if isinstance(parsed, list):
                for rejection in parsed:
                    self.spool.reject(rejection)
            else:
                self.spool.keep(line.number, parsed)
            if lines % _PROGRESS_LINES == 0:
                self._advance(layout, 0.0, line.number)
        if not lines:
            raise UnusableFile(
                gettext(
                    "{path}, line {line}: a header, and no line below it",
                    path=self.path,
                    line=layout.header_line,
                ),
                remedy=gettext("Check the export's selection: it holds nobody."),
            )
        duplicates = self.spool.settle()
        rejected, faults = self.spool.rejected()
        refused = map(reject_cells, self.spool.rejections())
        rejects_path = self.options.rejects_path if rejected else None
        if rejects_path is not None:
            REJECTS.write(rejects_path, refused)
        elif self.options.rejects_path is not None:
            REJECTS.remove(self.options.rejects_path)
        self.subject.check_accepted(self.path)
        year = self.options.full_year
        if year is not None and not self.spool.has_year(year):
            raise UnusableFile(
                gettext(
                    "{path}: said to be complete for {year}, and holds nothing of that year",
                    path=self.path,
                    year=year,
                ),
                remedy=gettext("Check the year, and the export's selection."),
                sent=gettext("nothing of {year} is in it, for which it is complete", year=year),
            )
        return ImportReport(
            kind=self.subject.kind,
            source=self.profile.name,
            dry_run=self.options.dry_run,
            digest=digest.hexdigest(),
            lines=lines,
            students=self.spool.students(),
            duplicates=duplicates,
            rejected=rejected,
            damaged=self.spool.damaged(),
            faults=faults,
            rejects_path=rejects_path,
            refused=tuple(islice(refused, ROWS_MAX)) if self.options.rejects_path is None else (),
            refused_lines=tuple(
                KeptRejection(line=each.line, column=each.column, fault=each.fault)
                for each in islice(self.spool.rejections(), REFUSED_KEPT_MAX)
            ),
            encoding=layout.encoding,
            separator=layout.separator,
            form=layout.form,
            sheet=layout.sheet,
            titles=layout.titles,
            footers=layout.footers,
            dates={form: count for form, count in dates.items() if form},
            full_year=year,
            unattributed=self.spool.unattributed(),
        )

    def _judge(self, report: ImportReport, layout: Layout) -> ImportReport:
        """Compare the facts with those published, and let the guard judge the whole."""
        options = self.options
        fingerprint = Fingerprint(self.profile.name, report.digest, str(options.full_year))
        counts = self.subject.compare(
            fingerprint,
            Comparison(
                full_year=None if report.absence_unknown else report.full_year,
                last_line=layout.lines,
                republish=options.republish,
                progress=lambda line: self._advance(layout, 1.0, line),
            ),
        )
        years = self._judged(self.spool.affected_people())
        sheet, affected_path = self.subject.affected_sheet, options.affected_path if years else None
        affected = affected_cells(sheet, self.spool.affected())
        if affected_path is not None:
            sheet.write(affected_path, affected)
        elif options.affected_path is not None:
            sheet.remove(options.affected_path)
        damaged = report.damaged
        misread = options.threshold.passed(affected=damaged, losing=0, in_all=report.lines)
        over = misread or any(figures.over for figures in years)
        if over:
            self.approver = self._approver_of(fingerprint.approval_id)
        whole = replace(
            report,
            **vars(counts),
            held=over and self.approver is None,
            misread=misread,
            likely_encoding=self._likely_encoding(report.encoding) if misread else "",
            approval=fingerprint.approval_id if over else None,
            years=years,
            affected_path=affected_path,
            affected=tuple(islice(affected, ROWS_MAX)) if options.affected_path is None else (),
        )
        return (
            replace(whole, parts=dict(self.subject.parts(whole, self._judged))) if options.together else whole
        )

    def _judged(self, people: Iterable[AffectedPerson]) -> tuple[YearFigures, ...]:
        """Judge these people; without any, count none."""
        left = iter(people)
        first = next(left, None)
        if first is None:
            return ()
        known, in_file, lost = self._in_all
        return judge(
            chain([first], left),
            known=known,
            in_file=in_file,
            threshold=self.options.threshold,
            lost=lost,
            leak=self.options.leak,
        )

    @cached_property
    def _in_all(self) -> tuple[Mapping[int, int], Mapping[int, int], Mapping[int, int]]:
        """People known, in the file, and lost lately, by academic year."""
        since = (self.started_at - timedelta(days=self.options.leak_days)).timestamp()
        return self.memory.people(self.profile.name), self.spool.people(), self.subject.lost(since)

    def _approver_of(self, approval: str) -> str | None:
        """Who approves this id: this import's actor, or an operator since it was held."""
        given, days = self.options.approval, timedelta(days=self.options.leak_days)
        if given is not None and hmac.compare_digest(given.id.encode(), approval.encode()):
            return given.actor
        since = (self.started_at - days).timestamp()
        return self.memory.approver_of(self.profile.name, approval, since)

    def _likely_encoding(self, encoding: str) -> str:
        """The encoding that would repair the damaged values; empty: none, or unknown."""
        found = (each.value for each in self.spool.rejections() if each.fault in DAMAGES)
        return repairing(likely_encoding(islice(found, _LOOKED_AT)), encoding)

    def _approve(self, import_id: int, report: ImportReport) -> None:
        if self.approver is None:
            return
        detail = {
            "approval": report.approval,
            "source": report.source,
            "file": self.path.name,
            "sha256": report.digest,
            "full_year": report.full_year,
            "years": [figures.to_json() for figures in report.years],
            **({"damaged": report.damaged} if report.misread else {}),
        }
        self.memory.approve(import_id, actor=self.approver, detail=detail)

    def _advance(self, layout: Layout, part: float, line: int) -> None:
        """Report progress: a step per line read, half a step per line compared, published."""
        steps = min(line, layout.lines) if part < 1 else min(line, layout.lines) // 2
        self.deps.progress((int(part * layout.lines) + steps) // 2, layout.lines)


def _refuse_one_place_for_two(path: Path, options: ImportOptions) -> None:
    if options.rejects_path is None or options.affected_path is None:
        return
    export, rejects, affected = (
        place.resolve() for place in (path, options.rejects_path, options.affected_path)
    )
    if rejects == export:
        what = gettext("{path}: the rejects file would replace the export", path=options.rejects_path)
    elif affected == export:
        what = gettext(
            "{path}: the file of affected people would replace the export", path=options.affected_path
        )
    elif affected == rejects:
        what = gettext(
            "{path}: the file of affected people would replace the rejects file", path=options.affected_path
        )
    else:
        return
    raise UnusableFile(what, remedy=gettext("Choose another place for it."))
