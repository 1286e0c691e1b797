"""The link of a warning by which a student keeps access for some days more."""

from __future__ import annotations

from datetime import UTC, date, datetime

from fastapi import APIRouter, Response

from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.people import People
from pipeline import accounts
from producers.activation.notices import ENDING
from producers.activation.proofs import Link, LinkState
from schemas.account import Account, Stage, is_guests
from schemas.typography import day
from sesame.operations.access import guests
from sesame.web.kit.web_request import Posted
from sesame.web.students.portal_request import PortalRequest, Visiting

router = APIRouter()


@router.get("/prolongation/{link}")
def show_prolongation(visit: Visiting, link: str) -> Response:
    """The link's offer, and its last day. Looking at it prolongs nothing: mail scanners look too."""
    followed = visit.context.proofs.follow(link, ENDING)
    number = followed.proof.student_number if followed.proof is not None else None
    account, until, left = _offer(visit, number)
    state = _state(followed, account, until)
    status = 200 if state == "good" else 404 if state == "unknown" else 410
    last_day = account.valid_until if account is not None else None
    return _page(
        visit, state, status, link=link, last_day=last_day, until=until, left=left, guest=_guest(account)
    )


@router.post("/prolongation")
def take_prolongation(visit: Visiting, form: Posted) -> Response:
    """Prolong the access, as the link offers."""
    visit.slow_down()
    link = form.get("lien", "")
    followed = visit.context.proofs.follow(link, ENDING)
    proof = followed.proof
    account, until, left = _offer(visit, proof.student_number if proof is not None else None)
    if proof is None or account is None or account.valid_until is None or until is None:
        return show_prolongation(visit, link)
    good = _state(followed, account, until) == "good"
    if good and visit.context.choices.prolong(
        proof, ends_on=account.valid_until, until=until, sponsor=account.sponsor
    ):
        return _page(visit, "done", link=link, last_day=until, left=left - 1, guest=_guest(account))
    return show_prolongation(visit, link)


def _offer(visit: PortalRequest, number: str | None) -> tuple[Account | None, date | None, int]:
    """The account, the day until which it can be prolonged now, and how many times."""
    settings = visit.context.settings
    lifecycle = Lifecycle(settings.registry, settings.lifecycle)
    with visit.context.database.read() as connection:
        account = accounts.find(connection, number) if number is not None else None
        person = People(visit.context.database).known(connection, number) if number is not None else None
        sponsored = account is not None and guests.sponsor_of(connection, account) is not None
    if account is None or person is None:
        return None, None, 0
    if is_guests(account.student_number):
        return account, lifecycle.renewed_to(account) if sponsored else None, 0
    times = len(person.prolongations)
    return account, lifecycle.prolonged_to(account, times), settings.lifecycle.prolongations_left(times)


def _guest(account: Account | None) -> str:
    """The name of a guest; empty: it is a student."""
    return account.person.display_name if account is not None and is_guests(account.student_number) else ""


def _state(followed: Link, account: Account | None, until: date | None) -> str:
    """The page's state: for an old link the account tells more than the link."""
    proof = followed.proof
    if proof is None or account is None:
        return "unknown"
    if is_guests(account.student_number):
        return _state_of_guest(followed, account, until)
    if account.stage is Stage.ACTIVE:
        return "enrolled"
    if account.stage is not Stage.GRACE or followed.state is LinkState.EXPIRED:
        return "over"
    if not account.access_open:
        return "held"
    if followed.state is not LinkState.GOOD:
        ended_on = datetime.fromtimestamp(proof.expires_at, UTC).date()  # the first day without access
        moved = account.valid_until is not None and account.valid_until >= ended_on
        return "prolonged" if moved else "soon"
    return "good" if until is not None else "refused"


def _state_of_guest(followed: Link, account: Account, until: date | None) -> str:
    """The page's state for a guest's sponsor."""
    if account.stage is not Stage.ACTIVE or followed.state is LinkState.EXPIRED:
        return "over"
    if followed.state is not LinkState.GOOD:
        return "soon"
    if not account.access_open:
        return "held"
    return "good" if until is not None else "refused"


def _page(
    visit: PortalRequest,
    state: str,
    status: int = 200,
    *,
    link: str,
    last_day: date | None,
    until: date | None = None,
    left: int,
    guest: str = "",
) -> Response:
    days = {
        "last_day": last_day and day(last_day, visit.language),
        "until": until and day(until, visit.language),
    }
    if guest:
        return visit.page(
            "renewal.html", status, state=state, link=link, guest=guest, path=f"/prolongation/{link}", **days
        )
    return visit.page(
        "prolongation.html", status, state=state, link=link, left=left, path=f"/prolongation/{link}", **days
    )
