"""`sesame run`: every consumer, the outbox and the timers in one process, each in a thread of its own.

A loop that ends by an error says so in its state and in the log, and is started again after a pause: no
consumer is silent, and one that cannot go on does not take the others with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from consumers.propagation import BREACHED, LATE
from pipeline import timers
from pipeline.burial import bury
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.facts import Rejected
from pipeline.store.dead_letters import DeadLetter
from pipeline.timers import OnDue
from schemas.envelope import event_id
from sesame.housekeeping import Housekeeping
from sesame.observability.http import HttpServer
from sesame.observability.metrics import Metrics
from sesame.reporting import Reporter
from sesame.wiring import Application

RESTART_AFTER_S = 5.0
OUTBOX_LOOK_EVERY_S = 0.5
TIMERS_EVERY_S = 1.0
JOIN_S_MAX = 30.0
REGISTRY, PROPAGATION = "registry", "propagation"


@dataclass(frozen=True)
class _Loop:
    name: str
    run: Callable[[threading.Event], None]


class Runner:
    """Runs consumers until told to stop.

    Args:
        consumers: names: `registry`, `propagation`, and targets.
    """

    def __init__(self, application: Application, metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics
        self._reporter = Reporter(metrics, application.database, process=application.life.owner)
        self._housekeeping = Housekeeping(application, on_trouble=self._reporter.trouble)
        self._log = structlog.get_logger()
        self._alive: dict[str, bool] = {}
        metrics.refresh_with(self._reporter.refresh_from(application.outbox))

    def run(self, stopping: threading.Event) -> None:
        """Run everything; return once all have stopped.

        Raises:
            SesameError: something that is needed from the start is missing.
        """
        loops = self._loops()
        http = self._http()
        threads = [
            threading.Thread(target=self._keep, args=(loop, stopping), name=loop.name) for loop in loops
        ]
        try:
            if http is not None:
                http.start()
            self._housekeeping.run_due()  # the names of others are known before the first one is minted
            for thread in threads:
                thread.start()
            self._log.info("running", count=len(threads))
            while not stopping.wait(1.0):
                pass
        finally:
            stopping.set()
            self._application.outbox.ring()
            give_up_at = time.monotonic() + JOIN_S_MAX
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, give_up_at - time.monotonic()))
            if http is not None:
                http.stop()
            self._log.info("stopped")

    def _loops(self) -> list[_Loop]:
        app, reporter = self._application, self._reporter
        registry = app.registry
        propagation = app.propagation(reporter.completed)
        due: Mapping[str, OnDue] = {
            LATE: propagation.on_late,
            BREACHED: propagation.on_breached,
            **registry.timers(),
        }
        loops = [
            _Loop(REGISTRY, lambda stop: app.fact_loop(registry, reporter).run(stop)),
            _Loop(PROPAGATION, lambda stop: app.fact_loop(propagation, reporter).run(stop)),
            _Loop("outbox", self._outbox),
            _Loop("timers", lambda stop: self._timers(stop, due)),
            _Loop("housekeeping", self._housekeep),
        ]
        for target in app.settings.targets:
            app.handler(target).close()  # settings that cannot work are met now, not in a thread
            loops.append(_Loop(target, lambda stop, name=target: app.worker(name, reporter).run(stop)))  # type: ignore[misc]
        return loops

    def _keep(self, loop: _Loop, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._alive[loop.name] = True
            try:
                loop.run(stopping)
            except Exception as error:  # noqa: BLE001  # no loop may end in silence
                remedy = error.remedy if isinstance(error, SesameError) else ""
                self._log.exception("loop_failed", consumer=loop.name, remedy=remedy)
                why = str(error) if isinstance(error, SesameError) else fault(error)
            else:
                why = "it ended without having been told to"
            if not stopping.is_set():
                self._alive[loop.name] = False
                self._reporter.state(loop.name, "stopped", why)
                stopping.wait(RESTART_AFTER_S)

    def _outbox(self, stopping: threading.Event) -> None:
        self._application.outbox.run(
            stopping,
            look_every_s=OUTBOX_LOOK_EVERY_S,
            on_trouble=lambda what: self._reporter.trouble("outbox", what),
        )

    def _timers(self, stopping: threading.Event, due: Mapping[str, OnDue]) -> None:
        app = self._application
        while not stopping.wait(TIMERS_EVERY_S):
            try:
                while timers.run_due(app.database, due, self._bury_timer):
                    pass
                app.outbox.ring()
            except DependencyDown as error:
                self._reporter.trouble("timers", str(error))

    def _bury_timer(self, connection: Connection, kind: str, student_number: str, error: Exception) -> None:
        """A timer's action failed: an operator is told whom it was for; it is tried again by itself."""
        database = self._application.database
        cause = error.cause if isinstance(error, Rejected) else "internal_error"
        text = str(error) if isinstance(error, SesameError) else fault(error)
        letter = DeadLetter(
            id=event_id("dead-letter", "timers", kind, student_number),
            consumer=PROPAGATION if kind in (LATE, BREACHED) else REGISTRY,
            student_number=student_number,
            version=None,
            cause=cause,
            message=f"timer {kind}: {text}",
            attempts=1,
            recorded_at=database.now(connection),
        )
        bury(connection, database, letter)
        self._reporter.trouble("timers", f"{kind}: {cause}: {text}")

    def _housekeep(self, stopping: threading.Event) -> None:
        """Apart from the timers: a chore may wait for a server, and lateness must be told in time."""
        while not stopping.wait(TIMERS_EVERY_S):
            self._housekeeping.run_due()

    def _http(self) -> HttpServer | None:
        wanted = self._application.settings.http
        if not wanted.enabled:
            return None
        return HttpServer(
            self._metrics,
            live={},  # loops start again by themselves: a restart of the process would not help them
            ready={"loops": self._dead_loops, "store": self._store_fault},
            host=wanted.host,
            port=wanted.port,
        )

    def _dead_loops(self) -> str | None:
        dead = sorted(name for name, alive in self._alive.items() if not alive)
        return f"not running: {', '.join(dead)}" if dead else None

    def _store_fault(self) -> str | None:
        with self._application.database.read():
            return None
