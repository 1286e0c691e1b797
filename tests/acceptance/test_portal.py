"""A student's first morning in a real browser: from the registrar's file to all green, and otherwise."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.demo.play import Cast
from sandbox.demo.world import World
from sandbox.process import wait_until
from tests.acceptance.acting import world_with_accounts
from tests.integration.portal_browser import chromium, page_of

STUDENTS = 12
PASSWORD = "Tournesol-42!Zèbre"


@dataclass
class Morning:
    """The world, the students who may activate, and a browser."""

    world: World
    cast: Cast
    browser: Browser
    left: list[str]

    def student(self) -> str:
        """A student who has not activated yet, has an enrolment in force and a personal address."""
        return self.left.pop(0)

    def mail_of(self, number: str) -> str:
        """The personal address, as the registrar's file has it."""
        return mails(self.cast.file)[number]

    @contextlib.contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """A page in a browser of its own."""
        with page_of(self.browser, self.world.pages.url, self.world.cas.url, **options) as page:
            yield page

    def letter(self, number: str, count: int = 1) -> str:
        """The text of the newest message about a student."""

        def texts() -> list[str]:
            bodies = [message.get_body(("plain",)) for message in self.world.pages.mail.messages()]
            found = [str(body.get_content()) for body in bodies if body is not None]
            return [text for text in found if number in text]

        wait_until(lambda: len(texts()) >= count, f"message {count} about {number}", 30.0)
        return texts()[-1]

    def ask(self, page: Page, number: str) -> None:
        """Ask for a message."""
        page.goto(self.world.pages.url)
        page.fill("#numero", number)
        page.fill("#courriel", self.mail_of(number))
        page.click("main form button")
        page.wait_for_url("**/code")

    def prove(self, page: Page, number: str, count: int = 1) -> None:
        """Type the code of the newest message."""
        code = re.search(r"^(\d{3} \d{3})\s*$", self.letter(number, count), re.MULTILINE)
        assert code is not None
        page.fill("#code", code[1])
        page.click("form[action='/code'] button")
        page.wait_for_url("**/mot-de-passe")

    def choose(self, page: Page, password: str = PASSWORD) -> None:
        """Choose a password, and accept the charter if it is shown."""
        page.fill("#mot_de_passe", password)
        page.fill("#confirmation", password)
        if page.locator("#charte").count():
            page.check("#charte")
        page.click("form[action='/mot-de-passe'] button")
        page.wait_for_url("**/compte")


def mails(file: Path) -> dict[str, str]:
    """Personal addresses by student number, of those who have one."""
    with file.open(encoding="utf-8", newline="") as lines:
        return {
            row["COD_ETU"]: row["MAIL_PERSO"]
            for row in csv.DictReader(lines, delimiter=";")
            if row["MAIL_PERSO"]
        }


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Morning]:
    """One world for this file."""
    records = tmp_path_factory.mktemp("records")
    with chromium() as browser, world_with_accounts(records, STUDENTS) as (world, cast):
        world.start_pages()
        reachable = mails(cast.file)
        left = [n for n, student in cast.students.items() if student.complete and n in reachable]
        yield Morning(world, cast, browser, left)


def test_from_the_registrar_s_file_to_all_green_without_reloading(morning: Morning) -> None:
    number = morning.student()
    with morning.page() as page:
        morning.ask(page, number)
        morning.prove(page, number)
        morning.choose(page)
        login = page.locator("dl strong").inner_text()
        assert login
        page.evaluate("window.kept = true")
        for name in ("directory", "mailbox", "moodle"):
            expect(page.locator(f"[data-service={name}][data-state=ready]")).to_be_visible()
        assert page.evaluate("window.kept") is True
        page.click("[data-service=cas] a.button")
        page.fill("#id_username", login)
        page.fill("#id_password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{morning.world.pages.url}/compte")
        expect(page.get_by_text("Tout est prêt.").first).to_be_visible()
        expect(page.locator("[data-service=cas][data-state=ready]")).to_be_visible()
