"""What hands change at targets, noticed within a minute where the target tells of changes; at all of them,
that much was lost."""

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
    """Asks the targets of the consumers that this process runs what has changed.

    Args:
        targets: those of this process.
        on_trouble: told (target, what was found or went wrong).
    """

    def __init__(
        self,
        application: Application,
        targets: Collection[str],
        *,
        on_trouble: Callable[[str, str], None],
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
        """Ask this target, and tell what was found. That a target is away, its consumer tells."""
        app = self._application
        request = WatchRequest(target=target, repair=app.settings.reconcile.repair)
        try:
            found = watch(app, _WATCH, request, clock=utc_now, progress=until(stopping))
        except (ReconcileStopped, TargetDown, Throttled, Misconfigured):
            return
        except Exception as error:  # noqa: BLE001 (somebody else's code: the process and the others go on)
            why = error if isinstance(error, SesameError) else fault(error)
            self._on_trouble(target, f"its changes were not compared: {why}")
            return
        if found is not None and not found.trouble:
            self._on_trouble(target, f"{found.counted()}: sesame reconcile --last")
