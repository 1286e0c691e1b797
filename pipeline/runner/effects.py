"""Work items' effects on log and store, for one target in one process life."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline.db.database import Database
from pipeline.db.persons import Forgotten, nobody
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.engine.bell import WorkItem
from pipeline.engine.limits import Backoff
from pipeline.eventlog.port import NewRecord, Producer
from pipeline.runner.admission import Admission
from pipeline.runner.announcement import Admitted, announcement
from pipeline.runner.conclusion import Recorder
from pipeline.target import Closed, Dead, HandlerOutcome, Retry
from schemas import catalogue
from schemas.envelope import to_record

FAILS_ALONE = "fails_alone"


class Effects:
    """Carries out one target's items, in the right order.

    Args:
        target: the consumer's and its target's name.
        owner: this process life; a restart, of the process or of the worker, has another one.
        lease_s: longer than a call with its time-outs and the target's longest execution.
        recheck_s: how often a waiting student is looked at again without an event.
        clock: monotonic seconds.
        follows: the target that must have a version before this one acts on it, if any.
        forgotten: erased persons: a dead letter about one would contain the number again.

    Raises:
        StoreUnavailable, LogError: by any method but `publish`: nothing was recorded; the items repeat.
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
        clock: Callable[[], float] = time.monotonic,
        forgotten: Forgotten = nobody,
    ) -> None:
        self.target = target
        self._clock = clock
        self._database = database
        self._producer = producer
        self._admission = Admission(
            target=target,
            owner=owner,
            database=database,
            lease_s=lease_s,
            follows=follows,
            clock=clock,
            forgotten=forgotten,
        )
        self._recorder = Recorder(
            target=target,
            database=database,
            backoff=backoff,
            recheck_s=recheck_s,
            chance=chance or random.SystemRandom(),
            forgotten=forgotten,
        )

    def admit(self, items: Sequence[WorkItem]) -> dict[str, Admitted]:
        """Take leases for students with work; park those that another process works on."""
        return self._admission.admit(items, calling=True)

    def publish(self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]) -> None:
        """Append the outcomes to the log, and return once they are acknowledged.

        Raises:
            LogError: they may or may not be there; repeat, readers recognise them.
        """
        records = []
        final = self._final(admitted, outcomes)
        letters = self._standing([number for number, each in final.items() if isinstance(each, Dead)])
        ended = self._clock()
        for number, outcome in final.items():
            one = admitted[number]
            letter = letters.get((number, outcome.cause)) if isinstance(outcome, Dead) else None
            message = announcement(
                self.target, one, outcome, one.time_at(ended), letter.id if letter else None
            )
            if message is not None:
                headers, value = to_record(message)
                topic = catalogue.by_lane(catalogue.OUTCOMES, one.lane)
                records.append(NewRecord(topic, number, value, headers))
        if records:
            self._producer.append(records)

    def record(
        self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
    ) -> Mapping[str, HandlerOutcome]:
        """Record results, end leases. Return the final outcomes: a retry out of chances is a dead letter."""
        self._recorder.record(admitted, outcomes)
        return self._final(admitted, outcomes)

    @contextmanager
    def concluding(
        self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
    ) -> Iterator[None]:
        """Publish and record inside this context, to release finished calls on failure.

        Their students may then be admitted again at once, though their leases run.
        """
        try:
            yield
        except Exception:
            self._admission.over(admitted, outcomes)
            raise

    def finish(
        self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
    ) -> Mapping[str, HandlerOutcome]:
        """Publish, then record. Returns and raises as they do."""
        with self.concluding(admitted, outcomes):
            self.publish(admitted, outcomes)
            return self.record(admitted, outcomes)

    def charge(self, items: Sequence[WorkItem]) -> None:
        """Charge an attempt to students whose work fails alone while the probe succeeds.

        The target is not called: a call that may still have an effect does not hinder, and keeps its lease.
        """
        admitted = self._admission.admit(items, calling=False)
        message = "the target fails on this student's work alone, while its probe succeeds"
        self.finish(
            admitted,
            {
                number: one.decided or Retry(FAILS_ALONE, message, unknown=_under_way(one))
                for number, one in admitted.items()
            },
        )

    def give_back(self, admitted: Mapping[str, Admitted], *, unknown: bool) -> None:
        """End the leases without an outcome: the target was down. `unknown`: something may be written."""
        self._recorder.give_back(admitted, unknown=unknown)

    def withdraw(self, admitted: Mapping[str, Admitted]) -> None:
        """End the leases without an outcome: the target was not called, the items may repeat at once."""
        with self.concluding(admitted, dict.fromkeys(admitted, Closed())):
            self._recorder.give_back(admitted, unknown=False, asked=False)

    def record_fault(self, item: WorkItem, error: Exception) -> None:
        """Dead-letter a student whose item fails by an unforeseen fault."""
        self._recorder.record_fault(item, error)

    def _final(
        self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
    ) -> dict[str, HandlerOutcome]:
        return {number: self._recorder.final(admitted[number], each) for number, each in outcomes.items()}

    def _standing(self, given_up: Sequence[str]) -> Mapping[tuple[str, str], DeadLetter]:
        """Return the existing dead letters of those who are given up."""
        if not given_up:
            return {}
        with self._database.read() as connection:
            return dead_letters.standing(connection, self.target, given_up)


def _under_way(admitted: Admitted) -> bool:
    """Whether an earlier call may still have an effect."""
    return admitted.state is not None and admitted.state.held(admitted.started_at)
