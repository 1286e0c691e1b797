"""Detects manual changes within a minute, at targets that report them. At any, many lost objects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Final

from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled, fault
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.questions.reconcile.acts import ReconcileStopped, WatchRequest, until, watch

_LOOK_EVERY_S: Final = 30.0
_WATCH: Final = Actor("watch", frozenset({Role.OPERATOR}))


class DriftWatch:
    """Polls this process's targets for changes. `on_trouble` gets (target, what was found or went wrong)."""

    def __init__(
        self, application: Application, targets: Collection[str], *, on_trouble: Callable[[str, str], None]
    ) -> None:
        self._application = application
        self._targets = tuple(targets)
        self._on_trouble = on_trouble

    def run(self, stopping: threading.Event) -> None:
        """Ask from time to time."""
        while not stopping.wait(_LOOK_EVERY_S):
            for target in self._targets:
                self.look(target, stopping)

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
