"""`sesame run` and `sesame consume`: consumers and their duties, each in a thread.

A loop that ends by an error reports it in its state and in the log, and is started again after a pause: no
consumer is silent, and one that fails does not take the others with it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from pipeline.db.database import StoreDamaged
from pipeline.errors import SesameError, fault, remedy_of
from pipeline.eventlog.sqlite_file import DamagedLog
from pipeline.facts import FactHandler
from schemas.language import gettext
from sesame.acts.admission import StoreRestored, admit, count
from sesame.app import gc_freeze
from sesame.app.background import Background, Loop
from sesame.app.health import health_server
from sesame.app.integrity import Integrity
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.app.wiring import PROPAGATION, REGISTRY, WEBHOOKS, Application

RESTART_AFTER_S = 5.0
JOIN_MARGIN_S = 10.0
_WAITS = "the embedded log gives a consumer to one process, and another one has it: this one waits"


class UnknownConsumer(SesameError):
    """There is no consumer of this name. They are `registry`, `propagation`, the settings' `targets`, and
    `webhooks` if they name receivers."""

    exit_code = 2


class OneOwner(SesameError):
    """The embedded log gives each consumer group one owner, which has all partitions: more workers would have
    nothing to do. Use Kafka (`log.kind`) to share a consumer's work, or raise `engine.slots`."""

    exit_code = 2


class ProcessRunner:
    """Runs consumers until stopped.

    Args:
        consumers: names: `registry`, `propagation`, `webhooks`, and targets; None: all, with the gauges of
            the store, which one process shows for all.
        workers: how many members of its group each consumer has in this process.
    """

    def __init__(
        self,
        application: Application,
        metrics: Metrics,
        consumers: Sequence[str] | None = None,
        *,
        workers: int = 1,
    ) -> None:
        everything = application.settings.consumers
        self._consumers = tuple(dict.fromkeys(everything if consumers is None else consumers))
        if unknown := [name for name in self._consumers if name not in everything]:
            names = ", ".join(everything)
            raise UnknownConsumer(
                gettext("no such consumer: {name}; there are {names}", name=unknown[0], names=names)
            )
        if workers > 1 and application.log_has_one_owner:
            raise OneOwner
        self._application = application
        self._metrics = metrics
        self._workers = workers
        self._reporter = Reporter(metrics, application.database, process=application.life.owner)
        self._reporters = {each: self._reporter.of_worker(each) for each in range(1, workers + 1)}
        self._duties = Background(application, self._reporter, self._consumers)
        self._log = structlog.get_logger()
        self._alive: dict[str, bool] = {}
        self._damage: SesameError | None = None
        if consumers is None:
            receivers, goes = application.settings.audit.receivers, application.settings.canary.is_set
            refresh = self._reporter.refresh_from(application.outbox, everything, receivers, canary=goes)
            metrics.refresh_with(refresh)

    def run(self, stopping: threading.Event) -> list[str]:
        """Run until `stopping` is set; then let running work end, within a bound.

        Returns the loops that have not ended in time: others repeat what they do once the process ends.

        Raises:
            SesameError: something that is needed from the start is missing.
            StoreRestored: the store must be checked by an operator first; nothing was begun.
            StoreDamaged, DamagedLog, StoreRestored: the process stopped without a signal.
        """
        admit(self._application, works=True)
        loops = [*self._loops(), Loop("integrity", self._watch)]
        http = health_server(self._application, self._metrics, {"loops": self._dead_loops})
        threads = [
            threading.Thread(target=self._keep, args=(loop, stopping), name=loop.name) for loop in loops
        ]
        try:
            self._say_hello(loops)
            count(self._application)
            http.start()
            self._duties.housekeeping.run_due()  # others' names are known before the first one is minted
            gc_freeze.settle()
            for thread in threads:
                thread.start()
            self._log.info("running", count=len(threads))
            while not stopping.wait(1.0):
                pass
            self._log.info("stopping", timeout_s=self._join_s_max)
        finally:
            stopping.set()
            self._application.outbox.ring()
            give_up_at = time.monotonic() + self._join_s_max
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, give_up_at - time.monotonic()))
            http.stop()
            left = [thread.name for thread in threads if thread.is_alive()]
            self._reporter.gone()
            self._log.info("stopped", reason=f"not ended: {', '.join(left)}" if left else "")
        if self._damage is not None:
            raise self._damage
        count(self._application)
        return left

    @property
    def _join_s_max(self) -> float:
        return self._application.settings.engine.shutdown_s_max + JOIN_MARGIN_S

    def _loops(self) -> list[Loop]:
        propagation = None
        if PROPAGATION in self._consumers:
            propagation = self._application.propagation(self._reporter.said)
        loops: list[Loop] = []
        for name in self._consumers:
            if name in self._application.settings.targets:
                self._application.handler(name).close()  # settings that cannot work are met now
            loops += [self._consumer(name, worker) for worker in range(1, self._workers + 1)]
        if WEBHOOKS in self._consumers:
            loops += [
                Loop(each.name, each.run, each.name) for each in self._application.senders(self._reporter)
            ]
        return [*loops, *self._duties.loops(propagation)]

    def _watch(self, stopping: threading.Event) -> None:
        """Stop the process when the file of the store or the log is damaged or replaced."""
        try:
            Integrity(self._application).watch(stopping)
        except (StoreDamaged, DamagedLog, StoreRestored) as error:
            self._damage = error
            self._log.critical("damaged", reason=str(error), remedy=remedy_of(error))
            stopping.set()

    def _say_hello(self, loops: Sequence[Loop]) -> None:
        """Remove dead processes' states, and report each consumer before the port opens."""
        self._reporter.see_off(self._application.life.host, _is_dead)
        for loop in loops:
            if loop.consumer:
                self._reporters[loop.worker].state(loop.consumer, "running", "")

    def _consumer(self, name: str, worker: int) -> Loop:
        app, reporter = self._application, self._reporters[worker]
        title = name if worker == 1 else f"{name}-{worker}"
        if app.log_has_one_owner and app.members.name(name, worker) != app.life.host:
            self._log.warning("waits_for_its_owner", consumer=name, reason=_WAITS)
        if name in app.settings.targets:
            return Loop(title, lambda stop: app.worker(name, reporter, worker).run(stop), name, worker)
        handlers: dict[str, Callable[[], FactHandler]] = {
            REGISTRY: lambda: app.registry,
            PROPAGATION: lambda: app.propagation(reporter.said),
            WEBHOOKS: lambda: app.webhooks,
        }
        handler = handlers[name]()
        return Loop(title, lambda stop: app.fact_loop(handler, reporter, worker).run(stop), name, worker)

    def _keep(self, loop: Loop, stopping: threading.Event) -> None:
        failed = False
        while not stopping.is_set():
            self._alive[loop.name] = True
            if failed and not loop.consumer:  # a duty says only what is wrong
                self._reporters[loop.worker].gone(loop.name)
            try:
                loop.run(stopping)
            except Exception as error:  # noqa: BLE001  # no loop may end in silence
                remedy = error.remedy if isinstance(error, SesameError) else ""
                self._log.exception("loop_failed", consumer=loop.name, remedy=remedy)
                why = str(error) if isinstance(error, SesameError) else fault(error)
            else:
                why = "it ended without having been told to"
            if not stopping.is_set():
                failed = True
                self._alive[loop.name] = False
                self._reporters[loop.worker].state(loop.consumer or loop.name, "stopped", why)
                stopping.wait(RESTART_AFTER_S)

    def _dead_loops(self) -> str | None:
        dead = sorted(name for name, alive in self._alive.items() if not alive)
        return f"not running: {', '.join(dead)}" if dead else None


def _is_dead(process: int) -> bool:
    """Whether there is no such process here. One with this one's number was a former life, in a container."""
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # another user's process
    return False
