"""'En attente': who waits for what, and who must act; a list of each, and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from sesame.operations.acts import check
from sesame.operations.diagnosis import students
from sesame.operations.diagnosis.reasons import explain
from sesame.operations.diagnosis.students import LIMIT_MAX, ListedState, PageAsked
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.persons import PAGE

router = APIRouter()

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@router.get("/attente")
def show(visit: Visiting, cause: str = "", apres: str = "") -> Response:
    """Reasons, apart by who must act; of one reason, who."""
    check(visit.actor, "students.list")
    counts = visit.context.overview.show(visit.actor).waiting_by_reason
    by_who: dict[str, list[tuple[str, int]]] = {}
    for reason, n in sorted(counts.items(), key=lambda one: -one[1]):
        by_who.setdefault(explain(reason).who, []).append((reason, n))
    listed = None
    if cause:
        asked = PageAsked(state=ListedState.WAITING, cause=cause, after=apres, limit=PAGE)
        listed = students.listed(visit.context.site, visit.actor, asked)
    return visit.page("waiting.html", by_who=by_who, cause=cause, listed=listed)


@router.get("/attente.csv")
def export(visit: Visiting, cause: str = "") -> Response:
    """Everybody who waits, or waits for this, as a file for a spreadsheet."""
    check(visit.actor, "students.list")
    headers = {"Content-Disposition": 'attachment; filename="attente.csv"'}
    return StreamingResponse(
        _rows(visit, cause or None), media_type="text/csv; charset=utf-8", headers=headers
    )


def _rows(visit: ConsoleRequest, cause: str | None) -> Iterator[str]:
    """The lines, a page of students at a time: no more is in memory. Excel wants the mark and semicolons."""
    targets = visit.context.site.settings.targets
    yield "\ufeff" + _line(["student_number", "login", "mail", *targets])
    after: str | None = ""
    while after is not None:
        asked = PageAsked(state=ListedState.WAITING, cause=cause, after=after, limit=LIMIT_MAX)
        page = students.listed(visit.context.site, visit.actor, asked)
        for one in page.students:
            reasons = [one.targets[name]["reason"] or "" for name in targets]
            yield _line([one.student_number, one.login, one.mail, *reasons])
        after = page.next


def _line(cells: list[str]) -> str:
    """One line. What a spreadsheet would take for a formula is text (OWASP, CSV Injection)."""
    text = io.StringIO()
    safe = [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(safe)
    return text.getvalue()
