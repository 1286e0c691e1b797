"""The night's comparison of each target with the accounts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.errors import SesameError
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.acts import ReconcileRequest, ReconcileStopped, reconcile, until

_LOOK_EVERY_S: Final = 30.0
_NIGHT: Final = Actor("nightly", frozenset({Role.OPERATOR}))


class Nightly:
    """Compares this process's targets once a night, by one of any number of processes.

    A night in which none ran is made up for.

    Args:
        on_trouble: called with (target, what was found or went wrong).
        now: the time, with the machine's time zone.
    """

    def __init__(
        self,
        application: Application,
        targets: Collection[str],
        *,
        on_trouble: Callable[[str, str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
    ) -> None:
        self._application = application
        self._targets = tuple(targets)
        self._on_trouble = on_trouble
        self._now = now

    def run(self, stopping: threading.Event) -> None:
        """Look from time to time whether one is due."""
        while not stopping.wait(_LOOK_EVERY_S):
            for target in self._targets:
                self.run_due(target, stopping)

    def run_due(self, target: str, stopping: threading.Event) -> None:
        """Compare this target if due and no other process does, until `stopping` is set."""
        app = self._application
        due_at = last_time(app.settings.reconcile.at, self._now()).timestamp()
        try:
            with app.database.write() as connection:
                if not passes.claim(connection, app.database, target, due_at):
                    return
            request = ReconcileRequest(targets=(target,), repair=app.settings.reconcile.repair)
            done = reconcile(app, _NIGHT, request, clock=utc_now, progress=until(stopping), in_depth=True)
            found = done.targets[target]
        except ReconcileStopped:
            with app.database.write() as connection:
                passes.release(connection, target)
            return
        except SesameError as error:
            self._on_trouble(target, f"not compared: {error}")
            return
        if found.differs:
            counted = found.counted()
            self._on_trouble(target, found.trouble or f"{counted}: sesame reconcile --target {target}")


def last_time(at: str, now: datetime) -> datetime:
    """The last time that clocks showed `at` (HH:MM), at or before `now`."""
    hour, minute = map(int, at.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)
