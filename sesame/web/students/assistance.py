"""'Quelque chose ne va pas ?': causes, live checks, a desk code, the case by mail."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from producers.activation.smtp import MailRefused, MailServerDown
from producers.activation.throttles import Rate
from sesame.operations.people.support import Case, Support, UnknownCode
from sesame.web.kit.web_request import PageError, Posted, posted
from sesame.web.students.portal_request import PortalRequest, Visiting

router = APIRouter()

LOOKS = Rate(5, 120.0)
"""How often one student may have all servers checked."""


@router.get("/compte/aide")
def show_help(visit: Visiting) -> Response:
    """The form: what goes wrong, in the student's words."""
    _support(visit)
    return visit.page("help.html", case=None, fault=None, number=visit.student)


@router.post("/compte/aide")
def take_help(visit: Visiting, form: Posted) -> Response:
    """Run all checks, and open a case."""
    number, support = visit.student, _support(visit)
    wait_s = visit.context.take(f"look:{number}", LOOKS)
    if wait_s:
        raise PageError(429, "slow", retry_after_s=wait_s)
    case = support.open(number, visit.language, said=form.get("dit", ""))
    return visit.to(f"/compte/aide/{case.code}")


@router.get("/compte/aide/{code}")
def show_case(visit: Visiting, code: str) -> Response:
    """A case: the code, the causes, and what would be sent, word for word."""
    return visit.page("help.html", case=_mine(visit, code), fault=None, number=visit.student)


@router.post("/compte/aide/{code}", dependencies=[Depends(posted)])
def send_case(visit: Visiting, code: str) -> Response:
    """Send it to its desk, as it was shown."""
    case = _mine(visit, code)
    try:
        case = _support(visit).send(code, visit.language, visit.context.post)
    except (MailServerDown, MailRefused):
        return visit.page("help.html", 503, case=case, fault="unsent", number=visit.student)
    return visit.to(f"/compte/aide/{case.code}")


def _mine(visit: PortalRequest, code: str) -> Case:
    """The student's own case. Raises `PageError`: another student's, or expired."""
    try:
        return _support(visit).mine(code, visit.student, visit.language)
    except UnknownCode as error:
        raise PageError(404, "missing") from error


def _support(visit: PortalRequest) -> Support:
    if visit.context.support is None:  # a site of tests; `sesame web` has it
        raise PageError(404, "missing")
    return visit.context.support
