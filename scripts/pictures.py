#!/usr/bin/env python3
"""Take the documents' pictures of the pages and the console: `make pictures`.

The real pages and messages in a real Chromium: at the width of a telephone, by day; some at a desk's width,
by night. What would differ from one run to the next is held still: the student, the time, a case's code. So a
picture changes when its page does.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from playwright.sync_api import Browser, Page

from producers.activation.letters import Letters
from schemas.account import Pedagogical
from schemas.events import ActivationRequested
from sesame.acts.acts import Actor, Role
from sesame.operations.evidence.reviews import (
    ReviewDecision,
    ReviewOpening,
    ReviewRequest,
    decide,
    open_review,
    review,
)
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import morning
from sesame.testing.servers.portal_browser import chromium, page_of, session_cookie
from sesame.testing.servers.portal_kit import Portal, put, running
from sesame.testing.servers.portal_reader import GOOD
from sesame.testing.servers.registry_kit import enrolled

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
TELEPHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
MAIL_PROGRAM = {"width": 640, "height": 700}
LINKS = {
    "ent": "https://ent.univ-exemple.fr/",
    "mailbox": "https://webmail.univ-exemple.fr/",
    "moodle": "https://moodle.univ-exemple.fr/",
    "timetable": "https://edt.univ-exemple.fr/",
}
FRESH, WAITING, READY = "22700001", "22700002", "22700003"
MAIL = "lea.durand@courriel.example"
CODE = "QE8RPXE6DM"
COHORTS = (
    {"key": "{step}-{year}", "name": "{step_label} {year}"},
    {"key": "{step}-{year}-cours", "name": "{step_label} {year}, cours", "requires": "pedagogical"},
)
REGISTRY = {"mail_domain": "etu.univ-exemple.fr", "cohorts": COHORTS}


def main() -> None:
    """Take them all."""
    with (
        TemporaryDirectory() as folder,
        Portal(Path(folder), registry_settings=REGISTRY, wish={"links": LINKS}) as portal,
        patch("sesame.web.students.account.utc_now", portal.desk_time),
        patch("schemas.codes.new_code", lambda: CODE),
        chromium() as browser,
        page_of(browser, portal.url, viewport=TELEPHONE) as page,
    ):
        activate(portal, page)
        look_at_the_account(portal, page)
        look_at_the_rest(portal, page)
        with page_of(browser, portal.url, viewport=DESK, color_scheme="dark") as night:
            night.goto(portal.url)
            take(night, "start-night")
            enter(portal, night, READY)
            take(night, "green-night")
        for scheme in ("light", "dark"):
            with page_of(browser, portal.url, viewport=MAIL_PROGRAM, color_scheme=scheme) as mail:
                mail.set_content(letter(portal))
                take(mail, "mail" if scheme == "light" else "mail-night")
    with TemporaryDirectory() as folder, console(Path(folder)) as desk, chromium() as browser:
        look_at_the_console(desk, browser)


def console(folder: Path) -> ConsoleDesk:
    """A console with Moodle's settings, which are never used."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("0" * 32, encoding="ascii")
    moodle = {"base_url": "https://moodle.univ-exemple.fr", "token_file": token}
    return ConsoleDesk(folder, more={"moodle": moodle})


def look_at_the_console(desk: ConsoleDesk, browser: Browser) -> None:
    """Show a morning in September, by its pages."""
    students = morning(desk)
    views = {
        "now": "/console/",
        "person": "/console/personnes/{failed}",
        "failure": "/console/echecs/moodle/moodle_email_taken",
        "waiting": "/console/attente",
        "target": "/console/cibles/moodle",
        "import": "/console/imports/2",
    }
    for scheme, suffix in (("light", ""), ("dark", "-night")):
        with page_of(
            browser, desk.url, viewport=DESK, color_scheme=scheme, java_script_enabled=False
        ) as page:
            page.context.add_cookies([desk.cookie("operator")])  # type: ignore[list-item]
            for name, path in views.items():
                page.goto(desk.url + path.format(**students))
                take(page, f"{name}{suffix}", of="console")
    desk.portal.clock.now += 60.0
    odile = Actor("odile", frozenset({Role.OPERATOR}))
    open_review(desk.application, odile, ReviewOpening(days=30))
    first, second, *_ = review(desk.application, odile, ReviewRequest(component="SCI")).accounts
    for one, decision, reason in ((first, "keep", None), (second, "end", "partie en juin")):
        given = {"component": "SCI", "students": [one.student_number], "decision": decision, "reason": reason}
        decide(desk.application, odile, ReviewDecision.model_validate(given))
    with page_of(browser, desk.url, viewport=DESK, java_script_enabled=False) as page:
        page.context.add_cookies([desk.cookie("operator")])  # type: ignore[list-item]
        page.goto(f"{desk.url}/console/revue")
        take(page, "reviews", of="console", whole=False)
        page.goto(f"{desk.url}/console/revue/SCI")
        take(page, "review", of="console", whole=False)


def activate(portal: Portal, page: Page) -> None:
    """Take the way from number and address to the account and a redirection."""
    enrol(portal, FRESH)
    page.goto(portal.url)
    take(page, "start")
    page.fill("#numero", FRESH)
    page.fill("#courriel", MAIL)
    send(page, "/demande")
    code = portal.message(FRESH).code
    page.fill("#code", f"{(int(code.replace(' ', '')) + 1) % 10**6:06d}")
    send(page, "/code")
    page.fill("#code", "")
    take(page, "code")
    page.fill("#code", code)
    send(page, "/code")
    page.fill("#mot_de_passe", GOOD)
    page.wait_for_selector(".meter-words")
    take(page, "password")
    page.fill("#confirmation", GOOD)
    page.check("#charte")
    send(page, "/mot-de-passe")
    take(page, "first")
    portal.deliver(FRESH)
    page.click("#redirection summary")
    page.fill("#adresse", "lea.durand@ailleurs.example")
    page.check("#accord")
    send(page, "/compte/redirection")
    link = re.search(r"https://\S+/redirection/\S+", portal.message(FRESH, count=2).text)
    page.goto("" if link is None else link[0])
    take(page, "redirect")


def look_at_the_account(portal: Portal, page: Page) -> None:
    """Causes with their services, a case, and all green."""
    enrol(portal, WAITING, pedagogical=Pedagogical.PENDING)
    running(portal, directory="running", mailbox="open", moodle="running")
    put(portal, WAITING, "directory", "provisioned", None)
    pending = '["Licence 1 Informatique 2026, cours"]'
    put(portal, WAITING, "moodle", "waiting", "pedagogical_enrolment_pending", pending)
    enter(portal, page, WAITING)
    take(page, "causes")
    page.goto(f"{portal.url}/compte/aide")
    page.fill("#dit", "Moodle dit : vous n'êtes inscrit à aucun cours.")
    send(page, "/compte/aide")
    take(page, "case")
    enrol(portal, READY)
    running(portal, directory="running", mailbox="running", moodle="running")
    for target in ("directory", "mailbox", "moodle"):
        put(portal, READY, target, "provisioned", None)
    enter(portal, page, READY)
    take(page, "green")


def letter(portal: Portal) -> str:
    """A new student's message, in HTML."""
    letterhead = replace(portal.settings.letterhead, portal_url="https://compte.univ-exemple.fr")
    letters = Letters(letterhead, 24.0, portal.desk_time)
    says = {"to": MAIL, "number": FRESH, "link": "h7Jx2.Qw9k", "code": "418062", "activated": False}
    part = letters.write("password", "fr", says).get_body(("html",))
    return "" if part is None else str(part.get_content())


def look_at_the_rest(portal: Portal, page: Page) -> None:
    """Show the pages at the foot, a lost address, and a missing page."""
    for path, name in (
        ("/adresse-perdue", "lost"),
        ("/accessibilite", "accessibility"),
        ("/donnees", "privacy"),
        ("/nulle-part", "missing"),
    ):
        page.goto(portal.url + path)
        take(page, name)


def enrol(portal: Portal, number: str, pedagogical: Pedagogical = Pedagogical.VALIDATED) -> None:
    """Record a student's enrolment and activation; the first student is not activated."""
    fact = enrolled(number, 1, birth_name="Durand", personal_mail=MAIL, pedagogical=pedagogical)
    portal.apply(fact.model_copy(update={"birth_date": date(2008, 1, int(number[-1]))}))
    if number != FRESH:
        portal.apply(ActivationRequested(student_number=number, credential_ref=None))


def enter(portal: Portal, page: Page, number: str) -> None:
    """Open a student's page, in that student's session."""
    page.context.add_cookies([session_cookie(portal, number)])  # type: ignore[list-item]
    page.goto(f"{portal.url}/compte")


def send(page: Page, action: str) -> None:
    """Send a form."""
    with page.expect_navigation():
        page.click(f"form[action='{action}'] button[type=submit]")


def take(page: Page, name: str, *, of: str = "portal", whole: bool = True) -> None:
    """Take one picture, of the whole page or of what is seen at first."""
    file = f"{of}-{name}.png"
    page.screenshot(path=FOLDER / file, full_page=whole, animations="disabled", caret="hide")
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
