"""A telephone on a bad network: answers that are lost, forms that come twice, senders that are slow."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from producers.activation.proofs import ATTEMPTS_MAX, REPEAT_S, REPEATS_MAX
from sandbox.process import PATIENCE_S
from sesame.testing.servers.portal_kit import Portal
from sesame.testing.servers.portal_reader import GOOD, Browser
from sesame.web.kit.connections import PromptProtocol


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file, in a hurry with whoever dawdles over a request's head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptProtocol, "head_s_max", 1.0)
        with Portal(tmp_path_factory.mktemp("portal"), wish={"address_burst": 10_000}) as portal:
            yield portal


def lose(portal: Portal, browser: Browser, action: str, **fields: str) -> httpx.Response:
    """Send a form whose answer never arrives, neither page nor cookies; what it was is for the test alone."""
    cookies, page = dict(browser.client.cookies), browser.page
    browser.client.follow_redirects = False
    try:
        return browser.send(action, **fields)
    finally:
        browser.client.follow_redirects = True
        browser.client.cookies.clear()
        for name, value in cookies.items():
            browser.client.cookies.set(name, value, domain="localhost.local", path="/")
        browser.page = page


# --- answers that are lost --------------------------------------------------------------------------------


def test_a_right_code_whose_answer_was_lost_may_be_typed_again(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        code = portal.message(number).code
        assert lose(portal, browser, "/code", code=code).headers["Location"] == "/mot-de-passe"
        portal.clock.now += REPEAT_S - 1.0
        assert browser.send("/code", code=code).url.path == "/mot-de-passe"
        assert browser.choose().url.path == "/compte"
    assert len(portal.said(number)) == 1


def test_it_may_not_be_typed_again_later_nor_for_ever_nor_wrong_nor_once_it_was_used(portal: Portal) -> None:
    late, often, used = portal.student(), portal.student(), portal.student()
    with portal.browser() as browser:
        browser.ask(late)
        letter = portal.message(late)
        lose(portal, browser, "/code", code=letter.code)
        portal.clock.now += REPEAT_S
        assert "n’est plus valable" in browser.send("/code", code=letter.code).text
        browser.get(letter.link)  # which the page says: the link still does
        assert browser.send("/lien").url.path == "/mot-de-passe"
    with portal.browser() as browser:
        browser.ask(often)
        code = portal.message(often).code
        attempts = ATTEMPTS_MAX
        for _ in range(attempts - 1):
            assert browser.send("/code", code=wrong(code)).status_code == 422
        found = [lose(portal, browser, "/code", code=code).status_code for _ in range(REPEATS_MAX + 2)]
        assert found == [303] * (1 + REPEATS_MAX) + [422]
    with portal.browser() as browser:
        browser.ask(used)
        code = portal.message(used).code
        form, kept = browser.page, dict(browser.client.cookies)
        assert browser.send("/code", code=wrong(code)).status_code == 422
        assert browser.send("/code", code=code).url.path == "/mot-de-passe"
        browser.choose()
        for name, value in kept.items():
            browser.client.cookies.set(name, value, domain="localhost.local", path="/")
        browser.page = form
        assert browser.send("/code", code=code).status_code == 422


def wrong(code: str) -> str:
    return f"{(int(code.replace(' ', '')) + 1) % 10**6:06d}"


def test_a_code_that_was_typed_is_of_no_use_in_another_browser(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as student, portal.browser() as other:
        student.ask(number)
        code = portal.message(number).code
        other.ask(number)  # knows number and address, and has seen the student's code
        lose(portal, student, "/code", code=code)
        assert other.send("/code", code=code).status_code == 422
        assert student.send("/code", code=code).url.path == "/mot-de-passe"


def test_of_two_messages_because_an_answer_was_lost_either_code_works(portal: Portal) -> None:
    impatient, again = portal.student(), portal.student()
    with portal.browser() as browser:
        browser.get("/")
        lose(portal, browser, "/demande", numero=impatient, courriel="lea.martin@perso.example")
        first = portal.message(impatient)
        assert browser.ask(impatient).url.path == "/code"
        portal.message(impatient, count=2)
        assert browser.send("/code", code=first.code).url.path == "/mot-de-passe"
    with portal.browser() as browser:
        browser.ask(again)
        lose(portal, browser, "/renvoyer")
        second = portal.message(again, count=2)
        assert browser.send("/code", code=second.code).url.path == "/mot-de-passe"


def test_a_form_that_is_sent_again_after_its_success_goes_on(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        browser.ask(number)
        form = browser.page
        code = portal.message(number).code
        browser.send("/code", code=code)
        browser.page = form  # the back button, and the same code once more
        assert browser.send("/code", code=code).url.path == "/mot-de-passe"
        assert browser.get("/code").url.path == "/mot-de-passe"


@pytest.mark.parametrize("then", ["sent again", "come back to"])
def test_a_password_whose_answer_was_lost_is_chosen_once_and_leads_on(portal: Portal, then: str) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        lose(portal, browser, "/mot-de-passe", mot_de_passe=GOOD, confirmation=GOOD, charte="oui")
        portal.clock.now += REPEAT_S - 1.0
        page = browser.choose() if then == "sent again" else browser.get("/mot-de-passe")
        assert page.url.path == "/compte"
        assert number in page.text
        portal.clock.now += 2.0
        assert browser.get("/mot-de-passe").status_code == 410
    assert len(portal.said(number)) == 1


# --- slow on purpose --------------------------------------------------------------------------------------


def connection(portal: Portal) -> ssl.SSLSocket:
    """A connection by hand."""
    context = ssl.create_default_context(cafile=str(portal.ca.ca_file))
    plain = socket.create_connection(("localhost", portal.port), PATIENCE_S)
    return context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_who_does_not_finish_a_request_s_head_is_hung_up_on(portal: Portal, said: bytes) -> None:
    with connection(portal) as slow:
        if said:
            slow.sendall(said)
        assert ended(slow)


def test_a_second_request_on_a_connection_must_be_finished_too(portal: Portal) -> None:
    whole = f"GET /livez HTTP/1.1\r\nHost: localhost:{portal.port}\r\n\r\n".encode()
    with connection(portal) as slow:
        for _ in range(2):
            slow.sendall(whole)
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += slow.recv(65_536) or b"hung up: ok\n"
            assert answer.startswith(b"HTTP/1.1 200")
        slow.sendall(whole[:9])
        assert ended(slow)


def ended(slow: ssl.SSLSocket) -> bool:
    """Whether the server hangs up, within the socket's time."""
    try:
        return slow.recv(65_536) == b""
    except ConnectionResetError:
        return True
