"""'Importer': send the registrar's file, preview it step by step, import it.

A file is kept for 15 minutes, sealed, for its sender (`kept_files`): it is chosen once. While it is read it
lies in a folder made for that, and deleted with it. A file that leaves a choice, of a sheet or of columns,
gets that step; then comes the preview, and only from there an import.

The students that a file concerns are kept nowhere: the answer has them. Where the import takes longer than a
moment, the answer begins all the same, shows progress, and ends with the result: HTML that grows, which needs
no script. A reader who leaves the page finds the import on the list, and can stop it there as on its page; a
preview ends with its page. A process that dies leaves what the command leaves.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import secrets
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from pipeline.errors import SesameError, fault
from producers.registrar.faults import UnusableFile
from producers.registrar.mapping import MappingUnusable
from producers.registrar.report import ImportKind, ImportReport
from producers.registrar.sheets import AFFECTED, AFFECTED_TEACHINGS, REJECTS, Row, WorkbookSheet
from schemas.language import gettext
from sesame.acts.acts import check
from sesame.operations.imports import mappings
from sesame.operations.imports.acts import ImportRequest, ImportStop, import_sent, stop_sent
from sesame.operations.imports.arrivals import likely_twins
from sesame.operations.imports.losses import OtherCount, loss_of, names_of
from sesame.operations.imports.mappings import MappingRequest
from sesame.web.console.console_request import ConsoleRequest, Visiting, somebody
from sesame.web.console.kept_files import KeptFile, KeptFileGone, TooManyKept
from sesame.web.console.persons import REASON_MAX, typed_number
from sesame.web.console.questions_imports import imports_page
from sesame.web.kit.web_request import FORM_TOKEN, PageError, Posted, attachment, form_is_ours, utc_now

router = APIRouter()

UPLOAD_PATH: Final = "/console/imports"
UPLOAD_BYTES_MAX: Final = 256 * 1024**2
MOMENT_S: Final = 1.0
"""A shorter import is answered as any act is; a longer one shows progress at this interval."""

_ARRIVES_S_MAX: Final = 600.0
_FIELD_BYTES_MAX: Final = 4_096
_FIELDS_MAX: Final = 10
_LINES_SHOWN: Final = 200
_NAMES_SHOWN: Final = 200
_YEAR: Final = re.compile(r"(?:[0-9]{4})?")
_KINDS: Final = {"inscriptions": "file", "groupes": "groups"}
_GROWS: Final = "<!-- grows here -->"


@dataclass(frozen=True)
class Table:
    """What the import would write for a spreadsheet; `more`: only its first rows."""

    header: Sequence[str]
    rows: Sequence[Row]
    more: bool


class _FormWrong(Exception):
    """A form that cannot be used: the words for its page, and the fields as typed."""

    def __init__(self, asked: dict[str, str], *words: str, status: int = 422) -> None:
        super().__init__(*words)
        self.asked, self.words, self.status = asked, words, status


@dataclass(frozen=True)
class _Step:
    """What is to be done with a kept file. `wrong`, `reason`: of an approval that was typed wrong."""

    kept: KeptFile
    dry_run: bool = True
    approve: str | None = None
    reason: str = ""
    wrong: str = ""


@router.post("/imports")
async def send_file(request: Request) -> Response:
    """Keep a file, and preview its changes."""
    visit = await to_thread.run_sync(somebody, request)
    check(visit.actor, "import")
    try:
        async with asyncio.timeout(_ARRIVES_S_MAX):
            form = await request.form(max_files=1, max_fields=_FIELDS_MAX, max_part_size=_FIELD_BYTES_MAX)
    except (MultiPartException, TimeoutError) as error:
        raise PageError(400, "form") from error
    try:
        form_is_ours(request, str(form.get(FORM_TOKEN, "")))
        step = _Step(await to_thread.run_sync(_kept, visit, form))
    except _FormWrong as wrong:
        return await _again(visit, wrong)
    finally:
        await form.close()
    return await _answer(visit, step)


@router.post("/imports/suite")
async def go_on(visit: Visiting, fields: Posted) -> Response:
    """Take the next step with a kept file, or set it aside."""
    check(visit.actor, "import")
    try:
        step = await to_thread.run_sync(_next, visit, fields)
    except _FormWrong as wrong:
        return await _again(visit, wrong)
    return step if isinstance(step, Response) else await _answer(visit, step)


@router.get("/imports/modeles/{kind}.csv")
def give_template(visit: Visiting, kind: Literal["inscriptions", "groupes"]) -> Response:
    """A file with the columns that are expected, and no line."""
    check(visit.actor, "import")
    columns = mappings.template(visit.context.site, groups=kind == "groupes")
    line = io.StringIO()
    csv.writer(line, delimiter=";", lineterminator="\r\n").writerow(columns)
    named = attachment(f"{kind}.csv")
    return Response(line.getvalue().encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=named)


async def _again(visit: ConsoleRequest, wrong: _FormWrong) -> Response:
    """The page of the first step, which says what was wrong."""
    page = partial(imports_page, visit, wrong.status, asked=wrong.asked, words=wrong.words)
    return await to_thread.run_sync(page)


async def _answer(visit: ConsoleRequest, step: _Step) -> Response:
    going_on = _GoingOn(visit, step)
    going_on.start()
    page = await to_thread.run_sync(partial(visit.render, "importing.html", name=step.kept.name))
    head, _, tail = page.partition(_GROWS)
    if await going_on.ended():
        return visit.carry(HTMLResponse(f"{head}{going_on.part}{tail}", going_on.status))
    grown = _grown(visit, going_on, head, tail)
    unbuffered = {"X-Accel-Buffering": "no"}  # by a proxy in between (nginx)
    return visit.carry(StreamingResponse(grown, media_type="text/html", headers=unbuffered))


async def _grown(visit: ConsoleRequest, going_on: _GoingOn, head: str, tail: str) -> AsyncIterator[str]:
    """The page, with progress until the import has ended. Of the parts in its middle the last is shown."""
    try:
        yield head
        while not await going_on.ended():
            yield visit.render("_importing.html", now=going_on)
    finally:
        if going_on.looks:  # for this page alone
            going_on.stop.want()
    yield going_on.part
    yield tail


@router.post("/imports/arreter")
def stop_import(visit: Visiting, fields: Posted) -> Response:
    """Stop an import that a page of this process has started."""
    running = visit.context.imports.get(fields.get("import", ""))
    if running is None:
        check(visit.actor, "import")
        return visit.done(UPLOAD_PATH, gettext("it has ended already, or another process does it"))
    stop_sent(visit.context.site, visit.actor, running.stop, running.name)
    return visit.done(UPLOAD_PATH, gettext("{file}: it stops at its next step", file=running.name))


class _GoingOn(threading.Thread):
    """A running import, independent of its page: a `RunningImport`.

    Attributes:
        looks: it will change nothing.
        part, status: the result, as a part of a page, and the page's status.
    """

    def __init__(self, visit: ConsoleRequest, step: _Step) -> None:
        super().__init__(target=copy_context().run, args=(self._go_on,), name="import", daemon=True)
        self.looks = step.dry_run
        self.name, self.key = step.kept.name, secrets.token_urlsafe()
        self.stop = ImportStop()
        self.done = 0
        self.of: int | None = None
        self.part, self.status = "", 200
        self._visit = visit
        self._step = step

    async def ended(self) -> bool:
        """Whether it has ended, within a moment."""
        await to_thread.run_sync(self.join, MOMENT_S)
        return not self.is_alive()

    def _go_on(self) -> None:
        running = self._visit.context.imports
        running[self.key] = self
        try:
            self.part = self._imported()
        except Exception as error:  # noqa: BLE001 (the page must show any error)
            known = isinstance(error, SesameError)
            self.status = 409 if known else 500
            if not known:
                structlog.get_logger().exception("console_import_failed", reason=fault(error))
            self.part = self._failed(error)
        finally:
            del running[self.key]

    def _failed(self, error: Exception) -> str:
        """The step that the error leaves to the reader, or the form for another file."""
        visit, kept = self._visit, self._step.kept
        if isinstance(error, UnusableFile) and error.sheets:
            self.status = 200
            return visit.render("_sheets.html", kept=kept, sheets=error.sheets, form=_form(visit, kept.asked))
        if isinstance(error, UnusableFile) and error.header and kept.asked["genre"] == "inscriptions":
            kept.header = error.header
            self.status = 200
            return _columns(visit, kept)
        if isinstance(error, UnusableFile | KeptFileGone):
            visit.context.kept.drop(kept)
        words = (str(error), error.remedy) if isinstance(error, SesameError) else ()
        again = None if isinstance(error, UnusableFile | KeptFileGone) else kept
        return visit.render("_import_failed.html", words=words, kept=again, form=_form(visit, kept.asked))

    def _imported(self) -> str:
        visit, step, kept = self._visit, self._step, self._step.kept
        with TemporaryDirectory(prefix="sesame-console-") as folder:
            path = Path(folder) / kept.name
            with path.open("xb") as file:
                visit.context.kept.unseal(kept, file)
            report = import_sent(
                visit.context.site,
                visit.actor,
                _request(visit, step, path),
                path,
                clock=utc_now,
                stop=self.stop,
                progress=self._tell,
            )
        return _result(visit, step, report)

    def _tell(self, _kind: ImportKind, done: int, of: int | None) -> None:
        self.done, self.of = done, of


def _result(visit: ConsoleRequest, step: _Step, report: ImportReport) -> str:
    """The preview, or what was imported."""
    site, kept = visit.context.site, step.kept
    if not report.dry_run and not report.held:
        visit.context.kept.drop(kept)
    sheet = AFFECTED if report.kind is ImportKind.ENROLMENTS else AFFECTED_TEACHINGS
    loss, names = None, dict[str, str]()
    kept.loss = None
    if report.held:
        years = [each.to_json() for each in report.years]
        loss = loss_of(site, years, report.rejected, utc_now().date())
        kept.loss = (report.approval or "", loss.people)
        numbers = list(dict.fromkeys(str(row[0]).lstrip("'") for row in report.affected))[:_NAMES_SHOWN]
        names = dict.fromkeys(numbers, "") | names_of(site, visit.actor, kept.name, numbers)
    return visit.render(
        "_imported.html",
        report=report,
        numbers=report.counts(),
        rejected=_table(REJECTS, report.refused),
        affected=_table(sheet, report.affected),
        arrivals=report.arrivals[:_LINES_SHOWN],
        twins=likely_twins(site, visit.actor, report.arrivals),
        loss=loss,
        names=names,
        by_two=site.settings.lifecycle.release_by_two,
        step=step,
        kept=kept,
        form=_form(visit, {}),
    )


def _request(visit: ConsoleRequest, step: _Step, path: Path) -> ImportRequest:
    asked = step.kept.asked
    return ImportRequest(
        **{_KINDS[asked["genre"]]: path},
        profile=mappings.which(visit.context.site, asked["profil"]),
        sheet=asked.get("feuille") or None,
        full_year=int(asked["annee"]) if asked["annee"] else None,
        approve=step.approve,
        reason=step.reason if step.approve else None,
        dry_run=step.dry_run,
    )


def _form(visit: ConsoleRequest, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the form of the first step needs."""
    fields = {"genre": "", "profil": "", "annee": ""} | dict(asked)
    return {"asked": fields, "profiles": mappings.saved(visit.context.site)}


def _kept(visit: ConsoleRequest, form: FormData) -> KeptFile:
    """Read a form, and keep its file. Raises `_FormWrong`."""
    file = form.get("fichier")
    asked = {name: str(form.get(name, "")).strip() for name in ("genre", "profil", "annee")}
    if not isinstance(file, UploadFile) or not file.filename:
        raise _FormWrong(asked, gettext("Choose a file first."))
    _check(visit, asked)
    size = file.size if file.size is not None else UPLOAD_BYTES_MAX
    try:
        return visit.context.kept.keep(visit.actor.name, _name(file.filename), file.file, size, asked)
    except TooManyKept as error:
        raise _FormWrong(asked, str(error), status=409) from error


def _check(visit: ConsoleRequest, asked: dict[str, str]) -> None:
    """Check what was chosen for a file. Raises `_FormWrong`."""
    if asked["genre"] not in _KINDS:
        raise _FormWrong({}, gettext("Choose what the file is about."))
    if asked["profil"] and mappings.which(visit.context.site, asked["profil"]) is None:
        raise _FormWrong(asked | {"profil": ""}, gettext("There is no such format any more: choose another."))
    if _YEAR.fullmatch(asked["annee"]) is None:
        raise _FormWrong(asked, gettext("Give the academic year by its first year, in four digits."))


def _next(visit: ConsoleRequest, fields: dict[str, str]) -> _Step | Response:
    """The next step with a kept file. Raises `_FormWrong`."""
    try:
        kept = visit.context.kept.of(visit.actor.name, fields.get("garde", ""))
    except KeptFileGone as error:
        raise _FormWrong({}, str(error), status=409) from error
    act = fields.get("acte")
    if act == "ecarter":
        visit.context.kept.drop(kept)
        return visit.done(UPLOAD_PATH, gettext("{file} is set aside, and deleted", file=kept.name))
    given: dict[str, str] = {
        name: fields[name].strip() for name in ("profil", "annee", "feuille") if name in fields
    }
    _check(visit, kept.asked | given)
    kept.asked |= given
    if act == "colonnes":
        return _matched(visit, kept, fields)
    if act != "importer":
        return _Step(kept)
    if kept.loss is None or visit.context.site.settings.lifecycle.release_by_two:
        return _Step(kept, dry_run=False)
    reason = fields.get("raison", "").strip()[:REASON_MAX]
    approval, people = kept.loss
    if typed_number(fields) != people:
        return _Step(kept, reason=reason, wrong=str(OtherCount()))
    if not reason:
        return _Step(kept, wrong=gettext("Say in a few words why this loss is right."))
    return _Step(kept, dry_run=False, approve=approval, reason=reason)


def _columns(
    visit: ConsoleRequest, kept: KeptFile, fields: Mapping[str, str] | None = None, *wrong: str
) -> str:
    """The step that matches columns; `fields`: as chosen before."""
    profile = mappings.profile_of(visit.context.site, kept.asked["profil"])
    found = mappings.matches(profile, kept.header)
    return visit.render(
        "_columns.html",
        kept=kept,
        matches=found,
        fields=fields or {},
        wrong=wrong,
        profiles=mappings.saved(visit.context.site),
    )


def _matched(visit: ConsoleRequest, kept: KeptFile, fields: dict[str, str]) -> _Step | Response:
    """Save the columns that were matched, and look at the file by them."""
    columns, constants = dict[str, str](), dict[str, str]()
    for name, given in fields.items():
        field, value = name.removeprefix("champ-"), given.strip()
        if name.startswith("champ-") and value[:2] == "c:" and value[2:] in kept.header:
            columns[field] = value[2:]
        elif name.startswith("champ-") and value[:2] == "=:":
            constants[field] = value[2:]
    for name, given in fields.items():
        field = name.removeprefix("fixe-")
        if name.startswith("fixe-") and given.strip() and field not in columns:
            constants[field] = given.strip()
    title = fields.get("nom", "").strip()
    try:
        base = {"profile": kept.asked["profil"], "columns": columns, "constants": constants}
        mappings.save(visit.context.site, visit.actor, MappingRequest(name=title, **base))
    except (ValidationError, MappingUnusable) as error:
        named = gettext("The name: small letters, digits and _, a letter first.")
        words = str(error) if isinstance(error, MappingUnusable) else named
        page = visit.render("importing.html", name=kept.name)
        part = _columns(visit, kept, fields, *words.splitlines())
        return visit.carry(HTMLResponse(page.replace(_GROWS, part), 422))
    kept.asked["profil"] = title
    return _Step(kept)


def _name(given: str) -> str:
    """A file's own name without its folders, which some browsers send."""
    name = PurePath(given.replace("\\", "/")).name
    return "".join(each for each in name if each.isprintable() and each != "/")[-100:].lstrip(".") or "file"


def _table(sheet: WorkbookSheet, rows: Sequence[Row]) -> Table | None:
    if not rows:
        return None
    header = [gettext(column) for column in sheet.columns[:-1]]
    return Table(header, [row[:-1] for row in rows[:_LINES_SHOWN]], len(rows) > _LINES_SHOWN)
