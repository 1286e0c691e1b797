"""The console's pages in a real Chromium: axe, zoom, keyboard, both languages, light and dark, live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.process import wait_until
from sesame.login import cas_sessions
from sesame.testing.servers.console_kit import COOKIE, ConsoleDesk
from sesame.testing.servers.console_scene import at_work, given_up, morning
from sesame.testing.servers.portal_browser import ZOOMED, overflows, page_of, unheard, violations

DESK = {"width": 1360, "height": 900}
VIEWS = (
    "/console/",
    "/console/login",
    "/console/nulle-part",
    "/console/personnes",
    "/console/personnes?q=essai",
    "/console/personnes?q=nobody-at-all",
    "/console/personnes?q=cause:moodle_email_taken",
    "/console/personnes/{failed}",
    "/console/personnes/{waiting}?direct=true",
    "/console/personnes/22000000",
    "/console/personnes/{complete}/fusion?autre={doubt}",
    "/console/personnes/{complete}/lettre",
    "/console/effacements",
    "/console/echecs",
    "/console/echecs?student={failed}",
    "/console/echecs/moodle/moodle_email_taken",
    "/console/relances",
    "/console/attente",
    "/console/attente?cause=pedagogical_enrolment_pending",
    "/console/attente/cohortes",
    "/console/cibles",
    "/console/cibles/moodle",
    "/console/plans",
    "/console/journal",
    "/console/questions",
    "/console/questions/personnes/{doubt}",
    "/console/questions/objets/{question}",
    "/console/imports",
    "/console/imports/2",
    "/console/imports/3",
)


@dataclass
class Scene:
    """A console on a morning in September; students by what they are there for."""

    desk: ConsoleDesk
    students: Mapping[str, str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for this file."""
    with ConsoleDesk(tmp_path_factory.mktemp("console")) as desk:
        yield Scene(desk, morning(desk))


def looked_at(page: Page) -> list[str]:
    """What is wrong with the present page."""
    found = [*violations(page), *unheard(page)]
    page.set_viewport_size(ZOOMED)  # type: ignore[arg-type]
    if overflows(page):
        found.append("scrolls sideways at 400 %")
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    if page.locator("[style]").count() or not page.title() or page.locator("h1").count() != 1:
        found.append("title, heading, or a style of an element's own")
    return [f"{page.url}: {one}" for one in found]


@pytest.mark.parametrize(("locale", "scheme"), [("fr-FR", "light"), ("en-GB", "dark")])
def test_axe_finds_nothing_on_any_view_and_none_scrolls_sideways(
    scene: Scene, browser: Browser, locale: str, scheme: str
) -> None:
    found = []
    with page_of(browser, scene.desk.url, locale=locale, color_scheme=scheme, viewport=DESK) as page:
        for view in VIEWS:
            page.context.clear_cookies()
            if view != "/console/login":
                page.context.add_cookies([scene.desk.cookie("operator")])  # type: ignore[list-item]
            page.goto(scene.desk.url + view.format(**scene.students))
            assert page.get_attribute("html", "lang") == locale[:2]
            found += looked_at(page)
    assert found == []


def test_the_page_is_kept_live_and_says_aloud_what_is_worst(scene: Scene, browser: Browser) -> None:
    with page_of(browser, scene.desk.url, viewport=DESK) as page:
        page.context.add_cookies([scene.desk.cookie("viewer")])  # type: ignore[list-item]
        page.goto(scene.desk.url + "/console/")
        expect(page.locator("#pire")).to_have_text("Moodle : 12 étudiants en échec pour une même cause.")
        expect(page.locator("#direct")).to_be_visible()
        at_work(scene.desk, moodle="quarantined")
        expect(page.locator("#pire")).to_contain_text("Moodle : en quarantaine")
        expect(page.locator("#annonce")).to_contain_text("Moodle : en quarantaine")
        assert page.get_attribute("#annonce", "role") == "status"
        at_work(scene.desk, silent=("moodle",))
        expect(page.locator("#pire")).to_contain_text("12 étudiants en échec")


def test_a_live_page_ends_with_its_session(scene: Scene, browser: Browser) -> None:
    with page_of(browser, scene.desk.url, viewport=DESK) as page:
        page.context.add_cookies([scene.desk.cookie("viewer")])  # type: ignore[list-item]
        page.goto(scene.desk.url + "/console/")
        expect(page.locator("#direct")).to_be_visible()
        token = next(each["value"] for each in page.context.cookies() if each["name"] == COOKIE)
        end_session(scene.desk, token)
        expect(page.locator("#recharger")).to_be_visible()


def end_session(desk: ConsoleDesk, token: str) -> None:
    """As a single logout ends it."""
    with desk.portal.database.write() as connection:
        cas_sessions.end(connection, token, now=desk.portal.clock.now)


def test_the_palette_opens_by_the_keyboard_and_leads_to_a_place(scene: Scene, browser: Browser) -> None:
    with page_of(browser, scene.desk.url, viewport=DESK) as page:
        page.context.add_cookies([scene.desk.cookie("operator")])  # type: ignore[list-item]
        page.goto(scene.desk.url + "/console/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Control+k")
        expect(page.locator("#aller")).to_be_focused()
        page.keyboard.type("maint")
        expect(page.locator("#palette li a")).to_have_count(1)
        assert violations(page) == []
        page.keyboard.press("ArrowDown")
        expect(page.locator("#palette li a")).to_be_focused()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.url == scene.desk.url + "/console/"
        page.keyboard.press("Control+k")
        page.keyboard.press("Escape")
        expect(page.locator("#palette")).not_to_be_visible()


def test_the_first_page_is_light_and_works_without_scripts(scene: Scene, browser: Browser) -> None:
    with page_of(browser, scene.desk.url, viewport=DESK, java_script_enabled=False) as page:
        page.context.add_cookies([scene.desk.cookie("operator")])  # type: ignore[list-item]
        sizes: list[int] = []
        page.on("response", lambda response: sizes.append(len(response.body())))
        page.goto(scene.desk.url + "/console/", wait_until="networkidle")
        assert len(sizes) >= 2
        assert sum(sizes) < 50_000
        given_up(scene.desk, scene.desk.portal.active(), "mailbox", "mailbox_busy")

        def refreshed() -> str | None:
            page.get_by_role("link", name="Actualiser").click()
            return page.locator(".figure.bad").text_content()

        wait_until(lambda: refreshed() == "15", "the page to show what is newer than a moment")


def test_students_are_escaped_and_the_answer_is_guarded(scene: Scene) -> None:
    with scene.desk.browser("operator") as browser:
        answer = browser.get("/console/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert "<script>alert" not in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
    with scene.desk.browser("operator", Host="elsewhere.example") as browser:
        assert browser.get("/console/").status_code == 421


def test_a_student_is_found_and_access_is_shut_by_the_keyboard_alone(scene: Scene, browser: Browser) -> None:
    number = scene.desk.portal.active()
    with page_of(browser, scene.desk.url, viewport=DESK) as page:
        page.context.add_cookies([scene.desk.cookie("support", login="odile")])  # type: ignore[list-item]
        page.goto(scene.desk.url + "/console/")
        page.keyboard.press("Control+k")
        page.keyboard.type(number)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/personnes/{number}")
        tab_to(page, "summary", "Fermer l’accès")
        page.keyboard.press("Enter")
        tab_to(page, "#bloquer-raison")
        page.keyboard.type("perdu, dit-elle")
        page.keyboard.press("Enter")
        page.wait_for_url("**fait=**")
        expect(page.locator(".notice")).to_contain_text("Demandé")
        expect(page.locator(".line")).to_contain_text("perdu, dit-elle")


def tab_to(page: Page, selector: str, text: str = "") -> None:
    """Press Tab until this element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "([s, t]) => document.activeElement.matches(s) && document.activeElement.textContent.includes(t)",
            [selector, text],
        )
        if here:
            return
    raise AssertionError(f"{selector} cannot be reached by Tab")
