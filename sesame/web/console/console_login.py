"""Login and logout at the console by the CAS server, single logout, the language.

A return from CAS counts only in the browser that left for it: else an attacker could put a reader into the
attacker's session.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse

from pipeline.errors import Misconfigured, TargetDown
from schemas.language import LANGUAGES
from sesame.login.port import ServiceRefused, TicketRefused
from sesame.web.console.console_context import ConsoleContext
from sesame.web.console.console_request import DEPARTURE, HOME, LANGUAGE, SESSION, Anybody
from sesame.web.kit import signatures
from sesame.web.kit.web_request import PageError, logout_notice, posted

router = APIRouter()

LEAVE_PATH: Final = "/console/entrer"
SERVICE_PATH: Final = "/console/login"
AWAY_S_MAX: Final = 15 * 60
YEAR_S: Final = 365 * 86_400


@router.get("/entrer")
def leave_for_cas(visit: Anybody, page: str = HOME) -> Response:
    """Go to the CAS server; show `page` on return."""
    departure = visit.context.signing.sign(signatures.DEPARTURE, _ours(page))
    visit.keep(DEPARTURE, departure, age_s=AWAY_S_MAX)
    return visit.carry(RedirectResponse(visit.context.server.login_url(), status_code=303))


@router.get("/login")
def come_back(visit: Anybody, ticket: str = "") -> Response:
    """Return from the CAS server: with a ticket, or after a logout there."""
    if not ticket:
        return visit.to(HOME) if visit.session is not None else visit.page("login.html")
    page = visit.context.signing.read(signatures.DEPARTURE, visit.cookie(DEPARTURE), age_s_max=AWAY_S_MAX)
    if page is None:
        raise PageError(403, "departure")
    try:
        arrival = visit.context.logins.arrive(ticket)
    except TicketRefused as error:
        raise PageError(401, "ticket") from error
    except (ServiceRefused, Misconfigured) as error:
        raise PageError(503, "cas_misconfigured") from error
    except TargetDown as error:
        raise PageError(503, "cas_down") from error
    if before := visit.cookie(SESSION):
        visit.context.logins.leave(before)
    visit.keep(DEPARTURE, "", age_s=0)
    visit.keep(SESSION, arrival.token)
    return visit.to(_ours(str(page)))


@router.post("/login")
async def single_logout(request: Request) -> Response:
    """Take the CAS server's notice that a person has logged out."""
    context: ConsoleContext = request.app.state.context
    await run_in_threadpool(context.logins.logged_out, await logout_notice(request))
    return PlainTextResponse("ok\n")


@router.post("/sortir", dependencies=[Depends(posted)])
def log_out(visit: Anybody) -> Response:
    """End the session here and at the CAS server."""
    if token := visit.cookie(SESSION):
        visit.context.logins.leave(token)
    visit.keep(SESSION, "", age_s=0)
    return visit.carry(RedirectResponse(visit.context.server.logout_url(), status_code=303))


@router.get("/langue/{language}")
def choose_language(visit: Anybody, language: str, page: str = HOME) -> Response:
    """Show the pages in another language, then `page`. Only the browser keeps it."""
    if language not in LANGUAGES:
        raise PageError(404, "missing")
    visit.keep(LANGUAGE, language, age_s=YEAR_S)
    return visit.carry(RedirectResponse(_ours(page), status_code=303))


def _ours(page: str) -> str:
    """A path of the console; anything else: its first page."""
    plain = page.isascii() and page.isprintable() and "\\" not in page
    return page if plain and page.startswith(HOME) and not page.startswith(LEAVE_PATH) else HOME
