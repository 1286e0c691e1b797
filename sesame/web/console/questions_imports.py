"""'Questions': identity and ownership doubts to decide. 'Imports': past imports."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.acts.acts import check, may
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtDecisionRequest, DoubtsRequest, Merge
from sesame.operations.imports import past as past_imports
from sesame.operations.imports.past import ImportsRequest
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.adoption.acts import AdoptionQuestion, AnswerRequest, QuestionsRequest
from sesame.operations.questions.adoption.adoptions import DECIDED
from sesame.operations.questions.adoption.questions import KINDS
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.live import kept_live
from sesame.web.console.persons import PAGE, Number, reason_of
from sesame.web.kit.web_request import PageError, Posted

router = APIRouter()

ImportId = Annotated[int, Path(ge=1, lt=INTEGER_MAX)]
QuestionId = Annotated[str, Path(pattern=r"^[0-9a-f]{6,64}$")]
SHOWN_MAX: Final = 200
OBJECTS_MAX: Final = 50
"""Rows listed of each kind; the command lists all."""


@router.get("/questions")
def show_doubts(visit: Visiting) -> Response:
    """Numbers that may be one person's, and objects that an adoption or a comparison asks about."""
    site, actor = visit.context.site, visit.actor
    check(actor, "identity.show")
    found = identities.listed(site, actor, DoubtsRequest())
    objects: dict[str, list[AdoptionQuestion]] = {}
    if may(actor, "adopt.questions"):
        for one in adoption.questions(site, actor, QuestionsRequest()):
            objects.setdefault(one.kind, []).append(one)
    return visit.page(
        "doubts.html",
        doubts=found[:SHOWN_MAX],
        beyond=max(0, len(found) - SHOWN_MAX),
        objects=objects,
        words={kind: (gettext(one.what), gettext(one.remedy)) for kind, one in KINDS.items()},
        shown_max=OBJECTS_MAX,
    )


@router.get("/questions/objets/{question_id}")
def show_object(visit: Visiting, question_id: QuestionId) -> Response:
    """One object, and whose it may be: the registrar's data and the target's."""
    found = adoption.show(visit.context.site, visit.actor, question_id)
    return visit.page("object.html", seen=found)


@router.post("/questions/objets/{question_id}/trancher")
def answer(visit: Visiting, question_id: QuestionId, fields: Posted) -> Response:
    """Say whose an object is."""
    check(visit.actor, "adopt.decide")
    said = fields.get("reponse", "")
    if said not in DECIDED:
        raise PageError(422, "form")
    request = AnswerRequest.model_validate(
        {"ids": [question_id], "answer": said, "reason": reason_of(fields)}
    )
    adoption.decide(visit.context.site, visit.actor, request)
    return visit.done("/console/questions", gettext("decided; the next adoption acts on it"))


@router.get("/questions/{number}")
def show_doubt(visit: Visiting, number: Number) -> Response:
    """Both sides of each doubt about a number."""
    found = identities.show(visit.context.site, visit.actor, number)
    return visit.page("doubt.html", number=number, cases=found)


@router.post("/questions/{number}/trancher")
def decide(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Say that they are one person, or two."""
    site, actor, said = visit.context.site, visit.actor, fields.get("reponse", "")
    given = {
        "student_number": number,
        "other": fields.get("autre") or None,
        "holder": not fields.get("autre"),
        "reason": reason_of(fields),
    }
    if said == "deux":
        done = identities.separate(site, actor, DoubtDecisionRequest(**given))
    elif said == "une":
        done = identities.merge(site, actor, Merge(**given, keep=fields.get("garder") or None))
    else:
        raise PageError(422, "form")
    return visit.done("/console/questions", done.text)


@router.get("/imports")
def show_imports(visit: Visiting, apres: str = "", personnes: str = "", retenus: str = "") -> Response:
    """The registrar's files, or the persons that programs sent one by one, the newest first."""
    after = int(apres) if apres.isascii() and apres.isdecimal() else None
    wanted = ImportsRequest(limit=PAGE, after=after, persons=bool(personnes), held=bool(retenus))
    found = past_imports.listed(visit.context.site, visit.actor, wanted)
    running = dict(visit.context.imports) if may(visit.actor, "import") else {}
    return visit.page("imports.html", found=found, persons=wanted.persons, held=wanted.held, running=running)


@router.get("/imports/{import_id}")
def show_import(visit: Visiting, import_id: ImportId) -> Response:
    """One of them: what it counted and refused, and what it changed against the one before."""
    one = past_imports.shown(visit.context.site, visit.actor, import_id)
    return visit.page("import.html", one=one, differences=one.differences or ())


@router.post("/imports/{import_id}/approuver")
def approve_import(visit: Visiting, import_id: ImportId, _fields: Posted) -> Response:
    """Approve what the guard holds of it, for when the same is sent again."""
    past_imports.approve(visit.context.site, visit.actor, import_id)
    told = gettext("approved; it is published once the same is sent again")
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
    return visit.render("_import_progress.html", one=one)
