"""The route that takes the registrar's enrolments: one, or as many as there are.

They are imported as a file is, by the same act: what was sent is kept in a file meanwhile, so that memory is
bounded whatever its size, and the guard judges it as a whole.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Query, Response

from producers.registrar.profiles import pegase
from sesame.operations.acts import Report
from sesame.operations.imports import ImportRequest, import_files
from sesame.web.api.problems import ApiError, WrongPlace
from sesame.web.api.routes import JSON, NDJSON, Caller, route

REJECTED_MAX: Final = 1_000
"""So many refused lines are told; all are counted."""

_PROFILE: Final = "pegase"
_ONE_AT_A_TIME: Final = threading.Lock()
"""A newer import of a feed ends an older one: those that come here wait for one another."""

_ENROLMENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "See docs/reference/pegase-profile.md.",
    "properties": {name: {"type": ["string", "integer", "null"]} for name in pegase().column_names},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _ENROLMENT},
            NDJSON: {"schema": {"type": "string", "description": "An enrolment in each line."}},
        },
    }
}


class EnrolmentRefused(ApiError):
    """This enrolment is not taken: something is missing in it, or wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class RejectedLine(Report):
    """Why a line was refused. `fault`: see docs/reference/rejections.md; `column`: or the whole line."""

    line: int
    student_number: str
    column: str
    fault: str
    detail: str
    remedy: str


class EnrolmentsImported(Report):
    """What became of what was sent.

    Attributes:
        report: what `sesame import --json` says, without the files that it writes.
        rejected: the lines that were refused, the first thousand.
    """

    report: dict[str, Any]
    rejected: list[RejectedLine]


@route("POST", "/enrolments", import_files, takes=(JSON, NDJSON), described=_BODY)
def import_enrolments(
    call: Caller,
    response: Response,
    *,
    dry_run: Annotated[bool, Query(description="Say what it would change, and publish nothing.")] = False,
    full_year: Annotated[
        int | None, Query(ge=1990, le=2100, description="It is complete for this year: what it lacks ends.")
    ] = None,
    approve: Annotated[
        str | None, Query(max_length=64, description="The id that was told when it was held.")
    ] = None,
    accept: Annotated[
        list[str] | None, Query(description="Codes of values that look damaged, and are right.")
    ] = None,
) -> EnrolmentsImported:
    """Publish what differs from what was published before.

    One object, or a line of JSON for each enrolment (`application/x-ndjson`), in the form of Pégase. Lines
    that are wrong are refused, and the rest goes on; a single object that is wrong is answered 422. Where
    the guard holds it, nothing is published, and the answer is 202 with the id to approve.
    """
    file = call.file
    request = ImportRequest(
        file=file,
        profile=_PROFILE,
        dry_run=dry_run,
        full_year=full_year,
        approve=approve,
        accept=tuple(accept or ()),
        rejects=file.with_name("rejects.csv"),
        affected=file.with_name("affected.csv"),
    )
    with _ONE_AT_A_TIME:
        done = import_files(
            call.site, call.actor, request, clock=call.clock, progress=lambda _kind, _done, _of: None
        )
    (report,) = done.reports
    rejected = [] if report.rejects_path is None else list(islice(_lines(report.rejects_path), REJECTED_MAX))
    if rejected and call.is_single:
        raise EnrolmentRefused(errors=tuple(map(_place, rejected)))
    if report.held:
        response.status_code = HTTPStatus.ACCEPTED
    told = {name: value for name, value in done.model_dump().items() if name not in ("rejects", "affected")}
    return EnrolmentsImported(report=told, rejected=rejected)


def _lines(rejects: Path) -> Iterator[RejectedLine]:
    """The file of refused lines, without the values that stood there."""
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        for line, student, column, _value, detail, remedy, fault in islice(
            csv.reader(file, delimiter=";"), 1, None
        ):
            yield RejectedLine(
                line=int(line),
                student_number=student,
                column=column,
                fault=fault,
                detail=detail,
                remedy=remedy,
            )


def _place(rejected: RejectedLine) -> WrongPlace:
    known = rejected.column in pegase().column_names
    return WrongPlace(detail=rejected.detail, pointer=f"/{rejected.column}" if known else "")
