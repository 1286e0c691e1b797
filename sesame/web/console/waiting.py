"""'En attente': waiting students by cause, and who must act; lists and a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from sesame.acts.acts import check
from sesame.operations.keeping import spreadsheet
from sesame.operations.people.diagnosis import students
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.students import LIMIT_MAX, ListedState, ListedStudent, StudentsRequest
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.persons import ordered_students
from sesame.web.kit.web_request import attachment

router = APIRouter()

COHORTS_MAX: Final = 300


WHO_FIRST: Final = ("operator", "registrar", "component", "desk", "student", "nobody")
"""The order in which those who must act are shown: our own work first."""


@router.get("/attente")
def show(visit: Visiting, cause: str = "", cohorte: str = "", apres: str = "") -> Response:
    """Reasons, by who must act; the students of one reason, or of one cohort."""
    check(visit.actor, "students.list")
    counts = visit.context.overview.show(visit.actor).waiting_by_reason
    by_who: dict[str, list[tuple[str, int]]] = {}
    for reason, n in sorted(counts.items(), key=lambda one: -one[1]):
        by_who.setdefault(explain(reason).who, []).append((reason, n))
    by_who = {who: by_who[who] for who in sorted(by_who, key=WHO_FIRST.index)}
    listed, shown = None, list[ListedStudent]()
    if cause or cohorte:
        asked = _asked(cause, cohorte, after=apres, limit=visit.rows_max)
        listed = students.listed(visit.context.site, visit.actor, asked)
        shown = ordered_students(visit, listed.students)
    return visit.page(
        "waiting.html", by_who=by_who, cause=cause, cohort=cohorte, listed=listed, students=shown
    )


@router.get("/attente/cohortes")
def show_cohorts(visit: Visiting) -> Response:
    """Waiting students by cohort: how many, by who must act, and for what."""
    found = visit.context.cohorts.show(visit.actor)
    cohorts = []
    for one in found[:COHORTS_MAX]:
        by_who: dict[str, dict[str, int]] = {}
        for reason, n in sorted(one.reasons.items(), key=lambda each: -each[1]):
            by_who.setdefault(explain(reason).who, {})[reason] = n
        cohorts.append((one, by_who))
    named = {who for _, by_who in cohorts for who in by_who}
    columns = [who for who in WHO_FIRST if who in named]
    cohorts = visit.ordered(
        cohorts, cohorte=lambda each: each[0].cohort, etudiants=lambda each: each[0].students
    )
    return visit.page("cohorts.html", cohorts=cohorts, columns=columns, more=len(found) - len(cohorts))


def _asked(cause: str, cohort: str, *, after: str, limit: int) -> StudentsRequest:
    return StudentsRequest(
        state=ListedState.WAITING, cause=cause or None, cohort=cohort or None, after=after, limit=limit
    )


@router.get("/attente.csv")
def export(visit: Visiting, cause: str = "", cohorte: str = "") -> Response:
    """All who wait, or for this cause, or of this cohort, as a file for a spreadsheet."""
    check(visit.actor, "students.list")
    rows = _rows(visit, cause, cohorte)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=attachment("attente.csv"))


def _rows(visit: ConsoleRequest, cause: str, cohort: str) -> Iterator[str]:
    """The lines, a page of students at a time: no more is in memory."""
    targets = visit.context.site.settings.targets
    yield spreadsheet.MARK + spreadsheet.line(["student_number", "login", "mail", *targets])
    after: str | None = ""
    while after is not None:
        asked = _asked(cause, cohort, after=after, limit=LIMIT_MAX)
        page = students.listed(visit.context.site, visit.actor, asked)
        for one in page.students:
            reasons = [one.targets[name]["reason"] or "" for name in targets]
            yield spreadsheet.line([one.student_number, one.login, one.mail, *reasons])
        after = page.next
