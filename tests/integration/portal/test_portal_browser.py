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
