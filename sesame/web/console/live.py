"""Live parts of pages, updated while a reader looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from anyio import to_thread
from fastapi import Request, Response

from pipeline.errors import DependencyDown
from sesame.web.console.console_request import ConsoleRequest, NotLoggedIn, somebody
from sesame.web.kit.streams import EventStream, live_part
from sesame.web.kit.web_request import PageError

LOOK_EVERY_S: Final = 2.0


def kept_live(visit: ConsoleRequest, render: Callable[[ConsoleRequest], str]) -> Response:
    """Stream a page's live part whenever it changes, until the session is over.

    `render` makes the part. Raises `PageError`: too many are open already.
    """
    request, places = visit.request, visit.context.places
    if not places.acquire(blocking=False):
        raise PageError(503, "busy")

    async def part(shown: str) -> str | None:
        return await to_thread.run_sync(_part, request, render, shown)

    events = live_part(request, visit.context.stopping.is_set, part, partial(asyncio.sleep, LOOK_EVERY_S))
    return EventStream(events, places.release)


def _part(request: Request, render: Callable[[ConsoleRequest], str], shown: str) -> str | None:
    """The live part; `shown` while it cannot be made; None when the session is over."""
    try:
        return render(somebody(request))
    except (NotLoggedIn, PageError):
        return None
    except DependencyDown:
        return shown
