"""What happens in the pool's threads: a probe, or a batch from lease to record. Results go to a queue."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.effects import Effects, Entry
from pipeline.engine import Batch, Turn
from pipeline.errors import DependencyDown, Misconfigured, TargetDown, Throttled, fault
from pipeline.target import Dead, Handler, HandlerOutcome, Retry
from pipeline.worker.observer import Observer


@dataclass(frozen=True)
class Result:
    """How a batch ended: nothing in `error` means that everything was recorded. No batch: it was a probe.

    `answered`, `given_up`: as `Engine.settled` takes them.
    """

    batch: Batch | None
    error: Exception | None = None
    answered: bool = False
    given_up: tuple[str, ...] = ()


class Calls:
    """Calls the target, in whatever thread it is told to.

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
    ) -> None:
        self._handler = handler
        self._effects = effects
        self._observer = observer
        self._results = results
        self._clock = clock

    def probe(self) -> None:
        """Probe the target."""
        try:
            self._handler.probe()
        except Exception as error:  # noqa: BLE001  # whatever a probe raises, the target is not well
            self._results.put(Result(None, error))
        else:
            self._results.put(Result(None))

    def work(self, batch: Batch) -> None:
        """Carry a batch out."""
        try:
            answered, given_up = self._turns(batch.turns)
        except Exception as error:  # noqa: BLE001  # the loop's thread decides what it means
            self._results.put(Result(batch, error))
        else:
            self._results.put(Result(batch, answered=answered, given_up=given_up))

    def _turns(self, turns: tuple[Turn, ...]) -> tuple[bool, tuple[str, ...]]:
        entry = self._effects.enter(turns)
        outcomes: dict[str, HandlerOutcome] = dict(entry.decided)
        tasks = entry.tasks
        if tasks:
            outcomes |= self._handle(entry)
        ended = self._effects.finish(entry, outcomes)
        for number, outcome in ended.items():
            self._observer.outcome(self._handler.name, outcome, entry.work[number].lane)
        given_up = tuple(outcome.cause for outcome in ended.values() if isinstance(outcome, Dead))
        return bool(tasks), given_up

    def _handle(self, entry: Entry) -> dict[str, HandlerOutcome]:
        name, tasks, started = self._handler.name, entry.tasks, self._clock()
        try:
            outcomes = dict(self._handler.handle(tasks))
            self._observer.batch(name, len(tasks), self._clock() - started)
        except (TargetDown, Throttled, Misconfigured) as error:
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
