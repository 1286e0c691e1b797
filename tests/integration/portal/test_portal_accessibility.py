"""Every students' page in every state: axe, zoom at 400 %, keyboard, both languages, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sesame.testing.servers.portal_browser import (
    PHONE,
    ZOOMED,
    heard,
    overflows,
    page_of,
    send,
    session_cookie,
    unheard,
    violations,
)
from sesame.testing.servers.portal_kit import Portal, put, running
from sesame.testing.servers.portal_reader import GOOD, MAIL

HOUR_S = 3600.0


def breakable(page: Page) -> list[str]:
    """Where a line of French could begin with a sign or end with a guillemet, of what is seen or heard."""
    if page.get_attribute("html", "lang") != "fr":
        return []
    text = page.evaluate(
        """[document.title, document.body.textContent, ...[...document.querySelectorAll("[aria-label]")]
            .map(each => each.getAttribute("aria-label"))].join("\\n")"""
    )
    return re.findall(r".{0,30}(?: [;:!?»]|« |n° ).{0,5}", str(text))


class Walk:
    """Walks through the pages, and looks at each."""

    def __init__(self, portal: Portal, page: Page) -> None:
        self.portal, self.page = portal, page
        self.found: list[str] = []
        self.seen: list[str] = []

    def look(self, name: str) -> None:
        """Look at the present page."""
        self.seen.append(name)
        self.found += [f"{name}: {one}" for one in (*violations(self.page), *unheard(self.page))]
        self.page.set_viewport_size(ZOOMED)  # type: ignore[arg-type]
        if overflows(self.page):
            self.found.append(f"{name}: scrolls sideways at 400 %")
        self.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        self.found += [f"{name}: a line may break in {one!r}" for one in breakable(self.page)]
        lang, title = self.page.get_attribute("html", "lang"), self.page.title()
        if lang not in ("fr", "en") or not title or self.page.locator("h1").count() != 1:
            self.found.append(f"{name}: language, title or heading")

    def open(self, path: str, name: str) -> None:
        """Open a page, and look at it."""
        self.page.goto(self.portal.url + path if path.startswith("/") else path)
        self.look(name)

    def send(self, action: str, name: str = "") -> None:
        """Send a form, and look at what comes."""
        send(self.page, action)
        if name:
            self.look(name)

    def ask(self, number: str) -> None:
        """Ask for a message."""
        self.page.goto(self.portal.url)
        self.page.fill("#numero", number)
        self.page.fill("#courriel", MAIL)
        self.send("/demande")


def activation(walk: Walk) -> None:
    """From the first page to the account's, with every fault on the way."""
    portal = walk.portal
    number = portal.student()
    walk.open("/", "start")
    walk.send("/demande", "start with errors")
    walk.ask(number)
    walk.look("code")
    walk.send("/code", "no code")
    for name in ("wrong code", "", "", "", "spent code"):
        walk.page.fill("#code", "000000")
        walk.send("/code", name)
    walk.send("/renvoyer", "another message")
    walk.open(portal.message(number, count=2).link, "link")
    walk.send("/lien", "password")
    walk.page.fill("#mot_de_passe", "azerty")
    walk.page.wait_for_selector(".meter-words")
    walk.look("a poor password is measured")
    walk.send("/mot-de-passe", "password with errors")
    walk.page.fill("#mot_de_passe", GOOD)
    walk.page.wait_for_selector(".meter-words")
    walk.page.check("#montrer")
    walk.look("a good password is measured and shown")
    walk.page.fill("#confirmation", GOOD)
    walk.page.check("#charte")
    walk.send("/mot-de-passe", "account, just asked for")
    portal.clock.now += 600.0
    walk.open("/mot-de-passe", "password, already chosen")
    walk.open(portal.letters(number)[-1].link, "used link")


def account(walk: Walk) -> None:
    """The account's page in all its states."""
    portal = walk.portal
    number = portal.active(step_label="Licence <b>1</b> Informatique")
    running(portal, directory="running", mailbox="running", moodle="running")
    walk.ask(number)
    walk.page.fill("#code", portal.message(number).code)
    walk.send("/code", "password of an active account")
    walk.send("/compte/ouvrir", "account under way")
    put(portal, number, "directory", "waiting", "credential_needed")
    walk.open("/compte", "account without a password")
    with walk.page.expect_navigation():
        walk.page.click("[data-rule=password_needed] a.button")
    walk.look("start, from the account")
    put(portal, number, "directory", "provisioned", None)
    put(portal, number, "mailbox", "failed", "mailbox_full")
    put(portal, number, "moodle", "waiting", "pedagogical_enrolment_pending")
    walk.open("/compte", "account with a failure")
    walk.send("/compte/reessayer", "tried again")
    walk.send("/compte/reessayer", "tried again too soon")
    running(portal, directory="running", mailbox="open", moodle="running")
    walk.open("/compte/aide", "help")
    walk.page.fill("#dit", "Rien ne marche <b>!</b>")
    walk.send("/compte/aide", "case")
    with walk.page.expect_navigation():
        walk.page.click("form[action^='/compte/aide/'] button")
    walk.look("case that was sent")
    walk.open("/compte", "account with a target that is down")
    walk.page.click("#redirection summary")
    walk.page.fill("#adresse", "pas une adresse")
    walk.send("/compte/redirection", "redirection with an error")
    walk.page.fill("#adresse", f"ailleurs-{number}@perso.example")
    walk.send("/compte/redirection", "redirection without consent")
    walk.page.fill("#adresse", f"ailleurs-{number}@perso.example")
    walk.page.check("#accord")
    walk.send("/compte/redirection", "redirection asked for")
    walk.open(portal.message(number, count=2).link, "redirection to be confirmed")
    walk.send("/redirection", "redirection confirmed")
    walk.page.go_back()
    walk.open(portal.letters(number)[-1].link, "redirection already confirmed")
    portal.deliver(number)
    walk.open("/compte", "account with a redirection")
    walk.send("/compte/redirection/fin", "redirection ended")


def others(walk: Walk) -> None:
    """The pages that say why something is not to be had."""
    portal = walk.portal
    number = portal.student()
    walk.open("/charte", "charter")
    walk.open("/donnees", "privacy")
    walk.open("/accessibilite", "accessibility")
    walk.open("/adresse-perdue", "a lost address")
    walk.open("/lettre", "a letter's code")
    walk.open("/nulle-part", "missing")
    walk.open("/compte", "no session")
    walk.open("/mot-de-passe", "no grant")
    walk.open("/lien/x.y", "unknown link")
    walk.open("/redirection/x.y", "unknown redirection")
    walk.open("/acces/x", "unknown access")
    walk.open(portal.context.access_link(number), "access")
    walk.send("/acces", "account, looked at")
    walk.open("/compte/aide", "only looked at")
    walk.page.context.clear_cookies()
    walk.ask(number)
    link = portal.message(number).link
    portal.clock.now += 25 * HOUR_S
    walk.open(link, "expired link")
    walk.open("/", "start")
    walk.page.evaluate("document.querySelector('[name=jeton]').value = 'x'")
    walk.page.fill("#numero", number)
    walk.send("/demande", "a form that is not ours")


@pytest.mark.parametrize("way", [activation, account, others], ids=lambda way: way.__name__)
@pytest.mark.parametrize(("locale", "scheme"), [("fr-FR", "light"), ("en-GB", "dark")])
def test_axe_finds_nothing_on_any_page_and_none_scrolls_sideways(
    portal: Portal, browser: Browser, way: Callable[[Walk], None], locale: str, scheme: str
) -> None:
    with page_of(browser, portal.url, locale=locale, color_scheme=scheme) as page:
        walk = Walk(portal, page)
        way(walk)
    assert walk.found == []
    assert len(walk.seen) >= 10


@pytest.mark.parametrize(("locale", "scheme"), [("fr-FR", "light"), ("en-GB", "dark")])
def test_axe_finds_nothing_where_codes_go_by_sms(
    tmp_path: Path, browser: Browser, locale: str, scheme: str
) -> None:
    sms = {"url": "http://127.0.0.1:9/"}
    with (
        Portal(tmp_path, more={"sms": sms}) as portal,
        page_of(browser, portal.url, locale=locale, color_scheme=scheme) as page,
    ):
        walk = Walk(portal, page)
        walk.open("/", "start")
        page.fill("#numero", portal.student(mobile="+33612345678"))
        page.fill("#courriel", "+32 470 12 34 56")
        walk.send("/demande", "a number abroad")
        page.fill("#courriel", "06 12 34 56 78")
        walk.send("/demande", "code by SMS")
        walk.send("/renvoyer", "another SMS")
        page.fill("#code", "000000")
        walk.send("/code", "a wrong code")
        walk.open("/adresse-perdue", "a lost address")
    assert walk.found == []


def test_the_looking_finds_what_it_looks_for(browser: Browser) -> None:
    with page_of(browser) as page:
        page.set_content("<title>x</title><p>y</p>")
        assert not overflows(page)
        page.set_content('<title>x</title><div style="width:900px">y</div><img src="data:,">')
        assert overflows(page)
        assert any("image-alt" in one for one in violations(page))
        page.set_content("<title>x</title><main><h1>y</h1><h3>z</h3><button></button></main>")
        assert unheard(page) == ["a button without a name", "headings of levels [1, 3]"]
        page.set_content("<title>x</title><main><h1>y</h1><h2>z</h2><button>b</button></main>")
        assert unheard(page) == []


def test_the_whole_activation_works_by_the_keyboard_alone(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.id === 'contenu'")
        tab_to(page, "numero")
        page.keyboard.type(number)
        page.keyboard.press("Tab")
        page.keyboard.type(MAIL)
        page.keyboard.press("Enter")
        page.wait_for_url("**/code")
        tab_to(page, "code")
        page.keyboard.type(portal.message(number).code)
        page.keyboard.press("Enter")
        page.wait_for_url("**/mot-de-passe")
        tab_to(page, "mot_de_passe")
        page.keyboard.insert_text(GOOD)  # as pasting and password managers do
        tab_to(page, "confirmation")
        page.keyboard.insert_text(GOOD)
        tab_to(page, "charte")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        page.wait_for_url("**/compte")
    assert len(portal.said(number)) == 1


def tab_to(page: Page, name: str) -> None:
    """Press Tab until this element has the focus."""
    for _ in range(40):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached by Tab")


@pytest.mark.parametrize("password", ["azerty", "elodie", GOOD])
def test_nothing_moves_away_from_under_a_click_while_the_password_is_measured(
    portal: Portal, browser: Browser, password: str
) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:  # as wide as a telephone
        page.goto(portal.url)
        page.fill("#numero", number)
        page.fill("#courriel", MAIL)
        send(page, "/demande")
        page.fill("#code", portal.message(number).code)
        send(page, "/code")
        charter = page.locator("#charte")
        before = charter.bounding_box()
        page.fill("#mot_de_passe", password)
        page.wait_for_selector(".meter-words")
        assert charter.bounding_box() == before
        page.fill("#mot_de_passe", "")
        page.wait_for_selector(".meter-words", state="detached")
        assert charter.bounding_box() == before


def test_a_listener_hears_what_each_field_wants_and_what_is_wrong_with_it(
    portal: Portal, browser: Browser
) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        fields = [one for one in heard(page) if one.role == "textbox"]
        assert [one.name for one in fields] == ["Numéro d’étudiant", "Adresse électronique personnelle"]
        assert [(one.required, one.invalid) for one in fields] == [(True, False)] * 2
        assert "certificat de scolarité" in fields[0].description
        page.fill("#courriel", MAIL)
        send(page, "/demande")
        tree = heard(page)
        (alert,) = [one for one in tree if one.role == "alert"]
        assert (alert.name, alert.live) == ("Le formulaire contient des erreurs", "assertive")
        wrong = [one for one in tree if one.invalid]
        assert [one.name for one in wrong] == ["Numéro d’étudiant"]
        assert "Indiquez votre numéro d’étudiant" in wrong[0].description
        page.fill("#numero", number)
        send(page, "/demande")
        page.fill("#code", portal.message(number).code)
        send(page, "/code")
        assert [one.name for one in heard(page) if one.invalid] == []
        page.fill("#mot_de_passe", "azerty")
        page.wait_for_selector(".meter-words")
        tree = heard(page)
        assert [one.live for one in tree if one.role == "status"] == ["polite"]
        assert "Force du mot de passe" in [one.name for one in tree if one.role == "meter"]
        send(page, "/mot-de-passe")
        wrong = [one for one in heard(page) if one.invalid]
        assert [one.name for one in wrong] == ["Mot de passe", "J’ai lu la charte et je l’accepte."]
        assert "ne respecte pas les règles" in wrong[0].description
        assert "acceptez-la" in wrong[1].description


def test_a_listener_is_told_what_becomes_ready_and_what_fails(portal: Portal, browser: Browser) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    with page_of(browser, portal.url) as page:
        page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
        page.goto(portal.url + "/compte")
        spoken = page.locator("#annonce")
        put(portal, number, "directory", "provisioned", None)
        expect(spoken).to_have_text("2 services sur 4 sont prêts.")
        put(portal, number, "mailbox", "failed", "mailbox_full")
        expect(spoken).to_have_text("2 services sur 4 sont prêts. Messagerie : Échec.")
        assert page.locator("#annonce").get_attribute("role") == "status"
        assert [one.live for one in heard(page) if one.role == "status"] == ["polite"]


def test_errors_are_read_out_and_tied_to_their_fields(portal: Portal, browser: Browser) -> None:
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.fill("#numero", "pas un numéro")
        send(page, "/demande")
        assert page.evaluate("document.activeElement.id") == "erreurs"
        assert page.get_attribute("#erreurs", "role") == "alert"
        assert page.title().startswith("Erreur")
        for name in ("numero", "courriel"):
            described = (page.get_attribute(f"#{name}", "aria-describedby") or "").split()
            assert f"{name}-faute" in described
            assert page.get_attribute(f"#{name}", "aria-invalid") == "true"
            assert page.locator(f"#erreurs a[href='#{name}']").count() == 1
        assert page.input_value("#numero") == "pas un numéro"
