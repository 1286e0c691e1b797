"""Answers that stay open: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

RECONNECT_MS: Final = 3_000
PING_S: Final = 20


class EventStream(EventSourceResponse):
    """An event stream that releases its place when it ends, however it ends."""

    media_type = "text/event-stream"  # FastAPI describes it by this

    def __init__(self, events: AsyncIterator[ServerSentEvent], end: Callable[[], None]) -> None:
        super().__init__(events, ping=PING_S)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def live_part(
    request: Request,
    is_over: Callable[[], bool],
    part: Callable[[str], Awaitable[str | None]],
    rest: Callable[[], Awaitable[object]],
) -> AsyncIterator[ServerSentEvent]:
    """Stream a page's live part whenever it changes, for `common.js`.

    The answer has begun: an error from here on ends it, and cannot be raised.

    Args:
        is_over: whether the server ends.
        part: makes it, given what is shown; None: the stream ends.
        rest: waits until it may have changed.
    """
    shown = ""
    while not is_over() and not await request.is_disconnected():
        try:
            html = await part(shown)
        except Exception:  # noqa: BLE001 # the browser reconnects after `retry`
            structlog.get_logger().exception("live_page_failed")
            return
        if html is None:
            yield ServerSentEvent(event="fin", data="")
            return
        if html != shown:
            yield ServerSentEvent(event="etat", data=html, retry=RECONNECT_MS)
            shown = html
        await rest()
