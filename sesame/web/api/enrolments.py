"""Routes for the registrar's enrolments and teachings: one, or any number.

They are imported as a file is, by the same act: lines are kept in a file meanwhile, so that memory is
bounded whatever their number, and the guard judges them as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Query, Response

from producers.registrar.acceptance import AcceptanceUnfit
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import pegase, pegase_groups
from producers.registrar.report import ImportReport
from schemas.language import gettext, gettext_noop
from sesame.acts.acts import Actor, Report
from sesame.operations.imports.acts import (
    ImportRequest,
    ImportStop,
    RejectedLine,
    for_programs,
    import_files,
    import_sent,
    json_lines,
    rejected_lines,
)
from sesame.operations.imports.turns import ImportTurns, SentLine
from sesame.web.api.problems import ApiError, WrongPlace
from sesame.web.api.routes import FILE, JSON, NDJSON, Call, Caller, route
from sesame.web.kit.site import Site

FORMS: Final = {"enrolments": "file", "teachings": "groups"}
"""Accepted kinds, each with its field of `ImportRequest`."""

_PROFILE: Final = "pegase"
TURNS: Final = {kind: ImportTurns() for kind in FORMS}


def _described(profile: FeedProfile) -> dict[str, Any]:
    one = {
        "type": "object",
        "description": "See docs/reference/pegase-profile.md.",
        "properties": {name: {"type": ["string", "integer", "null"]} for name in profile.column_names},
    }
    each_line = {"type": "string", "description": "One object in each line."}
    content = {JSON: {"schema": one}, NDJSON: {"schema": each_line}}
    return {"requestBody": {"required": True, "content": content}}


class EnrolmentRefused(ApiError):
    """This enrolment or teaching is not taken: something is missing in it, or wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class LinesUnusable(ApiError):
    """What was sent is not one JSON object, nor one in each line (`application/x-ndjson`), in UTF-8 and with
    the names of Pégase; or it is not what its parameters say. Nothing was published."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


_REMEDIES: Final = {
    Fault.BROKEN_JSON: gettext_noop("Send one JSON object in each line, with texts, whole numbers or null."),
    Fault.DAMAGED_TEXT: gettext_noop("Correct the value; if it is right, send it once with this `accept`."),
    Fault.CONTROL_CHARACTER: gettext_noop("Leave out the invisible character."),
    Fault.LOST_DIGITS: gettext_noop("Send the whole number as a text: digits of it are lost."),
    Fault.MISSING_VALUE: gettext_noop("Send the value too."),
    Fault.UNDECODABLE: gettext_noop("Send UTF-8."),
}
"""Remedies for programs, where they differ from those for files."""


class EnrolmentsImported(Report):
    """The result of a sent import.

    Attributes:
        report: that of `sesame import --json`, without the files that it writes.
        rejected: the refused lines, the first thousand.
    """

    report: dict[str, Any]
    rejected: list[RejectedLine]


DryRun = Annotated[bool, Query(description="Say what it would change, and publish nothing.")]
FullYear = Annotated[
    int | None, Query(ge=1990, le=2100, description="It is complete for this year: what it lacks ends.")
]
Approve = Annotated[str | None, Query(max_length=64, description="The id that was told when it was held.")]


@route("POST", "/enrolments", import_files, takes=(JSON, NDJSON), described=_described(pegase()))
def import_enrolments(
    call: Caller,
    response: Response,
    *,
    dry_run: DryRun = False,
    full_year: FullYear = None,
    approve: Approve = None,
    accept: Annotated[
        list[str] | None, Query(description="Codes of values that look damaged, and are right.")
    ] = None,
) -> EnrolmentsImported:
    """Publish the enrolments that differ from before.

    One object, or a line of JSON for each enrolment (`application/x-ndjson`), in the form of Pégase. Lines
    that are wrong are refused, and the rest is taken; a single object that is wrong is answered 422. Where
    the guard holds it, nothing is published, and the answer is 202 with the id to approve. It takes 30
    minutes at most, and stops when the connection is closed; what was published by then is not published
    twice when it is sent again. Single objects that wait for one another share an import, and its id.
    """
    how = {"dry_run": dry_run, "full_year": full_year, "approve": approve, "accept": tuple(accept or ())}
    if isinstance(call.sent, Path):
        return _answered(call, response, "enrolments", how)
    student = str(call.sent.get(pegase().column_of("student_number")))
    request = ImportRequest(profile=_PROFILE, **how)
    line = SentLine(call.actor, call.sent, student, request, FILE)
    with _refused():
        done = TURNS["enrolments"].import_line(call.site, line, clock=call.clock, stop=call.stop)
    return _told(call, response, _imported(*done))


@route("POST", "/teachings", import_files, takes=(JSON, NDJSON), described=_described(pegase_groups()))
def import_teachings(
    call: Caller,
    response: Response,
    *,
    dry_run: DryRun = False,
    full_year: FullYear = None,
    approve: Approve = None,
) -> EnrolmentsImported:
    """Publish students' teaching units and groups where they differ from before.

    Sent and answered as enrolments are. All lines of a student and year make one list, which replaces the
    former one.
    """
    how = {"dry_run": dry_run, "full_year": full_year, "approve": approve}
    return _answered(call, response, "teachings", how)


def import_lines(
    site: Site,
    actor: Actor,
    kind: str,
    sent: Sequence[Mapping[str, Any]] | Path,
    *,
    clock: Callable[[], datetime],
    stop: ImportStop,
    **how: Any,
) -> EnrolmentsImported:
    """Import lines of Pégase.

    Args:
        kind: a key of `FORMS`.
        sent: the objects, or the file that has them in lines.
        stop: ends the import, also while it waits for its turn.
        how: the options of `ImportRequest`.

    Raises:
        LinesUnusable: nothing was published.
        As `import_files`.
    """
    file, body = (sent, None) if isinstance(sent, Path) else (Path(FILE), json_lines(sent))
    request = ImportRequest(profile=_PROFILE, sent=body, **{FORMS[kind]: file}, **how)
    with _refused(), TURNS[kind].turn(stop):
        report = import_sent(site, actor, request, file, clock=clock, stop=stop)
    return _imported(report, rejected_lines(report))


@contextmanager
def _refused() -> Iterator[None]:
    """Report to a program what cannot be used."""
    try:
        yield
    except UnusableFile as error:
        raise LinesUnusable(error.sent) from None
    except AcceptanceUnfit:
        raise LinesUnusable(gettext("what `accept` names is not in it")) from None


def _imported(report: ImportReport, rejected: Iterable[RejectedLine]) -> EnrolmentsImported:
    told = {name: value for name, value in report.to_json().items() if name not in ("rejects", "affected")}
    shown = [_for_programs(each) for each in rejected]
    return EnrolmentsImported(report=told, rejected=shown)


def _for_programs(rejected: RejectedLine) -> RejectedLine:
    remedy = _REMEDIES.get(Fault(rejected.fault))
    update = {"detail": for_programs(rejected.detail)}
    return rejected.model_copy(update=update if remedy is None else {**update, "remedy": gettext(remedy)})


def _answered(call: Call, response: Response, kind: str, how: Mapping[str, Any]) -> EnrolmentsImported:
    sent = call.sent if isinstance(call.sent, Path) else [call.sent]
    done = import_lines(call.site, call.actor, kind, sent, clock=call.clock, stop=call.stop, **how)
    return _told(call, response, done)


def _told(call: Call, response: Response, done: EnrolmentsImported) -> EnrolmentsImported:
    if done.rejected and call.is_single:
        raise EnrolmentRefused(errors=tuple(_place(each) for each in done.rejected))
    if done.report["held"]:
        response.status_code = HTTPStatus.ACCEPTED
    return done


def _place(rejected: RejectedLine) -> WrongPlace:
    known = rejected.column in (*pegase().column_names, *pegase_groups().column_names)
    return WrongPlace(detail=rejected.detail, pointer=f"/{rejected.column}" if known else "")
