"""How the pages look with a university's own colour, logo and links; and what they weigh."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from sesame.testing.servers.portal_browser import page_of, session_cookie, violations
from sesame.testing.servers.portal_kit import Portal, put, running

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 40">'
    '<rect width="120" height="40" fill="#7a0019"/></svg>'
)
LINKS = {
    "moodle": "https://moodle.univ.example/",
    "mailbox": "https://webmail.univ.example/",
    "timetable": "https://edt.univ.example/",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_student_can_start_from_each_green_service_by_its_link(
    tmp_path: Path, browser: Browser, scheme: str
) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text(LOGO, encoding="utf-8")
    own = {
        "color": "#7a0019",
        "logo_file": logo,
        "links": LINKS,
        "institution": "Université de démonstration",
    }
    with Portal(tmp_path, wish=own) as portal, page_of(browser, portal.url, color_scheme=scheme) as page:
        number = portal.active()
        running(portal, directory="running", mailbox="running", moodle="running")
        put(portal, number, "directory", "provisioned", None)
        put(portal, number, "mailbox", "provisioned", None)
        put(portal, number, "moodle", "failed", "moodle_refused")
        page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
        page.goto(portal.url + "/compte")
        expect(page.get_by_role("heading", level=1)).to_have_text("Bonjour Léa, vous pouvez commencer.")
        expect(page.get_by_role("link", name="Lire mes messages")).to_have_attribute("href", LINKS["mailbox"])
        expect(page.get_by_role("link", name="Voir mon emploi du temps")).to_have_attribute(
            "href", LINKS["timetable"]
        )
        assert page.get_by_role("link", name="Ouvrir Moodle").count() == 0, "it is not ready"
        assert page.evaluate("document.querySelector('img.logo').naturalWidth") > 0
        assert violations(page) == []
        put(portal, number, "moodle", "provisioned", None)
        expect(page.get_by_role("link", name="Ouvrir Moodle")).to_have_attribute("href", LINKS["moodle"])


def test_the_first_page_weighs_less_than_30_kb_with_all_that_it_loads(
    portal: Portal, browser: Browser
) -> None:
    with page_of(browser, portal.url) as page:
        sizes: list[int] = []
        page.on("response", lambda response: sizes.append(len(response.body())))
        page.goto(portal.url, wait_until="networkidle")
    assert len(sizes) >= 3
    assert sum(sizes) < 30_000


def test_the_foot_of_every_page_leads_to_what_the_law_wants_said(portal: Portal, browser: Browser) -> None:
    with page_of(browser, portal.url) as page:
        page.goto(portal.url + "/nulle-part")
        page.get_by_role("link", name="Accessibilité : non conforme").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Déclaration d’accessibilité")
        page.get_by_role("link", name="Données personnelles").click()
        expect(page.locator("main")).to_contain_text("dpo@univ-exemple.fr")
        expect(page.locator("main")).to_contain_text("CNIL")
        page.goto(portal.url)
        page.get_by_role("link", name="Je n’ai plus accès à cette adresse").click()
        expect(page.locator("main")).to_contain_text("Le service de la scolarité de votre composante")
        expect(page.locator("main")).to_contain_text("pièce d’identité")
