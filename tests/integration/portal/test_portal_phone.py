"""A new student's way through the pages on a telephone, by finger, with the pages and the messages alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sesame.testing.servers.portal_browser import overflows, page_of, session_cookie
from sesame.testing.servers.portal_kit import Portal, put, running
from sesame.testing.servers.portal_reader import GOOD, MAIL

TELEPHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 664},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
"""As Playwright describes an iPhone 13."""

FINGER_PX = 24  # WCAG 2.2, 2.5.8
ADDRESS = "lea@ailleurs.example"

SMALL = """finger => [...document.querySelectorAll(
    'button, summary, textarea, input:not(.away), a.button, .links a, .top-links a, .bottom a')]
    .filter(each => each.offsetParent && each.getBoundingClientRect().height < finger)
    .map(each => `${each.tagName} ${each.innerText || each.id}: ${each.getBoundingClientRect().height}`)"""
"""What stands by itself and is too small for a finger; a link inside a sentence may be (2.5.8, inline)."""

ZOOMED_INTO = """[...document.querySelectorAll('input:not([type=hidden], [type=checkbox]), textarea')]
    .filter(each => parseFloat(getComputedStyle(each).fontSize) < 16).map(each => each.id)"""
"""Fields with letters of less than 16 pixels: a telephone enlarges the page when one is touched."""

BROKEN = """[...document.querySelectorAll('.whole')].filter(each => each.getClientRects().length > 1
    || each.getBoundingClientRect().height > 2 * parseFloat(getComputedStyle(each).fontSize))
    .map(each => each.innerText)"""
"""Parts of an address that run over two lines."""


@pytest.fixture
def page(portal: Portal, browser: Browser) -> Iterator[Page]:
    with page_of(browser, portal.url, **TELEPHONE) as page:
        yield page


def look(page: Page, heading: str) -> None:
    """What the page says first; and that it fits the screen and the finger."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    assert not overflows(page)
    assert page.evaluate(SMALL, FINGER_PX) == []
    assert page.evaluate(ZOOMED_INTO) == []
    assert page.evaluate(BROKEN) == []


def tap(page: Page, words: str) -> None:
    """Touch what says this, and wait for the page that comes."""
    with page.expect_navigation():
        page.locator("main, .top").get_by_text(words, exact=True).tap()


def test_a_new_student_goes_all_the_way_on_a_telephone(portal: Portal, page: Page) -> None:
    number = portal.student()
    page.goto(portal.url)
    look(page, "Activez votre compte, ou retrouvez votre mot de passe")
    tap(page, "Recevoir mon code")
    look(page, "Activez votre compte, ou retrouvez votre mot de passe")
    page.fill("#numero", number)
    page.fill("#courriel", MAIL)
    tap(page, "Recevoir mon code")
    look(page, "Consultez votre messagerie personnelle")
    assert page.locator("#code").get_attribute("inputmode") == "numeric"
    code = portal.message(number).code
    page.fill("#code", f"{(int(code.replace(' ', '')) + 1) % 10**6:06d}")
    tap(page, "Continuer")
    look(page, "Consultez votre messagerie personnelle")
    field = page.locator("#code").bounding_box()
    assert field is not None
    assert field["y"] + field["height"] < TELEPHONE["viewport"]["height"], "it is seen without scrolling"
    page.fill("#code", code)
    tap(page, "Continuer")
    look(page, "Choisissez votre mot de passe")
    page.fill("#mot_de_passe", GOOD)
    page.fill("#confirmation", GOOD)
    page.tap("#charte")
    tap(page, "Activer mon compte")
    look(page, "Bonjour Léa, rien à faire : votre compte se prépare.")

    portal.deliver(number)
    running(portal, directory="running", mailbox="running", moodle="running")
    for target in ("directory", "mailbox", "moodle"):
        put(portal, number, target, "provisioned", None)
    look(page, "Bonjour Léa, vous pouvez commencer.")


def test_a_student_redirects_mail_asks_for_help_and_leaves_on_a_telephone(portal: Portal, page: Page) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    for target in ("directory", "mailbox", "moodle"):
        put(portal, number, target, "provisioned", None)
    page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
    page.goto(f"{portal.url}/compte")
    look(page, "Bonjour Léa, vous pouvez commencer.")
    page.get_by_text("Redirection de la messagerie").tap()
    page.fill("#adresse", ADDRESS)
    page.tap("#accord")
    tap(page, "Recevoir le message de confirmation")
    expect(page.locator(".notice")).to_contain_text("parti vers l’adresse que vous avez indiquée")
    link = re.search(r"https://\S+/redirection/\S+", portal.message(number, count=1).text)
    assert link is not None
    page.goto(link[0])
    look(page, "Confirmer la redirection")
    tap(page, "Confirmer")
    look(page, "La redirection est confirmée")
    portal.deliver(number)
    tap(page, "Voir où en est mon compte")
    look(page, "Bonjour Léa, vous pouvez commencer.")
    expect(page.locator("#redirection")).to_contain_text(
        f"Une copie de vos messages est envoyée à {ADDRESS}."
    )

    tap(page, "Quelque chose ne va pas ?")
    look(page, "Quelque chose ne va pas ?")
    tap(page, "Chercher la cause")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dossier ")
    tap(page, "Se déconnecter")
    look(page, "Activez votre compte, ou retrouvez votre mot de passe")
    expect(page.get_by_role("status")).to_have_text("Vous êtes déconnecté.")
    page.goto(f"{portal.url}/compte")
    look(page, "Vous n’êtes pas connecté")
    expect(page.locator("main")).to_contain_text("un code part vers votre adresse personnelle")
