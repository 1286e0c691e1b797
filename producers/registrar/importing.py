"""One import, from the file to the log: read, validate, compare the lines with one another, publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pipeline.eventlog.port import Producer
from producers.registrar import reader, rejects, rows
from producers.registrar.faults import UnusableFile
from producers.registrar.feed import Difference, FeedMemory, Publisher, compare
from producers.registrar.profile import Profile
from producers.registrar.report import ImportReport
from producers.registrar.spool import Spool

_PROGRESS_LINES = 500

Progress = Callable[[int, int | None], None]
"""Told how many steps are done, and how many there are in all: two per line (read, compared)."""


def import_file(
    path: Path,
    *,
    profile: Profile,
    feed: FeedMemory,
    producer: Producer,
    clock: Callable[[], datetime],
    dry_run: bool,
    rejects_path: Path,
    progress: Progress,
    republish: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Import one export: publish what differs from what was published before, and refuse what is wrong.

    Nothing is published before the whole file has been read and the rejects file is written. Memory stays
    bounded whatever the file's size; the temporary copy needs about twice the file's size on disk.

    Args:
        path: the export.
        profile: how to read it; see `producers.registrar.profile`.
        feed: what was published before.
        producer: appends to the log. Not used in a dry run.
        clock: the time, with a zone.
        dry_run: compare and report only. The rejects file is written all the same.
        rejects_path: where to write what was refused. Replaced if something was; a former one is removed if
            nothing was.
        progress: see `Progress`.
        republish: publish unchanged rows too, for a log that has lost them.
        sleep: waits between attempts to append; seconds.

    Raises:
        UnusableFile: the file as a whole is no export, or the rejects file cannot be written.
        SpoolFailed: no room for the temporary copy.
        ImportSuperseded: a newer import of the same source goes on alone.
        LogUnavailable, StoreUnavailable: try again; what is in doubt is published again.
    """
    if rejects_path.resolve() == path.resolve():
        raise UnusableFile(
            f"{path}: the rejects file would replace the export", remedy="Choose another place for it."
        )
    started_at = clock()
    layout = reader.examine(path, profile.column_names)
    in_all = 2 * layout.lines
    with Spool(profile) as spool:
        lines = _read(path, layout, profile, spool, progress=lambda done: progress(done, in_all))
        duplicates = spool.settle()
        rejected, faults = spool.rejected()
        if rejected:
            rejects.write(rejects_path, spool.rejections(), separator=layout.separator)
        else:
            rejects.remove(rejects_path)

        publisher = None
        if not dry_run:
            publisher = Publisher(
                import_id=feed.begin(profile.name, file_name=path.name, started_at=started_at.timestamp()),
                source=profile.name,
                started_at=started_at,
                memory=feed,
                producer=producer,
                sleep=sleep,
            )
        difference = Difference()
        for page in spool.facts():
            changes = compare(page, feed, profile.name, difference, republish=republish)
            if publisher is not None:
                publisher.publish(changes)
            progress(layout.lines + page[-1].line, in_all)
        progress(in_all, in_all)
        report = ImportReport(
            source=profile.name,
            import_id=None if publisher is None else publisher.import_id,
            dry_run=dry_run,
            lines=lines,
            students=spool.students(),
            recorded=difference.recorded,
            cancelled=difference.cancelled,
            unchanged=difference.unchanged,
            duplicates=duplicates,
            rejected=rejected,
            faults=faults,
            rejects_path=rejects_path if rejected else None,
            encoding=layout.encoding,
            separator=layout.separator,
        )
    if publisher is not None:
        feed.finish(publisher.import_id, finished_at=clock().timestamp(), summary=report.counts())
    return report


def _read(
    path: Path,
    layout: reader.Layout,
    profile: Profile,
    spool: Spool,
    *,
    progress: Callable[[int], None],
) -> int:
    """Put every line's fact or faults into the spool; how many lines there were."""
    lines = 0
    for line in reader.read(path, layout, profile.column_names):
        lines += 1
        parsed = rows.parse(line, profile)
        if isinstance(parsed, list):
            for rejection in parsed:
                spool.reject(rejection)
        else:
            spool.keep(line.number, parsed)
        if lines % _PROGRESS_LINES == 0:
            progress(line.number)
    if not lines:
        raise UnusableFile(
            f"{path}, line {layout.header_line}: a header, and no line below it",
            remedy="Check the export's selection: it holds no enrolment.",
        )
    return lines
