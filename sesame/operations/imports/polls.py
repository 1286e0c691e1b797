"""Bring in what changed at Pégase since the last look."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from producers.registrar import polls
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_runs import SqlImports
from producers.registrar.pegase.client import PegaseClient, PegaseDown, PegaseRefuses
from producers.registrar.pegase.contract import CONFIRMED, VALID, FlowEnrolment, Line
from producers.registrar.pegase.passes import OVERLAP_S, Seen, confirmed_ines, read_groups, read_pass
from producers.registrar.pegase.settings import year_of
from producers.registrar.profiles import path_code
from producers.registrar.report import ImportReport
from sesame.acts.acts import OFFICE, Actor, ActRequest, Report, act
from sesame.acts.ports import Registering
from sesame.operations.imports.acts import LEAK_DAYS, ImportRequest, import_sent, json_lines

FEED: Final = "pegase"
EVERY_S: Final = 30.0
"""A poll's interval: what Pégase's own clients ask."""
GROUPS_EVERY_S: Final = 600.0
"""Groups have no delta: each reading has all of them."""


class FeedPollRequest(ActRequest):
    """One poll.

    Attributes:
        since: read what was modified since then, in epoch seconds; None: since the last poll.
        approve: the id by which enrolments were held.
    """

    since: float | None = None
    approve: str | None = None


_USUAL: Final = FeedPollRequest()


class FeedPollReport(Report):
    """One poll.

    Attributes:
        since, through: its window, by Pégase's clock; `since` None: from the beginning.
        read: enrolments in it.
        imported, rejected: of them, those that were new here, and those that were refused.
        held: those that the guard holds; `approval`: the id to approve them by.
        groups: students' places in groups that were imported.
        differences: from the contract, with how many enrolments have each.
    """

    since: datetime | None
    through: datetime
    read: int
    imported: int
    rejected: int
    held: int
    approval: str = ""
    groups: int = 0
    differences: dict[str, int]


@act("import.poll", OFFICE)
def poll(
    site: Registering, actor: Actor, request: FeedPollRequest, *, clock: Callable[[], datetime]
) -> FeedPollReport:
    """Read Pégase's enrolments once, and import what is new.

    Raises:
        PegaseRefuses, PegaseDown, ImportSuperseded, ImportInterrupted: nothing is lost; poll again.
    """
    with closing(LiveFeed(site, clock=clock)) as feed:
        return feed.poll(actor, request)


@dataclass
class _Held:
    """Enrolments that the guard holds."""

    enrolments: dict[tuple[str, ...], FlowEnrolment] = field(default_factory=dict)
    approval: str = ""

    def keep_only(self, now: Iterable[FlowEnrolment]) -> None:
        """Leave out those that have been modified since."""
        still = {each.key: each for each in now if self.enrolments.get(each.key) == each}
        if still != self.enrolments:
            self.enrolments, self.approval = still, ""


class LiveFeed:
    """Pégase's feed, with what this process has brought in of it. For one thread.

    Args:
        clock: the time, with a zone.
        heed: called after each page and attempt, and while importing; it raises to stop.
    """

    def __init__(
        self, site: Registering, *, clock: Callable[[], datetime], heed: Callable[[], None] = lambda: None
    ) -> None:
        settings = site.settings.pegase
        self._site = site
        self._settings = settings
        self._clock = clock
        self._heed = heed
        self._client = PegaseClient(settings.instance, pause=self._pause)
        self._forget()
        self._finished_at: float | None = None
        self._groups: dict[int, str] = {}  # year to the digest of its groups
        self._groups_at = 0.0
        self._with_groups: set[str] = set()  # periods that had some

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _pause(self, seconds: float) -> None:
        self._heed()
        time.sleep(seconds)

    def _forget(self) -> None:
        self._seen, self._held = Seen(), _Held()

    def poll(self, actor: Actor, request: FeedPollRequest = _USUAL) -> FeedPollReport:
        """Read one window, import what is new, and record how far it came. Raises as `poll`."""
        database = self._site.database
        with database.read() as connection:
            known = next((each for each in polls.all_polls(connection) if each.feed == FEED), None)
        before, finished_at = (known.through, known.finished_at) if known is not None else (0, None)
        if finished_at != self._finished_at:  # another poll's: what was held may be published
            self._forget()
            self._finished_at = finished_at
        since = request.since
        start = max(0, before - OVERLAP_S) if since is None else int(since)
        found = read_pass(self._client, start, self._heed)
        readable = self._readable(found.enrolments)
        if start <= before:
            self._held.keep_only(readable)
        reports = self._import_all(actor, self._seen.new_among(readable), request.approve)
        if start <= before and not self._held.enrolments:
            with database.write() as connection:
                self._finished_at = polls.finish(connection, database, FEED, found.through)
            self._seen.forget_before(found.through - OVERLAP_S)
        groups = self._poll_groups(actor, request.approve)
        return FeedPollReport(
            since=datetime.fromtimestamp(start, self._clock().tzinfo) if start else None,
            through=datetime.fromtimestamp(found.through, self._clock().tzinfo),
            read=len(found.enrolments),
            imported=sum(each.published for each in reports),
            rejected=sum(each.rejected for each in reports),
            held=len(self._held.enrolments),
            approval=self._held.approval,
            groups=groups,
            differences=dict(found.differences),
        )

    def _readable(self, enrolments: Iterable[FlowEnrolment]) -> list[FlowEnrolment]:
        """Leave out those of an unknown status in force here: they stay so."""
        found = list(enrolments)
        students = {each.line["codeApprenant"] for each in found if each.is_unknown}
        known = SqlFeedMemory(self._site.database).published(FEED, students) if students else {}
        live = {(number, str(year), *step) for (number, year, *step), told in known.items() if told.live}
        return [
            each
            for each in found
            if not (each.is_unknown and (*each.key[:-1], path_code(each.key[-1])) in live)
        ]

    def _import_all(self, actor: Actor, new: list[FlowEnrolment], approve: str | None) -> list[ImportReport]:
        """Import these. What the guard would hold waits apart, so that it holds nobody else."""
        held = self._held
        fresh = [each for each in new if held.enrolments.get(each.key) != each]
        reports = [self._import(actor, fresh)] if fresh else []
        if reports and reports[0].held:
            sure = [each for each in fresh if each.status == VALID]
            unsure = [each for each in fresh if each.status != VALID]
            reports = [self._import(actor, sure)] if sure and unsure else []
            waiting = unsure if reports and not reports[0].held else fresh
            reports = [each for each in reports if not each.held]
            held.enrolments |= {each.key: each for each in waiting}
            held.approval = ""
        if held.enrolments and (not held.approval or self._approved(held.approval)):
            report = self._import(actor, list(held.enrolments.values()), approve)
            held.approval = report.approval or ""
            if not report.held:
                held.enrolments.clear()
                reports.append(report)
        return reports

    def _approved(self, approval: str) -> bool:
        since = self._clock() - timedelta(days=LEAK_DAYS)
        runs = SqlImports(self._site.database)
        return runs.approver_of(FEED, approval, since.timestamp()) is not None

    def _import(
        self, actor: Actor, enrolments: list[FlowEnrolment], approve: str | None = None
    ) -> ImportReport:
        file = Path(f"{FEED} {self._clock():%Y-%m-%d %H:%M:%S}")
        states = self._ine_states([each.line for each in enrolments])
        ordered = sorted(enrolments, key=lambda each: each.key)
        sent = json_lines(each.line | states.get(each.line["codeApprenant"], {}) for each in ordered)
        request = ImportRequest(file=file, sent=sent, profile=FEED, approve=approve)
        report = self._import_sent(actor, request, file)
        if not report.held:
            self._seen.add(enrolments)
        return report

    def _ine_states(self, lines: Iterable[Line]) -> dict[str, Line]:
        """The state of each student's INE, where the site mints ESIs and it is known.

        The flow does not tell it. Enrolments do not wait for it: the student's next change asks again.
        """
        ines = {line["codeApprenant"]: line["ine"] for line in lines if line["ine"]}
        if self._site.settings.esi_rules is None or not self._settings.periods:
            return {}
        try:
            confirmed = confirmed_ines(self._client, self._settings.periods, ines.keys())
        except (PegaseDown, PegaseRefuses):
            return {}
        return {
            number: {"etatIneMaitre": CONFIRMED if confirmed.get(number) == ine.upper() else "A_VERIFIER"}
            for number, ine in ines.items()
        }

    def _import_sent(self, actor: Actor, request: ImportRequest, file: Path) -> ImportReport:
        return import_sent(
            self._site, actor, request, file, clock=self._clock, progress=lambda *_: self._heed()
        )

    def _poll_groups(self, actor: Actor, approve: str | None) -> int:
        """Import all periods' groups when due; return how many places of students.

        Raises:
            PegaseDown: a period that had groups has none any more; nothing is taken away.
        """
        now = self._clock().timestamp()
        if not self._settings.periods or now < self._groups_at + GROUPS_EVERY_S:
            return 0
        lines: Mapping[int, list[Line]] = defaultdict(list)
        for establishment, periods in self._settings.periods.items():
            for period in periods:
                found = read_groups(self._client, establishment, period)
                if not found and period in self._with_groups:
                    raise PegaseDown(f"chc has no groups of {period} any more")
                if found:
                    self._with_groups.add(period)
                lines[year_of(period)] += found
                self._heed()
        done = 0
        for year, several in lines.items():
            sent = json_lines(sorted(several, key=lambda line: tuple(line.values())))
            digest = sha256(sent).hexdigest()
            if several and self._groups.get(year) != digest:
                file = Path(f"{FEED} groups {self._clock():%Y-%m-%d %H:%M:%S}")
                request = ImportRequest(groups=file, sent=sent, profile=FEED, full_year=year, approve=approve)
                if not self._import_sent(actor, request, file).held:
                    self._groups[year] = digest
                    done += len(several)
        if self._with_groups:  # the first ones may come soon
            self._groups_at = now
        return done
