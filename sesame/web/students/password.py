"""The page on which a password is chosen, with its meter and the charter."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from producers.activation.choices import ActivationState
from producers.activation.policy import PasswordVerdict
from producers.activation.proofs import LinkState
from producers.activation.throttles import Rate
from schemas.account import CANARY
from sesame.web.kit.web_request import PageError, Posted, posted
from sesame.web.students.portal_request import GRANT, SESSION, PortalRequest, Visiting
from sesame.web.students.verification import granted, link_page

router = APIRouter()

METER = Rate(60, 0.5)
"""How often one grant may have a password measured."""


@router.get("/mot-de-passe")
def show_password(visit: Visiting) -> Response:
    """The form; or its result, if it was sent a moment ago and its answer was lost."""
    number = visit.context.choices.chosen_just_now(*_granted(visit))
    if number is not None:
        return _enter(visit, number)
    _, _, situation = _standing(visit)
    return visit.page("password.html", **_page(situation, faults={}))


@router.post("/mot-de-passe")
def take_password(visit: Visiting, form: Posted) -> Response:
    """Take a password that is good enough. Of two clicks one counts, and both end on the same page."""
    proof_id, grant = _granted(visit)
    followed = visit.context.proofs.standing(proof_id)
    proof = followed.proof
    number = proof.student_number if proof is not None else None
    situation = visit.context.choices.situation(number) if number is not None else None
    if proof is None or situation is None:
        raise PageError(409, "not_yet")
    password = form.get("mot_de_passe", "")
    verdict = visit.context.password_judge.judge(situation.student_number, password)
    if followed.state is LinkState.GOOD:
        faults = _faults(form, verdict, situation)
        if faults:
            visit.context.counted.password("refused")
            ticked = form.get("charte") == "oui"
            page = _page(situation, faults=faults, verdict=verdict, ticked=ticked)
            return visit.page("password.html", 422, **page)
    charter = None if situation.activated else visit.context.settings.portal.charter
    chosen = visit.context.choices.choose_password(
        proof, grant, password, charter=charter, language=visit.language
    )
    if chosen is None:
        visit.context.counted.password("void")
        return link_page(visit, visit.context.proofs.standing(proof_id), "")
    if chosen.student_number != CANARY:
        visit.context.counted.password(
            "again" if not chosen.fresh else "changed" if situation.activated else "activated"
        )
    return _enter(visit, chosen.student_number, "?fait=motdepasse" if situation.activated else "")


@router.post("/mot-de-passe/force")
def measure(visit: Visiting, form: Posted) -> Response:
    """Measure a password while it is typed, by the very check that it must pass."""
    proof_id, _, situation = _standing(visit)
    wait_s = visit.context.take(f"meter:{proof_id}", METER)
    if wait_s:
        raise PageError(429, "slow", retry_after_s=wait_s)
    verdict = visit.context.password_judge.judge(situation.student_number, form.get("mot_de_passe", ""))
    html = visit.render("_meter.html", verdict=verdict, broken={rule.value for rule in verdict.broken})
    shown = {"strength": verdict.shown_strength, "accepted": verdict.accepted}
    return JSONResponse({**shown, "broken": sorted(verdict.broken), "html": html})


@router.post("/compte/ouvrir", dependencies=[Depends(posted)])
def open_account(visit: Visiting) -> Response:
    """Show an active account's page without a change of the password."""
    _, _, situation = _standing(visit)
    if not situation.activated:
        return visit.to("/mot-de-passe")
    return _enter(visit, situation.student_number)


def _enter(visit: PortalRequest, number: str, query: str = "") -> Response:
    session_id = visit.context.open_session(number, "mail")
    visit.keep(SESSION, session_id, age_s=int(visit.context.settings.portal.session_min * 60))
    return visit.to(f"/compte{query}")


def _granted(visit: PortalRequest) -> tuple[str, str]:
    found = granted(visit)
    if found is None:
        raise PageError(401, "grant" if visit.cookie(GRANT) else "no_code")
    return found


def _standing(visit: PortalRequest) -> tuple[str, str, ActivationState]:
    """The proof's id, the grant and the student, if the proof is still valid.

    Raises `PageError`: it is not; the page explains why, and what to do.
    """
    proof_id, grant = _granted(visit)
    followed = visit.context.proofs.standing(proof_id)
    if followed.proof is None or followed.proof.student_number is None:
        raise PageError(401, "grant")
    if followed.state is not LinkState.GOOD:
        raise PageError(410, followed.state.value)
    situation = visit.context.choices.situation(followed.proof.student_number)
    if situation is None:
        raise PageError(409, "not_yet")
    return proof_id, grant, situation


def _faults(form: dict[str, str], verdict: PasswordVerdict, situation: ActivationState) -> dict[str, str]:
    faults = {}
    if not form.get("mot_de_passe"):
        faults["mot_de_passe"] = "empty"
    elif not verdict.accepted:
        faults["mot_de_passe"] = "policy"
    elif form.get("mot_de_passe") != form.get("confirmation"):
        faults["confirmation"] = "differs"
    if not situation.activated and form.get("charte") != "oui":
        faults["charte"] = "unread"
    return faults


def _page(
    situation: ActivationState,
    *,
    faults: dict[str, str],
    verdict: PasswordVerdict | None = None,
    ticked: bool = False,
) -> dict[str, Any]:
    broken = {rule.value for rule in verdict.broken} if verdict is not None else set()
    return {
        "student": situation,
        "faults": faults,
        "verdict": verdict,
        "broken": broken,
        "ticked": ticked,
    }
