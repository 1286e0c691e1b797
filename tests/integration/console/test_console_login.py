"""The way into the console, through a real CAS server: roles by attributes, logouts, forged returns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from producers.activation.hashes import Hasher, HashingSettings
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from sesame.login import cas_sessions
from sesame.login.cas_sessions import CasSession
from sesame.testing.servers import cas_kit
from sesame.testing.servers.cas_kit import LoginServer
from sesame.testing.servers.console_kit import COOKIE, ConsoleDesk
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.portal_kit import CHEAP
from sesame.testing.servers.portal_reader import GOOD, Browser

HASHED = Hasher(HashingSettings(**CHEAP)).hash(GOOD)
ROLES = {"operator": ("eduPersonAffiliation=Staff",), "support": ("eduPersonAffiliation=employee",)}
_logins = itertools.count(1)


@dataclass
class Place:
    """A console and the CAS server that it sends people to."""

    desk: ConsoleDesk
    server: LoginServer
    slapd: Slapd

    def employee(self, *affiliations: str) -> str:
        """Somebody whom the directory knows with these affiliations; the login."""
        login = f"Staff.Console{next(_logins)}"
        given = "".join(f"eduPersonAffiliation: {each}\n" for each in affiliations)
        entry = (
            f"dn: uid={login},{self.slapd.people_dn}\n"
            "objectClass: inetOrgPerson\nobjectClass: supannPerson\nobjectClass: eduPerson\n"
            f"uid: {login}\ncn: x\nsn: x\nuserPassword: {HASHED}\n{given}"
        )
        as_provisioner(self.slapd, "ldapadd", stdin=entry)
        return login

    def ticket(self, login: str, other: cas_kit.Browser) -> str:
        """A ticket for the console."""
        service = f"{self.desk.url}/console/login"
        return other.ticket(f"{self.server.cas.url}login?service={service}", login, GOOD)

    def enter(self, browser: Browser, login: str, other: cas_kit.Browser, page: str = "/console/") -> None:
        """Leave for CAS from a page, and come back with a ticket."""
        away = browser.client.get(page, follow_redirects=False)
        assert away.status_code == 303, away.text
        left = browser.client.get(away.headers["Location"], follow_redirects=False)
        asked = urlsplit(left.headers["Location"])
        assert left.headers["Location"].startswith(f"{self.server.cas.url}login?")
        assert parse_qs(asked.query)["service"] == [f"{self.desk.url}/console/login"]
        browser.get(f"/console/login?ticket={self.ticket(login, other)}")


@pytest.fixture(scope="module")
def place(
    slapd: Slapd, login_server: LoginServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One console and one CAS server for this file."""
    cas = login_server.cas
    folder = tmp_path_factory.mktemp("console")
    settings = {"server_url": cas.url, "ca_file": cas.ca_file}
    with ConsoleDesk(folder, cas=settings, authority=login_server.ca, roles=ROLES) as desk:
        yield Place(desk, login_server, slapd)


@pytest.fixture
def elsewhere(place: Place) -> Iterator[cas_kit.Browser]:
    """The same person's browser, on the CAS server's pages."""
    browser = cas_kit.Browser(place.server.cas)
    yield browser
    browser.close()


@pytest.mark.parametrize(
    ("affiliations", "shown"),
    [(("staff",), "operator"), (("employee", "member"), "support"), (("staff", "employee"), "operator")],
)
def test_a_login_leads_back_to_the_page_with_the_roles_that_the_attributes_give(
    place: Place, elsewhere: cas_kit.Browser, affiliations: tuple[str, ...], shown: str
) -> None:
    login = place.employee(*affiliations)
    with place.desk.browser(**{"Accept-Language": "en"}) as browser:
        place.enter(browser, login, elsewhere, "/console/?de=la")
        assert browser.page.status_code == 200
        assert (browser.page.url.path, browser.page.url.query) == ("/console/", b"de=la")
        assert f"<strong>{login.lower()}</strong>" in browser.page.text
        assert shown in browser.page.text


def test_who_has_no_role_is_told_what_to_ask_for_and_may_log_out(
    place: Place, elsewhere: cas_kit.Browser
) -> None:
    login = place.employee("member")
    with place.desk.browser() as browser:
        place.enter(browser, login, elsewhere)
        assert browser.page.status_code == 403
        assert "console.roles" in browser.page.text
        browser.client.follow_redirects = False
        away = browser.send("/console/sortir")
        assert away.headers["Location"].startswith(f"{place.server.cas.url}logout")
        assert browser.get("/console/").status_code == 303


def test_logging_out_at_the_cas_server_ends_the_session_here(
    place: Place, elsewhere: cas_kit.Browser
) -> None:
    with place.desk.browser() as browser:
        place.enter(browser, place.employee("staff"), elsewhere)
        assert browser.page.status_code == 200
        elsewhere.log_out()
        browser.client.follow_redirects = False
        wait_until(lambda: browser.get("/console/").status_code == 303, "the session to end")


def test_logging_out_here_ends_both(place: Place, elsewhere: cas_kit.Browser) -> None:
    with place.desk.browser() as browser:
        place.enter(browser, place.employee("staff"), elsewhere)
        cookie = browser.client.cookies[COOKIE]
        browser.client.follow_redirects = False
        away = browser.send("/console/sortir").headers["Location"]
        back = elsewhere.get(away)
        assert (back.status_code, back.headers["Location"]) == (302, f"{place.desk.url}/console/login")
        assert COOKIE not in browser.client.cookies
        browser.client.cookies.set(COOKIE, cookie)
        assert browser.get("/console/").status_code == 303, "what the browser kept enters nothing any more"
        browser.client.cookies.clear()
        assert "n’êtes pas connecté" in browser.get("/console/login").text


def test_a_ticket_is_believed_only_in_the_browser_that_left(place: Place, elsewhere: cas_kit.Browser) -> None:
    ticket = place.ticket(place.employee("staff"), elsewhere)
    with place.desk.browser() as victim:
        assert victim.get(f"/console/login?ticket={ticket}").status_code == 403
        assert COOKIE not in victim.client.cookies


def test_a_forged_or_used_ticket_opens_nothing(place: Place, elsewhere: cas_kit.Browser) -> None:
    ticket = place.ticket(place.employee("staff"), elsewhere)
    with place.desk.browser() as browser:
        browser.client.follow_redirects = False
        for wrong in ("ST-forged", "x" * 300, "<script>"):
            browser.get("/console/entrer")
            assert browser.get(f"/console/login?ticket={wrong}").status_code == 401
        browser.get("/console/entrer")
        assert browser.get(f"/console/login?ticket={ticket}").status_code == 303
        browser.get("/console/entrer")
        assert browser.get(f"/console/login?ticket={ticket}").status_code == 401


@pytest.mark.parametrize(
    "page",
    ["https://elsewhere.example/", "//elsewhere.example/", "/console/\\evil", "/compte", "/console/entrer"],
)
def test_coming_back_leads_nowhere_but_to_the_console(
    place: Place, elsewhere: cas_kit.Browser, page: str
) -> None:
    ticket = place.ticket(place.employee("staff"), elsewhere)
    with place.desk.browser() as browser:
        browser.client.follow_redirects = False
        browser.client.get("/console/entrer", params={"page": page})
        assert browser.get(f"/console/login?ticket={ticket}").headers["Location"] == "/console/"


def test_a_session_of_the_students_pages_enters_no_console(place: Place) -> None:
    with place.desk.portal.database.write() as connection:
        now = place.desk.portal.clock.now
        other = CasSession("https://localhost/cas", "ada", None, now, now + 60, ("operator",))
        cas_sessions.open_(connection, token="other", ticket="ST-other", session=other)
    with place.desk.browser() as browser:
        browser.client.cookies.set(COOKIE, "other")
        browser.client.follow_redirects = False
        assert browser.get("/console/").status_code == 303
