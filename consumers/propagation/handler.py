"""Read bells and outcomes, and report when a version has reached every target."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from consumers.propagation import rows, times
from consumers.propagation.settings import PropagationSettings
from consumers.propagation.window import PropagationProgress, PropagationState, SeenOutcome, judge, window_of
from pipeline import accounts, outbox, timers
from pipeline.db.database import Database
from pipeline.db.persons import Forgotten, nobody
from pipeline.facts import Fact, Rejected
from pipeline.parking import resync
from schemas import catalogue
from schemas.account import CANARY, Account, Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import (
    AccountChanged,
    Event,
    Outcome,
    PropagationBreached,
    PropagationCompleted,
    PropagationLate,
    TargetFailed,
    TargetProvisioned,
    TargetWaiting,
)

LATE, BREACHED = "propagation_late", "propagation_breached"

Said = PropagationCompleted | PropagationLate | PropagationBreached
"""Announcements of this consumer."""


class Propagation:
    """The propagation consumer. It touches only the store; its events leave through the outbox.

    Args:
        targets: every target that a version must reach.
        follows: targets that act only after another one, by name.
        on_said: called with every completion and every edge of the window that was passed, for metrics.
        forgotten: the erased students, whose outcomes count no more.
    """

    name = "propagation"
    topics: tuple[str, ...] = (
        *catalogue.both_lanes(catalogue.ACCOUNTS),
        *catalogue.both_lanes(catalogue.OUTCOMES),
    )

    def __init__(
        self,
        database: Database,
        *,
        targets: tuple[str, ...],
        follows: Mapping[str, str],
        objectives: PropagationSettings,
        on_said: Callable[[Said], None] = lambda _event: None,
        forgotten: Forgotten = nobody,
    ) -> None:
        self._database = database
        self._targets = targets
        self._follows = follows
        self._objectives = objectives
        self._on_said = on_said
        self._forgotten = forgotten
        self._completed: list[times.ClosedWindow] = []

    # --- facts ------------------------------------------------------------------------------------

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Apply bells and outcomes. Raises Rejected: a version was never minted."""
        self._completed = []
        minted = accounts.minted(connection, sorted({each.message.event.student_number for each in facts}))
        # All are looked at before the first is applied: what is said of one cannot be taken back.
        versions = [self._version(connection, message.event, minted) for _record, message in facts]
        for (_record, message), version in zip(facts, versions, strict=True):
            if version is None:
                continue
            if isinstance(message.event, Outcome):
                self._outcome(connection, version, message.event, message)
            else:
                self._open(connection, version, message)
        times.count(connection, self._database, self._completed)

    def _version(
        self, connection: Connection, event: Event, minted: Mapping[str, accounts.Minted]
    ) -> int | None:
        """The account's newest version, of an event's person; None: it is not for us."""
        known = minted.get(event.student_number)
        if event.student_number == CANARY:
            return None
        if isinstance(event, AccountChanged):
            return None if known is None or not known.is_activated else known.version
        if not isinstance(event, Outcome) or event.target not in self._targets:
            return None
        if known is None and self._forgotten(connection, event.student_number):
            return None
        if known is None or event.version > known.version:
            raise Rejected(
                "unknown_version",
                "an outcome names a version that was never minted: the database was restored from an older"
                " backup, or a foreign producer writes to the outcomes; find out which, then replay",
            )
        return known.version

    def make_up_for_lost(self, connection: Connection) -> str:
        """Have the targets compare unfinished students, and report again what they have."""
        again = f"resync-{secrets.token_hex(8)}"
        count = resync.compare(
            connection, self._database, self._targets, rows.unfinished(connection), event_id=again
        )
        return f"{count} students who are not complete are compared with the targets again"

    def _open(self, connection: Connection, minted: int, message: Message) -> PropagationProgress | None:
        """Follow the newest version; None if the account was never activated.

        Only the first message about a version needs the account itself, and most outcomes are not that.

        Args:
            minted: the newest existing version.
        """
        student_number = message.event.student_number
        progress = rows.progress_of(connection, self._database, student_number)
        if progress is not None and progress.version >= minted:
            return progress
        account = accounts.newest(connection, [student_number]).get(student_number)
        if account is None or account.activated_at is None:
            return progress
        opened = self._progress(progress, account, message)
        rows.save(connection, self._database, opened)
        self._arm(connection, opened)
        return self._judge(connection, opened, rows.seen_of(connection, student_number), message)

    def _progress(
        self, before: PropagationProgress | None, account: Account, message: Message
    ) -> PropagationProgress:
        opened_at = (account.opened_at or message.time).timestamp()
        if before is None:
            return PropagationProgress(account.student_number, account.version, account.lane, opened_at)
        return before.at_version(account.version, account.lane, opened_at)

    def _outcome(self, connection: Connection, minted: int, event: Outcome, message: Message) -> None:
        progress = self._open(connection, minted, message)
        if progress is None:
            return
        seen = SeenOutcome(
            target=event.target,
            version=event.version,
            lease_epoch=event.lease_epoch,
            sequence=event.sequence,
            state=_state_of(event),
            reason=_reason_of(event),
            finished_at=event.finished_at.timestamp(),
        )
        so_far = rows.seen_of(connection, event.student_number)
        before = so_far.get(event.target)
        if before is not None and before.rank >= seen.rank:
            return
        if before is not None and (before.version, before.state) == (seen.version, seen.state):
            seen = replace(seen, finished_at=before.finished_at)  # a replay: reached at the earlier time
        pending = event.pending if isinstance(event, TargetWaiting) else ()
        rows.save_seen(connection, self._database, event.student_number, seen, pending)
        self._judge(connection, progress, {**so_far, event.target: seen}, message)

    # --- judging ----------------------------------------------------------------------------------

    def _judge(
        self,
        connection: Connection,
        progress: PropagationProgress,
        seen: Mapping[str, SeenOutcome],
        message: Message,
    ) -> PropagationProgress:
        """Update the student's state by what was seen; announce a completion once."""
        if progress.completed_version >= progress.version:
            return progress
        state, _ = judge(progress.version, seen, self._targets, self._follows)
        moment = message.time.timestamp()
        if state is PropagationState.WAITING:
            after = progress.paused(moment)
            timers.disarm(connection, (LATE, BREACHED), progress.student_number)
        else:
            after = replace(progress.resumed(moment), state=state)
            if progress.paused_since is not None:
                self._arm(connection, after)
        if state is PropagationState.COMPLETED:
            after = self._complete(connection, after, seen, message)
        if after != progress:  # most outcomes, of one target of several, change nothing here
            rows.save(connection, self._database, after)
        return after

    def _complete(
        self,
        connection: Connection,
        progress: PropagationProgress,
        seen: Mapping[str, SeenOutcome],
        message: Message,
    ) -> PropagationProgress:
        completed_at = max(seen[target].finished_at for target in self._targets)
        progress = replace(
            progress,
            completed_version=progress.version,
            completed_at=completed_at,
            elapsed_s=progress.elapsed_at(completed_at),
        )
        timers.disarm(connection, (LATE, BREACHED), progress.student_number)
        elapsed_s = progress.elapsed_s or 0.0
        targets_s = {target: progress.target_elapsed(seen[target].finished_at) for target in self._targets}
        self._completed.append(
            times.ClosedWindow(
                progress.student_number,
                progress.lane,
                completed_at,
                progress.opened_at,
                elapsed_s,
                targets_s,
            )
        )
        event = PropagationCompleted(
            student_number=progress.student_number,
            version=progress.version,
            lane=progress.lane,
            window=window_of(progress.lane, elapsed_s, self._objectives),
            opened_at=_utc(progress.opened_at),
            completed_at=_utc(completed_at),
            elapsed_s=round(elapsed_s, 6),
            waited_s=round(progress.waited_s, 6),
            targets_s={target: round(took_s, 6) for target, took_s in targets_s.items()},
        )
        self._say(connection, event, progress, message.time, message.id)
        return progress

    # --- timers -----------------------------------------------------------------------------------

    def on_late(self, connection: Connection, student_number: str, now: float) -> None:
        """Announce lateness when the 15 minute timer is due."""
        progress = rows.progress_of(connection, self._database, student_number)
        if progress is None or progress.late_at is not None:
            return
        if self._reached(connection, progress, self._objectives.late_s, now):
            self._edge(connection, replace(progress, late_at=now), PropagationLate, now)

    def on_breached(self, connection: Connection, student_number: str, now: float) -> None:
        """Announce a breach when the 60 minute timer is due."""
        progress = rows.progress_of(connection, self._database, student_number)
        if progress is None or progress.breached_at is not None:
            return
        if self._reached(connection, progress, self._objectives.breach_s, now):
            self._edge(connection, replace(progress, breached_at=now), PropagationBreached, now)

    def _edge(
        self,
        connection: Connection,
        progress: PropagationProgress,
        kind: type[PropagationLate | PropagationBreached],
        now: float,
    ) -> None:
        seen = rows.seen_of(connection, progress.student_number)
        _, outstanding = judge(progress.version, seen, self._targets, self._follows)
        event = kind(
            student_number=progress.student_number,
            version=progress.version,
            opened_at=_utc(progress.opened_at),
            elapsed_s=round(progress.elapsed_at(now), 6),
            outstanding=outstanding,
        )
        rows.save(connection, self._database, progress)
        self._say(connection, event, progress, _utc(now), None)

    def _reached(
        self, connection: Connection, progress: PropagationProgress, edge_s: float, now: float
    ) -> bool:
        """True if a person's window runs and has come to this edge.

        A fact may have ended or paused the window of this timer, and begun another one.
        """
        if progress.state not in (PropagationState.IN_PROGRESS, PropagationState.FAILED):
            return False
        if progress.lane is Lane.PERSONAL and now >= progress.due_at(edge_s):
            return True
        self._arm(connection, progress)
        return False

    def _arm(self, connection: Connection, progress: PropagationProgress) -> None:
        """Set the timers of a person's window; bulk work has a separate objective."""
        if progress.lane is not Lane.PERSONAL:
            timers.disarm(connection, (LATE, BREACHED), progress.student_number)
            return
        for kind, edge_s, passed in (
            (LATE, self._objectives.late_s, progress.late_at),
            (BREACHED, self._objectives.breach_s, progress.breached_at),
        ):
            if passed is None:
                due_at = progress.due_at(edge_s)
                timers.arm(connection, self._database, kind, progress.student_number, due_at)

    def _say(
        self,
        connection: Connection,
        event: Said,
        progress: PropagationProgress,
        time: datetime,
        caused_by: str | None,
    ) -> None:
        identity = event_id(event.type, self.name, progress.student_number, progress.version)
        message = Message(identity, SOURCE_PREFIX + self.name, time, event, caused_by)
        outbox.enqueue(connection, message, catalogue.PROPAGATION, progress.lane)
        self._on_said(event)


def _state_of(event: Outcome) -> str:
    if isinstance(event, TargetProvisioned):
        return "provisioned"
    return "waiting" if isinstance(event, TargetWaiting) else "failed"


def _reason_of(event: Outcome) -> str | None:
    if isinstance(event, TargetWaiting):
        return event.reason
    return event.cause if isinstance(event, TargetFailed) else None


def _utc(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
