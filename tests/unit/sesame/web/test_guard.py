"""The guard before the students' pages reads bodies itself: whole, small, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from sesame.web.kit.guard import BODY_BYTES_MAX, Guard

Part = Message | None
"""What arrives; None: nothing ever does."""


def asked(
    *parts: Part, path: str = "/demande", headers: Sequence[tuple[bytes, bytes]] = ()
) -> dict[str, Any]:
    """What a form's request comes to: the answer, and what the pages behind have read of it."""
    said: dict[str, Any] = {"read": None, "then": None}
    waiting = list(parts)

    async def pages(_scope: Scope, receive: Receive, send: Send) -> None:
        said["read"] = await receive()
        said["then"] = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        part = waiting.pop(0)
        if part is None:
            await asyncio.Event().wait()
        assert part is not None
        return part

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            said["status"], said["headers"] = message["status"], dict(message["headers"])

    guard = Guard(
        pages, hosts=["here"], origin="https://here", secure=True, unguarded_posts=["/cas"], body_s_max=0.05
    )
    form = (b"content-type", b"application/x-www-form-urlencoded")
    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"here"), form, *headers]}
    asyncio.run(guard(scope, receive, send))
    return said


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


def test_a_form_in_pieces_is_read_whole_and_what_comes_after_it_is_passed_on() -> None:
    found = asked(part(b"a=", more=True), part(b"1"), GONE)
    assert found["status"] == 200
    assert found["read"] == part(b"a=1")
    assert found["then"] == GONE


@pytest.mark.parametrize("path", ["/demande", "/cas"])
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([None], 408),
        ([part(b"a", more=True), None], 408),
        ([part(b"a" * BODY_BYTES_MAX, more=True), part(b"a"), GONE], 413),
    ],
    ids=["nothing", "one byte", "too much"],
)
def test_a_body_that_does_not_come_or_does_not_end_is_refused_and_the_connection_closed(
    parts: list[Part], status: int, path: str
) -> None:
    found = asked(*parts, path=path)
    assert (found["status"], found["read"]) == (status, None)
    assert found["headers"][b"connection"] == b"close"


def test_a_body_of_the_greatest_size_is_taken_and_one_that_is_announced_larger_is_not_waited_for() -> None:
    most = part(b"a" * BODY_BYTES_MAX)
    assert asked(most, GONE)["read"] == most
    length = (b"content-length", str(BODY_BYTES_MAX + 1).encode())
    assert asked(None, headers=[length])["status"] == 413


def test_half_a_form_of_a_browser_that_has_gone_is_never_taken_for_one() -> None:
    found = asked(part(b"a=1", more=True), GONE)
    assert found == {"read": None, "then": None}
