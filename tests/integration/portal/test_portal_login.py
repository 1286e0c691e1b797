"""'Se connecter' on the students' pages, through a real CAS server and the people of a real directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from producers.activation.hashes import Hasher, HashingSettings
from sandbox.cas import CasServer
from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from sesame.login import cas_logins
from sesame.login.client import CasClient
from sesame.login.login import LoginFailure
from sesame.testing.servers import cas_kit
from sesame.testing.servers.cas_kit import LoginServer
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.portal_kit import CHEAP, Portal
from sesame.testing.servers.portal_reader import GOOD, MAIL, Browser

HASHED = Hasher(HashingSettings(**CHEAP)).hash(GOOD)


@dataclass
class Place:
    """A portal and the CAS server that it sends people to."""

    portal: Portal
    cas: CasServer
    slapd: Slapd

    def student(self) -> tuple[str, str]:
        """An active student whom the directory knows with this password; number and login."""
        number = self.portal.active()
        situation = self.portal.context.choices.situation(number)
        assert situation is not None
        entry = (
            f"dn: uid={situation.login},{self.slapd.people_dn}\n"
            "objectClass: inetOrgPerson\nobjectClass: supannPerson\n"
            f"uid: {situation.login}\ncn: x\nsn: x\nsupannEtuId: {number}\n"
            f"userPassword: {HASHED}\n"
        )
        as_provisioner(self.slapd, "ldapadd", stdin=entry)
        return number, situation.login

    def ticket(self, login: str, other: cas_kit.Browser) -> str:
        """A ticket for the portal."""
        service = self.portal.settings.cas.service_url
        return other.ticket(f"{self.cas.url}login?service={service}", login, GOOD)

    def seen(self, number: str) -> cas_logins.CasLogin | None:
        """What is known of a student's logins."""
        with self.portal.database.read() as connection:
            return cas_logins.of(connection, number)


@pytest.fixture(scope="module")
def place(
    slapd: Slapd, login_server: LoginServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One portal and one CAS server for this file."""
    url = f"https://localhost:{(port := free_port())}"
    cas = login_server.cas
    settings = {"server_url": cas.url, "ca_file": cas.ca_file, "service_url": f"{url}/cas"}
    folder = tmp_path_factory.mktemp("portal")
    with Portal(folder, wish={"port": port}, cas=settings, authority=login_server.ca) as portal:
        yield Place(portal, cas, slapd)


@pytest.fixture
def elsewhere(place: Place) -> Iterator[cas_kit.Browser]:
    """The same reader's browser, on the CAS server's pages."""
    browser = cas_kit.Browser(place.cas)
    yield browser
    browser.close()


def leave(browser: Browser) -> str:
    """Click on 'Se connecter'; where it leads."""
    answer = browser.client.get("/connexion", follow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["Location"]


def test_a_login_leads_to_the_account_s_page_and_is_noted(place: Place, elsewhere: cas_kit.Browser) -> None:
    number, login = place.student()
    with place.portal.browser() as browser:
        assert leave(browser).startswith(f"{place.cas.url}login?")
        page = browser.get(f"/cas?ticket={place.ticket(login, elsewhere)}")
        assert (page.status_code, page.url.path) == (200, "/compte")
        assert login in page.text
    seen = place.seen(number)
    assert seen is not None
    assert seen.seen_at is not None


def test_logging_out_at_the_cas_server_ends_the_session_here(
    place: Place, elsewhere: cas_kit.Browser
) -> None:
    _number, login = place.student()
    with place.portal.browser() as browser:
        leave(browser)
        browser.get(f"/cas?ticket={place.ticket(login, elsewhere)}")
        elsewhere.log_out()
        wait_until(lambda: browser.get("/compte").status_code == 401, "the session to end")


def test_logging_out_here_ends_both(place: Place, elsewhere: cas_kit.Browser) -> None:
    _number, login = place.student()
    with place.portal.browser() as browser:
        leave(browser)
        browser.get(f"/cas?ticket={place.ticket(login, elsewhere)}")
        browser.client.follow_redirects = False
        away = browser.send("/deconnexion/cas").headers["Location"]
        assert away.startswith(f"{place.cas.url}logout")
        back = elsewhere.get(away)
        assert (back.status_code, back.headers["Location"]) == (302, place.portal.settings.cas.service_url)
        assert browser.get("/cas").headers["Location"] == "/"
        assert place.cas.url.rpartition("/cas/")[0] in browser.page.headers["Content-Security-Policy"]
        assert browser.get("/compte").status_code == 401


def test_a_ticket_is_believed_only_in_the_browser_that_left(place: Place, elsewhere: cas_kit.Browser) -> None:
    number, login = place.student()
    ticket = place.ticket(login, elsewhere)
    with place.portal.browser() as victim:
        assert victim.get(f"/cas?ticket={ticket}").status_code == 403
        assert victim.get("/compte").status_code == 401
    assert place.seen(number) is None


def test_a_forged_or_used_ticket_is_refused_and_kept_with_who_left(
    place: Place, elsewhere: cas_kit.Browser
) -> None:
    number, login = place.student()
    with place.portal.browser() as browser:
        enter_by_mail(place, browser, number)
        for ticket in ("ST-forged", "x" * 300, "<script>"):
            leave(browser)
            page = browser.get(f"/cas?ticket={ticket}")
            assert (page.status_code, "Votre connexion a expiré" in page.text) == (401, True)
        seen = place.seen(number)
        assert seen is not None
        assert (seen.seen_at, seen.failure) == (None, LoginFailure.TICKET_REFUSED)
        leave(browser)
        ticket = place.ticket(login, elsewhere)
        assert browser.get(f"/cas?ticket={ticket}").status_code == 200
        leave(browser)
        assert browser.get(f"/cas?ticket={ticket}").status_code == 401


def enter_by_mail(place: Place, browser: Browser, number: str) -> None:
    browser.ask(number, MAIL)
    browser.send("/code", code=place.portal.message(number).code)
    browser.send("/compte/ouvrir")


def test_somebody_else_who_comes_back_sees_their_own_page(place: Place, elsewhere: cas_kit.Browser) -> None:
    number, _login = place.student()
    _other_number, other = place.student()
    with place.portal.browser() as browser:
        enter_by_mail(place, browser, number)
        leave(browser)
        page = browser.get(f"/cas?ticket={place.ticket(other, elsewhere)}")
        assert other in page.text
        assert "autre compte" in page.text
    seen = place.seen(number)
    assert seen is not None
    assert (seen.seen_at, seen.failure) == (None, LoginFailure.OTHER_PERSON)


def test_somebody_without_an_account_here_is_told_so(place: Place, elsewhere: cas_kit.Browser) -> None:
    login = f"staff{free_port()}"
    entry = (
        f"dn: uid={login},{place.slapd.people_dn}\nobjectClass: inetOrgPerson\nobjectClass: supannPerson\n"
        f"uid: {login}\ncn: x\nsn: x\nuserPassword: {HASHED}\n"
    )
    as_provisioner(place.slapd, "ldapadd", stdin=entry)
    with place.portal.browser() as browser:
        leave(browser)
        page = browser.get(f"/cas?ticket={place.ticket(login, elsewhere)}")
        assert (page.status_code, "n’est pas celui d’un étudiant" in page.text) == (
            403,
            True,
        )
        browser.client.follow_redirects = False  # the page's own button leads out of CAS too
        assert 'action="/deconnexion/cas"' in page.text
        assert elsewhere.get(browser.send("/deconnexion/cas").headers["Location"]).status_code == 302
        assert "ticket=" not in elsewhere.get(leave(browser)).headers.get("Location", "")


def test_a_new_password_ends_the_sessions_of_cas_too(place: Place, elsewhere: cas_kit.Browser) -> None:
    number, login = place.student()
    with place.portal.browser() as browser, place.portal.browser() as other:
        leave(browser)
        browser.get(f"/cas?ticket={place.ticket(login, elsewhere)}")
        place.portal.prove(other, number)
        other.choose("Marguerite-77-Zébu!")
        assert browser.get("/compte").status_code == 401


def test_a_cas_server_that_is_down_is_not_the_password_s_fault(place: Place) -> None:
    place.cas.kill()
    try:
        with place.portal.browser() as browser:
            leave(browser)
            page = browser.get("/cas?ticket=ST-1-abcdefgh")
            assert page.status_code == 503
            assert re.search(r"mot de passe n’est pas en cause", page.text)
    finally:
        place.cas.start()


def test_a_cas_server_that_is_not_where_the_settings_say_is_a_setting_to_mend(place: Place) -> None:
    number, _login = place.student()
    with place.portal.browser() as browser:
        enter_by_mail(place, browser, number)
        leave(browser)
        assert place.portal.context.cas is not None
        client = place.portal.context.cas.server
        assert isinstance(client, CasClient)
        known, client.server_url = client.server_url, place.cas.url.replace("/cas/", "/")
        try:
            page = browser.get("/cas?ticket=ST-1-abcdefgh")
        finally:
            client.server_url = known
        assert (page.status_code, "mal configurée" in page.text) == (503, True)
    seen = place.seen(number)
    assert seen is not None
    assert seen.failure == LoginFailure.MISCONFIGURED
