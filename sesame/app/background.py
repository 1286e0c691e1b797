"""Background duties next to the consumers.

They send the outbox and the audit, run timers and housekeeping, read the registrar's live feed, send the
canary, compare each target with the accounts at night, and watch for manual changes there by day. Each
process does what its consumers need; of several, one does each of these at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from consumers.propagation.handler import BREACHED, LATE, Propagation
from pipeline import timers
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.facts import Rejected
from pipeline.timers import OnDue
from pipeline.vault import read_keys
from schemas.envelope import event_id
from sesame.app import audit_export, canary
from sesame.app.audit_export import AuditExport, Pseudonyms
from sesame.app.comparing import DriftWatch, Nightly
from sesame.app.housekeeping import Housekeeping
from sesame.app.polling import Polling
from sesame.app.reporter import Reporter
from sesame.app.wiring import PROPAGATION, REGISTRY, Application

_PSEUDONYM_DAYS: Final = 90
"""Days for which what is sent names a student by one pseudonym: two acts can be joined, a career cannot."""
OUTBOX_LOOK_EVERY_S = 0.5
TIMERS_EVERY_S = 1.0


@dataclass(frozen=True)
class Loop:
    """A thread's work until it is stopped, for `consumer` if given. `name` tells its workers apart."""

    name: str
    run: Callable[[threading.Event], None]
    consumer: str = ""
    worker: int = 1


class Background:
    """The duties of a process that runs these consumers."""

    def __init__(self, application: Application, reporter: Reporter, consumers: Collection[str]) -> None:
        self._application = application
        self._reporter = reporter
        self._consumers = consumers
        self.housekeeping = Housekeeping(application, consumers, on_trouble=reporter.trouble)
        settings = application.settings
        receivers = audit_export.receivers(settings.audit) if REGISTRY in consumers else {}
        self._loops: list[Loop] = []
        if receivers:
            pseudonyms = Pseudonyms(read_keys(settings.vault_key_file), _PSEUDONYM_DAYS)
            export = AuditExport(
                application.database, receivers, on_trouble=reporter.trouble, as_sent=pseudonyms
            )
            self._loops.append(Loop("audit", export.run))
        if settings.pegase.is_set and REGISTRY in consumers:
            self._loops.append(Loop("pegase", Polling(application, reporter).run))
        if settings.canary.is_set and REGISTRY in consumers:
            self._loops.append(Loop("canary", partial(canary.keep, application, on_trouble=reporter.trouble)))
        targets = [target for target in settings.targets if target in consumers]
        if targets and settings.reconcile.at:
            nightly = Nightly(application, targets, on_trouble=reporter.trouble)
            self._loops.append(Loop("reconcile", nightly.run))
        if usable := [target for target in targets if settings.connector_of(target).connector]:
            watch = DriftWatch(application, usable, on_trouble=reporter.trouble)
            self._loops.append(Loop("drift", watch.run))

    def loops(self, propagation: Propagation | None) -> list[Loop]:
        """A loop for each duty."""
        due: dict[str, OnDue] = {}
        if propagation is not None:
            due |= {LATE: propagation.on_late, BREACHED: propagation.on_breached}
        if REGISTRY in self._consumers:
            due |= self._application.registry.timers()
        loops = [Loop("outbox", self._outbox)]
        if due:
            loops.append(Loop("timers", lambda stopping: self._timers(stopping, due)))
        if self.housekeeping.chores:
            loops.append(Loop("housekeeping", self._housekeep))
        return loops + self._loops

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
        """Record a failed timer action as a dead letter; the timer is retried later."""
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
        dead_letters.record(connection, database, letter)
        self._reporter.trouble("timers", f"{kind}: {cause}: {text}")

    def _housekeep(self, stopping: threading.Event) -> None:
        """Run chores apart from the timers: one may wait for a server, and lateness is reported in time."""
        while not stopping.wait(TIMERS_EVERY_S):
            self.housekeeping.run_due()
