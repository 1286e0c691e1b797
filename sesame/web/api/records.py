"""Routes of lasting records: the audit, erasures and their receipts."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from schemas.scalars import Moment
from sesame.operations.keeping import audit
from sesame.operations.keeping.audit import AuditEntry, AuditPageRequest, AuditRequest
from sesame.operations.privacy import acts as privacy
from sesame.web.api.reading import PAGE, Cursor, Limit
from sesame.web.api.routes import JSON, NDJSON, Caller, Name, described_file, route
from sesame.web.kit.web_request import attachment

_EXPORTED: Final = {"csv": "text/csv; charset=utf-8", "jsonl": NDJSON}
Action = Annotated[str | None, Query(description="An act, or all of a kind: `hold`.")]


@route("GET", "/audit", audit.entries)
def list_audit(
    call: Caller,
    response: Response,
    *,
    actor: str | None = None,
    action: Action = None,
    student: str | None = None,
    about: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> list[AuditEntry]:
    """Who did what and why, the newest first."""
    whose = {"actor": actor, "action": action, "student": student, "about": about}
    wanted = {**whose, "since": since, "until": until}
    page = AuditPageRequest(
        **whose, **_times(since, until), before=call.position(cursor, wanted), limit=limit + 1
    )
    found = audit.entries(call.site, call.actor, page)
    shown = found[:limit]
    call.link_next(response, wanted, shown[-1].id if len(found) > limit else None)
    return shown


@route(
    "GET",
    "/audit/export",
    audit.export,
    described=described_file("The entries.", *_EXPORTED.values()),
    answers=Response,
)
def export_audit(
    call: Caller,
    *,
    form: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
    actor: str | None = None,
    action: Action = None,
    student: str | None = None,
    about: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Response:
    """These entries as a file of any size, the newest first: `sesame audit export`."""
    wanted = AuditRequest(actor=actor, action=action, student=student, about=about, **_times(since, until))
    lines = audit.export(call.site, call.actor, wanted, form)
    named = attachment(f"sesame-audit.{form}")
    return StreamingResponse(lines, media_type=_EXPORTED[form], headers=named)


def _times(since: Moment | None, until: Moment | None) -> dict[str, Any]:
    return {
        "since": 0.0 if since is None else since.timestamp(),
        "until": None if until is None else until.timestamp(),
    }


@route(
    "GET",
    "/erasures/{erasure_id}/receipt",
    privacy.receipt,
    described={
        "responses": {
            "200": {"description": "It, as it was signed.", "content": {JSON: {"schema": {"type": "object"}}}}
        }
    },
    answers=Response,
)
def give_receipt(call: Caller, erasure_id: Name) -> Response:
    """The receipt of a completed erasure."""
    return Response(privacy.receipt(call.site, call.actor, erasure_id), media_type=JSON)
