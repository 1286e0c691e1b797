"""What a turn's end is announced as: the outcome event, with an id that a redelivery shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.engine import Turn
from pipeline.store.parking import Parked
from pipeline.store.target_states import State, TargetState
from pipeline.target import Dead, Done, HandlerOutcome, Task, Waiting
from schemas.account import Account
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import Outcome, TargetFailed, TargetProvisioned, TargetWaiting


@dataclass(frozen=True)
class Entered:
    """A turn that holds the lease.

    Attributes:
        state: as it was before the lease.
        parked: what was parked for this student, bells of this turn included.
        started_at, lease_until: database time, epoch seconds.
    """

    turn: Turn
    account: Account
    epoch: int
    state: TargetState | None
    parked: Parked | None
    started_at: float
    lease_until: float

    @property
    def task(self) -> Task:
        """What the handler gets."""
        suspect = self.state is not None and (self.state.suspect or self.state.abandoned)
        return Task(self.account, compare=suspect or self.turn.bell.replay)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return 1 + (self.parked.attempts if self.parked is not None else 0)

    def letter_id(self, target: str) -> str:
        """The id of the dead letter that this turn would leave: the same for a redelivery."""
        number, version, cause = self.account.student_number, self.account.version, self.turn.bell.event_id
        return event_id("dead-letter", target, number, version, cause, self.attempt)


def announcement(target: str, entered: Entered, outcome: HandlerOutcome, now: datetime) -> Message | None:
    """The event that announces this outcome; None: there is nothing new to say."""
    turn, account = entered.turn, entered.account
    common: dict[str, Any] = {
        "student_number": account.student_number,
        "version": account.version,
        "target": target,
        "lane": turn.lane,
        "lease_epoch": entered.epoch,
        "sequence": 1,
        "attempt": entered.attempt,
        "opened_at": account.opened_at,
        "started_at": datetime.fromtimestamp(entered.started_at, UTC),
        "finished_at": now,
    }
    event: Outcome
    if isinstance(outcome, Done):
        event = TargetProvisioned(**common, digest=outcome.digest, changed=outcome.changed)
    elif isinstance(outcome, Waiting):
        if _nothing_new(entered, outcome):
            return None
        event = TargetWaiting(**common, reason=outcome.reason, pending=outcome.pending)
    elif isinstance(outcome, Dead):
        letter_id = entered.letter_id(target)
        event = TargetFailed(**common, cause=outcome.cause, dead_letter_id=letter_id)
    else:
        return None
    cause, state = turn.bell.event_id, entered.state
    # A re-check has no event of its own: what tells it from the one before is the state that it changes.
    before = f"{state.state}/{state.since}" if state is not None and entered.parked is not None else ""
    identity = event_id(event.type, target, account.version, cause, entered.attempt, before)
    return Message(identity, SOURCE_PREFIX + target, now, event, caused_by=cause)


def _nothing_new(entered: Entered, outcome: Waiting) -> bool:
    """Whether this is a re-check, or a redelivery, that found what was announced before."""
    state, lot, turn = entered.state, entered.parked, entered.turn
    again = not turn.rang or (lot is not None and lot.event_id == turn.bell.event_id)
    said = (State.WAITING, entered.account.version, outcome.reason, outcome.pending)
    return (
        again
        and state is not None
        and (state.state, state.state_version, state.reason, state.pending) == said
    )
