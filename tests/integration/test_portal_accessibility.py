"""Every students' page in every state: axe, zoom at 400 %, keyboard, both languages, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from sesame.web import signing
from tests.integration.portal_browser import PHONE, ZOOMED, chromium, overflows, page_of, violations
from tests.integration.portal_kit import GOOD, MAIL, Portal, put, running

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for this file; each test has a context of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file: each test has students of its own."""
    with Portal(tmp_path_factory.mktemp("portal"), wish={"address_burst": 10_000}) as portal:
        yield portal


class Walk:
    """Walks through the pages, and looks at each."""

    def __init__(self, portal: Portal, page: Page) -> None:
        self.portal, self.page = portal, page
        self.found: list[str] = []
        self.seen: list[str] = []

    def look(self, name: str) -> None:
        """Look at the present page."""
        self.seen.append(name)
        self.found += [f"{name}: {one}" for one in violations(self.page)]
        self.page.set_viewport_size(ZOOMED)  # type: ignore[arg-type]
        if overflows(self.page):
            self.found.append(f"{name}: scrolls sideways at 400 %")
        self.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        lang, title = self.page.get_attribute("html", "lang"), self.page.title()
        if lang not in ("fr", "en") or not title or self.page.locator("h1").count() != 1:
            self.found.append(f"{name}: language, title or heading")

    def open(self, path: str, name: str) -> None:
        """Open a page, and look at it."""
        self.page.goto(self.portal.url + path if path.startswith("/") else path)
        self.look(name)

    def send(self, action: str, name: str = "") -> None:
        """Send a form, and look at what comes."""
        with self.page.expect_navigation():
            self.page.click(f"form[action='{action}'] button[type=submit]")
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
    walk.open("/nulle-part", "missing")
    walk.open("/compte", "no session")
    walk.open("/mot-de-passe", "no grant")
    walk.open("/lien/x.y", "unknown link")
    walk.open("/redirection/x.y", "unknown redirection")
    walk.open("/acces/x", "unknown access")
    walk.open(f"/acces/{portal.desk.signing.sign(signing.ACCESS, number)}", "access")
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


def test_the_looking_finds_what_it_looks_for(browser: Browser) -> None:
    with page_of(browser) as page:
        page.set_content("<title>x</title><p>y</p>")
        assert not overflows(page)
        page.set_content('<title>x</title><div style="width:900px">y</div><img src="data:,">')
        assert overflows(page)
        assert any("image-alt" in one for one in violations(page))


def test_the_whole_activation_works_by_the_keyboard_alone(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "contenu"
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


def test_errors_are_read_out_and_tied_to_their_fields(portal: Portal, browser: Browser) -> None:
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.fill("#numero", "pas un numéro")
        with page.expect_navigation():
            page.click("form[action='/demande'] button")
        assert page.evaluate("document.activeElement.id") == "erreurs"
        assert page.get_attribute("#erreurs", "role") == "alert"
        assert page.title().startswith("Erreur")
        for name in ("numero", "courriel"):
            described = (page.get_attribute(f"#{name}", "aria-describedby") or "").split()
            assert f"{name}-faute" in described
            assert page.get_attribute(f"#{name}", "aria-invalid") == "true"
            assert page.locator(f"#erreurs a[href='#{name}']").count() == 1
        assert page.input_value("#numero") == "pas un numéro"


def test_without_a_script_everything_works_by_refreshing(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with page_of(browser, portal.url, java_script_enabled=False) as page:
        page.goto(portal.url)
        page.fill("#numero", number)
        page.fill("#courriel", MAIL)
        page.click("form[action='/demande'] button")
        page.fill("#code", portal.message(number).code)
        page.click("form[action='/code'] button")
        page.fill("#mot_de_passe", GOOD)
        page.fill("#confirmation", GOOD)
        page.check("#charte")
        page.click("form[action='/mot-de-passe'] button")
        page.wait_for_url("**/compte")
        portal.deliver(number)
        running(portal, directory="running", mailbox="running", moodle="running")
        for target in ("directory", "mailbox", "moodle"):
            put(portal, number, target, "provisioned", None)
        with page.expect_navigation():
            page.click("text=Actualiser cette page")
        assert page.get_by_text("Tout est prêt.").count() == 1


def test_the_page_follows_the_account_without_reloading_and_says_so_aloud(
    portal: Portal, browser: Browser
) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    with page_of(browser, portal.url) as page:
        page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
        page.goto(portal.url + "/compte")
        page.evaluate("window.kept = true")
        for target in ("directory", "mailbox", "moodle"):
            put(portal, number, target, "provisioned", None)
        page.wait_for_selector("[data-service=moodle][data-state=ready]")
        page.wait_for_function("document.getElementById('annonce').textContent.includes('Tout est prêt')")
        assert page.evaluate("window.kept") is True


def session_cookie(portal: Portal, number: str) -> dict[str, Any]:
    """A session of this student, as the browser keeps it."""
    value = portal.desk.open_session(number, "link")
    return {"name": "__Host-session", "value": value, "url": portal.url, "secure": True, "httpOnly": True}


def test_a_double_click_activates_once(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.fill("#numero", number)
        page.fill("#courriel", MAIL)
        page.dblclick("form[action='/demande'] button")
        page.wait_for_url("**/code")
        page.fill("#code", portal.message(number).code)
        page.dblclick("form[action='/code'] button")
        page.wait_for_url("**/mot-de-passe")
        page.fill("#mot_de_passe", GOOD)
        page.fill("#confirmation", GOOD)
        page.check("#charte")
        page.dblclick("form[action='/mot-de-passe'] button")
        page.wait_for_url("**/compte")
        page.go_back()
        page.goto(portal.url + "/compte")
        assert page.locator("dl strong").count() == 1
    assert len(portal.said(number)) == 1


def test_the_back_button_after_a_fault_and_a_success_leads_to_words(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with page_of(browser, portal.url) as page:
        page.goto(portal.url)
        page.fill("#numero", number)
        page.fill("#courriel", MAIL)
        page.get_by_role("button", name="Recevoir mon code").click()
        page.fill("#code", portal.message(number).code)
        page.locator('form[action="/code"] button').dblclick()
        page.wait_for_url("**/mot-de-passe")
        chosen = page.locator('form[action="/mot-de-passe"]')
        chosen.locator('[type="submit"]').click()
        page.wait_for_selector("#erreurs")
        chosen.locator('[name="mot_de_passe"]').fill(GOOD)
        chosen.locator('[name="confirmation"]').fill(GOOD)
        chosen.locator('[name="charte"]').check()
        chosen.locator('[type="submit"]').click()
        page.wait_for_url("**/compte")
        page.go_back()
        assert page.inner_text("h1") == "Ce message a déjà servi"
        page.get_by_role("link", name="Voir où en est mon compte").click()
        page.wait_for_url("**/compte")
    assert len(portal.said(number)) == 1
