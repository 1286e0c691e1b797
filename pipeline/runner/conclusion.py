"""The last effect: record the results and end the leases, in one transaction."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Literal

from sqlalchemy import Connection

from pipeline import accounts, attempts, outbox, parking, replays, target_states
from pipeline.attempts import Attempt, AttemptEnd
from pipeline.db.database import Database
from pipeline.db.persons import Forgotten
from pipeline.dead_letters import events as letter_events
from pipeline.dead_letters import rows as dead_letters
from pipeline.engine.bell import WorkItem
from pipeline.engine.limits import Backoff
from pipeline.errors import fault
from pipeline.parking import Kind
from pipeline.parking.rows import LEASE_RETRY_MARGIN_S, Why, parked_item
from pipeline.runner.announcement import Admitted, attempt, failure, reason_of
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Retry, Waiting
from pipeline.target_states import Conclusion, State
from schemas import catalogue
from schemas.envelope import event_id

INTERNAL_ERROR = "internal_error"


class Recorder:
    """Records how items ended. Arguments as in `Effects`."""

    def __init__(
        self,
        *,
        target: str,
        database: Database,
        backoff: Backoff,
        recheck_s: float,
        chance: random.Random,
        forgotten: Forgotten,
    ) -> None:
        self._target = target
        self._database = database
        self._backoff = backoff
        self._recheck_s = recheck_s
        self._chance = chance
        self._forgotten = forgotten

    def final(self, admitted: Admitted, outcome: HandlerOutcome) -> HandlerOutcome:
        """The outcome, with a retry that has had its chances turned into a dead letter."""
        if not isinstance(outcome, Retry):
            return outcome
        if not self._backoff.exhausted(admitted.attempt, admitted.age_s(admitted.started_at)):
            return outcome
        return Dead(outcome.cause, f"{outcome.message} (given up after {admitted.attempt} attempts)")

    def record(self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]) -> None:
        """Record the results; a student whose lease was lost is looked at again."""
        reached = {
            number: (admitted[number], outcome, self.final(admitted[number], outcome))
            for number, outcome in sorted(outcomes.items(), key=itemgetter(0))  # all lock rows in one order
            if not isinstance(outcome, Closed)
        }
        closed = [(admitted[number], outcomes[number]) for number in sorted(outcomes.keys() - reached.keys())]

        def write(connection: Connection) -> None:
            now = self._database.now(connection)
            for one, _ in closed:
                self._give_back(connection, one, doubtful=False, unknown=False)
                if one.parked is not None:  # its leader's next outcome wakes it
                    parking.rest(connection, self._target, one.parked)
            written = target_states.conclude(
                connection,
                self._database,
                self._target,
                [_conclusion(*each) for each in reached.values()],
                now,
            )
            done = [number for number in written if isinstance(reached[number][2], Done)]
            lettered = dead_letters.students_with_some(connection, self._target, done)
            for number, (one, _, outcome) in reached.items():
                if number not in written:
                    self._come_back(connection, one, now)
                    continue
                self._settle(connection, one, outcome, now)
                if number in lettered:
                    self._resolve(connection, one, now)
            self._end_replays(connection, {number: reached[number] for number in written})
            ended = [(one, outcome) for number, (one, _, outcome) in reached.items() if number in written]
            self._remember(connection, [*closed, *ended], now)
            target_states.mark_suspect(connection, self._target, sorted(reached.keys() - written))

        self._database.transact(write)

    def give_back(self, admitted: Mapping[str, Admitted], *, unknown: bool, asked: bool = True) -> None:
        """End the leases without an outcome: the target was down or refused the consumer.

        A batch is several calls: each student whose work was sent is in doubt, even if the last call is known
        to have had no effect. The others keep an earlier doubt; not `asked`: no work was sent.
        """

        def write(connection: Connection) -> None:
            for _, one in sorted(admitted.items(), key=itemgetter(0)):
                tried = asked and one.decided is None
                self._give_back(connection, one, doubtful=tried, unknown=tried and unknown)

        self._database.transact(write)

    def record_fault(self, item: WorkItem, error: Exception) -> None:
        """Dead-letter a student whose item fails by an unforeseen fault."""
        number = item.student_number
        dead = Dead(
            INTERNAL_ERROR, f"a fault of Sésame's own: {fault(error)}; report it with the log, then replay"
        )
        letter_id = event_id("dead-letter", self._target, number, item.bell.event_id)

        def write(connection: Connection) -> None:
            now = self._database.now(connection)
            version = accounts.version_of(connection, number)
            parking.remove(connection, self._target, number, replays=item.replays)
            replays.end(connection, self._target, {number: item.replays}, failed=[number])
            if version is None and self._forgotten(connection, number):
                return
            letter = letter_events.letter_of(
                self._target, item, dead, letter_id=letter_id, now=now, version=version
            )
            standing = letter_events.record_work(connection, self._database, letter, number)
            if version is None:
                return
            epoch = target_states.fail(
                connection, self._database, self._target, number, version=version, reason=dead.cause, now=now
            )
            message = failure(
                self._target,
                item,
                version=version,
                epoch=epoch,
                cause=dead.cause,
                letter_id=standing,
                now=datetime.fromtimestamp(now, UTC),
            )
            ended = Attempt(
                number, self._target, version, 1, AttemptEnd.FAILED, dead.cause, item.bell.event_id, now
            )
            attempts.record(connection, [ended])
            topic = catalogue.by_lane(catalogue.OUTCOMES, item.lane)
            outbox.enqueue(connection, message, topic, item.lane)

        self._database.transact(write)

    def _give_back(
        self, connection: Connection, admitted: Admitted, *, doubtful: bool, unknown: bool
    ) -> None:
        target_states.give_back(
            connection,
            self._target,
            admitted.account.student_number,
            admitted.epoch,
            suspect=doubtful or admitted.doubtful,
            unknown=unknown,
        )

    def _settle(
        self, connection: Connection, admitted: Admitted, outcome: HandlerOutcome, now: float
    ) -> None:
        if isinstance(outcome, Done):
            self._unpark(connection, admitted)
        elif isinstance(outcome, Waiting):
            recheck_s = outcome.recheck_after_s if outcome.recheck_after_s is not None else self._recheck_s
            due_at = None if math.isinf(recheck_s) else now + recheck_s
            why = Why(Kind.WAITING, due_at, outcome.reason, owed=False)
            self._park(connection, admitted, now, why)
        elif isinstance(outcome, Retry):
            due_at = now + (outcome.after_s or self._backoff.delay_s(admitted.attempt, self._chance.random()))
            if outcome.unknown:
                due_at = max(due_at, admitted.leased_until(now) + LEASE_RETRY_MARGIN_S)
            self._park(connection, admitted, now, Why(Kind.RETRY, due_at, outcome.cause, outcome.message))
        elif isinstance(outcome, Dead):
            self._unpark(connection, admitted)
            letter = letter_events.letter_of(
                self._target,
                admitted.item,
                outcome,
                letter_id=admitted.letter_id(self._target),
                now=now,
                attempts=admitted.attempt,
                version=admitted.account.version,
            )
            letter_events.record_work(connection, self._database, letter, admitted.account.student_number)

    def _end_replays(
        self, connection: Connection, written: Mapping[str, tuple[Admitted, HandlerOutcome, HandlerOutcome]]
    ) -> None:
        """End the replays that were carried out; those of retried items were not."""
        ended = {
            number: admitted.replays
            for number, (admitted, _, outcome) in written.items()
            if admitted.replays and not isinstance(outcome, Retry)
        }
        failed = [number for number in ended if isinstance(written[number][2], Dead)]
        replays.end(connection, self._target, ended, failed=failed)

    def _remember(
        self, connection: Connection, ended: Sequence[tuple[Admitted, HandlerOutcome]], now: float
    ) -> None:
        found = (attempt(self._target, *each, now) for each in ended)
        attempts.record(connection, [each for each in found if each is not None])

    def _resolve(self, connection: Connection, admitted: Admitted, now: float) -> None:
        how: Literal["replayed", "newer_success"] = "replayed" if admitted.replays else "newer_success"
        number, version = admitted.account.student_number, admitted.account.version
        letter_events.resolve(connection, self._target, number, up_to_version=version, how=how, now=now)

    def _unpark(self, connection: Connection, admitted: Admitted) -> None:
        parked = admitted.parked
        if parked is not None:
            parking.unpark(
                connection, self._target, parked.student_number, version=parked.version, bells=parked.bells
            )

    def _park(self, connection: Connection, admitted: Admitted, now: float, why: Why) -> None:
        row = parked_item(admitted.item, admitted.parked, now, why)
        if why.kind is Kind.RETRY:
            row = replace(
                row,
                attempts=admitted.attempt,
                attempts_version=admitted.account.version,
                first_at=row.first_at if admitted.retried else now,
                age_s=admitted.age_s(now),
            )
        parking.park(connection, self._database, self._target, row, seen=admitted.parked)

    def _come_back(self, connection: Connection, admitted: Admitted, now: float) -> None:
        """Look again soon: a call outlived its lease. Another owner's parked row is kept."""
        due_at = now + LEASE_RETRY_MARGIN_S
        number = admitted.account.student_number
        if not parking.hasten(connection, self._target, number, due_at, now=now):
            late = Why(Kind.LEASED, due_at, "leased", "a call outlived its lease; comparing again")
            row = parked_item(admitted.item, None, now, late)
            parking.park(connection, self._database, self._target, row, seen=None)


def _conclusion(admitted: Admitted, given: HandlerOutcome, outcome: HandlerOutcome) -> Conclusion:
    done = outcome if isinstance(outcome, Done) else None
    replays = admitted.replays
    return Conclusion(
        admitted.account.student_number,
        admitted.epoch,
        _state(outcome),
        admitted.account.version,
        sequence=1,
        reason=reason_of(outcome),
        pending=outcome.pending if isinstance(outcome, Waiting) else (),
        applied_version=admitted.account.version if done is not None else None,
        digest=done.digest if done is not None else None,
        replayed_event_id=replays[-1] if replays and not isinstance(outcome, Retry) else None,
        # Given up or not: what was unknown stays so until the target has been compared.
        suspect=admitted.doubtful and isinstance(outcome, Retry | Dead),
        unknown=isinstance(given, Retry) and given.unknown,
    )


def _state(outcome: HandlerOutcome) -> State:
    if isinstance(outcome, Done):
        return State.PROVISIONED
    if isinstance(outcome, Waiting):
        return State.WAITING
    return State.RETRYING if isinstance(outcome, Retry) else State.FAILED
