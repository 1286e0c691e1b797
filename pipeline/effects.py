"""One batch of turns, from lease to record: the order of effects, which is what makes a crash harmless.

1. `enter`: load the newest accounts, take the leases; students with nothing to do are settled here.
2. the handler writes to the target and reads it back (the caller does this, under the lease).
3. `publish`: the outcomes are acknowledged by the log.
4. `record`: applied version, state, parking, dead letters, end of lease: one transaction.

Only then may the offsets be committed. A crash anywhere repeats from 1; nothing is skipped.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection

from pipeline.announce import Entered, announcement
from pipeline.burial import bury, resolve
from pipeline.engine import Backoff, Turn
from pipeline.eventlog.port import NewRecord, Producer
from pipeline.store import accounts, dead_letters, parking, target_states
from pipeline.store.database import Database
from pipeline.store.parking import Kind, Parked
from pipeline.store.target_states import Conclusion, State, TargetState
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Task, Waiting
from schemas import catalogue
from schemas.account import Account, Stage
from schemas.envelope import event_id, to_record

ADMINISTRATIVE_PENDING = "administrative_enrolment_pending"
LEASE_RETRY_MARGIN_S = 1.0


@dataclass
class Entry:
    """What `enter` found: turns for the handler, and outcomes that need no target."""

    work: dict[str, Entered] = field(default_factory=dict)
    decided: dict[str, HandlerOutcome] = field(default_factory=dict)

    @property
    def tasks(self) -> list[Task]:
        """What the handler is called with."""
        return [entered.task for number, entered in self.work.items() if number not in self.decided]


class Effects:
    """Carries turns of one target out, in the right order.

    Args:
        target: the consumer's and its target's name.
        owner: this process life; a restart has another one.
        lease_s: longer than a call with its time-outs and the target's longest execution.
        recheck_s: how often a waiting student is looked at again without an event.
        follows: the target that must have a version before this one acts on it, if any.
    """

    def __init__(
        self,
        *,
        target: str,
        owner: str,
        database: Database,
        producer: Producer,
        backoff: Backoff,
        lease_s: float,
        recheck_s: float,
        follows: str | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.target = target
        self._owner = owner
        self._database = database
        self._producer = producer
        self._backoff = backoff
        self._lease_s = lease_s
        self._recheck_s = recheck_s
        self._follows = follows
        self._chance = chance or random.SystemRandom()

    # --- 1. enter ---------------------------------------------------------------------------------

    def enter(self, turns: Sequence[Turn]) -> Entry:
        """Take the leases of those who have something to do; park those whom somebody else works on.

        Raises:
            StoreUnavailable: nothing happened.
        """
        numbers = [turn.student_number for turn in turns]
        entry = Entry()
        with self._database.write() as connection:
            now = self._database.now(connection)
            until = now + self._lease_s
            newest = accounts.newest(connection, numbers)
            states = target_states.states_of(connection, self.target, numbers)
            parked = parking.parked_of(connection, self.target, numbers)
            leader = target_states.states_of(connection, self._follows, numbers) if self._follows else {}
            for turn in turns:
                number = turn.student_number
                account, state = newest.get(number), states.get(number)
                lot = self._rang(connection, turn, parked.get(number))
                if account is None:
                    self._bury_unknown(connection, turn, now)
                elif state is not None and state.blocked(self._owner, now):
                    self._park_leased(connection, turn, state, lot, now)
                elif self._nothing_to_do(turn, account, state, lot, leader.get(number)):
                    if lot is not None and lot.kind is not Kind.WAITING:
                        parking.postpone(connection, self.target, number, None)
                else:
                    epoch = 1 + (state.lease_epoch if state is not None else 0)
                    entry.work[number] = Entered(turn, account, epoch, state, lot, now, until)
                    if account.stage is Stage.PRECREATED:
                        entry.decided[number] = Waiting(ADMINISTRATIVE_PENDING)
            if entry.work:
                epochs = {number: entered.epoch for number, entered in entry.work.items()}
                target_states.lease(
                    connection, self._database, self.target, epochs, owner=self._owner, until=until
                )
        return entry

    def _rang(self, connection: Connection, turn: Turn, lot: Parked | None) -> Parked | None:
        if lot is None or not turn.rang:
            return lot
        parking.ring(connection, self.target, turn.student_number, version=turn.version, bells=turn.rang)
        return replace(lot, bells=lot.bells + turn.rang, version=max(lot.version, turn.version))

    def _nothing_to_do(
        self,
        turn: Turn,
        account: Account,
        state: TargetState | None,
        lot: Parked | None,
        leader: TargetState | None,
    ) -> bool:
        if account.stage is Stage.ERASED or (
            account.stage is Stage.PRECREATED and account.activated_at is None
        ):
            return True
        if self._follows is not None and account.stage is not Stage.PRECREATED:
            seen = max(turn.version, leader.applied_version if leader is not None else 0)
            if seen < account.version:
                return True  # the leader's next outcome rings again
        if state is None or state.suspect or state.abandoned:
            return False
        if any(replay != state.replayed_event_id for replay in turn.replays):
            return False
        return state.applied_version >= account.version and lot is None

    def _park_leased(
        self, connection: Connection, turn: Turn, state: TargetState, lot: Parked | None, now: float
    ) -> None:
        due_at = state.lease_until + LEASE_RETRY_MARGIN_S
        if lot is not None:
            parking.postpone(connection, self.target, turn.student_number, due_at)
            return
        why = _Why(Kind.LEASED, due_at, "leased", "another call may still be working on this student")
        parking.park(connection, self._database, self.target, _lot(turn, None, now, why))

    def _bury_unknown(self, connection: Connection, turn: Turn, now: float) -> None:
        message = (
            "the event names a student whom the registry does not know: find the producer that published it,"
            " or import the registrar's file again"
        )
        self._bury(connection, turn, Dead("unknown_student", message), attempts=1, version=None, now=now)

    # --- 3. publish -------------------------------------------------------------------------------

    def publish(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> None:
        """Append the outcomes to the log, and return once they are acknowledged.

        Raises:
            LogError: they may or may not be there; repeat, readers recognise them.
        """
        records = []
        for number, outcome in outcomes.items():
            entered = entry.work[number]
            message = announcement(self.target, entered, self._final(entered, outcome), self._now())
            if message is not None:
                headers, value = to_record(message)
                topic = catalogue.by_lane(catalogue.OUTCOMES, entered.turn.lane)
                records.append(NewRecord(topic, number, value, headers))
        if records:
            self._producer.append(records)

    def _final(self, entered: Entered, outcome: HandlerOutcome) -> HandlerOutcome:
        """The outcome, with a retry that has had its chances turned into a dead letter."""
        if not isinstance(outcome, Retry):
            return outcome
        if not self._backoff.exhausted(entered.attempt, self._age_s(entered, entered.started_at)):
            return outcome
        return Dead(outcome.cause, f"{outcome.message} (given up after {entered.attempt} attempts)")

    # --- 4. record --------------------------------------------------------------------------------

    def record(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> None:
        """Record what was reached and end the leases, in one transaction.

        Raises:
            StoreUnavailable: nothing was recorded; the turns repeat.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            lost = []
            for number, outcome in outcomes.items():
                entered = entry.work[number]
                if not self._conclude(connection, entered, self._final(entered, outcome), now):
                    lost.append(number)
                    late = "a call outlived its lease; comparing again"
                    due_at = now + LEASE_RETRY_MARGIN_S
                    self._park(connection, entered, now, _Why(Kind.LEASED, due_at, "leased", late))
            target_states.mark_suspect(connection, self.target, lost)

    def bury_fault(self, turn: Turn, error: Exception) -> None:
        """A student whose turn fails for a reason that nobody foresaw goes to the dead letters."""
        with self._database.write() as connection:
            message = f"a fault of Sésame's own: {type(error).__name__}; report it with the log, then replay"
            now = self._database.now(connection)
            self._bury(connection, turn, Dead("internal_error", message), attempts=1, version=None, now=now)

    def give_back(self, entry: Entry, *, suspect: bool) -> None:
        """End the leases without an outcome: the target was down. `suspect`: something may be written."""
        with self._database.write() as connection:
            epochs = {number: entered.epoch for number, entered in entry.work.items()}
            target_states.give_back(connection, self.target, epochs, suspect=suspect)

    def _conclude(
        self, connection: Connection, entered: Entered, outcome: HandlerOutcome, now: float
    ) -> bool:
        number, version = entered.account.student_number, entered.account.version
        replayed = entered.turn.replays[-1] if entered.turn.replays else None
        ended = Conclusion(number, entered.epoch, State.NEW, version, sequence=1, replayed_event_id=replayed)
        if isinstance(outcome, Done):
            ended = replace(ended, state=State.PROVISIONED, applied_version=version, digest=outcome.digest)
        elif isinstance(outcome, Waiting):
            ended = replace(ended, state=State.WAITING, reason=outcome.reason, pending=outcome.pending)
        elif isinstance(outcome, Retry):
            suspect = outcome.unknown or (entered.state is not None and entered.state.suspect)
            ended = replace(
                ended, state=State.RETRYING, reason=outcome.cause, suspect=suspect, replayed_event_id=None
            )
        else:
            ended = replace(ended, state=State.FAILED, reason=outcome.cause)
        if not target_states.conclude(connection, self.target, ended, now):
            return False
        if isinstance(outcome, Done):
            self._unpark(connection, entered)
            how: Literal["replayed", "newer_success"] = "replayed" if replayed else "newer_success"
            resolve(connection, self.target, number, up_to_version=version, how=how, now=now)
        elif isinstance(outcome, Waiting):
            recheck_s = outcome.recheck_after_s or self._recheck_s
            self._park(connection, entered, now, _Why(Kind.WAITING, now + recheck_s, outcome.reason))
        elif isinstance(outcome, Retry):
            due_at = now + (outcome.after_s or self._backoff.delay_s(entered.attempt, self._chance.random()))
            if ended.suspect:
                due_at = max(due_at, entered.lease_until + LEASE_RETRY_MARGIN_S)
            self._park(connection, entered, now, _Why(Kind.RETRY, due_at, outcome.cause, outcome.message))
        else:
            self._unpark(connection, entered)
            self._bury(
                connection,
                entered.turn,
                outcome,
                attempts=entered.attempt,
                version=version,
                now=now,
                letter_id=entered.letter_id(self.target),
            )
        return True

    def _unpark(self, connection: Connection, entered: Entered) -> None:
        lot = entered.parked
        if lot is not None:
            parking.unpark(connection, self.target, lot.student_number, version=lot.version, bells=lot.bells)

    def _park(self, connection: Connection, entered: Entered, now: float, why: _Why) -> None:
        row = _lot(entered.turn, entered.parked, now, why)
        if why.kind is Kind.RETRY:
            row = replace(row, attempts=entered.attempt, age_s=self._age_s(entered, now))
        parking.park(connection, self._database, self.target, row)

    def _age_s(self, entered: Entered, now: float) -> float:
        """Seconds since the first failure, less the times when the target was down: a turn only comes when
        the target is up, so at most the planned delay is counted for each interval between two turns."""
        lot = entered.parked
        if lot is None or lot.kind is not Kind.RETRY:
            return 0.0
        planned = (lot.due_at or now) - lot.counted_at
        return lot.age_s + max(0.0, min(now - lot.counted_at, planned))

    # --- dead letters -----------------------------------------------------------------------------

    def _bury(
        self,
        connection: Connection,
        turn: Turn,
        dead: Dead,
        *,
        attempts: int,
        version: int | None,
        now: float,
        letter_id: str | None = None,
    ) -> None:
        place = turn.places[-1] if turn.places else None
        letter = dead_letters.DeadLetter(
            id=letter_id or event_id("dead-letter", self.target, turn.student_number, turn.bell.event_id),
            consumer=self.target,
            student_number=turn.student_number,
            version=version,
            cause=dead.cause,
            message=dead.message,
            attempts=attempts,
            recorded_at=now,
            topic=place.topic if place else None,
            partition=place.partition if place else None,
            offset=place.offset if place else None,
            event_id=turn.bell.event_id,
        )
        bury(connection, self._database, letter)

    def _now(self) -> datetime:
        with self._database.read() as connection:
            return datetime.fromtimestamp(self._database.now(connection), UTC)


@dataclass(frozen=True)
class _Why:
    """Why a student is parked, and until when (database time)."""

    kind: Kind
    due_at: float
    cause: str
    message: str = ""


def _lot(turn: Turn, lot: Parked | None, now: float, why: _Why) -> Parked:
    """The row that parks this turn, in place of `lot`. Waiting for a precondition forgets failures."""
    forget = lot is None or why.kind is Kind.WAITING
    return Parked(
        student_number=turn.student_number,
        kind=why.kind,
        version=max(turn.version, lot.version if lot is not None else 0),
        bells=lot.bells if lot is not None else 1,
        due_at=why.due_at,
        attempts=0 if lot is None or forget else lot.attempts,
        first_at=now if lot is None or forget else lot.first_at,
        age_s=0.0 if lot is None or forget else lot.age_s,
        counted_at=now,
        cause=why.cause,
        message=why.message,
        lane=turn.lane,
        event_id=turn.bell.event_id,
        replay=turn.bell.replay,
    )
