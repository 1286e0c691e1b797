"""The console application: routes, guard, language and error pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import DependencyDown, SesameError, remedy_of
from schemas.language import keep_time
from sesame.acts.acts import ActRefused
from sesame.operations import load_all
from sesame.web.console import (
    console_login,
    erasures,
    evidence,
    failures,
    guests,
    lists,
    now,
    persons,
    plans_audit,
    questions_imports,
    targets,
    upload,
    waiting,
)
from sesame.web.console.console_context import ConsoleContext
from sesame.web.console.console_login import LEAVE_PATH, SERVICE_PATH
from sesame.web.console.console_request import LANGUAGE, NotLoggedIn, anybody, page_of
from sesame.web.console.upload import UPLOAD_BYTES_MAX, UPLOAD_PATH
from sesame.web.kit.guard import Guard
from sesame.web.kit.languages import speak_for, spoken
from sesame.web.kit.web_request import PageError, cookie_name

ROOMS: Final = (
    console_login,
    now,
    persons,
    erasures,
    evidence,
    guests,
    lists,
    failures,
    waiting,
    targets,
    plans_audit,
    questions_imports,
    upload,
)

EXPLAINED: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (ActRefused, 403, "act"),
    (RequestValidationError, 422, "form"),
    (ValidationError, 422, "form"),
    (SesameError, 409, "told"),
    (Exception, 500, "fault"),  # the log gets its class and place; the page shows neither
)
"""The status and the page of an act's errors."""


def make_console(context: ConsoleContext) -> FastAPI:
    """The pages, to be mounted under `/console`."""
    load_all()  # pages ask for rights by name
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.context = context
    for room in ROOMS:
        app.include_router(room.router)
    app.mount("/static", context.pages.assets, name="static")
    app.add_exception_handler(NotLoggedIn, _not_logged_in)
    app.add_exception_handler(PageError, _refusal)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DependencyDown, _down)
    for kind, status, what in EXPLAINED:
        app.add_exception_handler(kind, partial(_explained, status, what))
    console = context.site.settings.console
    server = urlsplit(context.server.login_url())
    zone = ZoneInfo(context.site.settings.portal.timezone)
    app.add_middleware(Speaking, cookie=cookie_name(LANGUAGE, secure=console.secure), zone=zone)
    app.add_middleware(
        Guard,
        hosts=[console.origin.partition("://")[2]],
        origin=console.origin,
        secure=console.secure,
        forms_to=(f"{server.scheme}://{server.netloc}",),
        unguarded_posts=(SERVICE_PATH,),
        uploads={UPLOAD_PATH: UPLOAD_BYTES_MAX},
    )
    return app


class Speaking:
    """Sets the browser's language and the site's time zone for a request."""

    def __init__(self, app: ASGIApp, *, cookie: str, zone: ZoneInfo) -> None:
        self._app = app
        self._cookie = cookie
        self._zone = zone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "http":
            asked = HTTPConnection(scope)
            chosen = asked.cookies.get(self._cookie)
            keep_time(self._zone)
            speak_for(spoken(chosen, asked.headers.get("accept-language", "")))
        await self._app(scope, receive, send)


def _not_logged_in(request: Request, _error: Exception) -> Response:
    """Redirect a page request to the login; answer an expired form with a message."""
    if request.method != "GET":
        return _say(request, 401, "session")
    return RedirectResponse(f"{LEAVE_PATH}?{urlencode({'page': page_of(request)})}", status_code=303)


def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, PageError):
        raise TypeError from error
    return _say(request, error.status, error.what)


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _say(request, status, "missing" if status in (404, 405) else "form")


def _explained(status: int, what: str, request: Request, error: Exception) -> Response:
    """A page for a failed act: of our own errors, why, and what to do."""
    words = (str(error), remedy_of(error)) if isinstance(error, SesameError) else ()
    return _say(request, status, what, words)


def _down(request: Request, error: Exception) -> Response:
    structlog.get_logger().warning(
        "console_cannot_answer", error=type(error).__name__, error_message=str(error)
    )
    return _explained(503, "down", request, error)


def _say(request: Request, status: int, what: str, words: Sequence[str | None] = ()) -> Response:
    """A page that explains why the requested one is not shown. Works without the store."""
    try:
        visit = anybody(request)
        return visit.page("refused.html", status, what=what, words=[word for word in words if word])
    except DependencyDown:
        context: ConsoleContext = request.app.state.context
        text = context.pages.render("down.html", spoken(None, request.headers.get("accept-language", "")))
        return Response(text, status_code=status, media_type="text/html")
