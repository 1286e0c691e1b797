"""A batch's run: admit, call, publish, record, report.

A thread carries a batch from its slot on (`Runner.run`). Steps that flush to the disk are shared with all
batches that need one at that moment (`GroupCommit`): the leases, and the outcomes with what is recorded of
them. The slot is free again as soon as the target has answered. A crash anywhere repeats from the start: the
offsets are committed only after the report.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from pipeline.engine.bell import Batch
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.errors import DependencyDown, Misconfigured, OutOfOrder, TargetDown, Throttled, fault, told
from pipeline.eventlog.port import LogError, TopicPartition
from pipeline.runner.announcement import Admitted
from pipeline.runner.effects import Effects
from pipeline.runner.group_commit import GroupCommit
from pipeline.target import Dead, Handler, HandlerOutcome, Retry, Task
from schemas.account import Lane


@dataclass
class Precedence:
    """Order of lanes: persons first; bulk has a minimum share, never the last slots.

    Attributes:
        bulk_max: how many bulk batches may have a slot at once.
        bulk_every: while both lanes have work, at least every n-th batch is a bulk one.
    """

    bulk_max: int
    bulk_every: int
    _since_bulk: int = 0

    def order(self, bulk_running: int) -> tuple[Lane, ...]:
        """Return the lanes that may have a slot now, in order of preference."""
        if bulk_running >= self.bulk_max:
            return (Lane.PERSONAL,)
        if self._since_bulk + 1 >= self.bulk_every:
            return (Lane.BULK, Lane.PERSONAL)
        return (Lane.PERSONAL, Lane.BULK)

    def started(self, lane: Lane) -> None:
        """Count a batch of this lane that has a slot."""
        self._since_bulk = 0 if lane is Lane.BULK else self._since_bulk + 1


class CallQueue:
    """Batches that wait for a slot of the target, are admitted ahead of it, or have one. Thread-safe.

    Attributes:
        short_calls: the last call was so short that leases may be taken ahead: at most one batch a slot.
    """

    def __init__(self, limits: Limits) -> None:
        self._slots = limits.slots
        self._ahead_max = {lane: limits.slots_of(lane) for lane in Lane}
        self._precedence = Precedence(limits.bulk_slots, limits.bulk_every)
        self._waiting: dict[Lane, deque[Batch]] = {lane: deque() for lane in Lane}
        self._ahead: dict[Lane, dict[int, threading.Event]] = {lane: {} for lane in Lane}  # set: has a slot
        self._running = dict.fromkeys(Lane, 0)
        self._changed = threading.Condition()
        self._idle = threading.Event()  # no slot is taken, nor about to be
        self._idle.set()
        self._over = False
        self.short_calls = False

    def put(self, batch: Batch) -> None:
        """Queue a batch for a slot."""
        with self._changed:
            self._waiting[batch.lane].append(batch)
            self._changed.notify()

    def take(self, *, wait: bool = True) -> Batch | None:
        """Return the next batch to admit; None: the queue has ended, or none may be admitted.

        It has a slot, or will have the next one of its lane (`has_slot`), until `done`.
        """
        with self._changed:
            while not self._over:
                if (batch := self._next()) is not None or not wait:
                    return batch
                self._changed.wait()
            return None

    def has_slot(self, batch: Batch, timeout_s: float) -> bool:
        """Wait for the slot of a batch that was taken; False: there was none for so long."""
        with self._changed:
            called = self._ahead[batch.lane].get(batch.number)
        return called is None or called.wait(timeout_s)

    def done(self, batch: Batch) -> None:
        """Free the slot of a batch whose call has ended, or is not made."""
        with self._changed:
            ahead = self._ahead[batch.lane].pop(batch.number, None)
            if ahead is None or ahead.is_set():
                self._running[batch.lane] -= 1
                self._hand_on()
            if not any(self._running.values()) and not any(self._waiting.values()):
                self._idle.set()
            self._changed.notify(2)  # one for the slot, one for the place ahead

    def wait_idle(self, timeout_s: float) -> None:
        """Return when no slot is taken or waited for, or after this time."""
        self._idle.wait(timeout_s)

    def end(self) -> None:
        """End the queue: `take` returns None from now on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _next(self) -> Batch | None:
        for lane in self._lanes():
            if self._waiting[lane]:
                self._start(lane)
                return self._waiting[lane].popleft()
        for lane in self._waiting if self.short_calls else ():  # persons first
            if self._waiting[lane] and self._may_lead(lane):
                batch = self._waiting[lane].popleft()
                self._ahead[lane][batch.number] = threading.Event()
                return batch
        return None

    def _may_lead(self, lane: Lane) -> bool:
        """Return whether one more batch of this lane may be admitted ahead."""
        ahead = {each: len(self._queued(each)) for each in self._ahead}
        return ahead[lane] < self._ahead_max[lane] and sum(ahead.values()) < self._slots

    def _hand_on(self) -> None:
        """Give the slot that is free to the first batch that was admitted ahead."""
        for lane in self._lanes():
            for event in self._queued(lane)[:1]:
                self._start(lane)
                event.set()
                return

    def _lanes(self) -> tuple[Lane, ...]:
        """Return the lanes that may have a slot now, in order of preference."""
        if sum(self._running.values()) >= self._slots:
            return ()
        return self._precedence.order(self._running[Lane.BULK])

    def _queued(self, lane: Lane) -> list[threading.Event]:
        return [event for event in self._ahead[lane].values() if not event.is_set()]

    def _start(self, lane: Lane) -> None:
        self._precedence.started(lane)
        self._running[lane] += 1
        self._idle.clear()


WAIT_S_MAX = 2.0
"""The longest wait of a batch with leases for its call: leases last so much longer than a call."""

SHORT_CALL_S = 0.1
"""Before calls as short as this leases are taken ahead: of a longer one an admission takes no tenth."""

LINGER_S_MAX = 0.05
"""The longest wait of an end for others to be written with it, since leases run."""


HANGS_AFTER_S = 10.0
"""A handler counts as hanging after so long beyond the time that it promises."""


class Observer(Protocol):
    """Receives events for metrics, logs and the consumer's status. Must not raise."""

    def batch(self, target: str, students: int, seconds: float) -> None:
        """The target was called for so many students, for so many seconds."""

    def outcome(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        """A student's item ended, and everything about it is recorded."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """The consumer's current state; also called from time to time without a change."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Records that were not committed yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """A problem occurred that will be retried."""


@dataclass
class BatchRun:
    """A batch's run, and the result of each step.

    Attributes:
        admitted: those that hold a lease since `admitted_at` (the runner's clock), by student number.
        called: the target was called, and answered.
        outcomes: of all admitted students, by number; before the log and the store have them.
        final: the outcomes as they were recorded: a retry that has had its chances is a dead letter.
        withdrawn: it was not called, though it may have been admitted: the batch is retried.
        error: what ended it; None: everything that there was to record is recorded.
    """

    batch: Batch
    admitted: dict[str, Admitted] = field(default_factory=dict)
    admitted_at: float = 0.0
    called: bool = False
    outcomes: dict[str, HandlerOutcome] = field(default_factory=dict)
    final: dict[str, HandlerOutcome] = field(default_factory=dict)
    withdrawn: bool = False
    error: Exception | None = None

    def __len__(self) -> int:
        """The number of its students."""
        return len(self.batch.items)

    @property
    def tasks(self) -> list[Task]:
        """The tasks for the handler."""
        return [one.task for one in self.admitted.values() if one.decided is None]

    @property
    def given_up(self) -> tuple[str, ...]:
        """The causes of the students who went to the dead letters."""
        return tuple(outcome.cause for outcome in self.final.values() if isinstance(outcome, Dead))

    @property
    def uncalled(self) -> frozenset[str]:
        """The students for whom the target is not called."""
        called = {number for number, one in self.admitted.items() if one.decided is None}
        return frozenset({item.student_number for item in self.batch.items} - called)


@dataclass(frozen=True)
class Probed:
    """A probe of the target has ended. No error: the target is well."""

    error: Exception | None = None


class Runner:
    """Runs batches of one target, in its threads or the caller's (`run_waiting`).

    Args:
        reports: where the runs and the probes go when they have ended.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        handler: Handler,
        effects: Effects,
        observer: Observer,
        reports: queue.SimpleQueue[BatchRun | Probed],
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._handler = handler
        self._effects = effects
        self._observer = observer
        self._reports = reports
        self._clock = clock
        self._threads = 2 * limits.slots + 1  # one is admitted ahead of each call, and one concludes
        self._linger_s = min(limits.linger_s, LINGER_S_MAX)
        self._queue = CallQueue(limits)
        self._admissions: GroupCommit[BatchRun] = GroupCommit(self._admit)
        self._conclusions: GroupCommit[BatchRun] = GroupCommit(self._conclude, linger=self._await_others)
        self._broken: Exception | None = None
        self._called_at: dict[int, float] = {}  # of the calls under way, by the batch's number
        self._stopped_through = 0.0  # batches up to this number are not called any more

    # --- the story --------------------------------------------------------------------------------

    def run(self, batch: Batch) -> None:
        """Admit, call, publish, record and report a batch that has a slot, or will have one."""
        run, failed = BatchRun(batch), None
        try:
            if self._may_call(run):
                self._admissions.commit(run)  # `_admit`, with other batches that wait for leases
                self._call(run)
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            failed = error
        self._queue.done(batch)
        report = partial(self._report, run)
        if failed is None and run.outcomes:
            self._conclusions.leave(run, report)  # `_conclude`, with other ended batches
        else:
            report(failed)

    def _admit(self, runs: Sequence[BatchRun]) -> None:
        """Take the leases of the students with work to do, in one transaction."""
        admitted = self._effects.admit([item for run in runs for item in run.batch.items])
        for run in runs:
            numbers = [item.student_number for item in run.batch.items]
            run.admitted = {number: admitted[number] for number in numbers if number in admitted}
            run.admitted_at = self._clock()

    def _call(self, run: BatchRun) -> None:
        """Have the handler bring the target to each account's state and read it back."""
        tasks = run.tasks
        if tasks and not (self._queue.has_slot(run.batch, WAIT_S_MAX) and self._may_call(run)):
            run.withdrawn = True
            self._effects.withdraw(run.admitted)
            return
        decided = {number: one.decided for number, one in run.admitted.items()}
        run.outcomes = {number: outcome for number, outcome in decided.items() if outcome is not None}
        if tasks:
            self._called_at[run.batch.number] = self._clock()
            try:
                run.outcomes |= self._handle(tasks, run.admitted)
            finally:
                call_s = self._clock() - self._called_at.pop(run.batch.number)
                self._queue.short_calls = call_s <= SHORT_CALL_S
            run.called = True

    def _conclude(self, runs: Sequence[BatchRun]) -> None:
        """Publish the outcomes; record them once the log has acknowledged them."""
        admitted = {number: one for run in runs for number, one in run.admitted.items()}
        outcomes = {number: outcome for run in runs for number, outcome in run.outcomes.items()}
        with self._effects.concluding(admitted, outcomes):
            self._effects.publish(admitted, outcomes)
            final = self._effects.record(admitted, outcomes)
        for run in runs:
            run.final = {number: final[number] for number in run.admitted if number in final}

    def _report(self, run: BatchRun, error: Exception | None) -> None:
        """Report to the observer, then to the loop: the engine may commit the offsets."""
        run.error = error
        for number, outcome in run.final.items():
            self._observer.outcome(self._handler.name, outcome, run.admitted[number])
        self._reports.put(run)

    # --- its parts --------------------------------------------------------------------------------

    def _may_call(self, run: BatchRun) -> bool:
        """True if the batch was not withdrawn and its leases outlive one call."""
        late = bool(run.admitted) and self._clock() - run.admitted_at > WAIT_S_MAX
        run.withdrawn = late or run.batch.number <= self._stopped_through
        return not run.withdrawn

    def _handle(self, tasks: Sequence[Task], admitted: Mapping[str, Admitted]) -> dict[str, HandlerOutcome]:
        name, started = self._handler.name, self._clock()
        try:
            outcomes = dict(self._handler.handle(tasks))
            self._observer.batch(name, len(tasks), self._clock() - started)
        except (TargetDown, Throttled, Misconfigured) as error:
            self._stopped_through = float("inf")  # until the loop's thread knows, and says through which
            self._effects.give_back(admitted, unknown=error.unknown)
            raise
        except DependencyDown:
            raise
        except Exception as error:  # noqa: BLE001  # a fault of ours must not stop the others
            self._observer.trouble(name, f"the handler failed: {fault(error)}")
            outcomes = {}
        for task in tasks:
            message = "the handler gave no outcome; the log has the fault"
            outcomes.setdefault(task.account.student_number, Retry("internal_error", message, unknown=True))
        return outcomes

    def _await_others(self) -> None:
        """Let the calls under way end and the new owner of the slot be admitted first."""
        if self._linger_s:
            self._queue.wait_idle(self._linger_s)

    # --- for the thread of the loop -----------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, as daemons: a hanging call must not delay a stop."""
        for number in range(1, self._threads + 1):
            self._spawn(f"run-{number}", self._run_all)

    def check(self) -> None:
        """Raise the fault that ended a thread: its batch would hang. Only restarting the worker helps."""
        if self._broken is not None:
            raise self._broken

    def hanging(self) -> int:
        """Count calls beyond the promised time. They cannot be ended, keep slots, and outlive leases."""
        since = self._clock() - self._handler.call_s_max - HANGS_AFTER_S
        return sum(called_at < since for called_at in list(self._called_at.values()))

    def close(self) -> None:
        """End the threads after their present work: results of calls are still recorded."""
        self._queue.end()

    def begin(self, batch: Batch) -> None:
        """Queue a batch; it runs as soon as it has a slot."""
        self._queue.put(batch)

    def stop_calling(self, through: float) -> None:
        """Withdraw the batches up to this number that have not been called."""
        self._stopped_through = through

    def begin_probe(self) -> None:
        """Probe the target in a separate thread: hanging calls may hold all slots."""
        self._spawn("probe", self._probe)

    def run_waiting(self) -> None:
        """Run all waiting batches one by one, in the caller's thread: for tests."""
        while (batch := self._queue.take(wait=False)) is not None:
            self.run(batch)

    def _run_all(self) -> None:
        try:
            while (batch := self._queue.take()) is not None:
                self.run(batch)
        except Exception as error:  # noqa: BLE001  # the loop's thread raises it
            self._broken = error

    def _probe(self) -> None:
        try:
            self._handler.probe()
        except Exception as error:  # noqa: BLE001  # whatever a probe raises, the target is not well
            self._reports.put(Probed(error))
        else:
            self._reports.put(Probed())

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=f"{self._handler.name}-{name}", daemon=True).start()


class Results:
    """Reports the end of each run and probe to the engine. For the loop's thread.

    Args:
        name: of the consumer, for the observer.
        runner: stops calling earlier batches when a result requires the others to wait.
        clock: monotonic seconds, the engine's.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        effects: Effects,
        runner: Runner,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._engine = engine
        self._effects = effects
        self._runner = runner
        self._observer = observer
        self._clock = clock

    def tell(self, report: BatchRun | Probed) -> None:
        """Report a run's or probe's end to the engine; raises DependencyDown: the batch will repeat."""
        if isinstance(report, Probed) and self._engine.circuit.looked():
            self._looked(report.error)
        elif isinstance(report, Probed):
            charged = self._engine.probed(self._clock(), ok=report.error is None, reason=told(report.error))
            if charged is not None:
                self._charge(charged)
        elif report.error is not None:
            self._runner.stop_calling(self._engine.last)  # of the target, the store or the log: others wait
            self._failed(report.batch, report.error)
        elif report.withdrawn:
            self._engine.repeat(report.batch, self._clock(), halved=False)
        else:
            self._engine.settled(
                report.batch,
                self._clock(),
                answered=report.called,
                uncalled=report.uncalled,
                given_up=report.given_up,
            )

    def _looked(self, error: Exception | None) -> None:
        """Apply a probe made without work: success counts as work's, no attempt charged."""
        circuit, now = self._engine.circuit, self._clock()
        if not circuit.passes:  # work has met more meanwhile
            return
        if error is None:
            if not circuit.quarantined:
                circuit.answered()
        elif isinstance(error, Throttled):
            circuit.throttled(now, told(error), error.retry_after_s)
        elif isinstance(error, Misconfigured):
            circuit.misconfigured(now, told(error))
        else:
            circuit.down(now, told(error))

    def _failed(self, batch: Batch, error: Exception) -> None:
        now = self._clock()
        if isinstance(error, TargetDown):
            self._engine.tripped(batch, now, told(error), answered=isinstance(error, OutOfOrder))
        elif isinstance(error, Throttled):
            self._engine.throttled(batch, now, told(error), error.retry_after_s)
        elif isinstance(error, Misconfigured):
            self._engine.misconfigured(batch, now, told(error))
        elif isinstance(error, DependencyDown | LogError):
            self._engine.repeat(batch, now, halved=False)
            raise DependencyDown(str(error)) from error
        else:
            self._fault(batch, error)

    def _fault(self, batch: Batch, error: Exception) -> None:
        """Handle an unforeseen fault of our code or data: it must not block the others."""
        self._observer.trouble(self._name, f"unexpected: {fault(error)}")
        if len(batch.items) > 1 or not batch.items[0].suspect:
            self._engine.repeat(batch, self._clock(), halved=True)
            return
        try:
            self._effects.record_fault(batch.items[0], error)
        except DependencyDown:
            self._engine.repeat(batch, self._clock(), halved=True)
            raise
        self._engine.settled(batch, self._clock(), answered=False)

    def _charge(self, batch: Batch) -> None:
        """Charge an attempt to a student whose work failed alone while the target is well.

        It is no evidence that the target is well: the next student's work is.
        """
        try:
            self._effects.charge(batch.items)
        except (DependencyDown, LogError) as error:
            self._engine.repeat(batch, self._clock(), halved=True)
            raise DependencyDown(str(error)) from error
        except Exception as error:  # noqa: BLE001  # as for any item
            self._fault(batch, error)
        else:
            self._engine.settled(batch, self._clock(), answered=False)
