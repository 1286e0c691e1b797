"""A batch's way through the threads: let in, called, ended; and the probe. Results go to a queue.

Three stages, so that a slot of the target is taken by calls only: while some batches call, others are let in
and the ends of others are written, each stage for everybody who waits there at once (`together`). While calls
are under way more ends are about to come: an end lingers then, so that the next ones are written with it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pipeline.effects import Effects, Entry
from pipeline.engine import Batch, Limits
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled, fault
from pipeline.eventlog.port import LogError
from pipeline.target import Dead, Handler, HandlerOutcome, Retry
from pipeline.worker.observer import Observer
from pipeline.worker.pace import Pace
from pipeline.worker.ready import Ready
from pipeline.worker.together import Together
from schemas.account import Lane

STUDENTS_PER_GROUP_MAX = 1_000  # a transaction of more would keep others from the store for too long
WAIT_S_MAX = 2.0
"""How long a batch that was let in may wait for its call: a lease lasts so much longer than a call."""

ENDS_LINGER_S_MAX = 0.05
"""How long an end may wait for others to be written with it, however long batches linger: leases run."""


@dataclass(frozen=True)
class Result:
    """How a batch ended: nothing in `error` means that everything was recorded. No batch: it was a probe.

    `called`: false if the batch was withdrawn before its call. `answered`, `uncalled`, `given_up`: as
    `Engine.settled` takes them.
    """

    batch: Batch | None
    error: Exception | None = None
    answered: bool = False
    uncalled: frozenset[str] = frozenset()
    given_up: tuple[str, ...] = ()
    called: bool = True


@dataclass(frozen=True)
class LetIn:
    """A batch that holds its leases since `at` (the worker's clock)."""

    batch: Batch
    entry: Entry
    at: float


@dataclass(frozen=True)
class Ended:
    """A batch whose end is to be written. No outcomes: it was not called."""

    batch: Batch
    entry: Entry
    outcomes: Mapping[str, HandlerOutcome] | None


class Calls:
    """Carries batches out, in threads of its own, or (`here`) in the caller's.

    Args:
        results: where the results go.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        handler: Handler,
        effects: Effects,
        observer: Observer,
        results: queue.SimpleQueue[Result],
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._handler = handler
        self._effects = effects
        self._observer = observer
        self._results = results
        self._clock = clock
        self._calling = limits.slots  # threads that call
        self._probing: Together[bool] = Together(self._probe, size=lambda _asked: 1, size_max=1)
        self._entering: Together[Batch] = Together(
            self._let_in, size=lambda batch: len(batch.items), size_max=STUDENTS_PER_GROUP_MAX
        )
        self._ready: Ready[LetIn] = Ready(limits)
        self._pace = Pace(limits.slots, WAIT_S_MAX / 2, self._ready.standing)
        linger_s = min(limits.linger_s, ENDS_LINGER_S_MAX)
        self._ending: Together[Ended] = Together(
            self._end,
            size=lambda ended: len(ended.entry.work),
            size_max=STUDENTS_PER_GROUP_MAX,
            linger_s=lambda: linger_s if self._ready.free() < limits.slots else 0.0,
            clock=clock,
        )
        self._lock = threading.Lock()
        self._broken: Exception | None = None
        self._stopped_through = 0.0  # batches up to this number are not called any more

    # --- for the thread of the loop -------------------------------------------------------------------

    def start(self) -> None:
        """Begin the threads. They are daemons: a call that hangs for ever must not keep a process that is to
        stop, and whatever is killed repeats."""
        work = {"probe": self._probing.run, "enter": self._entering.run, "end": self._ending.run}
        work |= {f"call-{number}": self._call_on for number in range(1, self._calling + 1)}
        for name, run in work.items():
            threading.Thread(
                target=partial(self._keep, run), name=f"{self._handler.name}-{name}", daemon=True
            ).start()

    def check(self) -> None:
        """Raise what ended one of the threads, if anything did: its stage would stand still in silence.

        Raises:
            Exception: a fault of ours; nothing but another life of the worker helps.
        """
        if self._broken is not None:
            raise self._broken

    def close(self) -> None:
        """End the threads, each after what it is doing: what a call that goes on reaches is still written."""
        self._probing.end()
        self._entering.end()
        self._ready.end()

    def begin(self, batch: Batch) -> None:
        """Let a batch begin its way."""
        self._pace.begun(batch)
        self._entering.put(batch)

    def held(self) -> frozenset[Lane]:
        """The lanes of which no batch should begin now: those that wait would be called too late."""
        return self._pace.held()

    def stop_calling(self, through: float) -> None:
        """Batches up to this number that have not been called are withdrawn."""
        self._stopped_through = through

    def begin_probe(self) -> None:
        """Probe the target, in a thread of its own: the slots may all be taken by calls that hang."""
        self._probing.put(True)

    # --- for one thread that does it all --------------------------------------------------------------

    def here(self) -> None:
        """Bring all that was begun to its end, in the caller's thread: for tests."""
        while (
            self._probing.once()
            or self._entering.once()
            or self._call_next(wait=False)
            or self._ending.once()
        ):
            pass

    # --- the stages -----------------------------------------------------------------------------------

    def _keep(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  # the loop's thread raises it
            self._broken = error

    def _probe(self, _asked: list[bool]) -> None:
        try:
            self._handler.probe()
        except Exception as error:  # noqa: BLE001  # whatever a probe raises, the target is not well
            self._results.put(Result(None, error))
        else:
            self._results.put(Result(None))

    def _let_in(self, batches: list[Batch]) -> None:
        try:
            self._enter(batches)
        finally:
            self._pace.entered(batches)

    def _enter(self, batches: list[Batch]) -> None:
        try:
            entry = self._effects.enter([item for batch in batches for item in batch.items])
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            self._failed(batches, error, [partial(self._enter, [batch]) for batch in batches])
            return
        for batch in batches:
            part = entry.part(batch.items)
            if part.calls:
                self._ready.put(LetIn(batch, part, self._clock()))
            elif part.work:
                self._ending.put(Ended(batch, part, part.decided))
            else:
                self._results.put(Result(batch))

    def _call_on(self) -> None:
        while self._call_next(wait=True):
            pass
        with self._lock:
            self._calling -= 1
            if not self._calling:
                self._ending.end()

    def _call_next(self, *, wait: bool) -> bool:
        let_in = self._ready.take(wait=wait)
        if let_in is None:
            return False
        try:
            called = self._call(let_in)
        finally:
            self._ready.done(let_in)
        if isinstance(called, Ended):
            self._ending.put(called)
        else:
            self._results.put(called)
        return True

    def _call(self, let_in: LetIn) -> Ended | Result:
        batch, entry = let_in.batch, let_in.entry
        late = self._clock() - let_in.at > WAIT_S_MAX
        if late or batch.number <= self._stopped_through:
            return Ended(batch, entry, None)
        try:
            return Ended(batch, entry, {**entry.decided, **self._handle(entry)})
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            return Result(batch, error)

    def _handle(self, entry: Entry) -> dict[str, HandlerOutcome]:
        name, tasks, started = self._handler.name, entry.tasks, self._clock()
        try:
            outcomes = dict(self._handler.handle(tasks))
            took_s = self._clock() - started
            self._pace.called(took_s)
            self._observer.batch(name, len(tasks), took_s)
        except (TargetDown, Throttled, Misconfigured) as error:
            self._stopped_through = float("inf")  # until the loop's thread knows, and says through which
            self._effects.give_back(entry, unknown=error.unknown)
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

    def _end(self, group: list[Ended]) -> None:
        if called := [ended for ended in group if ended.outcomes is not None]:
            self._finish(called)
        if withdrawn := [ended for ended in group if ended.outcomes is None]:
            self._withdraw(withdrawn)

    def _finish(self, group: list[Ended]) -> None:
        entry = Entry.together(ended.entry for ended in group)
        outcomes = {number: each for ended in group for number, each in (ended.outcomes or {}).items()}
        try:
            final = self._effects.finish(entry, outcomes)
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            self._failed(
                [each.batch for each in group], error, [partial(self._finish, [each]) for each in group]
            )
            return
        for number, outcome in final.items():
            self._observer.outcome(self._handler.name, outcome, entry.work[number].lane)
        for ended in group:
            given_up = tuple(end.cause for end in map(final.get, ended.entry.work) if isinstance(end, Dead))
            answered = ended.entry.calls
            uncalled = ended.entry.uncalled(ended.batch.items)
            self._results.put(Result(ended.batch, answered=answered, uncalled=uncalled, given_up=given_up))

    def _withdraw(self, group: list[Ended]) -> None:
        try:
            self._effects.withdraw(Entry.together(ended.entry for ended in group))
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            self._failed(
                [each.batch for each in group], error, [partial(self._withdraw, [each]) for each in group]
            )
            return
        for ended in group:
            self._results.put(Result(ended.batch, called=False))

    def _failed(self, batches: list[Batch], error: Exception, apart: list[Callable[[], None]]) -> None:
        """A group failed. When it is neither the store nor the log, somebody in it is the cause: each batch
        is tried apart, so that the others do not suffer for it."""
        if len(batches) > 1 and not isinstance(error, DependencyDown | LogError):
            for again in apart:
                again()
            return
        for batch in batches:
            self._results.put(Result(batch, error))
