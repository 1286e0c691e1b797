"""A service that answers in this process, below the kit's HTTP client."""

from __future__ import annotations

from collections.abc import Callable

import httpx


def transport_to(server: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    """Let this function answer requests, as if over a network."""

    def answer(request: httpx.Request) -> httpx.Response:
        made = server(request)
        if not made.is_closed:
            return made  # a stream of the test's own
        return httpx.Response(made.status_code, headers=made.headers, stream=httpx.ByteStream(made.content))

    return httpx.MockTransport(answer)
