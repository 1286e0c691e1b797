"""'Se connecter': to the CAS server and back.

A good ticket shows that CAS works for its owner. A return counts only in the browser that left: else an
attacker could put a student onto the attacker's page.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse

from pipeline.errors import Misconfigured, TargetDown
from sesame.login.login import CAS_SESSION_S, Arrival, LoginFailure
from sesame.login.port import ServiceRefused, TicketRefused
from sesame.web.kit import signatures
from sesame.web.kit.web_request import PageError, logout_notice, posted
from sesame.web.students.portal_context import Cas, PortalContext
from sesame.web.students.portal_request import CAS_SESSION, DEPARTURE, SESSION, PortalRequest, Visiting

LOGIN_PATH = "/connexion"
LOGOUT_PATH = "/deconnexion/cas"
AWAY_S_MAX = 15 * 60


def login_router(service_path: str) -> APIRouter:
    """Routes: to CAS, back at the path of `cas.service_url`, and single logout there."""
    router = APIRouter()
    router.add_api_route(LOGIN_PATH, leave_for_cas, methods=["GET"])
    router.add_api_route(service_path, come_back, methods=["GET"])
    router.add_api_route(service_path, single_logout, methods=["POST"])
    router.add_api_route(LOGOUT_PATH, log_out, methods=["POST"], dependencies=[Depends(posted)])
    return router


def leave_for_cas(visit: Visiting) -> Response:
    """Go to the CAS server."""
    departure = visit.context.signing.sign(signatures.DEPARTURE, visit.owner or "")
    visit.keep(DEPARTURE, departure, age_s=AWAY_S_MAX)
    return visit.to(_cas(visit.context).server.login_url())


def come_back(visit: Visiting, ticket: str = "") -> Response:
    """Return from the CAS server, with a ticket."""
    if not ticket:
        return visit.to("/compte" if visit.session is not None else "/")
    arrival = _arrive(visit, ticket)
    if arrival.student_number is None:
        raise PageError(403, "stranger")
    visit.context.end_session(visit.cookie(SESSION))
    for name in (SESSION, DEPARTURE):
        visit.drop(name)
    visit.keep(CAS_SESSION, arrival.token, age_s=int(CAS_SESSION_S))
    return visit.to("/compte" if arrival.as_expected else "/compte?fait=autre")


async def single_logout(request: Request) -> Response:
    """Take the CAS server's notice that a person has logged out."""
    logins = _cas(request.app.state.context).logins
    await run_in_threadpool(logins.logged_out, await logout_notice(request))
    return PlainTextResponse("ok\n")


def log_out(visit: Visiting) -> Response:
    """End the session here and at the CAS server."""
    visit.leave()
    return visit.carry(RedirectResponse(_cas(visit.context).server.logout_url(), status_code=303))


def _arrive(visit: PortalRequest, ticket: str) -> Arrival:
    """The owner of a ticket.

    Raises `PageError`: this browser did not leave for CAS, or the ticket is of no use.
    """
    logins = _cas(visit.context).logins
    number = visit.context.signing.read(signatures.DEPARTURE, visit.cookie(DEPARTURE), age_s_max=AWAY_S_MAX)
    if number is None:
        if visit.owner is not None:
            logins.note_failure(visit.owner, LoginFailure.NO_COOKIE)
        raise PageError(403, "departure")
    try:
        return logins.arrive(ticket, expected=str(number) or None)
    except TicketRefused as error:
        raise PageError(401, "ticket") from error
    except ServiceRefused as error:
        raise PageError(503, "service_refused") from error
    except Misconfigured as error:
        raise PageError(503, "cas_misconfigured") from error
    except TargetDown as error:
        raise PageError(503, "cas_down") from error


def _cas(context: PortalContext) -> Cas:
    if context.cas is None:  # the routes are there only with it
        raise PageError(404, "missing")
    return context.cas
