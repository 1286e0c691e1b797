"""The link by which a student keeps access longer: what it says when, and what it does once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import pytest
from playwright.sync_api import Browser as Chromium

from consumers.registry.lifecycle import settings as rules
from pipeline import accounts
from pipeline.audit import entries
from pipeline.timers import run_due
from schemas.account import Account, Hold, Stage
from schemas.events import (
    ActivationRequested,
    EnrolmentRecorded,
    HoldLifted,
    HoldPlaced,
    ProlongationRequested,
)
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.testing.servers.portal_browser import page_of
from sesame.testing.servers.portal_kit import Portal, enter
from sesame.testing.servers.portal_reader import MAIL, Letter
from sesame.testing.servers.registry_kit import cancelled, enrolled
from tests.integration.portal.test_portal_accessibility import Walk

BEFORE, AFTER = date(2026, 10, 14), date(2026, 11, 13)  # 30 days after 14 September, and 30 more


@pytest.fixture
def portal(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setattr(rules, "PROLONGATIONS_MAX", 2)
    lifecycle = {"prolong_days": 30}
    with Portal(
        tmp_path_factory.mktemp("portal"),
        wish={"address_burst": 10_000},
        registry_settings={"grace_days": 30},
        more={"lifecycle": lifecycle},
    ) as portal:
        yield portal


def account_of(portal: Portal, number: str) -> Account:
    with portal.database.read() as connection:
        found = accounts.find(connection, number)
    assert found is not None
    return found


def days_pass(portal: Portal, days: int) -> None:
    portal.clock.now += days * 86_400.0
    while run_due(portal.database, portal.registry.timers()):
        pass
    portal.clock.now += 4 * 3600.0  # warnings leave by then


def warned(portal: Portal, **more: str) -> tuple[str, list[Letter]]:
    """A student who leaves, and the first warning at both addresses."""
    number = portal.active(**more)
    portal.apply(cancelled(number, 10_000))
    days_pass(portal, 0)
    portal.message(number, count=2)
    portal.wait_until_sent(number)
    return number, portal.letters(number)


def test_a_student_keeps_access_by_the_link_of_a_warning_once(portal: Portal) -> None:
    number, letters = warned(portal)
    assert {letter.message["To"] for letter in letters} == {MAIL, account_of(portal, number).mail}
    assert "garder votre accès jusqu’au 13 novembre 2026 inclus" in letters[0].text
    assert f'href="{letters[0].link}"' in letters[0].html
    assert number not in letters[0].link
    with portal.browser() as scanner:
        for _ in range(3):
            assert "Rien ne change" in scanner.get(letters[0].link).text
            assert scanner.client.head(letters[0].link).status_code == 200
    assert [type(e) for e in portal.said(number) if isinstance(e, ProlongationRequested)] == []

    with portal.browser() as browser, portal.browser() as other:
        browser.get(letters[0].link)
        assert "ferme après le 14\N{NO-BREAK SPACE}octobre 2026" in browser.page.text
        assert number not in browser.page.text
        other.get(letters[1].link)  # the same warning at the other address, in another browser
        assert other.page.status_code == 200
        assert (
            "reste ouvert jusqu’au 13\N{NO-BREAK SPACE}novembre 2026 inclus"
            in browser.send("/prolongation").text
        )
        twice = browser.client.post(
            "/prolongation",
            data=dict(re.findall(r'name="(\w+)" value="([^"]*)"', other.page.text))
            | {"jeton": token_of(browser), "lien": letters[0].link.rpartition("/")[2]},
            headers={"Origin": browser.origin},
        )
        assert (twice.status_code, "déjà été prolongé" in twice.text) == (410, True)
        late = other.send("/prolongation")
        assert (late.status_code, "déjà été prolongé" in late.text) == (410, True)
        assert portal.said(number)[-1] == ProlongationRequested(
            student_number=number, ends_on=BEFORE, until=AFTER
        )
        assert len([e for e in portal.said(number) if isinstance(e, ProlongationRequested)]) == 1
        portal.apply(portal.said(number)[-1])
        assert account_of(portal, number).valid_until == AFTER
        for letter in letters:
            shown = browser.get(letter.link)
            assert shown.status_code == 410
            assert "reste ouvert jusqu’au 13\N{NO-BREAK SPACE}novembre 2026 inclus" in shown.text
            assert "encore le faire 1 fois" in shown.text
        enter(portal, browser, number)
        assert "13\N{NO-BREAK SPACE}novembre 2026, si vous ne vous réinscrivez pas" in browser.page.text
        assert "un message vous permettra de la repousser (1 fois)" in browser.page.text
    with portal.database.read() as connection:
        noted = [each for each in entries(connection, limit=9) if each.action == "lifecycle.prolong"]
    assert [each.actor for each in noted] == ["student"]
    found = diagnose(portal.application, number, live=False)
    evidence = next(each.evidence for each in found.findings if each.rule == "account_in_grace")
    assert (evidence["prolonged"], evidence["may prolong"]) == (1, 1)


def test_the_warning_of_the_new_end_has_a_link_until_none_is_left(portal: Portal) -> None:
    number, letters = warned(portal, language="en")
    assert "keep your access until 13 November 2026" in letters[0].text
    for count, newest in ((4, "13 December 2026"), (6, None)):
        with portal.browser(**{"Accept-Language": "en"}) as browser:
            browser.get(portal.letters(number)[-1].link)
            browser.send("/prolongation")
            assert browser.page.status_code == 200
        portal.apply(portal.said(number)[-1])
        days_pass(portal, 30)
        portal.message(number, count=count)
        text = portal.letters(number)[-1].text
        assert ("keep your access until" in text) == (newest is not None)
        assert newest is None or newest in text
        assert portal.letters(number)[-1].link.startswith(f"{portal.url}/prolongation/") == bool(newest)
    assert account_of(portal, number).valid_until == date(2026, 12, 13)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_what_a_link_says_that_does_nothing(portal: Portal, language: str) -> None:
    said = {
        "enrolled": ("Vous êtes de nouveau inscrit", "You are enrolled again"),
        "held": ("Votre accès est fermé", "Your access is shut"),
        "over": ("Le délai pour prolonger", "It is too late"),
        "unknown": ("est pas reconnu</h1>", "This link is not"),
    }
    place = 0 if language == "fr" else 1
    number, (letter, *_) = warned(portal)
    held, (shut, *_) = warned(portal)
    gone, (old, *_) = warned(portal)
    with portal.browser(**{"Accept-Language": language}) as browser, portal.browser() as tab:
        for link in (letter.link, shut.link, old.link):
            tab.get(link)
        portal.apply(HoldPlaced(student_number=held, hold=Hold.SUSPENDED))
        assert said["held"][place] in browser.get(shut.link).text
        portal.apply(enrolled(number, 10_002, birth_name=f"Essai{number}"))
        for link, state in ((letter.link, "enrolled"), (f"{letter.link}x", "unknown")):
            shown = browser.get(link)
            assert said[state][place] in shown.text
            assert shown.status_code == (404 if state == "unknown" else 410)
        tab.get(shut.link)
        before = {each: len(portal.said(each)) for each in (number, held, gone)}
        for link in (letter.link, shut.link):
            token = {"jeton": token_of(tab), "lien": link.rpartition("/")[2]}
            answer = tab.client.post("/prolongation", data=token, headers={"Origin": tab.origin})
            assert answer.status_code == 410
        portal.apply(HoldLifted(student_number=held, hold=Hold.SUSPENDED))
        assert tab.get(shut.link).status_code == 200, "a refusal uses nothing up"
        days_pass(portal, 31)
        assert said["over"][place] in browser.get(old.link).text
        assert {each: len(portal.said(each)) for each in (number, held, gone)} == before


def token_of(browser: object) -> str:
    """What a form of the present page carries."""
    page = browser.get("/")  # type: ignore[attr-defined]
    found = re.search(r'name="jeton" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("locale", "scheme"), [("fr-FR", "light"), ("en-GB", "dark")])
def test_the_pages_on_a_telephone_and_to_those_who_do_not_see_them(
    portal: Portal, browser: Chromium, locale: str, scheme: str
) -> None:
    number, (letter, *_) = warned(portal)
    with page_of(browser, portal.url, locale=locale, color_scheme=scheme) as page:
        walk = Walk(portal, page)
        walk.open(letter.link, "a link")
        walk.send("/prolongation", "prolonged")
        walk.open(letter.link, "prolonged, and not read yet")
        portal.apply(portal.said(number)[-1])
        walk.open(letter.link, "prolonged before")
        portal.apply(HoldPlaced(student_number=number, hold=Hold.SUSPENDED))
        walk.open(letter.link, "shut")
        walk.open("/prolongation/x.y", "unknown")
    assert walk.found == []


# --- a guest, whose sponsor renews the invitation ---

LAST_DAY = date(2026, 10, 20)


def invited(portal: Portal, number: str, sponsor: str, ends_on: date = LAST_DAY) -> None:
    """An active guest until a day."""
    portal.apply(invitation(number, sponsor, ends_on))
    portal.apply(ActivationRequested(student_number=number))


def invitation(
    number: str, sponsor: str, ends_on: date = LAST_DAY, *, sequence: int = 0, language: str = "fr"
) -> EnrolmentRecorded:
    return enrolled(
        number,
        sequence or int(number[2:]),
        year=1990,
        step="guest",
        step_version="guest",
        population="guest",
        birth_name=f"Hôte{number[2:]}",
        ends_on=ends_on,
        sponsor=sponsor,
        personal_mail=f"{number}@ailleurs.example",
        language=language,
    )


def test_a_new_guest_is_told_the_number_once_and_activates_by_it(portal: Portal) -> None:
    sponsor = portal.active(birth_name="Durand", given_name="Claire")
    ada, eve = "G-00000011", "G-00000012"
    portal.apply(invitation(ada, sponsor))
    portal.apply(invitation(eve, sponsor, language="en"))
    portal.apply(invitation(ada, sponsor, date(2026, 11, 20), sequence=99))
    for each in (ada, eve):
        portal.message(each)
        portal.wait_until_sent(each)
    ((french,), (english,)) = (portal.letters(each) for each in (ada, eve))
    assert [letter.message["To"] for letter in (french, english)] == [
        f"{each}@ailleurs.example" for each in (ada, eve)
    ]
    assert french.message["Subject"] == "Claire Durand vous invite : activez votre compte universitaire"
    assert f"Votre numéro\u00a0: {ada}" in french.text
    assert "jusqu’au 20 octobre 2026 inclus" in french.text
    assert "Claire Durand invites you to the university until 20 October 2026" in english.text
    with portal.browser() as browser:
        assert "P- ou G-" in browser.get("/").text
        browser.ask(ada.lower(), f"{ada}@ailleurs.example")
        proof = portal.message(ada, count=2)
        assert "étudiant" not in proof.text, "a guest is none"
        assert "mot de passe" in browser.send("/code", code=proof.code).text


def sponsors_link(portal: Portal, number: str) -> tuple[list[Letter], str]:
    """The messages of the first warning about a guest, and the link that renews."""
    days_pass(portal, 7)  # 30 days before the last one
    portal.message(number, count=5)  # the invitation, then two addresses each
    portal.wait_until_sent(number)
    letters = portal.letters(number)
    [link] = {letter.link for letter in letters if letter.message["To"] == MAIL}
    return letters, link


def test_a_sponsor_renews_an_invitation_by_the_link_once(portal: Portal) -> None:
    sponsor, number, short = portal.active(), "G-00000001", "G-00000009"
    invited(portal, short, sponsor, ends_on=date(2026, 9, 18))
    invited(portal, number, sponsor)
    days_pass(portal, 0)
    letters, link = sponsors_link(portal, number)
    assert len(portal.letters(short)) == 1, "who comes for some days is not warned at once"
    guest = account_of(portal, number)
    told = {str(letter.message["To"]): letter for letter in letters}
    assert told.keys() == {MAIL, account_of(portal, sponsor).mail, guest.mail, f"{number}@ailleurs.example"}
    assert "Votre accès d’invité" in told[guest.mail].text
    assert "/prolongation/" not in told[guest.mail].text, "a guest renews nothing"
    assert "Vous avez invité Léa Hôte00000001" in told[MAIL].text
    assert "jusqu’au 18 janvier 2027 inclus" in told[MAIL].text
    with portal.browser() as browser:
        assert "Renouveler l’invitation de Léa Hôte00000001" in browser.get(link).text
        assert "18\N{NO-BREAK SPACE}janvier 2027" in browser.page.text
        assert "reste ouvert jusqu’au 18" in browser.send("/prolongation").text
        portal.apply(portal.said(number)[-1])
        assert account_of(portal, number).valid_until == date(2027, 1, 18)
        again = browser.get(link)
        assert (again.status_code, "déjà servi" in again.text) == (410, True)
    with portal.database.read() as connection:
        noted = [
            (each.actor, each.detail["sponsor"])
            for each in entries(connection, limit=9)
            if each.action == "lifecycle.prolong"
        ]
    assert noted == [("sponsor", sponsor)]
    days_pass(portal, 40)
    assert account_of(portal, number).stage is Stage.ACTIVE


def test_a_sponsor_who_has_left_renews_nothing_and_the_guest_leaves_on_the_day(portal: Portal) -> None:
    sponsor, number, other = portal.active(), "G-00000002", "G-00000003"
    for _ in range(4):  # of few people the guard would hold two
        portal.active()
    for each in (number, other):
        invited(portal, each, sponsor)
    _, link = sponsors_link(portal, number)
    portal.apply(HoldPlaced(student_number=sponsor, hold=Hold.SUSPENDED))
    with portal.browser() as browser:
        refused = browser.get(link)
        assert (refused.status_code, "ne pouvez plus renouveler" in refused.text) == (410, True)
    days_pass(portal, 20)  # the second warning, which finds no sponsor
    portal.message(other, count=7)
    portal.wait_until_sent(other)
    assert len([each for each in portal.letters(other) if each.message["To"] == MAIL]) == 1
    for _ in range(3):
        days_pass(portal, 8)
    assert [account_of(portal, each).stage for each in (number, other)] == [Stage.EXPIRED] * 2
