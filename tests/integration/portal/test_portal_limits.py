"""How often something may be tried on the students' pages: by code, by student, by address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.activation import mail_proofs
from producers.activation.proofs import MESSAGES_AT_ONCE
from sesame.testing.servers.portal_kit import BEHIND_A_PROXY, Portal, somewhere
from sesame.testing.servers.portal_reader import MAIL
from sesame.web.students import portal_context

WRONG = "000000"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file, behind a proxy that is believed."""
    with Portal(tmp_path_factory.mktemp("portal"), wish=BEHIND_A_PROXY) as portal:
        yield portal


def test_five_wrong_codes_end_that_request_s_code_and_nobody_else_s(portal: Portal) -> None:
    number = portal.student()
    with portal.browser(**somewhere()) as student, portal.browser(**somewhere()) as other:
        student.ask(number)
        mine = portal.message(number)
        other.ask(number)
        theirs = portal.message(number, count=2)
        for left in (4, 3, 2, 1):
            assert f"Il reste {left} essai" in other.send("/code", code=WRONG).text
        assert "n’est plus valable" in other.send("/code", code=WRONG).text
        assert other.send("/code", code=theirs.code).status_code == 422  # right, and too late
        assert student.send("/code", code=mine.code).url.path == "/mot-de-passe"
        other.get(theirs.link)
        assert other.send("/lien").url.path == "/mot-de-passe"  # the reader of the message is not locked out


def test_a_code_works_once_and_only_for_the_browser_that_asked(portal: Portal) -> None:
    number = portal.student()
    with portal.browser(**somewhere()) as student, portal.browser(**somewhere()) as other:
        student.ask(number)
        code = portal.message(number).code
        other.ask(number, "autre@perso.example")
        assert other.send("/code", code=code).status_code == 422
        form = student.page
        assert student.send("/code", code=code).url.path == "/mot-de-passe"
        student.page = form
        assert student.send("/code", code=code).url.path == "/mot-de-passe"  # the request is over; go on
        assert other.get("/mot-de-passe").status_code == 401


def test_who_uses_up_a_student_s_messages_does_not_lock_them_out(portal: Portal) -> None:
    number = portal.student()
    most = MESSAGES_AT_ONCE
    with portal.browser(**somewhere()) as other:
        other.ask(number)
        for _ in range(most + 3):
            other.send("/renvoyer")
    newest = portal.message(number, count=most)
    with portal.browser(**somewhere()) as student:
        assert student.ask(number).url.path == "/code"  # the answer does not change
        portal.context.postman.send_page()
        assert len(portal.letters(number)) == most
        student.get(newest.link)
        assert student.send("/lien").url.path == "/mot-de-passe"
        assert student.choose().url.path == "/compte"
    with portal.browser(**somewhere()) as wrong:
        for _ in range(most + 1):
            wrong.ask(number, "autre@perso.example")
    portal.clock.now += 24 * 3600.0 / most
    with portal.browser(**somewhere()) as student:
        student.ask(number)
        assert portal.message(number, count=most + 1).code


@pytest.mark.parametrize("which", range(5))
def test_every_code_and_link_that_was_sent_works_however_often_more_are_asked_for(
    portal: Portal, which: int
) -> None:
    number = portal.student()
    most = MESSAGES_AT_ONCE
    assert most == 5
    with portal.browser(**somewhere()) as student:
        student.ask(number)
        for turn in range(most + 4):  # the last ones are withheld: five were sent
            if turn < most:
                portal.message(number, count=turn + 1)
            assert student.send("/renvoyer").url.path == "/code"
        portal.context.postman.send_page()
        sent = portal.letters(number)
        assert len(sent) == most
        assert student.send("/code", code=sent[which].code).url.path == "/mot-de-passe"
    with portal.browser(**somewhere()) as elsewhere:
        for letter in sent:
            elsewhere.get(letter.link)
            assert elsewhere.send("/lien").url.path == "/mot-de-passe"


def test_at_the_limit_nothing_tells_who_is_known(portal: Portal) -> None:
    seen = []
    for number, mail in ((portal.student(), MAIL), ("99999993", "autre@perso.example")):
        with portal.browser(**somewhere()) as browser:
            browser.ask(number, mail)
            for _ in range(MESSAGES_AT_ONCE + 3):
                browser.send("/renvoyer")
            tries = []
            for _ in range(7):
                page = browser.send("/code", code=WRONG)
                tries.append((page.status_code, re.findall(r"Il reste \d|n’est plus valable", page.text)))
            seen.append(tries)
    assert seen[0] == seen[1]


def test_an_unsent_message_has_no_code_that_could_be_guessed(portal: Portal) -> None:
    number = portal.student()
    ids = [
        portal.context.proof_requests.ask(number, MAIL, "fr", browser="b")
        for _ in range(MESSAGES_AT_ONCE + 1)
    ]
    with portal.database.read() as connection:
        last = mail_proofs.find(connection, ids[-1])
    assert last is not None
    assert (last.student_number, last.send_at) == (number, None)
    assert (last.code_digest, last.link_digest) == ("-", "-")


def test_an_address_is_slowed_down_and_the_slow_down_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_context, "ADDRESS_EVERY_S", 60.0)
    with Portal(tmp_path, wish={"address_burst": 3}) as portal:
        with portal.browser() as browser:
            for _ in range(3):
                assert browser.ask("99999997").url.path == "/code"
            assert (browser.ask("99999997").status_code, browser.page.headers["Retry-After"]) == (429, "60")
        portal.restart()
        with portal.browser(**{"X-Forwarded-For": "203.0.113.9"}) as browser:  # no proxy is believed here
            assert browser.ask("99999997").status_code == 429
            portal.clock.now += 61.0
            assert browser.ask("99999997").url.path == "/code"


def test_a_shared_network_may_send_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_context, "ADDRESS_EVERY_S", 60.0)
    monkeypatch.setattr(portal_context, "SHARED_FACTOR", 5)
    wish = {"address_burst": 1, "shared_networks": ("127.0.0.0/8",)}
    with Portal(tmp_path, wish=wish) as portal, portal.browser() as browser:
        answers = [browser.ask("99999996").status_code for _ in range(6)]
    assert answers == [200] * 5 + [429]


def test_who_has_a_message_is_not_held_up_by_the_neighbours_behind_the_same_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_context, "ADDRESS_EVERY_S", 600.0)
    with Portal(tmp_path, wish={"address_burst": 2}) as portal:
        number = portal.student()
        with portal.browser() as student, portal.browser() as neighbour:
            student.ask(number)
            code = portal.message(number).code
            neighbour.ask("99999997")
            assert neighbour.ask("99999997").status_code == 429
            assert student.send("/code", code=WRONG).status_code == 422
            assert student.send("/code", code=code).url.path == "/mot-de-passe"
            assert student.choose().url.path == "/compte"
            for _ in range(5):
                neighbour.get("/code")
                assert neighbour.send("/code", code=WRONG).status_code == 422
            neighbour.get("/code")
            assert neighbour.send("/code", code=WRONG).status_code == 429  # what is its own ends too


@pytest.mark.parametrize(("wish", "status"), [({}, 404), ({"publish_figures": True}, 200)])
def test_how_fast_it_is_is_shown_if_the_university_wants_it(
    tmp_path: Path, wish: dict[str, bool], status: int
) -> None:
    with Portal(tmp_path, wish=wish) as portal, portal.browser() as browser:
        answer = browser.client.get("/metrics/propagation.json")
    assert answer.status_code == status
