"""Compares targets with the accounts, each night and when one reports changes."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled, fault
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.acts import (
    ReconcileRequest,
    ReconcileStopped,
    WatchRequest,
    reconcile,
    until,
    watch,
)

_LOOK_EVERY_S: Final = 30.0
_NIGHT: Final = Actor("nightly", frozenset({Role.OPERATOR}))
_WATCH: Final = Actor("watch", frozenset({Role.OPERATOR}))


class _EachTarget(ABC):
    """Looks at this process's targets. `on_trouble` gets (target, what was found or went wrong)."""

    def __init__(
        self, application: Application, targets: Collection[str], *, on_trouble: Callable[[str, str], None]
    ) -> None:
        self._application = application
        self._targets = tuple(targets)
        self._on_trouble = on_trouble

    def run(self, stopping: threading.Event) -> None:
        """Look at each target from time to time."""
        while not stopping.wait(_LOOK_EVERY_S):
            for target in self._targets:
                self.look(target, stopping)

    @abstractmethod
    def look(self, target: str, stopping: threading.Event) -> None:
        """Look at one target, until `stopping` is set."""


class DriftWatch(_EachTarget):
    """Detects manual changes within a minute, at targets that report them. At any, many lost objects."""

    def look(self, target: str, stopping: threading.Event) -> None:
        """Poll this target and report what was found. Its consumer reports that a target is down."""
        app = self._application
        request = WatchRequest(target=target, repair=app.settings.reconcile.repair)
        try:
            found = watch(app, _WATCH, request, clock=utc_now, progress=until(stopping))
        except (ReconcileStopped, TargetDown, Throttled, Misconfigured):
            return
        except Exception as error:  # noqa: BLE001 (foreign code: the process and the other targets continue)
            why = error if isinstance(error, SesameError) else fault(error)
            self._on_trouble(target, f"its changes were not compared: {why}")
            return
        if found is not None and not found.trouble:
            self._on_trouble(target, f"{found.counted()}: sesame reconcile --last")


class Nightly(_EachTarget):
    """Compares this process's targets once a night, by one of any number of processes.

    A night in which none ran is made up for. `now`: the time, with the machine's time zone.
    """

    def __init__(
        self,
        application: Application,
        targets: Collection[str],
        *,
        on_trouble: Callable[[str, str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
    ) -> None:
        super().__init__(application, targets, on_trouble=on_trouble)
        self._now = now

    def look(self, target: str, stopping: threading.Event) -> None:
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
