"""A student's first morning in a real browser: from the registrar's file to all green, and otherwise."""

from __future__ import annotations

import base64
import contextlib
import csv
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.demo.play import Cast
from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from sesame.app.wiring import Application, build
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.operations.people.diagnosis.situation import Situation
from sesame.settings import load
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in, search
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.portal_browser import chromium, page_of, send
from tests.acceptance.acting import world_with_accounts

STUDENTS = 20
PASSWORD = "Tournesol-42!Zèbre"


@dataclass
class Morning:
    """The world, an application of the test's own on its store, the students who may activate, a browser."""

    world: World
    app: Application
    cast: Cast
    browser: Browser
    left: list[str]

    def student(self) -> str:
        """A student who has not activated yet, has an enrolment in force and a personal address."""
        return self.left.pop(0)

    def mail_of(self, number: str) -> str:
        """The personal address, as the registrar's file has it."""
        return mails(self.cast.file)[number]

    def registrar_says(self, number: str, **columns: str) -> None:
        """Import the student's lines again, with other values."""
        with self.cast.file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=";")
            rows = [row | columns for row in reader if row["COD_ETU"] == number]
        file = self.world.private / "changed.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
        self.world.sesame.run("import", file)

    def known(self, number: str) -> Situation:
        """What the registry knows of a student."""
        return diagnose(self.app, number, live=False).situation

    @contextlib.contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """A page in a browser of its own."""
        with page_of(self.browser, self.world.pages.url, self.world.cas.url, **options) as page:
            yield page

    @contextlib.contextmanager
    def proven(self, number: str, address: str = "") -> Iterator[Page]:
        """The page of a student who has typed the code and is to choose a password."""
        with self.page() as page:
            self.ask(page, number, address)
            self.prove(page, number)
            yield page

    def letter(self, number: str, count: int = 1) -> str:
        """The text of the newest message about a student."""

        def texts() -> list[str]:
            bodies = [message.get_body(("plain",)) for message in self.world.pages.mail.messages()]
            found = [str(body.get_content()) for body in bodies if body is not None]
            return [text for text in found if number in text]

        wait_until(lambda: len(texts()) >= count, f"message {count} about {number}")
        return texts()[-1]

    def ask(self, page: Page, number: str, address: str = "") -> None:
        """Ask for a message."""
        page.goto(self.world.pages.url)
        page.fill("#numero", number)
        page.fill("#courriel", address or self.mail_of(number))
        page.click("main form button")
        page.wait_for_url("**/code")

    def prove(self, page: Page, number: str, count: int = 1) -> None:
        """Type the code of the newest message."""
        code = present(re.search(r"^(\d{3} \d{3})\s*$", self.letter(number, count), re.MULTILINE))
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
        page.wait_for_url("**/compte*")


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
        with contextlib.closing(build(load(world.settings_file))) as app:
            yield Morning(world, app, cast, browser, left)


def test_from_the_registrar_s_file_to_all_green_without_reloading(morning: Morning) -> None:
    number = morning.student()
    with morning.proven(number) as page:
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


def test_a_new_password_replaces_the_forgotten_one_and_ends_every_session(morning: Morning) -> None:
    number = morning.student()
    world = morning.world
    with morning.page(locale="en-GB") as before:
        morning.ask(before, number)
        morning.prove(before, number)
        morning.choose(before)
        login = before.locator("dl strong").inner_text()
        dn = f"uid={login},{world.slapd.people_dn}"
        expect(before.locator("[data-service=directory][data-state=ready]")).to_be_visible()
        assert can_log_in(world.slapd, dn, PASSWORD)
        with morning.page() as again:
            morning.ask(again, number)
            morning.prove(again, number, count=2)
            morning.choose(again, "Marguerite-77-Zébu!")
            wait_until(lambda: can_log_in(world.slapd, dn, "Marguerite-77-Zébu!"), "the new password")
        assert not can_log_in(world.slapd, dn, PASSWORD)
        before.reload()
        expect(before.get_by_role("heading", level=1)).to_have_text("You are not logged in")


def test_the_directory_is_away_the_student_is_told_and_it_completes_by_itself(morning: Morning) -> None:
    number = morning.student()
    with morning.proven(number) as page:
        morning.world.slapd.kill()
        try:
            morning.choose(page)
            expect(page.locator("[data-service=directory][data-state=down]")).to_contain_text(
                "Rien n’est perdu"
            )
            expect(page.locator("[data-service=moodle][data-state=ready]")).to_be_visible()
        finally:
            morning.world.start_server("directory")
        expect(page.locator("[data-service=directory][data-state=ready]")).to_be_visible()
        expect(page.locator("[data-service=mailbox][data-state=ready]")).to_be_visible()


def test_the_registrar_cancels_in_the_middle_and_nothing_is_opened(morning: Morning) -> None:
    number = morning.student()
    slapd = morning.world.slapd
    with morning.proven(number) as page:
        morning.registrar_says(number, ETA_IAE="A")
        wait_until(lambda: not enrolled(morning.known(number)), "the cancellation to be known")
        morning.choose(page)
        expect(page.locator("[data-rule=enrolment_cancelled]")).to_be_visible()
    assert search(slapd, slapd.people_dn, f"(supannEtuId={number})") == {}
    morning.registrar_says(number)
    account = present(morning.known(number).account)
    dn = f"uid={account.login},{slapd.people_dn}"
    wait_until(lambda: can_log_in(slapd, dn, PASSWORD), "it to open with the password of then")


def enrolled(known: Situation) -> bool:
    """Whether any of the student's enrolments is in force."""
    return known.account is not None and known.account.enrolled


def test_two_students_with_one_personal_address_come_each_to_their_own_account(morning: Morning) -> None:
    one, other = morning.student(), morning.student()
    address = morning.mail_of(one)
    morning.registrar_says(other, MAIL_PERSO=address)
    wait_until(lambda: address in str(morning.known(other).person), "the address to be known")
    for number in (one, other):
        account = present(morning.known(number).account)
        with morning.proven(number, address) as page:
            morning.choose(page)
            expect(page.locator("dl")).to_contain_text(account.login)
            expect(page.locator("[data-service=mailbox][data-state=ready]")).to_be_visible()


def test_what_failed_is_tried_again_by_the_student_s_click(morning: Morning) -> None:
    number = morning.student()
    slapd = morning.world.slapd
    with morning.proven(number) as page:
        login = page.locator("main strong").first.inner_text()
        dn = f"uid={login},{slapd.people_dn}"
        somebody = f"dn: {dn}\nobjectClass: inetOrgPerson\nuid: {login}\ncn: Somebody\nsn: Else\n"
        as_provisioner(slapd, "ldapadd", stdin=somebody)
        morning.choose(page)
        expect(page.locator("[data-service=directory][data-state=failed]")).to_be_visible()
        as_provisioner(slapd, "ldapdelete", dn)
        page.click("[data-service=directory] button")
        expect(page.locator("[data-service=directory][data-state=ready]")).to_be_visible()
        expect(page.locator("[data-service=mailbox][data-state=ready]")).to_be_visible()


def test_mail_is_sent_on_once_its_new_address_has_confirmed(morning: Morning) -> None:
    number = morning.student()
    elsewhere = f"ailleurs.{number}@perso.example"
    with morning.proven(number) as page:
        morning.choose(page)
        expect(page.locator("[data-service=mailbox][data-state=ready]")).to_be_visible()
        mail = page.locator("dl dd").nth(1).inner_text()
        page.click("#redirection summary")
        page.fill("#adresse", elsewhere)
        page.check("#accord")
        send(page, "/compte/redirection")
        link = present(re.search(r"http\S+/redirection/\S+", morning.letter(number, count=2)))
        assert elsewhere not in redirection(morning.world, mail)
        page.goto(link[0])
        send(page, "/redirection")
        wait_until(lambda: elsewhere in redirection(morning.world, mail), "the redirection")
        page.goto(f"{morning.world.pages.url}/compte")
        expect(page.get_by_text(elsewhere)).to_be_visible()
        send(page, "/compte/redirection/fin")
        wait_until(lambda: elsewhere not in redirection(morning.world, mail), "its end")


def redirection(world: World, mail: str) -> str:
    """The sieve script that is active for a mailbox, as an administrator sees it."""
    key = base64.b64encode(world.dovecot.api_key_file.read_bytes()).decode()
    tls = ssl.create_default_context(cafile=str(world.dovecot.ca_file))
    with httpx.Client(verify=tls, timeout=PATIENCE_S) as client:
        answers = client.post(
            world.dovecot.doveadm_url,
            json=[["sieveGet", {"user": mail, "scriptname": "sesame"}, "1"]],
            headers={"Authorization": f"X-Dovecot-API {key}"},
        ).json()
    return str(answers)
