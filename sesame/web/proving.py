"""The pages by which students show who they are: number and address, code or link."""

from __future__ import annotations

import re
import secrets
from typing import Any

from fastapi import APIRouter, Depends, Response

from producers.activation import is_student_number
from producers.activation.proofs import CODE_DIGITS, PASSWORD, Link, LinkState
from schemas.scalars import MAIL_ADDRESS_LENGTH_MAX
from sesame.web import signing
from sesame.web.visit import (
    GRANT,
    LANGUAGE,
    MONTH_S,
    REQUEST,
    PageError,
    Posted,
    Visit,
    Visiting,
    posted,
)

router = APIRouter()

MESSAGES_OF_A_REQUEST = 3
"""How many of a request's messages the typed code may be of: the one before may arrive last."""

_OUR_PATH = re.compile(
    r"/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?"
)  # no empty part, and none of dots alone
_ADDRESS_LIKE = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


@router.get("/")
@router.get("/demande")
def show_start(visit: Visiting) -> Response:
    """The first page: what can be done here, and the form that begins all of it."""
    return visit.page("start.html", given={}, faults={})


@router.post("/demande")
def take_request(visit: Visiting, form: Posted) -> Response:
    """Number and address: the answer is the same whether they match or not."""
    visit.slow_down()
    given = {name: form.get(name, "").strip() for name in ("numero", "courriel")}
    faults = {}
    if not is_student_number(given["numero"]):
        faults["numero"] = "form"
    if not _ADDRESS_LIKE.fullmatch(given["courriel"]) or len(given["courriel"]) > MAIL_ADDRESS_LENGTH_MAX:
        faults["courriel"] = "form"
    if faults:
        return visit.page("start.html", 422, given=given, faults=faults)
    proof_id = visit.desk.proofs.ask(given["numero"], given["courriel"], visit.language)
    _keep_request(visit, [proof_id])
    return visit.to("/code")


@router.get("/code")
def show_code(visit: Visiting) -> Response:
    """The page that asks for the code."""
    asked = _request(visit)
    if not asked:
        return visit.to("/")
    return visit.page("code.html", **_code_page(visit, asked))


@router.post("/code")
def take_code(visit: Visiting, form: Posted) -> Response:
    """The code: right, wrong, or of no use any more."""
    visit.slow_down()
    asked = _request(visit)
    if not asked:
        return visit.to("/")
    code = "".join(form.get("code", "").split())
    if not (code.isascii() and code.isdecimal() and len(code) == CODE_DIGITS):
        return visit.page("code.html", 422, **_code_page(visit, asked, fault="form"))
    typed = visit.desk.proofs.type_code(asked, code)
    if typed.proof is None:
        visit.desk.counted.refused("code")
        return visit.page("code.html", 422, **_code_page(visit, asked, fault="wrong"))
    _grant(visit, typed.proof.id)
    visit.drop(REQUEST)
    return visit.to("/mot-de-passe")


@router.post("/renvoyer", dependencies=[Depends(posted)])
def take_again(visit: Visiting) -> Response:
    """Another message for the same request."""
    visit.slow_down()
    asked = _request(visit)
    proof_id = visit.desk.proofs.again(asked[-1], visit.language) if asked else None
    if proof_id is None:
        return visit.to("/")
    _keep_request(visit, [*asked, proof_id][-MESSAGES_OF_A_REQUEST:])
    return visit.to("/code?renvoye=1")


@router.get("/lien/{link}")
def show_link(visit: Visiting, link: str) -> Response:
    """A link from a message. Looking at it changes nothing: mail scanners follow links too."""
    return link_page(visit, visit.desk.proofs.follow(link, PASSWORD), link)


@router.post("/lien")
def take_link(visit: Visiting, form: Posted) -> Response:
    """Whoever follows the link is a person: go on to the password."""
    link = form.get("lien", "")
    followed = visit.desk.proofs.follow(link, PASSWORD)
    if followed.state is not LinkState.GOOD or followed.proof is None:
        return link_page(visit, followed, link)
    _grant(visit, followed.proof.id)
    return visit.to("/mot-de-passe")


@router.post("/lien/nouveau")
def take_new_link(visit: Visiting, form: Posted) -> Response:
    """An old link asks for a new one: the message goes where the old one went."""
    visit.slow_down()
    followed = visit.desk.proofs.follow(form.get("lien", ""), PASSWORD)
    proof_id = None
    if followed.proof is not None:
        proof_id = visit.desk.proofs.again(followed.proof.id, visit.language)
    if proof_id is None:
        return visit.to("/")
    _keep_request(visit, [proof_id])
    return visit.to("/code?renvoye=1")


@router.get("/langue/{language}")
def choose_language(visit: Visiting, language: str, page: str = "/") -> Response:
    """Another language, and back to the page: to one of ours, whatever the address says."""
    if language not in ("fr", "en"):
        raise PageError(404, "missing")
    visit.keep(LANGUAGE, language, age_s=MONTH_S)
    return visit.to(page if _OUR_PATH.fullmatch(page) else "/")


@router.post("/deconnexion", dependencies=[Depends(posted)])
def leave(visit: Visiting) -> Response:
    """End the session, here and in the store."""
    visit.leave()
    return visit.to("/")


def link_page(visit: Visit, followed: Link, link: str) -> Response:
    """What a link is worth, in words, and what to do."""
    status = 200 if followed.state is LinkState.GOOD else 410 if followed.proof is not None else 404
    number = followed.proof.student_number if followed.proof is not None else None
    return visit.page("link.html", status, state=followed.state.value, link=link, number=number)


def granted(visit: Visit) -> tuple[str, str] | None:
    """The proof that this browser was shown to hold, and the grant itself; None: it has none, or too old."""
    grant = visit.cookie(GRANT)
    age_s_max = visit.desk.settings.portal.grant_min * 60
    value = visit.desk.signing.read(signing.GRANT, grant, age_s_max=age_s_max)
    return None if value is None or grant is None else (str(value[0]), grant)


def _grant(visit: Visit, proof_id: str) -> None:
    value = visit.desk.signing.sign(signing.GRANT, [proof_id, secrets.token_urlsafe(12)])
    visit.keep(GRANT, value, age_s=int(visit.desk.settings.portal.grant_min * 60))


def _keep_request(visit: Visit, proof_ids: list[str]) -> None:
    value = visit.desk.signing.sign(signing.REQUEST, proof_ids)
    visit.keep(REQUEST, value, age_s=int(visit.desk.settings.proofs.lifetime_h * 3600))


def _request(visit: Visit) -> list[str]:
    age_s_max = visit.desk.settings.proofs.lifetime_h * 3600
    value = visit.desk.signing.read(signing.REQUEST, visit.cookie(REQUEST), age_s_max=age_s_max)
    return [str(one) for one in value or []]


def _code_page(visit: Visit, asked: list[str], fault: str | None = None) -> dict[str, Any]:
    left = visit.desk.proofs.attempts_left(asked)
    again = visit.request.query_params.get("renvoye") == "1"
    return {"left": left, "fault": fault, "again": again and fault is None}
