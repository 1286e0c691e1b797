"""Messages of the students' pages: to whom, what they say, when they come, and what is left of them."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import select

from pipeline import accounts
from pipeline.timers import run_due
from producers.activation.mail_proofs import mail_proofs
from producers.activation.proofs import ATTEMPTS_MAX
from sesame.app.doctor.checks import checks_for
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.testing.servers.portal_kit import Portal, enter
from sesame.testing.servers.portal_reader import MAIL, Browser
from sesame.testing.servers.registry_kit import cancelled, enrolled


def test_a_mail_scanner_that_follows_the_link_uses_nothing_up(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
        with portal.browser() as scanner:
            for _ in range(ATTEMPTS_MAX + 1):
                assert scanner.get(letter.link).status_code == 200
                assert scanner.client.head(letter.link).status_code == 200
            assert scanner.get("/mot-de-passe").status_code == 401  # nor has it been let in
        with portal.database.read() as connection:
            row = connection.execute(select(mail_proofs).where(mail_proofs.c.student_number == number)).one()
        assert (row.attempts, row.proved_at, row.used_at, row.voided_at) == (0, None, None, None)
        assert browser.send("/code", code=letter.code).url.path == "/mot-de-passe"
        browser.get(letter.link)
        assert browser.send("/lien").url.path == "/mot-de-passe"


def test_the_message_is_text_and_html_in_the_language_of_the_page(portal: Portal) -> None:
    number, other = portal.student(), portal.student()
    with portal.browser() as browser:
        browser.ask(number)
    with portal.browser(**{"Accept-Language": "en-GB,fr;q=0.5"}) as browser:
        browser.ask(other)
    french, english = portal.message(number), portal.message(other)
    assert french.message["Subject"] == "Activez votre compte universitaire"
    assert english.message["Subject"] == "Activate your university account"
    assert french.message["Content-Language"] == "fr"
    assert french.message["Auto-Submitted"] == "auto-generated"
    assert french.message["To"] == MAIL
    for letter in (french, english):
        assert f'href="{letter.link}"' in letter.html
        assert letter.code in letter.html
        assert letter.link.startswith(portal.url + "/lien/")


def test_a_changed_password_is_told_to_every_address_of_the_student(portal: Portal) -> None:
    number = portal.active()
    with portal.database.read() as connection:
        account = accounts.find(connection, number)
    assert account is not None
    with portal.browser(**{"Accept-Language": "en"}) as browser:
        portal.prove(browser, number)
        browser.choose(charter=False)
    portal.message(number, count=3)
    portal.wait_until_sent(number)
    told = portal.letters(number)[1:]
    assert {letter.message["To"] for letter in told} == {MAIL, account.mail}
    assert {letter.message["Subject"] for letter in told} == {
        "The password of your university account was changed"
    }
    assert [letter.link for letter in told] == [f"{portal.url}/"] * 2


def test_a_redirection_is_told_to_every_address_of_the_student_once_it_is_confirmed(portal: Portal) -> None:
    number, elsewhere = portal.active(), "somebody@elsewhere.example"
    with portal.database.read() as connection:
        account = accounts.find(connection, number)
    assert account is not None
    with portal.browser(**{"Accept-Language": "en"}) as browser:
        enter(portal, browser, number)
        browser.send("/compte/redirection", adresse=elsewhere, accord="oui")
        asked = portal.message(number)
        assert asked.message["To"] == elsewhere
        browser.get(asked.link)
        portal.wait_until_sent(number)
        assert len(portal.letters(number)) == 1  # nothing has happened yet
        browser.send("/redirection")
        browser.client.post(
            "/redirection",
            data={"jeton": token_of(browser), "lien": asked.link.rpartition("/")[2]},
            headers={"Origin": browser.origin},
        )
    portal.message(number, count=3)
    portal.wait_until_sent(number)
    told = portal.letters(number)[1:]
    assert sorted(letter.message["To"] for letter in told) == sorted([MAIL, account.mail])
    assert {letter.message["Subject"] for letter in told} == {"Your university mail is being sent on"}
    assert [elsewhere in letter.text for letter in told] == [True] * 2
    assert [letter.link for letter in told] == [f"{portal.url}/"] * 2


def token_of(browser: Browser) -> str:
    """What a form of the present page carries."""
    browser.get("/")
    found = re.search(r'name="jeton" value="([^"]+)"', browser.page.text)
    assert found is not None
    return found[1]


def test_a_first_password_is_no_change_and_nobody_is_alarmed(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        browser.choose()
    portal.wait_until_sent(number)
    assert len(portal.letters(number)) == 1


def test_the_address_of_the_newest_registrar_s_fact_is_the_only_one(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        old = portal.message(number)
        portal.apply(enrolled(number, 10**9, personal_mail="nouvelle@perso.example", birth_name="Martin"))
        assert browser.send("/renvoyer").url.path == "/code"
        fresh = portal.message(number, count=2)
        assert (old.message["To"], fresh.message["To"]) == (MAIL, "nouvelle@perso.example")


def test_a_link_that_went_to_an_address_that_was_lost_opens_nothing(portal: Portal) -> None:
    number = portal.active()
    before = portal.person(number).credential_ref
    with portal.browser() as thief, portal.browser() as early:
        thief.ask(number)
        letter = portal.message(number)
        early.get(letter.link)
        assert early.send("/lien").url.path == "/mot-de-passe"  # and leaves the page open
        portal.apply(
            enrolled(number, 10**9, personal_mail="a.moi@perso.example", birth_name=f"Essai{number}")
        )
        assert "votre adresse personnelle a changé" in thief.get(letter.link).text
        assert early.choose(charter=False).status_code == 410
    portal.deliver(number)
    assert portal.person(number).credential_ref == before
    with portal.browser() as browser:
        browser.ask(number, "a.moi@perso.example")
        browser.send("/code", code=portal.message(number, count=2).code)
        assert browser.choose(charter=False).url.path == "/compte"


def test_an_accented_domain_is_the_same_as_what_browsers_make_of_it(portal: Portal) -> None:
    number, typed = portal.student("lea@université.example"), "Lea@xn--universit-j4a.example"
    with portal.browser() as browser:
        browser.ask(number, typed)
        letter = portal.message(number)
        assert letter.message["To"] == "lea@xn--universit-j4a.example"
        assert browser.send("/code", code=letter.code).url.path == "/mot-de-passe"


def test_accents_before_the_at_are_written_to_where_the_mail_server_takes_them(portal: Portal) -> None:
    number = portal.student("élodie@université.example")
    with portal.browser() as browser:
        browser.ask(number, "Élodie@Université.example")
        letter = portal.message(number)
        assert letter.message["To"] == "élodie@xn--universit-j4a.example"
        assert browser.send("/code", code=letter.code).url.path == "/mot-de-passe"


def test_where_it_does_not_the_answer_tells_nobody_and_the_desk_sees_why(tmp_path: Path) -> None:
    with Portal(tmp_path, accents=False) as portal, portal.browser() as browser:
        number = portal.student("élodie@perso.example")
        answers = []
        for asked in (number, "22899999"):
            page = browser.ask(asked, "élodie@perso.example")
            answers.append((page.status_code, page.url.path, re.sub(r'value="[^"]*"', "", page.text)))
        assert answers[0] == answers[1]
        portal.wait_for_trouble(more_than=0)
        assert "SMTPUTF8" in portal.troubles[-1]
        assert "lodie" not in portal.troubles[-1]
        found = diagnose(portal.application, number, live=False).findings
        (check,) = [check for check in checks_for(portal.settings) if check.name == "portal"]
        assert "none for addresses with accents before the @" in check.run().text
    said = {finding.rule: finding.evidence for finding in found}
    assert "SMTPUTF8" in said["personal_address_refused"]["said"]


def test_the_mail_server_is_away_and_the_message_comes_when_it_is_back(portal: Portal) -> None:
    number, before = portal.student(), len(portal.troubles)
    portal.sink.kill()
    try:
        with portal.browser() as browser:
            assert browser.ask(number).url.path == "/code"
            portal.wait_for_trouble(more_than=before)
    finally:
        portal.sink.start()
    portal.clock.now += 600.0
    assert portal.message(number).code


def test_an_address_that_is_refused_for_good_is_not_tried_again_and_nobody_is_quoted(portal: Portal) -> None:
    number, before = portal.student("refuse.moi@perso.example"), len(portal.troubles)
    with portal.browser() as browser:
        browser.ask(number, "refuse.moi@perso.example")
        portal.wait_for_trouble(more_than=before)
    with portal.database.read() as connection:
        row = connection.execute(select(mail_proofs).where(mail_proofs.c.student_number == number)).one()
    assert (row.send_at, row.letter, row.sent_at) == (None, None, None)
    assert "refuse.moi" not in portal.troubles[-1]


def test_what_was_sent_is_erased_and_the_store_holds_neither_code_nor_link(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        letter = portal.message(number)
    portal.wait_until_sent(number)
    portal.database.engine.dispose()
    stored = b"".join(path.read_bytes() for path in portal.folder.glob("store.db*"))
    secret = letter.link.rpartition(".")[2]
    assert secret.encode() not in stored
    assert letter.code.replace(" ", "").encode() not in stored


def test_whoever_leaves_is_warned_at_every_address_and_whoever_comes_back_is_not(tmp_path: Path) -> None:
    erasing = {"erase": True, "data_days": 100, "account_days": 300}
    with Portal(tmp_path, registry_settings={"grace_days": 5}, more={"lifecycle": erasing}) as portal:
        leaving, back, english = (portal.active(), portal.active(), portal.active(language="en"))
        for number in (leaving, back, english):
            portal.apply(cancelled(number, 10_000))
        while run_due(portal.database, portal.registry.timers()):
            pass
        assert portal.letters(leaving) == []  # spread over the morning: others' messages go first
        portal.apply(enrolled(back, 10_001, birth_name=f"Essai{back}"))
        portal.clock.now += 4 * 3600.0
        portal.message(leaving, count=2)
        portal.message(english, count=2)
        portal.wait_until_sent(leaving)
        with portal.database.read() as connection:
            account = accounts.find(connection, leaving)
        assert account is not None
        warnings = portal.letters(leaving)
        assert {letter.message["To"] for letter in warnings} == {MAIL, account.mail}
        assert {letter.message["Subject"] for letter in warnings} == {
            "Votre compte universitaire sera fermé après le 19 septembre 2026"  # the 14th, and 5 days
        }
        text = warnings[0].text
        assert "La messagerie\u00a0: vos données seront définitivement effacées le 29 décembre 2026." in text
        assert "Le compte lui-même sera supprimé le 17 juillet 2027." in text
        assert "closes after 19 September 2026" in portal.letters(english)[0].message["Subject"]
        assert portal.letters(back) == []
        found = diagnose(portal.application, leaving, live=False)
        evidence = next(each.evidence for each in found.findings if each.rule == "account_in_grace")
        assert evidence["warned"] == portal.desk_time()
