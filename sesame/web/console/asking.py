"""Replays that go on in this process after their form was answered, each at its pace, until they are stopped.

Nothing is lost with the process: whoever lets a replay go on asks for those who were not asked yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime

import structlog

from pipeline.errors import SesameError, fault
from sesame.acts.acts import Actor, check
from sesame.operations.work.replays import Resumption, resume
from sesame.web.kit.site import Site


def go_on(site: Site, actor: Actor, request: Resumption, clock: Callable[[], datetime]) -> None:
    """Ask for the rest of a replay in a thread of its own.

    Raises:
        ActRefused: the actor may not; nothing was begun.
    """
    check(actor, "replay.resume")

    def ask() -> None:
        log = structlog.get_logger()
        try:
            resume(site, actor, request, clock)
        except SesameError as error:
            log.warning("replay_stopped", reason=str(error))
        except Exception as error:
            log.exception("replay_stopped", reason=fault(error))

    threading.Thread(target=copy_context().run, args=(ask,), name="replay", daemon=True).start()
