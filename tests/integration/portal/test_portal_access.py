"""`sesame access`: whoever follows its link may look, once, in one browser, and can change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from fastapi.routing import APIRoute
from sqlalchemy import select

from sesame.app.tables import metadata
from sesame.testing.servers.portal_kit import Portal, enter, put, running
from sesame.testing.servers.portal_reader import GOOD, Browser
from sesame.web.students.app import make_app

ELSEWHERE = "somebody@elsewhere.example"
OF_THE_SESSION = {"/deconnexion"}
"""What whoever looks may do: leave."""


def viewed(portal: Portal, browser: Browser, number: str) -> None:
    """Follow a link of the support desk."""
    browser.get(portal.context.access_link(number))
    assert browser.send("/acces").url.path == "/compte"


def kept(portal: Portal) -> dict[str, list[tuple[object, ...]]]:
    """All that the store holds, but how often somebody has tried something."""
    with portal.database.read() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for name, table in metadata.tables.items()
            if name not in ("throttles", "web_sessions")
        }


def posts(portal: Portal) -> Iterator[str]:
    """Every address of the pages that takes a form."""
    for included in make_app(portal.context, stopping=Event()).routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router is not None else ():
            if isinstance(route, APIRoute) and "POST" in (route.methods or ()):
                yield route.path


def test_a_redirection_cannot_be_asked_for_by_whoever_only_looks(portal: Portal) -> None:
    number = portal.active()
    with portal.browser() as browser:
        viewed(portal, browser, number)
        assert "/compte/redirection" not in browser.page.text
        token = {"jeton": portal.context.signing.form_token(browser.client.cookies["__Host-navigateur"])}
        asked = browser.client.post(
            "/compte/redirection", data={**token, "adresse": ELSEWHERE, "accord": "oui"}
        )
    assert (asked.status_code, "sans rien y changer" in asked.text) == (403, True)
    assert not portal.sink.messages(ELSEWHERE)


def test_no_form_of_any_page_changes_anything_for_whoever_only_looks(portal: Portal) -> None:
    number = portal.active(mail_redirect=None)
    running(portal, directory="running", mailbox="running", moodle="running")
    put(portal, number, "mailbox", "failed", "welcome_refused")
    fields = {"service": "mailbox", "adresse": ELSEWHERE, "accord": "oui", "dit": "x", "code": "000000"}
    fields |= {
        "mot_de_passe": GOOD,
        "confirmation": GOOD,
        "charte": "oui",
        "lien": "",
    }
    tried = 0
    with portal.browser() as browser:
        viewed(portal, browser, number)
        before = kept(portal)
        token = portal.context.signing.form_token(browser.client.cookies["__Host-navigateur"])
        for path in posts(portal):
            if path not in OF_THE_SESSION:
                asked = path.replace("{code}", "AAAAA-AAAAA")
                browser.client.post(asked, data={**fields, "jeton": token}, follow_redirects=False)
                tried += 1
        assert kept(portal) == before
        assert tried >= 12
        assert browser.get("/compte/aide").status_code == 403
        assert browser.get("/compte").status_code == 200  # it may still look
    with portal.browser() as owner:  # the same form, sent by its owner, does change something
        enter(portal, owner, number)
        owner.send("/compte/reessayer")
        assert kept(portal) != before


def test_the_page_that_is_looked_at_offers_nothing_that_would_be_refused(portal: Portal) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    put(portal, number, "mailbox", "failed", "welcome_refused")
    with portal.browser() as browser:
        viewed(portal, browser, number)
        page = browser.page.text
    assert page.count("<form") == 1
    assert 'action="/deconnexion"' in page
    assert "/compte/aide" not in page
    assert "lien de l’assistance" in page


def test_the_link_works_once_whoever_comes_second(portal: Portal) -> None:
    link = portal.context.access_link(portal.active())
    with portal.browser() as browser:
        for _ in range(3):
            assert browser.get(link).status_code == 200  # looking uses nothing up
        assert browser.get("/compte").status_code == 401
        browser.get(link)
        browser.send("/acces")
    with portal.browser() as second:
        page = second.get(link)
        assert (page.status_code, "déjà servi" in page.text) == (410, True)
        assert second.get("/compte").status_code == 401


def test_of_two_who_follow_it_at_once_one_is_let_in(portal: Portal) -> None:
    offer = portal.context.access_link(portal.active()).rpartition("/")[2]
    with ThreadPoolExecutor(8) as many:
        opened = list(many.map(portal.context.open_view, [offer] * 8))
    assert sum(session is not None for session in opened) == 1


def test_the_link_s_secret_is_no_session(portal: Portal) -> None:
    offer = portal.context.access_link(portal.active()).rpartition("/")[2]
    with portal.browser() as browser:
        browser.client.cookies.set("__Host-session", offer)
        assert browser.get("/compte").status_code == 401


def test_link_and_view_last_a_quarter_of_an_hour(portal: Portal) -> None:
    number = portal.active()
    link = portal.context.access_link(number)
    with portal.browser() as browser:
        viewed(portal, browser, number)
        portal.clock.now += 15 * 60 - 5
        assert browser.get("/compte").status_code == 200
        portal.clock.now += 10
        kept_longer = portal.context.session(browser.client.cookies.get("__Host-session"))
        assert kept_longer is None
        assert browser.get(link).status_code == 410


def test_a_new_password_ends_links_and_views(portal: Portal) -> None:
    number = portal.active()
    link = portal.context.access_link(number)
    with portal.browser() as looker, portal.browser() as owner:
        viewed(portal, looker, number)
        portal.prove(owner, number)
        owner.choose(charter=False)
        assert looker.get("/compte").status_code == 401
        assert looker.get(link).status_code == 410
