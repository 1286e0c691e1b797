"""What students do in a real browser: without a script, twice, backwards, in two tabs, and in vain."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from playwright.sync_api import Browser, Locator, Page, Route, expect

from sesame.testing.servers.portal_browser import page_of, send, session_cookie
from sesame.testing.servers.portal_kit import Portal, put, running
from sesame.testing.servers.portal_reader import GOOD, MAIL
from sesame.testing.servers.registry_kit import cancelled


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
        expect(page.get_by_role("heading", level=1)).to_contain_text("Bonjour")
        portal.clock.now += 600.0
        page.goto(portal.url + "/mot-de-passe")
        expect(page.get_by_role("heading", level=1)).to_have_text("Ce message a déjà servi")
        page.get_by_role("link", name="Voir où en est mon compte").click()
        page.wait_for_url("**/compte")
    assert len(portal.said(number)) == 1


# --- in vain ----------------------------------------------------------------------------------------------


@dataclass
class Hand:
    """A student's hand on a telephone."""

    portal: Portal
    page: Page

    @property
    def heading(self) -> Locator:
        """What the page says first."""
        return self.page.get_by_role("heading", level=1)

    def send(self, action: str) -> None:
        """Touch the button of a form, and see the next page."""
        send(self.page, action)

    def ask(self, number: str, mail: str = MAIL) -> None:
        """Ask for a message."""
        self.page.goto(self.portal.url)
        self.page.fill("#numero", number)
        self.page.fill("#courriel", mail)
        self.send("/demande")

    def type(self, code: str) -> None:
        """Type a code."""
        self.page.fill("#code", code)
        self.send("/code")

    def choose(self, password: str = GOOD) -> None:
        """Choose a password."""
        self.page.fill("#mot_de_passe", password)
        self.page.fill("#confirmation", password)
        self.page.check("#charte")
        self.send("/mot-de-passe")

    def lose(self, action: str) -> None:
        """Touch the button; the server does it, and its answer is lost on the way."""
        trusted = ssl.create_default_context(cafile=str(self.portal.ca.ca_file))

        def answer_lost(route: Route) -> None:
            headers = route.request.all_headers()
            kept = {
                name: value for name, value in headers.items() if name in ("cookie", "origin", "content-type")
            }
            httpx.post(route.request.url, content=route.request.post_data, headers=kept, verify=trusted)
            route.abort("connectionreset")

        self.page.route(self.portal.url + action, answer_lost, times=1)
        with self.page.expect_event("requestfailed"):
            self.page.click(f"form[action='{action}'] button[type=submit]")
        self.page.wait_for_url("chrome-error://**")


@contextlib.contextmanager
def hand(portal: Portal, browser: Browser) -> Iterator[Hand]:
    """A telephone of its own."""
    with page_of(browser, portal.url, "chrome-error://") as page:
        yield Hand(portal, page)


def test_five_wrong_codes_are_counted_down_and_the_message_s_link_still_works(
    portal: Portal, browser: Browser
) -> None:
    number = portal.student()
    with hand(portal, browser) as one:
        one.ask(number)
        letter = portal.message(number)
        wrong = f"{(int(letter.code.replace(' ', '')) + 1) % 10**6:06d}"
        for left in ("4 essais", "3 essais", "2 essais", "1 essai."):
            one.type(wrong)
            expect(one.page.locator("#code-faute")).to_contain_text(f"Il reste {left}")
        for code in (wrong, letter.code):
            one.type(code)
            expect(one.page.locator("#code-faute")).to_contain_text("ouvrez le lien du message")
        one.page.goto(letter.link)
        one.send("/lien")
        one.choose()
        expect(one.heading).to_contain_text("Bonjour")
    assert len(portal.said(number)) == 1


def test_an_expired_link_and_a_used_one_say_so_and_lead_on(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with hand(portal, browser) as one:
        one.ask(number)
        portal.clock.now += 25 * 3600.0
        one.page.goto(portal.message(number).link)
        expect(one.heading).to_have_text("Ce lien a expiré")
        one.send("/lien/nouveau")
        fresh = portal.message(number, count=2)
        one.type(fresh.code)
        one.choose()
        one.page.goto(fresh.link)
        expect(one.heading).to_have_text("Ce lien a déjà servi")
        one.page.click("text=Voir où en est mon compte")
        expect(one.heading).to_contain_text("Bonjour")


def test_two_tabs_come_to_one_password_and_one_page(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with hand(portal, browser) as one:
        one.ask(number)
        one.type(portal.message(number).code)
        other = Hand(portal, one.page.context.new_page())
        other.page.goto(portal.url + "/mot-de-passe")
        one.choose()
        other.choose("Marguerite-77-Zébu!")
        for tab in (one, other):
            expect(tab.heading).to_contain_text("Bonjour")
    assert len(portal.said(number)) == 1


def test_a_registrar_who_cancels_in_the_middle_is_seen_on_the_page(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    running(portal, directory="running", mailbox="running", moodle="running")
    with hand(portal, browser) as one:
        one.ask(number)
        one.type(portal.message(number).code)
        portal.apply(cancelled(number, 10**9))
        one.choose()
        portal.deliver(number)
        expect(one.page.locator("[data-rule=enrolment_cancelled]")).to_be_visible()


def test_two_students_with_one_address_come_each_to_their_own(portal: Portal, browser: Browser) -> None:
    numbers = [portal.student("famille@perso.example") for _ in range(2)]
    with hand(portal, browser) as one, hand(portal, browser) as other:
        for tab, number in zip((one, other), numbers, strict=True):
            tab.ask(number, "famille@perso.example")
        letters = [portal.message(number) for number in numbers]
        one.type(letters[1].code)  # the other one's: both messages are in one mailbox
        expect(one.page.locator("#code-faute")).to_contain_text("Il reste 4 essais")
        for tab, letter, number in zip((one, other), letters, numbers, strict=True):
            tab.type(letter.code)
            tab.choose()
            expect(tab.page.locator("dl")).to_contain_text(number)


def test_answers_that_are_lost_at_every_step_cost_a_second_touch_and_nothing_else(
    portal: Portal, browser: Browser
) -> None:
    number = portal.student()
    with hand(portal, browser) as one:
        one.page.goto(portal.url)
        one.page.fill("#numero", number)
        one.page.fill("#courriel", MAIL)
        one.lose("/demande")
        first = portal.message(number)
        one.ask(number)
        one.page.fill("#code", first.code)
        one.lose("/code")
        one.page.goto(portal.url + "/code")
        one.type(first.code)
        one.page.fill("#mot_de_passe", GOOD)
        one.page.fill("#confirmation", GOOD)
        one.page.check("#charte")
        one.lose("/mot-de-passe")
        one.page.go_back()  # to the form, or what it has led to
        expect(one.heading).to_contain_text("Bonjour")
    assert len(portal.said(number)) == 1


def test_a_page_that_was_without_a_network_goes_on(portal: Portal, browser: Browser) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    with hand(portal, browser) as one:
        one.page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
        one.page.goto(portal.url + "/compte")
        one.page.evaluate("window.kept = true")
        one.page.context.set_offline(True)
        for target in ("directory", "mailbox", "moodle"):
            put(portal, number, target, "provisioned", None)
        portal.restart()  # as a telephone does that has changed its mast
        one.page.context.set_offline(False)
        expect(one.page.locator("[data-service=moodle][data-state=ready]")).to_be_visible()
        assert one.page.evaluate("window.kept") is True


def test_a_page_whose_live_part_was_refused_asks_again(portal: Portal, browser: Browser) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    asked: list[str] = []

    def refuse_once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503)
        else:
            route.continue_()

    with hand(portal, browser) as one:
        one.page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
        one.page.route("**/compte/flux", refuse_once)
        one.page.goto(portal.url + "/compte")
        for target in ("directory", "mailbox", "moodle"):
            put(portal, number, target, "provisioned", None)
        expect(one.page.locator("[data-service=moodle][data-state=ready]")).to_be_visible()
        assert len(asked) == 2


def test_a_mistyped_address_can_be_read_again_beside_the_code(portal: Portal, browser: Browser) -> None:
    number = portal.student()
    with hand(portal, browser) as one:
        one.ask(number, "lea.martin@pesro.example")
        expect(one.page.get_by_text("lea.martin@pesro.example")).to_be_visible()
        one.page.click("text=Corriger mon numéro ou mon adresse")
        expect(one.page.locator("#courriel")).to_be_visible()
    assert portal.sink.messages("lea.martin@pesro.example") == []
