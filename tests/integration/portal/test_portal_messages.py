"""Messages of the students' pages: to whom, what they say, when they come, and what is left of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import or_, select

from pipeline import accounts
from pipeline.audit import entries
from pipeline.timers import run_due
from producers.activation.mail_proofs import mail_proofs
from producers.activation.postman import CLAIM_S, SMS_ATTEMPTS_MAX
from producers.activation.proof_requests import SMS_AT_ONCE
from producers.activation.proofs import ATTEMPTS_MAX
from producers.activation.sms import SmsGatewayDown
from sandbox.process import wait_until
from sandbox.sms import SmsStandIn
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


# --- codes by SMS ---

_mobiles = itertools.count(33_612_000_001)


@dataclass
class Texted:
    """A portal with an SMS gateway."""

    portal: Portal
    gateway: SmsStandIn

    def mobile(self) -> str:
        """A number of nobody else's."""
        return f"+{next(_mobiles)}"

    def rows(self) -> int:
        with self.portal.database.read() as connection:
            return len(connection.execute(select(mail_proofs.c.id)).all())

    def code(self, mobile: str, *, count: int = 1) -> str:
        """The code of the newest SMS to a number, once there are so many."""
        wait_until(lambda: len(self.gateway.sent(mobile)) >= count, f"SMS {count} to {mobile}")
        found = re.search(r"\d{3} \d{3}", self.gateway.sent(mobile)[-1]["text"])
        assert found is not None
        return found[0]

    def settled(self, number: str) -> None:
        """Wait until nothing more about a student is due, or being sent."""

        def none_due() -> bool:
            now, send_at = self.portal.clock.now, mail_proofs.c.send_at
            due = mail_proofs.c.student_number == number, or_(send_at <= now, send_at == now + CLAIM_S)
            with self.portal.database.read() as connection:
                return not connection.execute(select(mail_proofs.c.id).where(*due)).all()

        wait_until(none_due, "the messages to be sent")

    def outcomes(self, number: str) -> list[tuple[str, int]]:
        """What the audit has of a student's SMS, the newest last."""
        with self.portal.database.read() as connection:
            noted = [each.detail for each in entries(connection, limit=500) if each.action == "sms.send"]
        mine = [each for each in reversed(noted) if each["student_number"] == number]
        return [(each["outcome"], each["attempts"]) for each in mine]


@pytest.fixture(scope="module")
def texted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Texted]:
    with texting(tmp_path_factory.mktemp("sms")) as made:
        yield made


@contextmanager
def texting(folder: Path) -> Iterator[Texted]:
    with SmsStandIn(folder / "gateway") as gateway:
        sms = {"url": gateway.url, "token_file": gateway.token_file}
        with Portal(folder / "portal", wish={"address_burst": 10_000}, more={"sms": sms}) as portal:
            yield Texted(portal, gateway)


def test_whoever_s_mail_is_lost_gets_the_code_by_sms(texted: Texted) -> None:
    portal, mobile = texted.portal, texted.mobile()
    number = portal.student(mobile=mobile)
    with portal.browser() as browser:
        page = browser.ask(number, f"0{mobile[3:5]} {mobile[5:]}")
        assert page.url.path == "/code"
        assert "Consultez vos SMS" in page.text
        assert browser.send("/code", code=texted.code(mobile)).url.path == "/mot-de-passe"
        assert browser.choose().url.path == "/compte"
    texted.settled(number)
    assert len(texted.gateway.sent(mobile)) == 1
    assert portal.letters(number) == []
    assert texted.outcomes(number) == [("sent", 1)]
    with portal.browser(**{"Accept-Language": "en"}) as browser:
        portal.clock.now += 61
        browser.ask(number, mobile)
        assert texted.code(mobile, count=2)
    assert "your code is" in texted.gateway.sent(mobile)[-1]["text"]


@pytest.mark.parametrize("spoken", ["fr", "en"])
def test_no_answer_tells_who_is_known_nor_whether_there_is_a_mobile(texted: Texted, spoken: str) -> None:
    portal = texted.portal
    mine, other = texted.mobile(), texted.mobile()
    asked = {
        "right": (portal.student(mobile=mine), mine),
        "another's": (portal.student(mobile=texted.mobile()), other),
        "none known": (portal.student(), texted.mobile()),
        "unknown student": ("99999993", texted.mobile()),
        "abroad, and let through by the registrar": (portal.student(mobile="+32470123456"), texted.mobile()),
    }
    pages, written = set(), set()
    for number, mobile in asked.values():
        with portal.browser(**{"Accept-Language": spoken}) as browser:
            before = texted.rows()
            shown = [browser.ask(number, mobile), browser.send("/renvoyer"), browser.get("/code")]
            written.add(texted.rows() - before)
            shown.append(browser.send("/code", code="000 000"))
            alike = (re.sub(r'value="[^"]*"', "", page.text).replace(mobile, "MOBILE") for page in shown)
            pages.add(tuple(re.sub(r"\+33\S*|nonce-\S+", "", each) for each in alike))
    assert len(pages) == len(written) == 1
    assert texted.code(mine)
    for number, _ in asked.values():
        if not number.startswith("99"):
            texted.settled(number)
    for name, (_, mobile) in asked.items():
        assert len(texted.gateway.sent(mobile)) == (name == "right")
    assert texted.gateway.sent("+32470123456") == []


def test_a_hundred_reloads_send_one_sms_whatever_is_reloaded(texted: Texted) -> None:
    portal, mobile = texted.portal, texted.mobile()
    number = portal.student(mobile=mobile)
    with portal.browser() as browser:
        browser.ask(number, mobile)
        code, form = texted.code(mobile), browser.page
        for turn in range(100):
            browser.get("/code")
            browser.page = form
            if turn % 2:
                browser.send("/renvoyer")
            else:
                browser.ask(number, mobile)
        texted.settled(number)
        assert len(texted.gateway.sent(mobile)) == 1
        assert browser.send("/code", code=code).url.path == "/mot-de-passe"


@pytest.mark.parametrize("bound", ["person", "number"])
def test_codes_are_bounded_per_person_number_and_day(texted: Texted, bound: str) -> None:
    """Two persons have one number, and one person two; a stranger's tries count nothing."""
    portal, shared = texted.portal, texted.mobile()
    numbers = [portal.student(mobile=shared), portal.student(mobile=shared)]
    mobiles = [shared]
    for _ in range(SMS_AT_ONCE + 3):
        with portal.browser() as stranger:
            stranger.ask(numbers[0], texted.mobile())
    for turn in range(2 * SMS_AT_ONCE):
        number = numbers[turn % 2] if bound == "number" else numbers[0]
        if bound == "person" and turn == 3:
            mobiles.append(texted.mobile())
            person = {"mobile": mobiles[-1], "birth_name": f"Essai{number}", "personal_mail": MAIL}
            portal.apply(enrolled(number, 10**9, **person))
        with portal.browser() as browser:
            browser.ask(number, mobiles[-1])
        portal.clock.now += 61
        texted.settled(number)
    assert sum(len(texted.gateway.sent(each)) for each in mobiles) == SMS_AT_ONCE
    portal.clock.now += 24 * 3600.0 / SMS_AT_ONCE
    with portal.browser() as browser:
        browser.ask(numbers[0], mobiles[-1])
        assert browser.send("/renvoyer").url.path == "/code"
    texted.settled(numbers[0])
    assert sum(len(texted.gateway.sent(each)) for each in mobiles) == SMS_AT_ONCE + 1


@pytest.mark.parametrize(
    ("fault", "sent_before"),
    [({"status": 500}, 0), ({"hang_up": True}, 1), ({"status": 429, "headers": {"Retry-After": "500"}}, 0)],
)
def test_a_gateway_s_fault_sends_no_code_twice(
    texted: Texted, fault: dict[str, object], sent_before: int
) -> None:
    portal, gateway, mobile = texted.portal, texted.gateway, texted.mobile()
    number, troubles, before = portal.student(mobile=mobile), len(portal.troubles), len(gateway.requests())
    gateway.meet(fault)
    with portal.browser() as browser:
        browser.ask(number, mobile)
        portal.wait_for_trouble(more_than=troubles)
        texted.settled(number)
        assert len(gateway.sent(mobile)) == sent_before
        assert ("may have sent" in portal.troubles[-1]) == bool(sent_before)
        assert mobile not in portal.troubles[-1]
        portal.clock.now += 30
        waits = fault.get("status") == 429
        texted.settled(number)
        assert len(gateway.requests()) - before == (1 if waits else 2)
        portal.clock.now += 500 * waits
        code = texted.code(mobile)
        texted.settled(number)
        assert len(gateway.sent(mobile)) == 1
        assert len({each["headers"]["Idempotency-Key"] for each in gateway.requests()[before:]}) == 1
        assert browser.send("/code", code=code).url.path == "/mot-de-passe"
    assert texted.outcomes(number) == [("sent", 2)]


def test_a_gateway_that_stays_away_is_given_up_and_audited(texted: Texted) -> None:
    portal, gateway, mobile = texted.portal, texted.gateway, texted.mobile()
    number, before = portal.student(mobile=mobile), len(gateway.requests())
    gateway.meet(*[{"status": 503}] * (SMS_ATTEMPTS_MAX + 5))
    with portal.browser() as browser:
        browser.ask(number, mobile)
        for _ in range(SMS_ATTEMPTS_MAX + 3):
            texted.settled(number)
            portal.clock.now += 301
    gateway.meet({"status": 422})
    assert len(gateway.requests()) - before == SMS_ATTEMPTS_MAX
    other = texted.mobile()
    refused = portal.student(mobile=other)
    with portal.browser() as browser:
        browser.ask(refused, other)
    texted.settled(refused)
    portal.clock.now += 301
    texted.settled(refused)
    assert gateway.sent(mobile) == gateway.sent(other) == []
    assert texted.outcomes(number) == [("given_up", SMS_ATTEMPTS_MAX)]
    assert texted.outcomes(refused) == [("refused", 1)]
    gone, bad = (diagnose(portal.application, each, live=False).findings for each in (number, refused))
    assert "personal_address_refused" not in {each.rule for each in gone}  # no fault of the number's
    (why,) = [each.evidence["said"] for each in bad if each.rule == "personal_address_refused"]
    assert "for good (422)" in str(why)


def test_a_number_abroad_is_told_at_the_form_and_a_changed_one_opens_nothing(texted: Texted) -> None:
    portal, mobile = texted.portal, texted.mobile()
    number = portal.student(mobile=mobile)
    with portal.browser() as browser:
        page = browser.ask(number, "+32 470 12 34 56")
        assert (page.status_code, "pas de SMS vers ce pays" in page.text) == (422, True)
        assert browser.ask(number, "06 12").status_code == 422
        browser.ask(number, mobile)
        code = texted.code(mobile)
        fresh = {"mobile": texted.mobile(), "personal_mail": MAIL, "birth_name": f"Essai{number}"}
        portal.apply(enrolled(number, 10**9, **fresh))
        assert browser.send("/code", code=code).status_code == 422
        portal.clock.now += 61
        assert browser.send("/renvoyer").url.path == "/code"
        assert browser.send("/code", code=texted.code(fresh["mobile"])).url.path == "/mot-de-passe"
    assert len(texted.gateway.sent(mobile)) == 1


def test_without_a_gateway_the_form_knows_no_mobile(portal: Portal) -> None:
    number = portal.student(mobile="+33612999999")
    with portal.browser() as browser:
        assert "mobile" not in browser.get("/").text
        page = browser.ask(number, "06 12 99 99 99")
        assert page.status_code == 422
        assert "Indiquez une adresse électronique" in page.text


def test_a_mobile_is_enough_to_be_reached_where_there_is_a_gateway(texted: Texted, portal: Portal) -> None:
    def causes(of: Portal, **known: str | None) -> set[str]:
        found = diagnose(of.application, of.student(None, **known), live=False).findings
        return {each.rule for each in found} & {"no_personal_address", "not_activated"}

    assert causes(texted.portal) == {"no_personal_address"}
    assert causes(texted.portal, mobile=texted.mobile()) == {"not_activated"}
    assert causes(portal, mobile=texted.mobile()) == {"no_personal_address"}


def test_the_doctor_tries_the_gateway_without_a_message(tmp_path: Path) -> None:
    with texting(tmp_path) as made:
        (check,) = [check for check in checks_for(made.portal.settings) if check.name == "portal"]
        assert "the SMS gateway answers" in check.run().text
        made.gateway.stop()
        with pytest.raises(SmsGatewayDown, match="no answer from the SMS gateway"):
            check.run()
        assert made.gateway.sent() == []
