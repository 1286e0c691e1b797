"""The outcome event and the attempt's record of an ended item. A redelivery gives the event the same id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.attempts import Attempt, AttemptEnd
from pipeline.engine.bell import WorkItem
from pipeline.parking import Kind, Parked
from pipeline.parking.rows import lane_for, replays_of
from pipeline.target import (
    ADMINISTRATIVE_PENDING,
    NOT_OPEN_YET,
    NOTHING,
    WHEN_RUNG,
    Closed,
    Dead,
    Done,
    HandlerOutcome,
    Retry,
    Task,
    Waiting,
)
from pipeline.target_states import State, TargetState
from schemas.account import Account, Lane, Stage
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import Outcome, TargetFailed, TargetProvisioned, TargetWaiting


@dataclass(frozen=True)
class Admitted:
    """An item that holds the lease.

    Attributes:
        state: as it was before the lease.
        parked: what was parked for this student, bells of this item included.
        started_at, lease_until: database time, epoch seconds.
        began: `started_at` by this process's clock, monotonic seconds.
        close_only: the target that this one follows is behind: shut access, and do nothing else.
    """

    item: WorkItem
    account: Account
    epoch: int
    state: TargetState | None
    parked: Parked | None
    started_at: float
    lease_until: float
    began: float
    close_only: bool = False

    def time_at(self, moment: float) -> datetime:
        """The database's time at a moment of this process's clock, without asking for it."""
        return datetime.fromtimestamp(self.started_at + moment - self.began, UTC)

    def leased_until(self, now: float) -> float:
        """Return the lease's end, at most a whole lease from `now`. The clock may go back."""
        return min(self.lease_until, now + self.lease_until - self.started_at)

    @property
    def doubtful(self) -> bool:
        """Whether the target's content is in doubt: an earlier outcome is unknown."""
        return self.state is not None and (self.state.suspect or self.state.abandoned)

    @property
    def decided(self) -> HandlerOutcome | None:
        """The outcome of an item that needs no call; None: the call decides.

        A target that the site's entitlements do not give is untouched: there is nothing to read back.
        """
        if self.account.stage is not Stage.PRECREATED:
            return None
        if not self.account.lacks_target:
            return Waiting(ADMINISTRATIVE_PENDING)
        if self.account.opens_on:
            return Waiting(NOT_OPEN_YET, recheck_after_s=WHEN_RUNG)
        return Done(NOTHING, changed=False)

    @property
    def task(self) -> Task:
        """The handler's task for this item."""
        return Task(
            self.account,
            compare=self.doubtful or bool(self.replays),
            close_only=self.close_only,
            was_there=self.state is not None and self.state.digest not in (None, NOTHING),
        )

    @property
    def replays(self) -> tuple[str, ...]:
        """The replays that this item carries out: those that rang and the parked one."""
        return replays_of(self.item, self.parked)

    @property
    def lane(self) -> Lane:
        """The lane: personal if the item or what is parked is."""
        return lane_for(self.item, self.parked)

    @property
    def attempt(self) -> int:
        """The number of this attempt at this version, from 1; a newer version restarts it."""
        return 1 + (self.parked.attempts if self.parked is not None and self.retried else 0)

    @property
    def retried(self) -> bool:
        """Whether the parked row counts failures of this version."""
        parked, version = self.parked, self.account.version
        return parked is not None and parked.kind is Kind.RETRY and parked.attempts_version == version

    def age_s(self, now: float) -> float:
        """Return the seconds since this version's first failure, without down times."""
        return self.parked.age_at(now) if self.parked is not None and self.retried else 0.0

    def letter_id(self, target: str) -> str:
        """The id of the dead letter that this item would leave: the same for a redelivery."""
        number, version, cause = self.account.student_number, self.account.version, self.item.bell.event_id
        return event_id("dead-letter", target, number, version, cause, self.attempt)


def announcement(
    target: str, admitted: Admitted, outcome: HandlerOutcome, now: datetime, letter_id: str | None = None
) -> Message | None:
    """Return this outcome's event, about an existing dead letter. None: nothing is new."""
    item, account = admitted.item, admitted.account
    common: dict[str, Any] = {
        "student_number": account.student_number,
        "version": account.version,
        "target": target,
        "lane": admitted.lane,
        "lease_epoch": admitted.epoch,
        "sequence": 1,
        "attempt": admitted.attempt,
        "opened_at": account.opened_at,
        "started_at": datetime.fromtimestamp(admitted.started_at, UTC),
        "finished_at": now,
    }
    event: Outcome
    if isinstance(outcome, Done):
        event = TargetProvisioned(**common, digest=outcome.digest, changed=outcome.changed)
    elif isinstance(outcome, Waiting):
        if _nothing_new(admitted, outcome):
            return None
        event = TargetWaiting(**common, reason=outcome.reason, pending=outcome.pending)
    elif isinstance(outcome, Dead):
        letter = letter_id or admitted.letter_id(target)
        event = TargetFailed(**common, cause=outcome.cause, dead_letter_id=letter)
    else:
        return None
    cause = item.bell.event_id  # a resync's is one for many students
    whose = (target, account.student_number, account.version)
    identity = event_id(event.type, *whose, cause, admitted.attempt, _before(admitted))
    return Message(identity, SOURCE_PREFIX + target, now, event, caused_by=cause)


def attempt(target: str, admitted: Admitted, outcome: HandlerOutcome, now: float) -> Attempt | None:
    """Return the attempt to record for this outcome; None: announced before."""
    if isinstance(outcome, Waiting) and _nothing_new(admitted, outcome):
        return None
    account, replays = admitted.account, admitted.replays
    return Attempt(
        account.student_number,
        target,
        account.version,
        admitted.attempt,
        _attempt_end(outcome),
        reason_of(outcome),
        replays[-1] if replays else admitted.item.bell.event_id,
        now,
    )


def _attempt_end(outcome: HandlerOutcome) -> AttemptEnd:
    if isinstance(outcome, Done):
        return AttemptEnd.WRITTEN if outcome.changed else AttemptEnd.UNCHANGED
    return _ENDS[type(outcome)]


_ENDS: Final[Mapping[type, AttemptEnd]] = {
    Closed: AttemptEnd.CLOSED,
    Waiting: AttemptEnd.WAITING,
    Retry: AttemptEnd.RETRY,
    Dead: AttemptEnd.FAILED,
}


def reason_of(outcome: HandlerOutcome) -> str | None:
    """Return why this is no success, as a token; None: it is one."""
    if isinstance(outcome, Waiting):
        return outcome.reason
    return outcome.cause if isinstance(outcome, Retry | Dead) else None


def _before(admitted: Admitted) -> str:
    """Return what distinguishes a re-check's announcement from the one before.

    Both have the same cause and attempt. A re-check has no event: the state that it changes identifies it. A
    student who is parked only because a call was under way has no earlier announcement, and a repetition
    shares the first one's id.
    """
    state, parked = admitted.state, admitted.parked
    looked_at = state is not None and parked is not None and not parked.kind.only_looks
    return f"{state.state}/{state.since}" if looked_at and state is not None else ""


def _nothing_new(admitted: Admitted, outcome: Waiting) -> bool:
    """Return whether a re-check or a redelivery found what was announced. A replay always counts as new."""
    state, parked, item = admitted.state, admitted.parked, admitted.item
    if state is None or any(replay != state.replayed_event_id for replay in admitted.replays):
        return False
    again = not item.rang or (parked is not None and parked.event_id == item.bell.event_id)
    said = (State.WAITING, admitted.account.version, outcome.reason, outcome.pending)
    return again and (state.state, state.state_version, state.reason, state.pending) == said


def failure(
    target: str, item: WorkItem, *, version: int, epoch: int, cause: str, letter_id: str, now: datetime
) -> Message:
    """Return the event of an item that ended by an unforeseen fault."""
    event = TargetFailed(
        student_number=item.student_number,
        version=version,
        target=target,
        lane=item.lane,
        lease_epoch=epoch,
        sequence=1,
        attempt=1,
        started_at=now,
        finished_at=now,
        cause=cause,
        dead_letter_id=letter_id,
    )
    identity = event_id(event.type, target, version, item.bell.event_id, letter_id)
    return Message(identity, SOURCE_PREFIX + target, now, event, caused_by=item.bell.event_id)
