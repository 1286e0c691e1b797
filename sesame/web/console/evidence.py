"""'Preuves' and 'Revue': a framework's evidence, and the yearly review."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Final
from zipfile import ZIP_DEFLATED, ZipFile

from fastapi import APIRouter, Path, Response

from consumers.registry.erasure.privacy_key import PrivacyKey
from schemas.language import Language, gettext
from schemas.typography import day, number
from sesame.acts.acts import check
from sesame.operations.evidence import pack, reviews
from sesame.operations.evidence.pack import EvidenceRequest, SignedEvidence
from sesame.operations.evidence.reviews import NoReview, ReviewDecision, ReviewOpening, ReviewRequest
from sesame.web.console.console_pages import ROOM
from sesame.web.console.console_request import Visiting
from sesame.web.kit.templates import environment
from sesame.web.kit.web_request import PageError, Posted, attachment

router = APIRouter()

Component = Annotated[str, Path(max_length=64)]
_SHOWN_MAX: Final = 100
"""Exceptions of one measure in the page; the signed file has all."""
_CODES_MAX: Final = 500


@router.get("/preuves")
def choose_framework(visit: Visiting) -> Response:
    """The frameworks."""
    check(visit.actor, "evidence")
    return visit.page("evidence.html", frameworks=_titles(visit.language))


@router.post("/preuves")
def make_evidence(visit: Visiting, fields: Posted) -> Response:
    """Measure a framework; give the page and the signed file that belongs to it, in one archive."""
    check(visit.actor, "evidence")
    site, framework = visit.context.site, fields.get("cadre", "")[:64]
    privacy = PrivacyKey.read(site.settings.privacy_key_file)
    found = pack.measure(site, visit.actor, EvidenceRequest(framework=framework))
    made = pack.signed(found, framework, site.settings.portal.institution, visit.actor, privacy)
    archive = BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as files:
        files.writestr(f"{made.name}.html", document(made, visit.language))
        files.writestr(f"{made.name}.json", made.text())
    named = attachment(f"{made.name}.zip")
    return Response(archive.getvalue(), media_type="application/zip", headers=named)


@router.get("/revue")
def show_review(visit: Visiting) -> Response:
    """The newest review, by component; before the first one how to open it."""
    check(visit.actor, "review.show")
    try:
        found = reviews.review(visit.context.site, visit.actor, ReviewRequest())
    except NoReview:
        found = None
    return visit.page("review.html", review=found, component=None)


@router.post("/revue/ouvrir")
def open_review(visit: Visiting, fields: Posted) -> Response:
    """Open the review of all open accounts."""
    typed = fields.get("jours", "").strip()
    if not (typed.isascii() and typed.isdecimal() and len(typed) <= 3):  # noqa: PLR2004 (365 days at most)
        raise PageError(422, "form")
    reviews.open_review(visit.context.site, visit.actor, ReviewOpening(days=int(typed)))
    return visit.done("/console/revue", gettext("the review is open"))


@router.get("/revue/{component}")
def show_component(visit: Visiting, component: Component) -> Response:
    """The accounts of one component: first those to look at."""
    found = reviews.review(visit.context.site, visit.actor, ReviewRequest(component=component))
    return visit.page("review.html", review=found, component=component)


@router.post("/revue/{component}")
def decide(visit: Visiting, component: Component, fields: Posted) -> Response:
    """Decide on one account, or keep all undecided ones without a note."""
    student = fields.get("numero", "")[:_CODES_MAX].strip()
    given = {
        "component": component,
        "students": (student,) if student else (),
        "rest": fields.get("reste") == "oui",
        "decision": fields.get("decision", ""),
        "reason": fields.get("raison", "").strip() or None,
    }
    done = reviews.decide(visit.context.site, visit.actor, ReviewDecision.model_validate(given))
    told = gettext("decided; without a decision: {n}", n=done.undecided)
    return visit.done(f"/console/revue/{component}", told)


def document(made: SignedEvidence, language: Language) -> str:
    """The page to hand over: one file that needs no other, for a screen and for paper."""
    template = environment(ROOM, language).get_template("evidence_document.html")
    evidence = made.evidence
    return template.render(
        language=language,
        evidence=evidence,
        signature=made.signature,
        title=pack.title(evidence.framework, language),
        rules={each.name: pack.rule(each.name, language) for each in evidence.measures},
        day=lambda at: day(at.date(), language),
        number=lambda n: number(n, language),
        words=lambda name: pack.words(name, language),
        seen_by=lambda data: pack.seen_by(data, language),
        most=_SHOWN_MAX,
    )


def _titles(language: Language) -> dict[str, str]:
    return {name: pack.title(name, language) for name in pack.frameworks()}
