"""Causes on the account's page, and the way of a case to the desk."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from sandbox.process import wait_until
from schemas.account import Pedagogical
from sesame.testing.servers.portal_kit import Portal, enter, put, running

COHORTS = (
    {"key": "{step}-{year}", "name": "{step_label} {year}"},
    {"key": "{step}-{year}-cours", "name": "{step_label} {year}, cours", "requires": "pedagogical"},
)


@pytest.fixture(scope="module")
def portal(module_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file; none of the targets' servers is there."""
    folder, wish = tmp_path_factory.mktemp("portal"), {"address_burst": 10_000}
    settings = {"cohorts": COHORTS}
    with Portal(folder, wish=wish, registry_settings=settings, store=module_store) as portal:
        yield portal


@pytest.mark.parametrize(("language", "said"), [("fr", "inscription pédagogique"), ("en", "pedagogical")])
def test_the_cause_stands_beside_its_service_in_the_reader_s_language(
    portal: Portal, language: str, said: str
) -> None:
    number = portal.active(pedagogical=Pedagogical.PENDING)
    running(portal, directory="running", mailbox="running", moodle="running")
    put(portal, number, "moodle", "waiting", "pedagogical_enrolment_pending")
    with portal.browser(**{"Accept-Language": language}) as browser:
        enter(portal, browser, number)
        moodle = re.search(
            r'data-service="moodle".*?</li>\s*(?=<li|</ul>\s*<p)', browser.page.text, re.DOTALL
        )
    assert moodle is not None
    assert said in html.unescape(moodle[0])
    assert 'data-rule="' in moodle[0]


def test_a_case_goes_to_the_desk_word_for_word_as_it_was_shown_and_once(portal: Portal) -> None:
    number = portal.active()
    with portal.browser() as browser:
        enter(portal, browser, number)
        browser.get("/compte/aide")
        browser.send("/compte/aide", dit="Moodle dit <b>non</b>.")
        path = browser.page.url.path
        code = path.rpartition("/")[2]
        shown = re.search(r"<pre[^>]*>(.*?)</pre>", browser.page.text, re.DOTALL)
        assert shown is not None
        text = html.unescape(shown[1])
        assert number in text
        assert "Moodle dit <b>non</b>." in text
        assert f"évènement {portal.person(number).recent_facts[-1]}" in text  # it finds the case in the logs
        assert "<b>" not in shown[1]
        for _ in range(2):
            page = browser.page
            browser.send(path)
            assert "Le dossier a été envoyé" in browser.page.text
            browser.page = page
        wait_until(lambda: bool(mine(portal, code)), "the case to come")
        (message,) = mine(portal, code)
        assert message.strip().replace("\r\n", "\n") == text.strip()


def mine(portal: Portal, code: str) -> list[str]:
    """The bodies of the messages to the desk about a case."""
    messages = portal.sink.messages(portal.settings.portal.support)
    return [str(each.get_content()) for each in messages if code in str(each["Subject"])]


def test_a_case_is_shown_to_its_owner_alone(portal: Portal) -> None:
    number, other = portal.active(), portal.active()
    with portal.browser() as browser, portal.browser() as stranger:
        enter(portal, browser, number)
        browser.get("/compte/aide")
        browser.send("/compte/aide", dit="")
        path = browser.page.url.path
        assert browser.page.status_code == 200
        enter(portal, stranger, other)
        assert stranger.get(path).status_code == 404
        assert stranger.get("/compte/aide/AAAAA-AAAAA").status_code == 404
    with portal.browser() as nobody:
        assert nobody.get(path).status_code == 401


def test_the_servers_are_not_asked_as_often_as_somebody_clicks(portal: Portal) -> None:
    number = portal.active()
    with portal.browser() as browser:
        enter(portal, browser, number)
        answers = []
        for turn in range(7):
            browser.get("/compte/aide")
            answers.append(browser.send("/compte/aide", dit=f"essai {turn}").status_code)
    assert answers[0] == 200
    assert answers[-1] == 429


@pytest.mark.parametrize(("language", "said"), [("fr", "rien à attendre"), ("en", "nothing to wait for")])
def test_a_service_that_is_only_observed_is_awaited_by_nobody(
    portal: Portal, language: str, said: str
) -> None:
    number = portal.active()
    running(portal, directory="running", mailbox="running", moodle="running")
    for target in ("directory", "mailbox"):
        put(portal, number, target, "provisioned", None)
    put(portal, number, "moodle", "waiting", "observed_only")
    with portal.browser(**{"Accept-Language": language}) as browser:
        enter(portal, browser, number)
        text = html.unescape(browser.page.text)
    assert 'data-service="moodle" data-state="not_ours"' in text
    assert said in text
    assert re.search(r"(Prêt|Ready)</span> <span", text), "a reader of the page aloud hears two words"
    assert ("Tout est prêt." if language == "fr" else "Everything is ready.") in text
