"""Replays that run in this process after their form was answered, until stopped.

Each has its pace. Nothing is lost with the process: resuming a replay sends the remaining requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime

import structlog

from pipeline.errors import SesameError, fault
from sesame.acts.acts import Actor, check
from sesame.operations.work.replays import ResumeReplayRequest, resume
from sesame.web.kit.site import Site


def go_on(site: Site, actor: Actor, request: ResumeReplayRequest, clock: Callable[[], datetime]) -> None:
    """Resume a replay in a new thread. Raises `ActRefused`: the actor may not; nothing was begun."""
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
