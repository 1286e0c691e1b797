"""The route that streams completions as server-sent events (WHATWG HTML, 9.2).

An event's id is its place in the log: a reader that was cut off resumes after it (`Last-Event-ID`), even
across a restart.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated, Any, Final

import structlog
from fastapi import Header, Query, Response
from sse_starlette import ServerSentEvent

from pipeline.errors import SesameError, fault
from schemas.events import PropagationCompleted
from sesame.operations.programs.completions import Completion, Completions, CompletionsRequest, follow
from sesame.web.api.problems import ApiError
from sesame.web.api.routes import Call, Caller, route
from sesame.web.kit.streams import RECONNECT_MS, EventStream

STREAMS_MAX: Final = 32
"""Readers at once: each has a thread."""

_MOST: Final = 200
_WAIT_S: Final = 1.0
_QUIET_S_MAX: Final = 5.0
_LOOK_S: Final = 2.0
"""How often the token is looked up: a revoked one's stream ends within 5 s, with the wait for events."""

_places = threading.BoundedSemaphore(STREAMS_MAX)

_ANSWER: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": f"Events `{PropagationCompleted.type}`: `id` is the place, `data` the JSON.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
}


class TooManyReaders(ApiError):
    """As many programs as can be served read the completions already. Ask again later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


@route("GET", "/completions", follow, described=_ANSWER, answers=EventStream)
async def stream_completions(
    call: Caller,
    *,
    last_event_id: Annotated[str | None, Header(max_length=4000, description="Go on after this one.")] = None,
    everything: Annotated[bool, Query(description="Begin with the first that is still kept.")] = False,
    wait: Annotated[bool, Query(description="Go on when all was sent, as they happen.")] = True,
) -> Response:
    """Stream completed propagations as they happen: the student, and the time.

    At least once each: a reader that was cut off resumes after the last `id`. No names, no addresses.
    """
    asked = CompletionsRequest(after=last_event_id, everything=everything)
    if not _places.acquire(blocking=False):
        raise TooManyReaders
    thread = ThreadPoolExecutor(1, thread_name_prefix="completions")
    stream: Completions | None = None
    try:
        loop = asyncio.get_running_loop()
        stream = await loop.run_in_executor(thread, follow, call.site, call.actor, asked)
        first = await loop.run_in_executor(thread, stream.next, _MOST, 0.0)
    except BaseException:
        _end(thread, stream)
        raise
    events = _events(call, thread, stream, first, wait=wait)
    return EventStream(events, lambda: _end(thread, stream))


async def _events(
    call: Call, thread: ThreadPoolExecutor, stream: Completions, found: list[Completion], *, wait: bool
) -> AsyncIterator[ServerSentEvent]:
    """The stream of events. The answer has begun: an error from here on ends it, and cannot be raised."""
    loop = asyncio.get_running_loop()
    looked = heard = time.monotonic()
    try:
        yield ServerSentEvent(comment="completions", retry=RECONNECT_MS)
        while True:
            now = time.monotonic()
            if now - looked > _LOOK_S:
                await loop.run_in_executor(thread, call.look_again)
                looked = now
            for each in found:
                data = each.completed.model_dump_json(exclude_none=True)
                yield ServerSentEvent(event=each.completed.type, id=each.id, data=data)
            heard = now if found else heard
            if not wait and (stream.has_all or now - heard > _QUIET_S_MAX):
                return
            found = await loop.run_in_executor(thread, stream.next, _MOST, _WAIT_S if wait else 0.1)
    except SesameError as error:  # the reader reconnects, and gets the error then
        structlog.get_logger().info("completions_ended", error=fault(error))


def _end(thread: ThreadPoolExecutor, stream: Completions | None) -> None:
    if stream is not None:
        thread.submit(stream.close)
    thread.shutdown(wait=False)
    _places.release()
