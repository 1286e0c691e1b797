"""Sends the canary every five minutes, from one process that runs the registry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from pipeline.errors import SesameError
from pipeline.locks import LockHeld
from sesame.app.lazy import lazily
from sesame.app.wiring import Application

with lazily():  # pages, CAS and IMAP are loaded only where it goes
    from sesame.operations.work.canary import acts

LOOK_EVERY_S: Final = 15.0


class _Stopped(Exception):
    """The process ends while the canary is on its way; the next run resets it first."""


def keep(
    application: Application, stopping: threading.Event, *, on_trouble: Callable[[str, str], None]
) -> None:
    """Send it when due, until `stopping` is set. `on_trouble` gets (`canary`, what failed)."""

    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise _Stopped

    told = ""
    while not stopping.wait(LOOK_EVERY_S):
        try:
            found = acts.walk(application, pause, every_s=acts.EVERY_S)
        except (LockHeld, _Stopped):  # another process has sent it, or this one ends
            continue
        except SesameError as error:
            failed = str(error)
        else:
            failed = "; ".join(f"{each.name}: {each.cause}" for each in found.steps if not each.ok)
        if failed and failed != told:
            on_trouble("canary", failed)
        told = failed
