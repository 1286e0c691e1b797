"""Pages on which students prove their identity: number and address, code or link."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Depends, Response

from producers.activation.files import is_student_number
from producers.activation.proofs import CODE_DIGITS, LIFETIME_H, PASSWORD, Link, LinkState
from schemas.account import is_students
from schemas.scalars import MAIL_ADDRESS_LENGTH_MAX, phone_number
from sesame.web.kit import signatures
from sesame.web.kit.web_request import PageError, Posted, posted
from sesame.web.students.portal_request import GRANT, LANGUAGE, MONTH_S, REQUEST, PortalRequest, Visiting

router = APIRouter()

_OUR_PATH = re.compile(
    r"/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?"
)  # no empty part, and none of dots alone
_ADDRESS_LIKE = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


CODE_LENGTH_MAX: Final = 40
IDS_KEPT = 3
_GRANT_MIN: Final = 30
"""How long after the code a password may be chosen, in minutes: to read the rules and to find one."""
"""Message ids of a request kept in the cookie: from one the store finds the others."""


@router.get("/")
@router.get("/demande")
def show_start(visit: Visiting) -> Response:
    """The first page: what can be done here, and the form that begins all of it."""
    left = visit.request.query_params.get("fait") == "deconnexion"
    return visit.page("start.html", given={}, faults={}, left=left)


@router.post("/demande")
def take_request(visit: Visiting, form: Posted) -> Response:
    """Number and address: the answer is the same whether they match or not."""
    visit.slow_down()
    given = {name: form.get(name, "").strip() for name in ("numero", "courriel")}
    number = "".join(given["numero"].split())  # some read it from a card in groups
    if not is_students(number):
        number = number[:2].upper() + number[2:]
    faults = {}
    if not is_student_number(number):
        faults["numero"] = "form"
    prefixes, address = visit.context.prefixes, given["courriel"]
    if prefixes and (mobile := phone_number(address)) is not None:
        address = mobile
        if not mobile.startswith(prefixes):
            faults["courriel"] = "abroad"
    elif not _ADDRESS_LIKE.fullmatch(address) or len(address) > MAIL_ADDRESS_LENGTH_MAX:
        faults["courriel"] = "form"
    if faults:
        return visit.page("start.html", 422, given=given, faults=faults, left=False)
    proof_id = visit.context.proof_requests.ask(number, address, visit.language, browser=visit.browser)
    _keep_request(visit, [proof_id], address)
    return visit.to("/code")


@router.get("/code")
def show_code(visit: Visiting) -> Response:
    """The code's form."""
    proof_ids, to = _request(visit)
    if not proof_ids:
        return _after_the_code(visit)
    again = visit.request.query_params.get("renvoye") == "1"
    return visit.page("code.html", left=0, fault=None, again=again, to=to)


@router.post("/code")
def take_code(visit: Visiting, form: Posted) -> Response:
    """Take a code: right, wrong, or of no use any more."""
    proof_ids, to = _request(visit)
    if not proof_ids:
        return _after_the_code(visit)
    visit.slow_down(own=f"code:{proof_ids[-1]}")
    code = "".join(form.get("code", "").split())
    if not (code.isascii() and code.isdecimal() and len(code) == CODE_DIGITS):
        return visit.page("code.html", 422, left=0, fault="form", again=False, to=to)
    typed = visit.context.proofs.type_code(proof_ids, code, browser=visit.browser)
    if typed.proof is None:
        visit.context.counted.refused("code")
        return visit.page("code.html", 422, left=typed.left, fault="wrong", again=False, to=to)
    _grant(visit, typed.proof.id)
    visit.drop(REQUEST)
    return visit.to("/mot-de-passe")


@router.post("/renvoyer", dependencies=[Depends(posted)])
def take_again(visit: Visiting) -> Response:
    """Send another message for the same request."""
    visit.slow_down()
    proof_ids, to = _request(visit)
    proof_id = _again(visit, proof_ids[-1], to) if proof_ids else None
    if proof_id is None:
        return visit.to("/")
    _keep_request(visit, [*proof_ids, proof_id][-IDS_KEPT:], to)
    return visit.to("/code?renvoye=1")


@router.get("/lien/{link}")
def show_link(visit: Visiting, link: str) -> Response:
    """Follow a link from a message. Nothing changes: mail scanners follow links too."""
    return link_page(visit, visit.context.proofs.follow(link, PASSWORD), link)


@router.post("/lien")
def take_link(visit: Visiting, form: Posted) -> Response:
    """Take the link, which leads to the password."""
    link = form.get("lien", "")
    followed = visit.context.proofs.follow(link, PASSWORD)
    if followed.state is not LinkState.GOOD or followed.proof is None:
        return link_page(visit, followed, link)
    _grant(visit, followed.proof.id)
    return visit.to("/mot-de-passe")


@router.get("/lettre")
def show_letter(visit: Visiting) -> Response:
    """The form for the code of a letter that the support desk has printed."""
    return visit.page("letter.html", state=None)


@router.post("/lettre")
def take_letter(visit: Visiting, form: Posted) -> Response:
    """Take the code, which leads to the password."""
    visit.slow_down()
    followed = visit.context.proofs.read_letter(form.get("code", "")[:CODE_LENGTH_MAX])
    if followed.state is not LinkState.GOOD or followed.proof is None:
        visit.context.counted.refused("code")
        return visit.page("letter.html", 422, state=followed.state.value)
    _grant(visit, followed.proof.id)
    return visit.to("/mot-de-passe")


@router.post("/lien/nouveau")
def take_new_link(visit: Visiting, form: Posted) -> Response:
    """Renew an old link: the message goes where the old one went."""
    visit.slow_down()
    followed = visit.context.proofs.follow(form.get("lien", ""), PASSWORD)
    proof_id = _again(visit, followed.proof.id) if followed.proof is not None else None
    if proof_id is None:
        return visit.to("/")
    _keep_request(visit, [proof_id])
    return visit.to("/code?renvoye=1")


@router.get("/langue/{language}")
def choose_language(visit: Visiting, language: str, page: str = "/") -> Response:
    """Another language, and back to the page: to one of ours, whatever the address is."""
    if language not in ("fr", "en"):
        raise PageError(404, "missing")
    visit.keep(LANGUAGE, language, age_s=MONTH_S)
    return visit.to(page if _OUR_PATH.fullmatch(page) else "/")


@router.post("/deconnexion", dependencies=[Depends(posted)])
def leave(visit: Visiting) -> Response:
    """End the session, here and in the store."""
    visit.leave()
    return visit.to("/?fait=deconnexion")


def link_page(visit: PortalRequest, followed: Link, link: str) -> Response:
    """The page that explains a link's state, and what to do."""
    status = 200 if followed.state is LinkState.GOOD else 410 if followed.proof is not None else 404
    number = followed.proof.student_number if followed.proof is not None else None
    path = f"/lien/{link}" if link else "/"
    return visit.page("link.html", status, state=followed.state.value, link=link, number=number, path=path)


def granted(visit: PortalRequest) -> tuple[str, str] | None:
    """The proof that this browser holds, and its grant; None: it has none, or too old."""
    grant = visit.cookie(GRANT)
    age_s_max = _GRANT_MIN * 60
    value = visit.context.signing.read(signatures.GRANT, grant, age_s_max=age_s_max)
    return None if value is None or grant is None else (str(value[0]), grant)


def _grant(visit: PortalRequest, proof_id: str) -> None:
    value = visit.context.signing.sign(signatures.GRANT, [proof_id, secrets.token_urlsafe(12)])
    visit.keep(GRANT, value, age_s=int(_GRANT_MIN * 60))


def _again(visit: PortalRequest, proof_id: str, to: str = "") -> str | None:
    return visit.context.proof_requests.again(proof_id, visit.language, browser=visit.browser, address=to)


def _keep_request(visit: PortalRequest, proof_ids: Sequence[str], to: str = "") -> None:
    """Let the browser keep its request.

    `proof_ids`: of its messages, the newest last. `to`: the address as typed, so that its writer can find
    the slip; empty where a link was renewed.
    """
    value = visit.context.signing.sign(signatures.REQUEST, [to, *proof_ids])
    visit.keep(REQUEST, value, age_s=int(LIFETIME_H * 3600))


def _request(visit: PortalRequest) -> tuple[list[str], str]:
    """The browser's request: the ids of its messages, and the address."""
    age_s_max = LIFETIME_H * 3600
    value = visit.context.signing.read(signatures.REQUEST, visit.cookie(REQUEST), age_s_max=age_s_max)
    to, *proof_ids = [str(part) for part in value or [""]]
    return proof_ids, to


def _after_the_code(visit: PortalRequest) -> Response:
    """The next page without a request: this browser may have just typed its code."""
    return visit.to("/" if granted(visit) is None else "/mot-de-passe")
