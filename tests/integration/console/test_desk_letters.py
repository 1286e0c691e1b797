"""A letter with a code, from the console to a new password at the students' pages; and who gets none."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from pipeline import audit
from pipeline.errors import TargetDown
from producers.activation.mail_proofs import mail_proofs
from sandbox.process import wait_until
from schemas.account import Hold
from schemas.events import ActivationRequested, CredentialChanged, HoldPlaced
from sesame.acts.acts import Actor, Role
from sesame.operations.access.desk_letters import LetterRequest, print_letter
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.portal_reader import GOOD, Browser

CODE = re.compile(r"\b[0-9A-Z]{5}-[0-9A-Z]{5}\b")
ODILE = Actor("odile", frozenset({Role.SUPPORT}))
WHY = "carte d'étudiant vue"


@dataclass
class Directory:
    """What the directory has of everybody; away if None."""

    attributes: Mapping[str, tuple[str, ...]] | None = field(default_factory=dict)

    def attributes_of(self, _login: str, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        if self.attributes is None:
            raise TargetDown("no answer")
        assert names == ["eduPersonAffiliation", "memberOf"], "a viewer sees no student"
        return self.attributes


@pytest.fixture(scope="module")
def desk(module_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDesk]:
    """A console and a portal for this file, on each kind of store."""
    with ConsoleDesk(tmp_path_factory.mktemp("console"), store=module_store) as desk:
        desk.portal.sink.start()
        desk.portal.server.start()
        yield desk
        desk.portal.server.stop()
        desk.portal.sink.stop()


@pytest.fixture(autouse=True)
def directory(desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch) -> Directory:
    made = Directory()
    monkeypatch.setitem(desk.application.__dict__, "directory", lambda: nullcontext(made))
    return made


def plain(page: str) -> str:
    """A page's text, however its apostrophes are written."""
    return html.unescape(page).replace("’", "'")


def codes(page: str) -> set[str]:
    """The codes on a page, without the example of a form."""
    return set(CODE.findall(html.unescape(page))) - {"7K2QM-X4D9T"}


def printed(browser: Browser, number: str) -> str:
    """Print a letter; return its code."""
    browser.get(f"/console/personnes/{number}")
    page = browser.send(f"/console/personnes/{number}/lettre", raison=WHY)
    assert page.status_code == 200, page.text
    (code,) = codes(page.text)
    return code


def typed(student: Browser, code: str) -> str:
    """Type a code at the portal; return the answer."""
    student.get("/lettre")
    return plain(student.send("/lettre", code=code).text)


def kept(desk: ConsoleDesk, *numbers: str) -> list[tuple[str, str]]:
    """Whom the store has a letter or an announcement of, by purpose."""
    m = mail_proofs.c
    query = select(m.student_number, m.purpose).where(m.student_number.in_(numbers)).order_by(m.purpose)
    with desk.portal.database.read() as connection:
        return [(row.student_number, row.purpose) for row in connection.execute(query)]


def test_a_letter_gives_a_new_password_once_and_is_announced_at_every_address(desk: ConsoleDesk) -> None:
    lea, paul = desk.portal.active("lea@perso.example"), desk.portal.student("paul@perso.example")
    account = desk.portal.context.choices.situation(lea)
    assert account is not None
    with desk.browser("support", login="odile") as browser, desk.portal.browser() as student:
        of_paul = printed(browser, paul)
        of_lea = printed(browser, lea)
        page = plain(browser.page.text)
        assert of_lea != of_paul
        french, english = page.index("Cette lettre permet"), page.index("With this letter")
        assert french < english
        for text in ("Université d'exemple", account.login, f"{desk.portal.url}/lettre", "jusqu'au mardi 15"):
            assert text in page, text

        for _ in range(97):  # a page loaded again, however
            assert codes(browser.get(f"/console/personnes/{lea}/lettre").text) == {of_lea}
        for _ in range(3):
            assert printed(browser, lea) == of_lea
        assert "c'est la même lettre" in plain(browser.page.text)
        assert kept(desk, lea) == [(lea, "password"), (lea, "printed"), (lea, "printed")]
        assert kept(desk, paul) == [(paul, "password"), (paul, "printed")], "no mailbox before activation"
        to = {"lea@perso.example": lea, f"{account.login}@etu.univ.example": lea, "paul@perso.example": paul}
        wait_until(lambda: all(desk.portal.sink.messages(each) for each in to), "the announcements")
        for address, number in to.items():
            (message,) = desk.portal.sink.messages(address)
            body = message.get_body(("plain",))
            assert body is not None
            assert number in body.get_content()
            assert not codes(str(message))

        assert "n'est pas le code d'une lettre" in typed(student, "AAAAA-AAAAA")
        assert "Choisissez votre mot de passe" in typed(student, of_paul.lower().replace("-", " "))
        assert student.choose().url.path == "/compte"
        (event,) = desk.portal.said(paul)
        assert isinstance(event, ActivationRequested)
    with desk.browser("support", login="odile") as browser, desk.portal.browser() as student:
        assert "a déjà servi" in typed(student, of_paul)
        assert "nouveau mot de passe" in typed(student, of_lea)
        assert student.choose().url.path == "/compte"
        assert any(isinstance(each, CredentialChanged) for each in desk.portal.said(lea))
        assert browser.get(f"/console/personnes/{lea}/lettre").status_code == 409
        assert printed(browser, lea) != of_lea
    desk.portal.clock.now += 24 * 3600.0
    with desk.browser("support", login="odile") as browser:
        assert browser.get(f"/console/personnes/{lea}/lettre").status_code == 409
    (_, _, _, again, first) = [
        each for each in desk.audit("letter.print") if each.detail["student_number"] == lea
    ]
    assert (first.actor, first.reason, first.detail["again"], again.detail["again"]) == (
        "odile",
        WHY,
        False,
        True,
    )
    with desk.portal.database.read() as connection:
        looks = audit.entries(connection, action="letter.show", about=lea, limit=200)
    assert len(looks) == 1 + 97 + 3 + 1, "each look is noted; one that showed nothing is none"
    assert not any(of_lea in str(each.detail) for each in desk.audit("letter"))


def test_a_letter_is_void_once_it_has_expired_or_a_password_was_chosen(desk: ConsoleDesk) -> None:
    lea, paul = desk.portal.active(), desk.portal.active()
    with desk.browser("support") as browser, desk.portal.browser() as student:
        of_lea, of_paul = printed(browser, lea), printed(browser, paul)
        with desk.portal.browser() as hers:
            hers.ask(lea)
            desk.portal.message(lea, count=3)
            (message,) = [each for each in desk.portal.letters(lea) if "/lien/" in each.text]
            hers.send("/code", code=message.code)
            assert hers.choose(GOOD).url.path == "/compte"
        assert "choisi depuis" in typed(student, of_lea)
        desk.portal.clock.now += 24 * 3600.0 - 60.0
        assert "Choisissez" in typed(student, of_paul)
        desk.portal.clock.now += 60.0
        assert "plus valable" in typed(student, of_paul)


@pytest.mark.parametrize(
    ("case", "status", "words"),
    [
        ("held", 409, "est bloqué.: suspension"),
        ("session", 409, "a un rôle à la console"),
        ("employee", 409, "a un rôle à la console"),
        ("group", 409, "a un rôle à la console"),
        ("directory away", 409, "no answer"),
        ("no reason", 422, "Il manque un motif"),
    ],
)
def test_who_is_held_or_has_a_role_gets_no_letter(
    desk: ConsoleDesk, directory: Directory, case: str, status: int, words: str
) -> None:
    number = desk.portal.active()
    account = desk.portal.context.choices.situation(number)
    assert account is not None
    with desk.browser("support", login="odile") as browser:
        browser.get(f"/console/personnes/{number}")
        if case == "held":
            desk.portal.apply(HoldPlaced(student_number=number, hold=Hold.SUSPENDED))
        elif case == "session":
            desk.session("viewer", "operator", login=account.login.upper())
        elif case == "employee":
            directory.attributes = {"edupersonaffiliation": ("student", "Employee")}
        elif case == "group":
            directory.attributes = {"memberOf": ("cn=sesame-operators,ou=groups,dc=univ,dc=example",)}
        elif case == "directory away":
            directory.attributes = None
        reason = "" if case == "no reason" else WHY
        page = browser.send(f"/console/personnes/{number}/lettre", raison=reason)
    assert page.status_code == status
    assert re.search(words, plain(page.text)), page.text
    assert not codes(page.text)
    assert kept(desk, number) == []


def test_a_role_that_sees_no_student_is_no_obstacle(desk: ConsoleDesk, directory: Directory) -> None:
    number = desk.portal.active()
    account = desk.portal.context.choices.situation(number)
    assert account is not None
    desk.session("viewer", login=account.login)
    directory.attributes = {"eduPersonAffiliation": ("student", "member")}
    with desk.browser("support") as browser:
        assert printed(browser, number)


def test_two_at_the_desk_at_once_print_one_letter(desk: ConsoleDesk) -> None:
    one, other = desk.portal.active(), desk.portal.active()
    asked = [LetterRequest(student_number=number, reason=WHY) for number in (one, other) * 6]
    with ThreadPoolExecutor(6) as hands:
        made = list(hands.map(lambda each: print_letter(desk.application, ODILE, each), asked))
    assert len({each.code for each in made}) == 2
    assert sorted(each.told for each in made) == [0] * 10 + [2, 2]
    assert len(kept(desk, one, other)) == 6
