"""The application: routes, guard and error pages."""

from __future__ import annotations

import math
import secrets
import threading
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from pipeline.errors import DependencyDown, fault
from sesame.operations.people.diagnosis.figures import Figures
from sesame.web.kit.assets import STATIC_PATH
from sesame.web.kit.figures import routes
from sesame.web.kit.guard import Guard
from sesame.web.kit.languages import moment
from sesame.web.kit.web_request import PageError, utc_now
from sesame.web.students import account, assistance, live, password, prolongation, verification
from sesame.web.students.estimates import Expectations
from sesame.web.students.live import THREADS, Watch
from sesame.web.students.login import login_router
from sesame.web.students.portal_context import PortalContext
from sesame.web.students.portal_request import Visiting, visit_of

_COUNTED: Final = frozenset({"slow", "form"})
STATEMENTS: Final = {
    "/charte": "charter.html",
    "/donnees": "privacy.html",  # GDPR, articles 13 and 14
    "/accessibilite": "accessibility.html",  # decree 2019-768, RGAA 4.1
    "/adresse-perdue": "lost.html",  # of a personal address: the office, and the papers to bring
}
"""The pages of the university's statements."""


def make_app(context: PortalContext, *, stopping: threading.Event) -> FastAPI:
    """The pages' application; `stopping` is set to close open pages."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.context = context
    app.state.stopping = stopping
    app.state.watch = Watch(context.database, most=live.LIVE_MAX)
    app.state.entering, app.state.rendering = CapacityLimiter(THREADS), CapacityLimiter(THREADS)
    app.state.expectations = Expectations(context)
    for room in (verification, password, account, prolongation, assistance, live):
        app.include_router(room.router)
    for path, template in STATEMENTS.items():
        app.get(path)(partial(_show_statement, template))
    forms_to: tuple[str, ...] = ()
    told_at: tuple[str, ...] = ()
    if context.cas is not None:
        server, back = urlsplit(context.cas.server.login_url()), urlsplit(context.cas.server.service_url)
        app.include_router(login_router(back.path))
        forms_to, told_at = (f"{server.scheme}://{server.netloc}",), (back.path,)
    app.mount(STATIC_PATH, context.pages.assets, name="static")

    @app.get("/livez")
    def show_live() -> Response:
        return PlainTextResponse("ok\n")

    if context.settings.portal.publish_figures:
        figures = Figures(context.database, context.settings.targets, context.settings.propagation)
        app.router.routes += routes(figures.now)

    app.add_exception_handler(PageError, _page_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DependencyDown, _down)
    app.add_exception_handler(Exception, _fault)
    portal = context.settings.portal
    app.add_middleware(
        Guard,
        hosts=[portal.origin.partition("://")[2]],
        origin=portal.origin,
        secure=portal.secure,
        forms_to=forms_to,
        unguarded_posts=told_at,
    )
    return app


def _show_statement(template: str, visit: Visiting) -> Response:
    return visit.page(template)


def _page_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, PageError):
        raise TypeError from error
    if error.what in _COUNTED:
        context: PortalContext = request.app.state.context
        context.counted.refused(error.what)
    return _say(request, error.status, error.what, retry_after_s=error.retry_after_s)


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _say(request, status, "missing" if status in (404, 405) else "form")


def _down(request: Request, error: Exception) -> Response:
    structlog.get_logger().warning(
        "portal_cannot_answer", error=type(error).__name__, error_message=str(error)
    )
    return _say(request, 503, "busy")


def _fault(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(3).upper()
    structlog.get_logger().error("portal_fault", reference=reference, error=fault(error))
    return _say(request, 500, "fault", reference=reference)


def _say(
    request: Request, status: int, what: str, *, retry_after_s: float = 0.0, reference: str = ""
) -> Response:
    """`reference`: what the support desk finds in the log."""
    wait_s = math.ceil(retry_after_s)
    try:
        visit, now = visit_of(request), utc_now()
        at = moment(now, now, visit.language, visit.context.zone)
        response: Response = visit.page(
            "error.html", status, what=what, wait_s=wait_s, reference=reference, at=at
        )
    except DependencyDown:
        context: PortalContext = request.app.state.context
        response = Response(context.pages.render("down.html", "fr"), status, media_type="text/html")
    if wait_s:
        response.headers["Retry-After"] = str(wait_s)
    return response
