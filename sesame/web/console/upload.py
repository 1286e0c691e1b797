"""'Importer': upload the registrar's file, preview changes and rejects, import.

Nothing of a file is kept: it lies in a folder made for the import while it is read, and is deleted with it.
So it is chosen once more after a preview, and a file that is held is sent again with its approval.

The students that a file concerns and the refused lines are kept nowhere either: the answer has them. Where
the import takes longer than a moment, the answer begins all the same, shows progress, and ends with the
result: HTML that grows, which needs no script. A reader who leaves the page finds the import on the list, and
can stop it there as on its page; a preview ends with its page. A process that dies leaves what the command
leaves.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from pipeline.errors import SesameError, fault
from producers.registrar.report import ImportKind
from producers.registrar.sheets import AFFECTED, AFFECTED_TEACHINGS, REJECTS, Row, WorkbookSheet
from schemas.language import gettext
from sesame.acts.acts import check
from sesame.operations.imports.acts import ImportRequest, ImportStop, import_sent, stop_sent
from sesame.web.console.console_request import ConsoleRequest, Visiting, somebody
from sesame.web.kit.web_request import FORM_TOKEN, PageError, Posted, form_is_ours, utc_now

router = APIRouter()

UPLOAD_PATH: Final = "/console/imports"
UPLOAD_BYTES_MAX: Final = 256 * 1024**2
MOMENT_S: Final = 1.0
"""A shorter import is answered as any act is; a longer one shows progress at this interval."""

_ARRIVES_S_MAX: Final = 600.0
_FIELD_BYTES_MAX: Final = 4_096
_FIELDS_MAX: Final = 10
_LINES_SHOWN: Final = 200
_PROFILES: Final = ("", "apogee", "pegase")
_YEAR: Final = re.compile(r"(?:[0-9]{4})?")
_KINDS: Final = {"inscriptions": "file", "groupes": "groups"}
_GROWS: Final = "<!-- grows here -->"


@dataclass(frozen=True)
class Table:
    """What the import would write for a spreadsheet; `more`: only its first rows."""

    header: Sequence[str]
    rows: Sequence[Row]
    more: bool


@router.post("/imports")
async def send_file(request: Request) -> Response:
    """Import a file, or preview its changes."""
    visit = await to_thread.run_sync(somebody, request)
    check(visit.actor, "import")
    try:
        async with asyncio.timeout(_ARRIVES_S_MAX):
            form = await request.form(max_files=1, max_fields=_FIELDS_MAX, max_part_size=_FIELD_BYTES_MAX)
    except (MultiPartException, TimeoutError) as error:
        raise PageError(400, "form") from error
    try:
        form_is_ours(request, str(form.get(FORM_TOKEN, "")))
        sent = await to_thread.run_sync(_kept, form)
    finally:
        await form.close()
    going_on = _GoingOn(visit, sent)
    going_on.start()
    page = await to_thread.run_sync(partial(visit.render, "importing.html", name=sent.path.name))
    head, _, tail = page.partition(_GROWS)
    if await going_on.ended():
        return visit.carry(HTMLResponse(f"{head}{going_on.outcome()}{tail}"))
    grown = _grown(visit, going_on, head, tail)
    unbuffered = {"X-Accel-Buffering": "no"}  # by a proxy in between (nginx)
    return visit.carry(StreamingResponse(grown, media_type="text/html", headers=unbuffered))


async def _grown(visit: ConsoleRequest, going_on: _GoingOn, head: str, tail: str) -> AsyncIterator[str]:
    """The page, with progress until the import has ended. Of the parts in its middle the last is shown."""
    log = structlog.get_logger()
    try:
        yield head
        while not await going_on.ended():
            yield visit.render("_importing.html", now=going_on)
    finally:
        if going_on.looks:  # for this page alone
            going_on.stop.want()
    try:
        yield going_on.outcome()
    except SesameError as error:
        yield visit.render("_import_failed.html", words=(str(error), error.remedy))
    except Exception as error:
        log.exception("console_import_failed", reason=fault(error))
        yield visit.render("_import_failed.html", words=())
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


@dataclass(frozen=True)
class _Sent:
    """A sent form. `asked`: the fields as typed; `folder`: of `path`, deleted at the end."""

    folder: TemporaryDirectory[str]
    path: Path
    request: ImportRequest
    asked: dict[str, str]


class _GoingOn(threading.Thread):
    """A running import, independent of its page: a `RunningImport`. `looks`: it will change nothing."""

    def __init__(self, visit: ConsoleRequest, sent: _Sent) -> None:
        super().__init__(target=copy_context().run, args=(self._go_on,), name="import", daemon=True)
        self.looks = sent.request.dry_run
        self.name, self.key = sent.path.name, secrets.token_urlsafe()
        self.stop = ImportStop()
        self.done = 0
        self.of: int | None = None
        self._visit = visit
        self._sent = sent
        self._outcome: str | Exception = ""

    async def ended(self) -> bool:
        """Whether it has ended, within a moment."""
        await to_thread.run_sync(self.join, MOMENT_S)
        return not self.is_alive()

    def outcome(self) -> str:
        """The result, as a part of a page. Raises `SesameError`: what stopped it."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def _go_on(self) -> None:
        running = self._visit.context.imports
        running[self.key] = self
        with self._sent.folder:
            try:
                self._outcome = self._imported()
            except Exception as error:  # noqa: BLE001 (the page must show any error)
                self._outcome = error
            finally:
                del running[self.key]

    def _imported(self) -> str:
        visit, sent = self._visit, self._sent
        report = import_sent(
            visit.context.site,
            visit.actor,
            sent.request,
            sent.path,
            clock=utc_now,
            stop=self.stop,
            progress=self._tell,
        )
        sheet = AFFECTED if report.kind is ImportKind.ENROLMENTS else AFFECTED_TEACHINGS
        return visit.render(
            "_imported.html",
            report=report,
            numbers=report.counts(),
            rejected=_table(REJECTS, report.refused),
            affected=_table(sheet, report.affected),
            asked=sent.asked,
        )

    def _tell(self, _kind: ImportKind, done: int, of: int | None) -> None:
        self.done, self.of = done, of


def _kept(form: FormData) -> _Sent:
    """Read a form, and store its file in a new folder. Raises `PageError`: nothing known is wanted."""
    file = form.get("fichier")
    asked = {name: str(form.get(name, "")).strip() for name in ("genre", "profil", "annee")}
    known = asked["genre"] in _KINDS and asked["profil"] in _PROFILES
    known = known and _YEAR.fullmatch(asked["annee"]) is not None
    if not isinstance(file, UploadFile) or not file.filename or not known:
        raise PageError(422, "file")
    folder = TemporaryDirectory(prefix="sesame-console-")
    path = Path(folder.name) / _name(file.filename)
    with path.open("xb") as kept:
        shutil.copyfileobj(file.file, kept)
    request = ImportRequest(
        **{_KINDS[asked["genre"]]: path},
        profile=asked["profil"] or None,
        full_year=int(asked["annee"]) if asked["annee"] else None,
        approve=str(form.get("approbation", "")).strip()[:64] or None,
        dry_run=form.get("acte") != "importer",
    )
    return _Sent(folder, path, request, asked)


def _name(given: str) -> str:
    """A file's own name without its folders, which some browsers send."""
    name = PurePath(given.replace("\\", "/")).name
    return "".join(each for each in name if each.isprintable() and each != "/")[-100:].lstrip(".") or "file"


def _table(sheet: WorkbookSheet, rows: Sequence[Row]) -> Table | None:
    if not rows:
        return None
    header = [gettext(column) for column in sheet.columns[:-1]]
    return Table(header, [row[:-1] for row in rows[:_LINES_SHOWN]], len(rows) > _LINES_SHOWN)
