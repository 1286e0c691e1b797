"""Rules for requests (host, origin, size), and security headers of answers.

Sources: OWASP's cheat sheets (HTTP Headers, CSRF, Session Management); Fetch Metadata (W3C); RFC 6797.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 16_384
BODY_S_MAX: Final = 20.0
"""How long a form may take to arrive: a poor telephone needs a second or two for one."""

HSTS: Final = "max-age=31536000"
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'{forms_to}; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms. Nothing goes to other sites.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_FORM, _FORM_WITH_FILES = "application/x-www-form-urlencoded", "multipart/form-data"
_SAFE: Final = frozenset({"GET", "HEAD"})
_OPEN_PATHS: Final = frozenset({"/livez"})
"""For supervisors, who know no host name."""


class Guard:
    """Admits requests that a browser on our own pages could send.

    Args:
        hosts: allowed values of `Host`.
        origin: what `Origin` must be, if a request that changes something has one.
        secure: whether students come by HTTPS: the header of RFC 6797 is sent.
        forms_to: other sites that our forms may end at: the CAS server, at a logout.
        unguarded_posts: paths to which other servers post; their routes authenticate them.
        uploads: the most bytes by path of an upload; their routes read the body.
        body_s_max: how long a request's body may take to arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        origin: str,
        secure: bool,
        forms_to: Iterable[str] = (),
        unguarded_posts: Iterable[str] = (),
        uploads: Mapping[str, int] | None = None,
        body_s_max: float = BODY_S_MAX,
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origin = origin
        self._headers = dict(SECURITY_HEADERS)
        self._headers["Content-Security-Policy"] = CONTENT_POLICY.format(
            forms_to="".join(f" {site}" for site in forms_to)
        )
        if secure:
            self._headers["Strict-Transport-Security"] = HSTS
        self._unguarded = frozenset(unguarded_posts)
        self._uploads = dict(uploads or {})
        self._body_s_max = body_s_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refusal(scope, headers)
        answer_by = with_headers(send, self._headers)
        if scope["method"] == "HEAD":  # the pages see a GET (RFC 9110, 9.3.2)
            scope, answer_by = {**scope, "method": "GET"}, _bodiless(answer_by)
        if refused is None and scope["method"] not in _SAFE and scope["path"] not in self._uploads:
            try:
                body = await whole_body(receive, bytes_max=BODY_BYTES_MAX, s_max=self._body_s_max)
            except BodyRefused as error:
                refused = _closing(f"{error}\n", error.status)
            else:
                if body is None:
                    return
                receive = received_whole(body, receive)
        await (refused or self._app)(scope, receive, answer_by)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"]
        if path not in _OPEN_PATHS and headers.get("host", "").lower() not in self._hosts:
            return PlainTextResponse("this site is not served here\n", 421)
        if scope["method"] in _SAFE or path in self._unguarded:
            return None
        if scope["method"] != "POST":
            return PlainTextResponse("method not allowed\n", 405)
        if not self._from_our_pages(headers):
            return PlainTextResponse("this request does not come from our own pages\n", 403)
        most = self._uploads.get(path)
        form = _FORM if most is None else _FORM_WITH_FILES
        if headers.get("content-type", "").partition(";")[0].strip() != form:
            return PlainTextResponse("not a form\n", 415)
        length = headers.get(
            "content-length", "0" if most is None else ""
        )  # an upload says it before it comes
        if not length.isdecimal() or int(length) > (most or BODY_BYTES_MAX):
            return _closing("too large\n", 413)
        return None

    def _from_our_pages(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is not None and origin.lower() != self._origin:
            return False
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Add these headers to every answer that lacks them, and forbid caching."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer = MutableHeaders(scope=message)
            for name, value in headers.items():
                answer.setdefault(name, value)
            answer.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_guarded


class BodyRefused(Exception):
    """A request's body is too large, or took too long to arrive."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def whole_body(receive: Receive, *, bytes_max: int, s_max: float) -> bytes | None:
    """Read a whole body within limits, so that slow senders hold no place for long.

    None: the client left before the end. Raises `BodyRefused`: it is too large, or took too long.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(s_max):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > bytes_max:
                    raise BodyRefused("too large", 413)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BodyRefused("this took too long to arrive", 408) from None


def _closing(text: str, status: int) -> Response:
    return PlainTextResponse(text, status, headers={"Connection": "close"})


def _bodiless(send: Send) -> Send:
    """End an answer after its head: for HEAD, of a live page too."""
    ended = False

    async def send_head(message: Message) -> None:
        nonlocal ended
        if message["type"] != "http.response.body":
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


def received_whole(body: bytes, receive: Receive) -> Receive:
    """Replay a read body: the body at once, then later messages."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_whole() -> Message:
        return parts.pop() if parts else await receive()

    return receive_whole
