"""'Questions': the inbox of what waits for an answer. 'Imports': past imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from producers.registrar.faults import REMEDIES, Fault
from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.acts.acts import check, may
from sesame.operations.imports import past as past_imports
from sesame.operations.imports.losses import OtherCount
from sesame.operations.imports.mappings import saved
from sesame.operations.imports.past import ImportsRequest
from sesame.operations.questions.inbox import INBOX, InboxKind, Question
from sesame.web.console.console_request import PAGE, ConsoleRequest, Visiting
from sesame.web.console.live import kept_live
from sesame.web.console.persons import reason_of, typed_number
from sesame.web.kit.web_request import PageError, Posted

router = APIRouter()

ImportId = Annotated[int, Path(ge=1, lt=INTEGER_MAX)]
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
SHOWN_MAX: Final = 200
"""Questions listed under each heading; the command lists all."""


@router.get("/questions")
def show_inbox(visit: Visiting) -> Response:
    """What waits for an answer, by kind and heading."""
    check(visit.actor, "identity.show")
    found: dict[str, dict[tuple[str, str], list[Question]]] = {}
    for name, kind in INBOX.items():
        if may(visit.actor, kind.lists):
            headings = found.setdefault(name, {})
            for each in kind.listed(visit.context.site, visit.actor):
                headings.setdefault((each.heading, each.remedy), []).append(each)
    return visit.page("questions.html", found=found, kinds=INBOX, most=SHOWN_MAX)


@router.get("/questions/{name}/{key}")
def show_question(visit: Visiting, name: str, key: Key) -> Response:
    """The questions about a number, or an object, with all that is needed to answer."""
    kind = _kind(name)
    check(visit.actor, kind.lists)
    found = list(kind.shown(visit.context.site, visit.actor, key))
    return visit.page("question.html", name=name, kind=kind, found=found)


@router.post("/questions/{name}/{key}/trancher")
def answer(visit: Visiting, name: str, key: Key, fields: Posted) -> Response:
    """Record an answer."""
    kind = _kind(name)
    check(visit.actor, kind.decides)
    if fields.get("reponse") not in kind.answers:
        raise PageError(422, "form")
    told = kind.decide(visit.context.site, visit.actor, key, {**fields, "raison": reason_of(fields)})
    return visit.done("/console/questions", told)


def _kind(name: str) -> InboxKind:
    if name not in INBOX:
        raise PageError(404, "missing")
    return INBOX[name]


@router.get("/imports")
def show_imports(visit: Visiting, apres: str = "", personnes: str = "", bloques: str = "") -> Response:
    """The registrar's files, or the persons that programs sent one by one, the newest first."""
    after = int(apres) if apres.isascii() and apres.isdecimal() else None
    wanted = ImportsRequest(limit=visit.rows_max, after=after, persons=bool(personnes), held=bool(bloques))
    return imports_page(visit, wanted=wanted)


def imports_page(
    visit: ConsoleRequest,
    status: int = 200,
    *,
    wanted: ImportsRequest | None = None,
    asked: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
) -> Response:
    """The list, with an import's form: its fields (`asked`), and their errors."""
    wanted = wanted or ImportsRequest(limit=PAGE)
    site = visit.context.site
    found = past_imports.listed(site, visit.actor, wanted)
    return visit.page(
        "imports.html",
        status,
        found=found,
        imports=visit.ordered(
            found.imports,
            fichier=lambda one: one.file,
            debut=lambda one: one.started_at,
            par=lambda one: one.actor,
            etat=lambda one: one.state,
        ),
        persons=wanted.persons,
        held=wanted.held,
        running=dict(visit.context.imports) if may(visit.actor, "import") else {},
        form={"asked": {"genre": "", "profil": "", "annee": "", **(asked or {})}, "profiles": saved(site)},
        words=words,
    )


@router.get("/imports/{import_id}")
def show_import(visit: Visiting, import_id: ImportId) -> Response:
    """One of them: what it counted and refused, and what it changed against the one before."""
    return _import_page(visit, import_id)


def remedy_of(fault: Fault) -> str:
    """What to do about a refused line."""
    return gettext(REMEDIES[fault])


def _import_page(visit: ConsoleRequest, import_id: int, status: int = 200, **form: object) -> Response:
    site = visit.context.site
    one = past_imports.shown(site, visit.actor, import_id)
    loss = past_imports.held_loss(site, one)
    form = {"wrong": "", "reason": ""} | form
    return visit.page(
        "import.html",
        status,
        one=one,
        differences=one.differences or (),
        loss=loss,
        accounts=past_imports.accounts_of(site, visit.actor, import_id),
        remedies=remedy_of,
        **form,
    )


@router.post("/imports/{import_id}/approuver")
def approve_import(visit: Visiting, import_id: ImportId, fields: Posted) -> Response:
    """Approve what the guard holds of it, for when the same is sent again."""
    typed, reason = typed_number(fields), reason_of(fields)
    try:
        done = past_imports.approve_loss(visit.context.site, visit.actor, import_id, typed, reason)
    except OtherCount as error:
        return _import_page(visit, import_id, 422, wrong=str(error), reason=reason)
    told = (
        gettext("approved; it is published once the same is sent again")
        if done
        else gettext("approved; a second one has to")
    )
    return visit.done(f"/console/imports/{import_id}", told)


@router.get("/imports/{import_id}/flux")
async def follow_import(visit: Visiting, import_id: ImportId) -> Response:
    """How far one has come, each time that it is further."""
    check(visit.actor, "import.list")
    return kept_live(visit, partial(_progress, import_id=import_id))


def _progress(visit: ConsoleRequest, import_id: int) -> str:
    """Progress, from the list: showing it is no look that the audit has to keep."""
    wanted = ImportsRequest(limit=1, after=import_id + 1, persons=None)
    one = next(iter(past_imports.listed(visit.context.site, visit.actor, wanted).imports), None)
    if one is None or one.id != import_id:
        raise PageError(404, "missing")
    counts = past_imports.accounts_of(visit.context.site, visit.actor, import_id)
    return visit.render("_import_progress.html", one=one, accounts=counts)
