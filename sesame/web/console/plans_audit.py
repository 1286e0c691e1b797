"""'Plans bloqués', 'Journal': plans that wait for a release, and the audit."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, field_validator

from schemas.language import gettext
from sesame.acts.acts import RIGHTS, check
from sesame.operations.access import lifecycle
from sesame.operations.keeping import audit
from sesame.operations.keeping.audit import AuditPageRequest, AuditRequest
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.kit.web_request import Posted, attachment

router = APIRouter()

_EXPORTED: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
Word = Annotated[str, Field(max_length=64)]


class AuditForm(BaseModel):
    """The audit's filter; `du`, `au`: the first and the last day; `actes`: no looks."""

    actor: Word = ""
    action: Word = ""
    student: Word = ""
    about: Word = ""
    du: date | None = None
    au: date | None = None
    actes: bool = False

    @field_validator("du", "au", mode="before")
    @classmethod
    def _none(cls, given: object) -> object:
        return given or None  # an empty field is sent so


@router.get("/plans")
def show_plans(visit: Visiting) -> Response:
    """The plans that the guard holds, with students, for those who may release them."""
    check(visit.actor, "lifecycle.release")
    return visit.page("plans.html", plans=lifecycle.held(visit.context.site, visit.actor))


@router.post("/plans/liberer")
def release_plan(visit: Visiting, fields: Posted) -> Response:
    """Release exactly this plan, or approve it as the first of two."""
    done = lifecycle.release(visit.context.site, visit.actor, fields.get("plan", "")[:64])
    told = (
        gettext("released: it is carried out") if done.released else gettext("approved; a second one has to")
    )
    return visit.done("/console/plans", told)


@router.get("/journal")
def show_audit(visit: Visiting, asked: Annotated[AuditForm, Query()], avant: str = "") -> Response:
    """The audit, the newest first; filtered by the words of the command, and by days."""
    page = AuditPageRequest(
        **_filter(visit, asked),
        before=int(avant) if avant.isascii() and avant.isdecimal() else None,
        limit=visit.rows_max + 1,
    )
    found = audit.entries(visit.context.site, visit.actor, page)
    return visit.page(
        "audit.html",
        entries=visit.ordered(
            found[: visit.rows_max],
            quand=lambda one: one.at,
            acte=lambda one: (one.action, one.actor),
            motif=lambda one: one.reason,
        ),
        last=found[: visit.rows_max][-1].id if found else None,
        more=len(found) > visit.rows_max,
        asked=asked,
        wanted=urlencode({name: value for name, value in asked.model_dump(mode="json").items() if value}),
        acts=sorted(RIGHTS),
    )


@router.get("/journal.{form}")
def export_audit(
    visit: Visiting, form: Literal["csv", "jsonl"], asked: Annotated[AuditForm, Query()]
) -> Response:
    """All matching entries as a file; the export is audited first."""
    wanted = AuditRequest(**_filter(visit, asked))
    lines = audit.export(visit.context.site, visit.actor, wanted, form)
    named = attachment(f"journal.{form}")
    return StreamingResponse(lines, media_type=_EXPORTED[form], headers=named)


def _filter(visit: ConsoleRequest, asked: AuditForm) -> dict[str, Any]:
    """The filter as the act's parameters; a day is one of the site's own clock."""
    zone = ZoneInfo(visit.context.site.settings.portal.timezone)
    since, until = (
        None if each is None else datetime.combine(each, time(), zone) for each in (asked.du, asked.au)
    )
    words = asked.model_dump(include={"actor", "action", "student", "about"})
    return {
        **{name: value.strip() or None for name, value in words.items()},
        "acts_only": asked.actes,
        "since": 0.0 if since is None else since.timestamp(),
        "until": None if until is None else (until + timedelta(days=1)).timestamp(),
    }
