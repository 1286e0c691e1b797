"""'Effacements': erase a person in two steps; show progress and the receipt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from sesame.acts.acts import check
from sesame.operations.people.student import StudentRequest, show
from sesame.operations.privacy import acts as privacy
from sesame.operations.privacy.acts import ErasureRequest, how_far
from sesame.web.console.console_request import Visiting
from sesame.web.console.persons import Number, reason_of
from sesame.web.kit.web_request import PageError, Posted, attachment

router = APIRouter()

ErasureId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@router.get("/personnes/{number}/effacement")
def ask(visit: Visiting, number: Number) -> Response:
    """Show the first step: the person, what goes, and what stays."""
    check(visit.actor, "privacy.erase")
    seen = show(visit.context.site, visit.actor, StudentRequest(student_number=number))
    return visit.page("erase.html", 200 if seen.who is not None else 404, person=seen)


@router.post("/personnes/{number}/effacement")
def erase(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Take the second step, for which the number was typed once more."""
    check(visit.actor, "privacy.erase")
    if fields.get("numero", "").strip() != number:
        raise PageError(422, "number")
    request = ErasureRequest(student_number=number, reason=reason_of(fields))
    begun = privacy.erase(visit.context.site, visit.actor, request)
    return visit.done(f"/console/effacements/{begun.id}", how_far(begun))


@router.get("/effacements")
def show_erasures(visit: Visiting) -> Response:
    """All erasures, the newest first, without names."""
    return visit.page("erasures.html", erasures=privacy.listed(visit.context.site, visit.actor))


@router.get("/effacements/{erasure_id}")
def show_erasure(visit: Visiting, erasure_id: ErasureId) -> Response:
    """An erasure's progress, and what it waits for."""
    found = privacy.standing(visit.context.site, visit.actor, erasure_id)
    return visit.page("erasure.html", one=found, far=how_far(found))


@router.get("/effacements/{erasure_id}/recu")
def give_receipt(visit: Visiting, erasure_id: ErasureId) -> Response:
    """The signed receipt, as a file."""
    text = privacy.receipt(visit.context.site, visit.actor, erasure_id)
    return Response(text, media_type="application/json", headers=attachment(f"recu-{erasure_id}.json"))
