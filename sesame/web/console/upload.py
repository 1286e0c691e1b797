"""'Importer': the registrar's file from the browser: what it would change and reject, then for good.

Nothing of a file is kept: it lies in a folder of the request's own while it is read, and goes with it. So it
is chosen once more after a look, and a file that is held is sent again with its approval.
"""

from __future__ import annotations

import asyncio
import csv
import re
import shutil
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from sesame.operations.acts import check
from sesame.operations.imports import ImportRequest, import_sent
from sesame.web.console.console_request import ConsoleRefusal, ConsoleRequest, form_is_ours, somebody, utc_now
from sesame.web.kit.forms import FORM_TOKEN

router = APIRouter()

UPLOAD_PATH: Final = "/console/importations"
UPLOAD_BYTES_MAX: Final = 256 * 1024**2
_ARRIVES_S_MAX: Final = 600.0
_FIELD_BYTES_MAX: Final = 4_096
_FIELDS_MAX: Final = 10
_LINES_SHOWN: Final = 200
_PROFILES: Final = ("", "apogee", "pegase")
_YEAR: Final = re.compile(r"(?:[0-9]{4})?")
_KINDS: Final = {"inscriptions": "file", "groupes": "groups"}


@dataclass(frozen=True)
class Table:
    """A file that the import wrote, as a spreadsheet shows it; `more`: these are its first rows only."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: bool


@router.post("/importations")
async def send_file(request: Request) -> Response:
    """Import a file, or say what it would change."""
    visit = await to_thread.run_sync(somebody, request)
    check(visit.actor, "import")
    try:
        async with asyncio.timeout(_ARRIVES_S_MAX):
            form = await request.form(max_files=1, max_fields=_FIELDS_MAX, max_part_size=_FIELD_BYTES_MAX)
    except (MultiPartException, TimeoutError) as error:
        raise ConsoleRefusal(400, "form") from error
    try:
        form_is_ours(request, str(form.get(FORM_TOKEN, "")))
        work = partial(copy_context().run, _imported, visit, form)
        return await to_thread.run_sync(work)
    finally:
        await form.close()


def _imported(visit: ConsoleRequest, form: FormData) -> Response:
    file = form.get("fichier")
    asked = {name: str(form.get(name, "")).strip() for name in ("genre", "profil", "annee")}
    known = asked["genre"] in _KINDS and asked["profil"] in _PROFILES
    known = known and _YEAR.fullmatch(asked["annee"]) is not None
    if not isinstance(file, UploadFile) or not file.filename or not known:
        raise ConsoleRefusal(422, "file")
    with TemporaryDirectory(prefix="sesame-console-") as folder:
        path = Path(folder) / _name(file.filename)
        with path.open("xb") as kept:
            shutil.copyfileobj(file.file, kept)
        request = ImportRequest(
            **{_KINDS[asked["genre"]]: path},
            profile=asked["profil"] or None,
            full_year=int(asked["annee"]) if asked["annee"] else None,
            approve=str(form.get("approbation", "")).strip()[:64] or None,
            dry_run=form.get("acte") != "importer",
        )
        report = import_sent(visit.context.site, visit.actor, request, path, clock=utc_now)
        return visit.page(
            "imported.html",
            name=path.name,
            report=report,
            numbers=report.counts(),
            rejected=_table(report.rejects_path),
            affected=_table(report.affected_path),
            asked=asked,
        )


def _name(given: str) -> str:
    """A file's own name without its folders, which some browsers send."""
    name = PurePath(given.replace("\\", "/")).name
    return "".join(each for each in name if each.isprintable() and each != "/")[-100:].lstrip(".") or "file"


def _table(path: Path | None) -> Table | None:
    if path is None:
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=";")
        header = next(rows, [])
        shown = list(islice(rows, _LINES_SHOWN))
        return Table(header[:-1], [row[:-1] for row in shown], next(rows, None) is not None)
