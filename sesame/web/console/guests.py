"""'Invités': who is invited until when and by whom; the form of an invitation."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter, Response

from schemas.language import gettext
from sesame.acts.acts import check
from sesame.operations.access.guests import (
    EndInvitationRequest,
    InviteRequest,
    NoSponsor,
    NotInvited,
    end,
    invite,
    invited,
)
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.persons import reason_of
from sesame.web.kit.web_request import Posted

router = APIRouter()

PATH = "/console/invites"


@router.get("/invites")
def list_guests(visit: Visiting) -> Response:
    """The guests, those first who leave first, and the form."""
    return _page(visit)


@router.post("/invites")
def invite_guest(visit: Visiting, fields: Posted) -> Response:
    """Invite a guest; a refused form keeps what was typed."""
    check(visit.actor, "guest.invite")
    try:
        request = InviteRequest(
            sponsor=fields.get("parrain", "").strip(),
            birth_name=fields.get("nom", ""),
            given_name=fields.get("prenom", ""),
            birth_date=date.fromisoformat(fields.get("naissance", "")),
            personal_mail=fields.get("adresse", "").strip(),
            until=date.fromisoformat(fields.get("jusqu_au", "")),
            reason=reason_of(fields),
            language="en" if fields.get("langue") == "en" else "fr",
        )
    except ValueError:
        return _page(visit, NotInvited(gettext("a date is missing, or is none")), fields)
    try:
        made = invite(visit.context.site, visit.actor, request)
    except (NoSponsor, NotInvited) as refusal:
        return _page(visit, refusal, fields)
    number, day = made.student_number, request.until
    return visit.done(PATH, gettext("{number}: invited until {day}", number=number, day=day))


@router.post("/invites/fin")
def end_invitation(visit: Visiting, fields: Posted) -> Response:
    """Take an invitation back."""
    check(visit.actor, "guest.end")
    request = EndInvitationRequest(student_number=fields.get("numero", "").strip(), reason=reason_of(fields))
    try:
        ended = end(visit.context.site, visit.actor, request)
    except NotInvited as refusal:
        return _page(visit, refusal)
    return visit.done(PATH, gettext("{number}: the invitation is taken back", number=ended.student_number))


def _page(
    visit: ConsoleRequest, refusal: Exception | None = None, given: dict[str, str] | None = None
) -> Response:
    ordered = visit.ordered(
        invited(visit.context.site, visit.actor),
        numero=lambda one: one.student_number,
        nom=lambda one: one.name,
        compte=lambda one: one.stage,
        jusque=lambda one: one.until,
        parrain=lambda one: one.sponsor,
    )
    shown = {"guests": ordered, "refusal": refusal, "given": given or {}}
    mails = visit.context.site.settings.has_portal
    return visit.page("guests.html", 200 if refusal is None else 422, mails=mails, **shown)
