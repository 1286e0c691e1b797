"""'Plans retenus', 'Journal': what stands still until somebody says so, and what was done."""

from __future__ import annotations

from fastapi import APIRouter, Response

from schemas.language import gettext
from sesame.operations import audit, lifecycle
from sesame.operations.acts import check
from sesame.operations.audit import AuditPage
from sesame.web.console.console_request import Posted, Visiting
from sesame.web.console.persons import PAGE

router = APIRouter()


@router.get("/plans")
def show_plans(visit: Visiting) -> Response:
    """What the guard holds, with whom: for those who may release it."""
    check(visit.actor, "lifecycle.release")
    return visit.page("plans.html", plans=lifecycle.held(visit.context.site, visit.actor))


@router.post("/plans/liberer")
def release_plan(visit: Visiting, fields: Posted) -> Response:
    """Let exactly this plan be carried out, or be the first of two who do."""
    done = lifecycle.release(visit.context.site, visit.actor, fields.get("plan", "")[:64])
    told = (
        gettext("released: it is carried out") if done.released else gettext("approved; a second one has to")
    )
    return visit.done("/console/plans", told)


@router.get("/journal")
def show_audit(
    visit: Visiting, actor: str = "", action: str = "", student: str = "", about: str = "", avant: str = ""
) -> Response:
    """What was done, the newest first; filtered by the words of the command."""
    asked = {
        "actor": actor.strip(),
        "action": action.strip(),
        "student": student.strip(),
        "about": about.strip(),
    }
    wanted = AuditPage(
        actor=asked["actor"] or None,
        action=asked["action"] or None,
        student=asked["student"] or None,
        about=asked["about"] or None,
        before=int(avant) if avant.isascii() and avant.isdecimal() else None,
        limit=PAGE + 1,
    )
    found = audit.entries(visit.context.site, visit.actor, wanted)
    return visit.page("audit.html", entries=found[:PAGE], more=len(found) > PAGE, asked=asked)
