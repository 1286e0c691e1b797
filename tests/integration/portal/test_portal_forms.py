"""What a browser may count on: forms that keep what was given, HEAD, files that are kept for good."""

from __future__ import annotations

import hashlib
import re

import pytest

from sesame.testing.servers.portal_kit import Portal, enter
from sesame.testing.servers.portal_reader import GOOD, MAIL
from sesame.testing.servers.registry_kit import enrolled
from sesame.web.kit.assets import STATIC_FOLDER

PAGES = ["/", "/charte", "/compte", "/compte/etat", "/compte/aide", "/code", "/lien/x.y", "/nulle-part"]


def spread(number: str, blank: str) -> str:
    return blank.join((number[:2], number[2:5], number[5:]))


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f", "\t"], ids=["blank", "no-break", "narrow", "tab"])
def test_a_number_and_a_code_may_be_typed_with_blanks(portal: Portal, blank: str) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.get("/")
        typed = f" {spread(number, blank)} "
        assert browser.send("/demande", numero=typed, courriel=f" {MAIL} ").url.path == "/code"
        code = portal.message(number).code.replace(" ", "")
        assert browser.send("/code", code=f" {spread(code, blank)}").url.path == "/mot-de-passe"


@pytest.mark.parametrize(
    ("known", "typed"),
    [
        (MAIL, MAIL.upper()),
        (MAIL.title(), MAIL),
        ("zo\u00e9@perso.example", "ZOE\u0301@perso.example"),
        ("zoe@\u00e9cole.example", "zoe@xn--cole-9oa.example"),
    ],
    ids=["capitals", "known in capitals", "decomposed", "punycode"],
)
def test_a_mail_address_in_other_letters_is_the_student_s(portal: Portal, known: str, typed: str) -> None:
    number, other = portal.student(known), portal.student(f"x{known}")
    with portal.browser() as browser:
        browser.get("/")
        assert browser.send("/demande", numero=number, courriel=typed).url.path == "/code"
        assert browser.send("/code", code=portal.message(number).code).url.path == "/mot-de-passe"
    assert portal.letters(other) == []


def test_a_number_in_other_letters_is_another_student_s(portal: Portal) -> None:
    number = portal.student()
    lettered = [f"A{number}", f"a{number}"]
    for each in lettered:
        portal.apply(enrolled(each, int(number), personal_mail=MAIL, birth_name=f"Essai{each}"))
    with portal.browser() as browser:
        browser.get("/")
        browser.send("/demande", numero=lettered[1], courriel=MAIL)
        assert browser.send("/code", code=portal.message(lettered[1]).code).url.path == "/mot-de-passe"
    assert portal.letters(lettered[0]) == []


def test_the_charter_stays_ticked_when_the_password_is_refused(portal: Portal) -> None:
    number = portal.student()
    poor, good = {"mot_de_passe": "azerty", "confirmation": "azerty"}, {"mot_de_passe": GOOD}
    good["confirmation"] = GOOD
    with portal.browser() as browser:
        portal.prove(browser, number)
        assert not ticked(browser.page.text, "charte")
        browser.send("/mot-de-passe", **poor, charte="oui")
        assert (browser.page.status_code, ticked(browser.page.text, "charte")) == (422, True)
        browser.send("/mot-de-passe", **good)
        assert (browser.page.status_code, ticked(browser.page.text, "charte")) == (422, False)
        assert browser.send("/mot-de-passe", **good, charte="oui").url.path == "/compte"


def test_the_consent_stays_ticked_when_the_address_is_refused(portal: Portal) -> None:
    with portal.browser() as browser:
        enter(portal, browser, portal.active())
        browser.send("/compte/redirection", adresse="pas une adresse", accord="oui")
        assert ticked(browser.page.text, "accord")


def ticked(page: str, name: str) -> bool:
    (box,) = re.findall(rf'<input type="checkbox" id="{name}"[^>]*>', page)
    return " checked" in box


@pytest.mark.parametrize("path", [*PAGES, "/livez"])
def test_head_answers_as_get_without_a_body(portal: Portal, path: str) -> None:
    with portal.browser() as browser:
        enter(portal, browser, portal.active())
        get, head = (browser.client.request(method, path) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_head_of_a_live_page_ends(portal: Portal) -> None:
    with portal.browser() as browser:
        enter(portal, browser, portal.active())
        heads = [browser.client.head("/compte/flux") for _ in range(3)]
    assert [(head.status_code, head.content) for head in heads] == [(200, b"")] * 3
    assert heads[0].headers["Content-Type"].startswith("text/event-stream")


def test_files_carry_a_fingerprint_and_are_kept_for_good(portal: Portal) -> None:
    with portal.browser() as browser:
        found = re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/").text)
        assert len(found) == 4
        for address in found:
            answer = browser.client.get(address)
            own = re.sub(r"\.[0-9a-f]+(?=\.\w+$)", "", address.rpartition("/")[2])
            assert f".{hashlib.sha256(answer.content).hexdigest()[:12]}." in address
            written = (STATIC_FOLDER / own).read_bytes().replace(b"#brand", b"#1f3a8a")
            assert answer.content.endswith(written)
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for other in ("/static/portal.css", "/static/portal.0123456789ab.css"):
            answer = browser.client.get(other)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
        missing = browser.client.get("/static/other.css")
        assert (missing.status_code, "immutable" in missing.headers["Cache-Control"]) == (404, False)
