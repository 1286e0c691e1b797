"""The routes that read."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from typing import Annotated, Final

from fastapi import Path, Query, Response
from pydantic import BeforeValidator, Field

from schemas.language import gettext
from sesame.operations.imports import past as past_imports
from sesame.operations.imports.past import ImportsReport, ImportsRequest
from sesame.operations.keeping import daily_export, student_lists
from sesame.operations.keeping.daily_export import DayExportRequest, ExportForm
from sesame.operations.keeping.student_lists import CardHolder, ListName, StudentListRequest
from sesame.operations.people import student
from sesame.operations.people.diagnosis import engine, students
from sesame.operations.people.diagnosis.engine import DiagnosisReport, DiagnosisRequest
from sesame.operations.people.diagnosis.students import LIMIT_MAX, ListedState, Page, StudentsRequest
from sesame.operations.people.student import StudentReport, StudentRequest
from sesame.operations.work import dead_letters, replays
from sesame.operations.work.dead_letters import DeadLetterList, DeadLettersRequest
from sesame.operations.work.replays import ReplayStanding, ResumeReplayRequest
from sesame.web.api.routes import Caller, Name, described_file, route
from sesame.web.kit.web_request import attachment

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="So many at most.")]
Live = Annotated[bool, Query(description="Whether the servers are asked, which takes seconds.")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="Where the page begins: of the link to the next page.")
]


def _day(text: str) -> date:
    """A date in RFC 3339's form only: pydantic and Python accept others too."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is not None:
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise ValueError(gettext("must be a day such as 2026-09-01"))


Day = Annotated[date, BeforeValidator(_day), Field(ge=date(1970, 1, 2))]
Component = Annotated[str | None, Query(max_length=64, description="Of this component alone, by its code.")]
Principal = Annotated[str, Path(max_length=320, pattern=r"^[^/@]+@[^/@]+$")]
PAGE: Final = 100
_EXPORTED: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@route(
    "GET",
    "/export/{day}",
    daily_export.export_day,
    described=described_file("The table.", *_EXPORTED.values()),
    answers=Response,
)
def export_day(
    call: Caller, day: Day, *, form: Annotated[ExportForm, Query(alias="format")] = "csv"
) -> Response:
    """A finished day's propagations, as a table without persons: `sesame export`."""
    asked = DayExportRequest(day=day, form=form)
    content = daily_export.export_day(call.site, call.actor, asked, call.api.clock)
    named = attachment(f"sesame-{day.isoformat()}.{form}")
    return Response(content, media_type=_EXPORTED[form], headers=named)


@route(
    "GET",
    "/lists/{list}",
    student_lists.student_list,
    described=described_file("The list.", _EXPORTED["csv"]),
    answers=Response,
)
def list_for_software(call: Caller, list: ListName, component: Component = None) -> Response:  # noqa: A002
    """Students for other software, as a file: `sesame export --list`.

    `Sesame-Left-Out`: how many cannot be in it (Pix Orga wants a first and a family name).
    """
    asked = StudentListRequest(list=list, component=component)
    found = student_lists.student_list(call.site, call.actor, asked)
    headers = attachment(f"sesame-{list}.csv")
    headers["Sesame-Left-Out"] = str(len(found.left_out))
    return Response(found.content, media_type=_EXPORTED["csv"], headers=headers)


@route("GET", "/cards/{eppn}", student_lists.card_holder)
def show_card_holder(call: Caller, eppn: Principal) -> CardHolder:
    """The holder of a principal name, in esup-sgc's words. It asks one by one, and nothing is written."""
    return student_lists.card_holder(call.site, call.actor, eppn)


@route("GET", "/students", students.listed)
def list_students(
    call: Caller,
    response: Response,
    *,
    state: ListedState | None = None,
    cause: str | None = None,
    cohort: Annotated[str | None, Query(description="A step of a year: `M2INFO-2026`.")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Page:
    """The activated students in a state, for a cause, of a cohort, by number."""
    wanted = {"state": state, "cause": cause, "cohort": cohort}
    after = call.position(cursor, wanted) or ""
    page = students.listed(call.site, call.actor, StudentsRequest(**wanted, after=after, limit=limit))
    call.link_next(response, wanted, page.next)
    return page


@route("GET", "/students/{student_number}/diagnosis", engine.show)
def diagnose_student(
    call: Caller,
    student_number: Name,
    *,
    live: Live = False,
) -> DiagnosisReport:
    """Why something does not work for a student, with the evidence."""
    return engine.show(call.site, call.actor, DiagnosisRequest(student_number=student_number, live=live))


@route("GET", "/students/{student_number}/record", student.show)
def show_record(call: Caller, student_number: Name, *, live: Live = False) -> StudentReport:
    """All that is known of a student: identity, targets' states with causes, history."""
    return student.show(call.site, call.actor, StudentRequest(student_number=student_number, live=live))


@route("GET", "/dead-letters", dead_letters.page)
def list_dead_letters(
    call: Caller,
    response: Response,
    *,
    consumer: str | None = None,
    student_number: str | None = None,
    cause: str | None = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> DeadLetterList:
    """Unresolved dead letters, oldest first, and their counts by consumer and cause."""
    wanted = {"consumer": consumer, "student_number": student_number, "cause": cause}
    after = call.position(cursor, wanted)
    page = dead_letters.page(call.site, call.actor, DeadLettersRequest(**wanted, after=after, limit=limit))
    call.link_next(response, wanted, page.letters[-1].id if page.more else None)
    return page


@route("GET", "/replays/{replay_id}", replays.standing)
def show_replay(call: Caller, replay_id: Name) -> ReplayStanding:
    """A replay's progress, and its next students."""
    return replays.standing(call.site, call.actor, ResumeReplayRequest(replay_id=replay_id, first=PAGE))


@route("GET", "/imports", past_imports.listed)
def list_imports(
    call: Caller,
    response: Response,
    *,
    persons: Annotated[
        bool, Query(description="Those by which programs sent one person each, instead of files.")
    ] = False,
    held: Annotated[bool, Query(description="Only those that the guard holds.")] = False,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> ImportsReport:
    """The imports of files, the newest first."""
    wanted = {"persons": persons, "held": held}
    asked = ImportsRequest(limit=limit, after=call.position(cursor, wanted), persons=persons, held=held)
    page = past_imports.listed(call.site, call.actor, asked)
    call.link_next(response, wanted, page.next)
    return page
