"""'Maintenant': the window at a glance, what is wrong on top, each target and its processes; kept live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

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

router = APIRouter()

LOOK_EVERY_S: Final = 2.0
RECONNECT_MS: Final = 3_000


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


class _Stream(EventSourceResponse):
    """An answer that gives its place back when it ends, however it ends."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], end: Callable[[], None]) -> None:
        super().__init__(events, ping=20)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


@router.get("/flux")
async def stream(request: Request) -> Response:
    """The page's live part, each time that it changes."""
    visit = await to_thread.run_sync(somebody, request)
    places = visit.context.places
    if not places.acquire(blocking=False):
        raise ConsoleRefusal(503, "busy")
    return _Stream(_events(request, visit), places.release)


async def _events(request: Request, visit: ConsoleRequest) -> AsyncIterator[ServerSentEvent]:
    """What is sent. The answer has begun: whatever happens from here on ends it, and is no exception."""
    shown = ""
    while not visit.context.stopping.is_set() and not await request.is_disconnected():
        try:
            html = await to_thread.run_sync(_part, request, shown)
        except Exception:  # noqa: BLE001  # the browser asks again by itself, after `retry`
            structlog.get_logger().exception("live_page_failed")
            return
        if html is None:
            yield ServerSentEvent(event="fin", data="")
            return
        if html != shown:
            yield ServerSentEvent(event="etat", data=html, retry=RECONNECT_MS)
            shown = html
        await asyncio.sleep(LOOK_EVERY_S)


def _part(request: Request, shown: str) -> str | None:
    """The live part; what is shown while it cannot be had; None when the session is over."""
    try:
        visit = somebody(request)
        return visit.render("_now.html", **now_page(visit.context.overview.show(visit.actor), visit.context))
    except (NotLoggedIn, ConsoleRefusal):
        return None
    except DependencyDown:
        return shown
