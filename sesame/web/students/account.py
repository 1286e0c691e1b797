"""'Où en est mon compte ?': the page, its live part, and the student's acts there."""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from fastapi import APIRouter, Depends, Response

from consumers.directory import NAME as DIRECTORY
from producers.activation.proofs import REDIRECT, LinkState
from producers.activation.throttles import Rate
from producers.replay.requests import ask_again
from schemas.scalars import is_mail_address
from schemas.typography import day
from sesame.operations.people.diagnosis.engine import StudentOpening
from sesame.operations.people.diagnosis.openings import OpeningStep
from sesame.web.kit.languages import duration, moment
from sesame.web.kit.web_request import PageError, Posted, posted, utc_now
from sesame.web.students.account_view import AccountView, standing_of
from sesame.web.students.portal_context import VIEW_S
from sesame.web.students.portal_request import CAS_SESSION, SESSION, PortalRequest, Visiting

router = APIRouter()

RETRY_EVERY_S: Final = 120.0
"""How often a student may retry a failed service: as long as an attempt may take."""
_SETTLED: Final = frozenset({"cas_not_tried"})
"""Causes that the page explains in its own way."""


@router.get("/compte")
def show_account(visit: Visiting) -> Response:
    """The page."""
    return visit.page("account.html", **account_page(visit, visit.shown))


@router.get("/compte/etat")
def show_state(visit: Visiting) -> Response:
    """The live part alone."""
    return visit.page("_services.html", **account_page(visit, visit.shown))


@router.post("/compte/reessayer")
def take_retry(visit: Visiting, form: Posted) -> Response:
    """Retry a service that failed, now and then."""
    number = visit.student
    standing = _standing(visit, number)
    target = form.get("service", "")
    service = next((each for each in standing.services if each.name == target and each.can_retry), None)
    if service is None:
        return visit.to("/compte")
    rate = Rate(1, RETRY_EVERY_S)
    wait_s = visit.context.take(f"retry:{target}:{number}", rate)
    if wait_s:
        page = account_page(visit, number, notice=("too_soon", duration(wait_s, visit.language)))
        return visit.page("account.html", 429, **page)
    with visit.context.database.write() as connection:
        ask_again(connection, visit.context.database, number, consumer=target, actor="student", at=utc_now())
    return visit.to("/compte?fait=essai")


@router.post("/compte/redirection")
def take_redirect(visit: Visiting, form: Posted) -> Response:
    """Redirect the mail, once the owner of that address confirms it."""
    number = visit.student
    visit.slow_down()
    standing = _standing(visit, number)
    address = form.get("adresse", "").strip()
    fault = None
    if not is_mail_address(address):
        fault = "form"
    elif address.casefold().endswith("@" + standing.mail.rpartition("@")[2].casefold()):
        fault = "own"
    elif form.get("accord") != "oui":
        fault = "consent"
    elif not visit.context.proof_requests.ask_redirect(number, address, visit.language):
        fault = "often"
    if fault is not None:
        page = account_page(visit, number, fault=fault, address=address, ticked=form.get("accord") == "oui")
        return visit.page("account.html", 422, **page)
    return visit.to("/compte?fait=courriel")


@router.post("/compte/redirection/fin", dependencies=[Depends(posted)])
def take_redirect_end(visit: Visiting) -> Response:
    """End the redirection: the mail stays in the university's mailbox."""
    visit.context.choices.end_redirect(visit.student)
    return visit.to("/compte?fait=fin")


@router.get("/redirection/{link}")
def show_redirect(visit: Visiting, link: str) -> Response:
    """Follow the link sent to the address; following it confirms nothing."""
    followed = visit.context.proofs.follow(link, REDIRECT)
    status = 200 if followed.state is LinkState.GOOD else 410 if followed.proof is not None else 404
    number = followed.proof.student_number if followed.proof is not None else None
    return _redirect_page(visit, followed.state.value, status=status, link=link, number=number)


@router.post("/redirection")
def confirm_redirect(visit: Visiting, form: Posted) -> Response:
    """Confirm the redirection, as the owner of the address."""
    link = form.get("lien", "")
    followed = visit.context.proofs.follow(link, REDIRECT)
    good = followed.state is LinkState.GOOD and followed.proof is not None
    if followed.proof is None or not good or not visit.context.choices.confirm_redirect(followed.proof):
        return show_redirect(visit, link)
    return _redirect_page(visit, "done", link=link, number=followed.proof.student_number)


def _redirect_page(
    visit: PortalRequest, state: str, *, link: str, number: str | None, status: int = 200
) -> Response:
    path = f"/redirection/{link}"
    return visit.page("redirect.html", status, state=state, link=link, number=number, path=path)


@router.get("/acces/{link}")
def show_access(visit: Visiting, link: str) -> Response:
    """Follow a link of the support desk; following it uses nothing up."""
    number = visit.context.offered(link)
    path = f"/acces/{link}"
    return visit.page("access.html", 200 if number else 410, link=link, number=number, path=path)


@router.post("/acces")
def take_access(visit: Visiting, form: Posted) -> Response:
    """Take the link, once: this browser shows the page, and can change nothing."""
    link = form.get("lien", "")
    session_id = visit.context.open_view(link)
    if session_id is None:
        return show_access(visit, link)
    visit.drop(CAS_SESSION)
    visit.keep(SESSION, session_id, age_s=int(VIEW_S))
    return visit.to("/compte")


def account_page(
    visit: PortalRequest,
    number: str,
    *,
    notice: tuple[str, str] | None = None,
    fault: str | None = None,
    address: str = "",
    ticked: bool = False,
) -> dict[str, Any]:
    """All variables of the page."""
    standing = _standing(visit, number)
    support = visit.context.support
    found = support.seen(number, visit.language) if support is not None else None
    case = support.recent(number, visit.language) if support is not None and visit.owner is not None else None
    seen = any(cause.weight == "stops" for cause in case.bundle.causes) if case is not None else False
    causes, openings = (found.causes, found.openings) if found is not None else ((), ())
    causes = tuple(each for each in causes if each.rule not in _SETTLED and standing.tells(each.service))
    opens = {service: each for each in openings for service in each.services}
    now = utc_now()
    done = visit.request.query_params.get("fait", "")
    shown = notice or ((done, "") if done in ("essai", "courriel", "fin", "autre", "motdepasse") else None)
    return {
        "standing": standing,
        "causes": causes,
        "opens": opens,
        "opening": opens.get(DIRECTORY),
        "within": lambda opening: _within(visit, opening),
        "complete": standing.complete and not seen and all(cause.weight == "tells" for cause in causes),
        "looked_into": case.code if case is not None and seen else None,
        "helped": support is not None and visit.owner is not None,
        "acts": visit.owner is not None,
        "notice": shown,
        "fault": fault,
        "address": address,
        "ticked": ticked,
        "last_day": standing.last_day and day(standing.last_day, visit.language),
        "moment": lambda at: moment(at, now, visit.language, visit.context.zone),
        "duration": lambda seconds: duration(seconds, visit.language),
        "looked_at": moment(now, now, visit.language, visit.context.zone),
    }


def _within(visit: PortalRequest, opening: StudentOpening) -> str | None:
    """How long these services take once all is done, as measured; None: too little was."""
    expected = visit.request.app.state.expectations.all()
    imported = any(OpeningStep(each).who != "student" for each in opening.steps)
    times = [
        each.within_bulk_s if imported else each.within_s
        for each in (expected[service] for service in opening.services)
    ]
    if None in times:
        return None
    seconds = max(time for time in times if time is not None)
    unit = next(unit for unit in (3600, 60, 1) if seconds > unit or unit == 1)
    return duration(max(1, ceil(seconds / unit)) * unit, visit.language)


def _standing(visit: PortalRequest, number: str) -> AccountView:
    """The student's account, for the page. Raises `PageError`: it is not made yet."""
    standing = standing_of(visit.context, number, visit.request.app.state.expectations.of)
    if standing is None:
        raise PageError(409, "not_yet")
    return standing
