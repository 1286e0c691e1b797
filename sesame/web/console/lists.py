"""'Listes': files of students for other software, and what esup-sgc reads."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sesame.acts.acts import check
from sesame.operations.keeping import student_lists
from sesame.operations.keeping.student_lists import StudentListRequest
from sesame.web.console.console_request import Visiting
from sesame.web.kit.web_request import Posted, attachment

router = APIRouter()

_CODE_MAX, _EPPN_MAX = 64, 320


@router.get("/listes")
def choose_list(visit: Visiting) -> Response:
    """The lists that there are."""
    check(visit.actor, "export.list")
    return visit.page("lists.html", holder=None)


@router.post("/listes")
def give_list(visit: Visiting, fields: Posted) -> Response:
    """A list as a file."""
    check(visit.actor, "export.list")
    component = fields.get("composante", "").strip()[:_CODE_MAX] or None
    asked = StudentListRequest.model_validate({"list": fields.get("liste", ""), "component": component})
    found = student_lists.student_list(visit.context.site, visit.actor, asked)
    named = attachment(f"sesame-{asked.list}.csv")
    return visit.carry(Response(found.content, media_type="text/csv; charset=utf-8", headers=named))


@router.post("/listes/carte")
def show_card_holder(visit: Visiting, fields: Posted) -> Response:
    """What esup-sgc reads of the holder of a principal name."""
    check(visit.actor, "export.card")
    eppn = fields.get("eppn", "").strip()[:_EPPN_MAX]
    holder = student_lists.card_holder(visit.context.site, visit.actor, eppn)
    return visit.page("lists.html", holder=holder.model_dump())
