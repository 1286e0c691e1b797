"""The results of runs: report them to the engine, and charge failures."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.engine.bell import Batch
from pipeline.engine.core import Engine
from pipeline.errors import DependencyDown, Misconfigured, OutOfOrder, TargetDown, Throttled, fault, told
from pipeline.eventlog.port import LogError
from pipeline.runner.batch_run import BatchRun, Observer, Probed, Runner
from pipeline.runner.effects import Effects


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
        """Report a run's or probe's end to the engine.

        Raises:
            DependencyDown: the store or the log failed; the batch will repeat.
        """
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
