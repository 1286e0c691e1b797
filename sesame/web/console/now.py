"""'Maintenant': the window at a glance, what is wrong on top, each target and its processes; kept live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from sse_starlette import ServerSentEvent

from pipeline.errors import DependencyDown
from sesame.operations.diagnosis.overview import Overview
from sesame.web.console import histogram
from sesame.web.console.console_context import ConsoleContext
from sesame.web.console.console_request import (
    ConsoleRefusal,
    ConsoleRequest,
    NotLoggedIn,
    Visiting,
    somebody,
)
from sesame.web.console.trouble import troubles
from sesame.web.kit.streams import EventStream, live_part

router = APIRouter()

LOOK_EVERY_S: Final = 2.0


@router.get("/")
def show(visit: Visiting) -> Response:
    """The page."""
    return visit.page("now.html", **now_page(visit.context.overview.show(visit.actor), visit.context))


def now_page(seen: Overview, context: ConsoleContext) -> dict[str, Any]:
    """What the page shows of an overview."""
    objectives = context.site.settings.propagation
    failed, waiting = by_consumer(seen.dead_letters_by_cause), seen.waiting_by_reason
    return {
        "seen": seen,
        "troubles": troubles(seen),
        "bars": histogram.drawn(seen.durations),
        "picture": (histogram.WIDTH, histogram.HEIGHT),
        "edges": (objectives.late_s, objectives.breach_s),
        "retrying": by_consumer(seen.retrying),
        "failed": failed,
        "waiting": waiting,
    }


def by_consumer(counted: Any) -> dict[str, dict[str, Any]]:
    """What is counted by `consumer cause`."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in counted.items():
        consumer, _, token = name.partition(" ")
        found.setdefault(consumer, {})[token] = value
    return found


@router.get("/flux")
async def stream(request: Request) -> Response:
    """The page's live part, each time that it changes."""
    visit = await to_thread.run_sync(somebody, request)
    places = visit.context.places
    if not places.acquire(blocking=False):
        raise ConsoleRefusal(503, "busy")
    return EventStream(_events(request, visit), places.release)


def _events(request: Request, visit: ConsoleRequest) -> AsyncIterator[ServerSentEvent]:
    async def part(shown: str) -> str | None:
        return await to_thread.run_sync(_part, request, shown)

    return live_part(request, visit.context.stopping.is_set, part, partial(asyncio.sleep, LOOK_EVERY_S))


def _part(request: Request, shown: str) -> str | None:
    """The live part; what is shown while it cannot be had; None when the session is over."""
    try:
        visit = somebody(request)
        return visit.render("_now.html", **now_page(visit.context.overview.show(visit.actor), visit.context))
    except (NotLoggedIn, ConsoleRefusal):
        return None
    except DependencyDown:
        return shown
