"""Checks that the files of store and log are undamaged, and still the opened ones.

A page that was overwritten, or a file that was deleted, is noticed only by a process that happens to read it:
work would continue, and be lost. A process that meets damage stops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from pipeline.db.database import StoreDamaged, StoreUnavailable
from pipeline.eventlog.port import LogUnavailable
from pipeline.eventlog.sqlite import SqliteEventLog
from sesame.acts.admission import Heart
from sesame.app.wiring import Application

LOOK_EVERY_S = 1.0
EXAMINE_EVERY_S = 60.0
REST = 50.0
"""An examination reads the whole file: pause for this many times its duration after it."""


class Integrity:
    """Examines until something is wrong. `monotonic`: seconds."""

    def __init__(self, application: Application, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._application = application
        self._monotonic = monotonic
        self._examine_at = 0.0
        self._heart = Heart(application, monotonic)

    def watch(self, stopping: threading.Event) -> None:
        """Check until `stopping` is set.

        Raises:
            StoreDamaged, DamagedLog, StoreRestored: the process must stop working.
        """
        while not stopping.is_set():
            self.look()
            stopping.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """Check once: the whole files if due, and that the store is the same; raises as `watch`."""
        began = self._monotonic()
        due = began >= self._examine_at
        for look in self._looks(due=due):
            try:
                look()
            except StoreDamaged:
                raise
            except (StoreUnavailable, LogUnavailable):
                continue  # every loop that works notices and reports it
        if due:
            took_s = self._monotonic() - began
            self._examine_at = began + max(EXAMINE_EVERY_S, REST * took_s)

    def _looks(self, *, due: bool) -> Iterator[Callable[[], None]]:
        database, log = self._application.database, self._application.log
        yield database.examine if due else database.check_file
        if isinstance(log, SqliteEventLog):
            yield log.examine if due else log.check_file
        yield self._heart.look
