"""Activation and forgotten passwords by the students' pages, on HTTPS and SMTP, without a script."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from pipeline import audit
from producers.activation.choices import charter_acceptances
from producers.activation.hashes import Hasher, HashingSettings
from schemas.account import Hold
from schemas.events import ActivationRequested, CredentialChanged, HoldLifted, HoldPlaced
from sesame.testing.servers.portal_kit import CHEAP, Portal
from sesame.testing.servers.portal_reader import GOOD, MAIL
from sesame.testing.servers.registry_kit import cancelled
from sesame.web.students import Counted

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def portal(module_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file and each database."""
    wish = {"address_burst": 10_000}
    with Portal(tmp_path_factory.mktemp("portal"), wish=wish, store=module_store) as portal:
        yield portal


def test_a_student_activates_by_the_code_and_sees_the_login_at_once(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        assert "Consultez votre messagerie" in browser.ask(number).text
        code = portal.message(number).code
        assert "Choisissez votre mot de passe" in browser.send("/code", code=code).text
        page = browser.choose()
    situation = portal.context.choices.situation(number)
    assert situation is not None
    assert page.url.path == "/compte"
    assert situation.login in page.text
    (event,) = portal.said(number)
    assert isinstance(event, ActivationRequested)
    assert event.language == "fr"
    sealed = portal.vault.open(event.credential_ref or "")
    assert sealed is not None
    assert Hasher(HashingSettings(**CHEAP)).matches(sealed, GOOD)
    with portal.database.read() as connection:
        accepted = connection.execute(
            select(charter_acceptances).where(charter_acceptances.c.student_number == number)
        ).one()
    assert accepted.charter == portal.settings.portal.charter


def test_a_student_activates_by_the_link_in_another_browser(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
    with portal.browser(**{"Accept-Language": "en"}) as phone:
        page = phone.get(portal.message(number).link)
        assert number in page.text
        assert "Choose your password" in phone.send("/lien").text
        assert phone.choose().url.path == "/compte"
    (event,) = portal.said(number)
    assert isinstance(event, ActivationRequested)
    assert event.language == "en"


def test_a_forgotten_password_goes_the_same_way_and_ends_what_was_before(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as before:
        portal.prove(before, number)
        before.choose()
        portal.deliver(number)
        with portal.browser() as waiting:
            waiting.ask(number)
            old = portal.message(number, count=2)
        with portal.browser() as again:
            again.ask(number)
            letter = portal.message(number, count=3)
            assert letter.message["Subject"] == "Votre mot de passe universitaire"
            page = again.send("/code", code=letter.code)
            assert "Choisissez un nouveau mot de passe" in page.text
            assert "charte" not in page.text.partition("<footer")[0]
            assert again.choose("Marguerite-77-Zébu!").url.path == "/compte"
        assert before.get("/compte").status_code == 401
    assert [type(event) for event in portal.said(number)] == [ActivationRequested, CredentialChanged]
    with portal.browser() as late:
        page = late.get(old.link)
        assert page.status_code == 410
        assert "Ce lien n’est plus valable" in page.text


def test_a_new_password_opens_an_account_that_was_shut_because_others_knew_the_old_one(
    portal: Portal,
) -> None:
    stolen, both = portal.active(), portal.active()
    for number, holds in ((stolen, [Hold.STOLEN_PASSWORDS]), (both, [Hold.STOLEN_PASSWORDS, Hold.SUSPENDED])):
        for hold in holds:
            portal.apply(HoldPlaced(student_number=number, hold=hold))
        with portal.browser() as browser:
            portal.prove(browser, number)
            assert browser.choose().url.path == "/compte"
            page = browser.get("/compte").text
        assert "fermé" in page
        assert (
            "Choisissez un nouveau mot de passe" in page,
            "Contactez l’assistance" in html.unescape(page),
        ) == (
            True,
            number == both,
        )
        assert [type(event) for event in portal.said(number)] == [CredentialChanged, HoldLifted]
        portal.deliver(number)
        assert portal.person(number).holds == {hold for hold in holds if hold is not Hold.STOLEN_PASSWORDS}
        with portal.database.read() as connection:
            (noted,) = audit.entries(connection, student=number, limit=9)
        assert (noted.actor, noted.action, noted.detail["hold"]) == (
            "student",
            "hold.lift",
            "stolen_passwords",
        )


def test_a_new_password_lifts_no_other_hold(portal: Portal) -> None:
    number = portal.active()
    portal.apply(HoldPlaced(student_number=number, hold=Hold.SUSPENDED))
    with portal.browser() as browser:
        portal.prove(browser, number)
        browser.choose()
    assert [type(event) for event in portal.said(number)] == [CredentialChanged]
    portal.deliver(number)
    assert portal.person(number).holds == {Hold.SUSPENDED}


def test_what_happens_at_the_pages_is_counted_without_anybody_s_name(portal: Portal) -> None:
    seen: list[str] = []
    portal.context.counted = Counted(
        letter=portal.context.counted.letter,
        password=seen.append,
        refused=seen.append,
        trouble=portal.context.counted.trouble,
    )
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
        wrong = f"{(int(letter.code.replace(' ', '')) + 1) % 10**6:06d}"
        browser.send("/code", code=wrong)
        browser.send("/code", code=letter.code)
        browser.choose("court")
        browser.choose()
        browser.client.post("/demande", data={"numero": number}, headers={"Origin": browser.origin})
    assert seen == ["code", "refused", "activated", "form"]


def test_an_active_account_may_be_looked_at_without_a_new_password(portal: Portal) -> None:
    number = portal.active()
    with portal.browser() as browser:
        portal.prove(browser, number)
        assert browser.send("/compte/ouvrir").url.path == "/compte"
    assert portal.said(number) == []


def test_a_used_link_says_so_and_offers_a_new_one(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
        browser.send("/code", code=letter.code)
        browser.choose()
    with portal.browser() as other:
        page = other.get(letter.link)
        assert (page.status_code, "Ce lien a déjà servi" in page.text) == (410, True)
        assert other.send("/lien/nouveau").url.path == "/code"
        fresh = portal.message(number, count=2)
        assert other.send("/code", code=fresh.code).url.path == "/mot-de-passe"


def test_an_expired_link_explains_itself_and_offers_a_new_one(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
        portal.clock.now += 25 * HOUR_S
        page = browser.get(letter.link)
        assert (page.status_code, "Ce lien a expiré" in page.text) == (410, True)
        browser.send("/lien/nouveau")
        fresh = portal.message(number, count=2)
        assert fresh.message["To"] == MAIL
        assert browser.send("/code", code=fresh.code).url.path == "/mot-de-passe"


def test_an_expired_code_is_wrong_and_its_message_s_link_says_why(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
        portal.clock.now += 25 * HOUR_S
        assert browser.send("/code", code=letter.code).status_code == 422
        assert "expiré" in browser.get(letter.link).text


def test_a_link_that_was_cut_is_not_known(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        page = browser.get(portal.message(number).link[:-1])
        assert (page.status_code, "n’est pas reconnu" in page.text) == (404, True)


def test_two_tabs_and_a_double_click_come_to_one_password(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        form = browser.page
        assert browser.choose().url.path == "/compte"
        browser.page = form  # the other tab, or the second click
        assert browser.choose("Marguerite-77-Zébu!").url.path == "/compte"
        (event,) = portal.said(number)
        portal.clock.now += 600.0
        browser.page = form  # the back button, later
        page = browser.choose("Marguerite-77-Zébu!")
        assert (page.status_code, "Ce lien a déjà servi" in page.text) == (410, True)
        assert browser.get("/mot-de-passe").status_code == 410
    assert portal.said(number) == [event]


@pytest.mark.parametrize(
    ("password", "again", "charter", "said"),
    [
        ("azerty", "azerty", True, "ne respecte pas les règles"),
        ("Essai{number}!Zq", "Essai{number}!Zq", True, "ne respecte pas les règles"),
        ("", "", True, "Choisissez un mot de passe."),
        (GOOD, GOOD + "x", True, "sont différents"),
        (GOOD, GOOD, False, "acceptez-la pour activer"),
    ],
)
def test_a_password_is_refused_with_the_reason_beside_its_field(
    portal: Portal, password: str, again: str, charter: bool, said: str
) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        filled = password.format(number=number)
        page = browser.choose(filled, again=again.format(number=number), charter=charter)
        assert page.status_code == 422
        assert said in page.text
        assert "aria-invalid=true" in page.text
        assert not filled or filled not in page.text
        assert browser.choose().url.path == "/compte"
    assert len(portal.said(number)) == 1


def test_two_students_who_share_an_address_each_get_their_own(portal: Portal) -> None:
    one, other = portal.student("famille@perso.example"), portal.student("famille@perso.example")
    with portal.browser() as browser, portal.browser() as elsewhere:
        browser.ask(one, "famille@perso.example")
        elsewhere.ask(other, "Famille@Perso.example")
        first, second = portal.message(one), portal.message(other)
        assert browser.send("/code", code=second.code).status_code == 422
        assert browser.send("/code", code=first.code).url.path == "/mot-de-passe"
        assert f"n°\u00a0{one}" in browser.page.text
        assert f"n°\u00a0{other}" in elsewhere.send("/code", code=second.code).text


def test_a_student_whom_the_registrar_cancels_in_the_middle_is_kept_waiting(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        portal.apply(cancelled(number, 10**9))
        assert browser.choose().url.path == "/compte"
    portal.deliver(number)
    assert portal.person(number).activated_at is not None
