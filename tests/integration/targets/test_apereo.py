"""Logging in through a real Apereo CAS: what `test_cas` and `test_portal_login` tell, and what is its own."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from consumers.apereo.connector import ApereoConnector
from consumers.apereo.settings import ApereoSettings
from consumers.kit.connector import Change, ConnectorContext
from consumers.kit.deadline import Deadline
from pipeline.accounts import newest
from pipeline.errors import CredentialsRefused, Misconfigured, WriteForbidden
from pipeline.target import Done, HandlerOutcome, Task
from sandbox.apereo.properties import OPERATOR, OPERATOR_PASSWORD
from sandbox.process import PATIENCE_S, wait_until
from sandbox.slapd import Slapd
from schemas.account import Account, Hold
from sesame.acts.acts import Actor, Role
from sesame.app.doctor.findings import CheckState
from sesame.login.client import CasClient
from sesame.login.outcome import ProbeOutcome
from sesame.login.port import ServiceRefused
from sesame.login.probe import LoginProbe
from sesame.operations.access.holds import HoldListRequest, place_all
from sesame.settings import LiveSecret
from sesame.testing.servers.cas_kit import Browser, LoginServer, site, ticket_of
from sesame.testing.servers.directory_kit import HASHER, fresh_number
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.stores import sqlite_store
from sesame.testing.servers.waiting import until
from tests.integration.portal.test_cas import *  # noqa: F403 (the same stories, on this server)
from tests.integration.portal.test_cas import PASSWORD, SERVICE, CasHarness, doctor, probed, settings_of
from tests.integration.portal.test_portal_login import *  # noqa: F403
from tests.integration.targets import site_kit

_PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "connect-cas.md"

del test_a_cas_server_that_is_down_is_not_the_password_s_fault  # noqa: F821 (as any other, when it is down)


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One kind of database is enough here."""
    return sqlite_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def login_server(apereo: LoginServer) -> LoginServer:
    """Apereo's, instead of django-cas-server."""
    return apereo


def test_the_password_file_of_the_documentation_has_no_line_end(tmp_path: Path) -> None:
    file = tmp_path / "cas-probe-password"
    (line,) = re.findall(r"^\(umask .*\)$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    command = line.replace("/etc/sesame/cas-probe-password", str(file))
    subprocess.run(["bash", "-c", command], check=True, timeout=PATIENCE_S)
    assert re.fullmatch(rb"[!-~]{20,}", file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600


# --- pages between the login and its ticket -------------------------------------------------------------


def policy(slapd: Slapd, name: str, *lines: str) -> str:
    """A password policy; its DN."""
    dn = f"cn={name},{slapd.people_dn}"
    classes = ("objectClass: organizationalRole", "objectClass: pwdPolicy")
    entry = "\n".join([f"dn: {dn}", *classes, f"cn: {name}", "pwdAttribute: userPassword", *lines, ""])
    as_provisioner(slapd, "ldapadd", stdin=entry)
    return dn


def under(desk: CasHarness, slapd: Slapd, name: str, *lines: str) -> str:
    """The login of a student whose password is new under a policy of its own."""
    login = desk.student().login
    change = (
        f"dn: uid={login},{slapd.people_dn}\nchangetype: modify\n"
        f"replace: pwdPolicySubentry\npwdPolicySubentry: {policy(slapd, name, *lines)}\n"
    )
    as_provisioner(slapd, "ldapmodify", stdin=change)
    password = f"replace: userPassword\nuserPassword: {{ARGON2}}{HASHER.hash(PASSWORD)}\n"
    as_provisioner(
        slapd, "ldapmodify", stdin=f"dn: uid={login},{slapd.people_dn}\nchangetype: modify\n{password}"
    )
    return login


def word(folder: Path) -> Path:
    """A file with the students' password."""
    file = folder / "word"
    file.touch(mode=0o600)
    file.write_text(PASSWORD, encoding="ascii")
    return file


def test_the_page_before_a_password_expires_is_followed_and_told(
    desk: CasHarness, slapd: Slapd, tmp_path: Path
) -> None:
    login = under(desk, slapd, "expiring", "pwdMaxAge: 864000", "pwdExpireWarning: 864000")
    url = desk.client().login_url()
    wait_until(lambda: desk.browser().log_in(url, login, PASSWORD).status_code == 200, "a page between")
    browser = desk.browser()
    page = browser.log_in(url, login, PASSWORD)
    assert (page.status_code, 'type="password"' in page.text) == (200, False)
    assert desk.client().validate(ticket_of(browser.go_on(f"{desk.cas.url}login", page))).login == login
    settings = settings_of(desk, slapd, probe_login=login, probe_password_file=word(tmp_path))
    found = doctor(settings)
    assert (found.state, "before a password expires" in found.text) == (CheckState.WARN, True)
    assert "pwdMaxAge" in found.remedy


def test_a_password_that_has_expired_is_told_from_a_wrong_one(
    desk: CasHarness, slapd: Slapd, tmp_path: Path
) -> None:
    login = under(desk, slapd, "expired", "pwdMaxAge: 1")
    settings = settings_of(desk, slapd, probe_login=login, probe_password_file=word(tmp_path))
    wait_until(lambda: probed(settings).outcome is ProbeOutcome.UNFIT_ENTRY, "the password to expire")
    found = doctor(settings)
    assert (found.state, found.down, "expired" in found.text) == (CheckState.FAIL, False, True)


# --- what it answers by a status ------------------------------------------------------------------------


def test_our_service_unregistered_is_refused_at_validation_too(desk: CasHarness) -> None:
    with pytest.raises(ServiceRefused, match=r"does not serve https://elsewhere[.]test/cas"):
        desk.client("https://elsewhere.test/cas").validate("ST-of-nobody")


def test_http_on_its_tls_port_is_a_setting_to_mend(desk: CasHarness) -> None:
    plain = CasClient(desk.cas.url.replace("https:", "http:"), SERVICE)
    with pytest.raises(Misconfigured, match="wants TLS"):
        plain.validate("ST-of-nobody")
    result = LoginProbe(plain, "somebody", None).run()
    assert (result.outcome, result.outcome.down) == (ProbeOutcome.MISCONFIGURED, False)


def test_an_address_that_is_not_registered_is_no_place_to_return_to(desk: CasHarness) -> None:
    answer = desk.browser().get(f"{desk.cas.url}logout?service=https://localhost:1/")
    assert (answer.status_code, "Location" in answer.headers) == (403, False)


def test_its_logs_are_in_its_own_folder(desk: CasHarness) -> None:
    until((desk.cas.folder / "logs" / "cas.log").exists)


# --- ending sessions ------------------------------------------------------------------------------------


def sessions_of(
    desk: CasHarness, folder: Path, *, read_only: bool = False, **changed: object
) -> ApereoConnector:
    """The connector that ends sessions, as the documentation has CAS let it."""
    word = folder / "operator"
    word.touch(mode=0o600)
    word.write_text(f"{OPERATOR}:{OPERATOR_PASSWORD}", encoding="ascii")
    values = {"url": f"{desk.cas.url}actuator/ssoSessions", "token_file": word}
    settings = ApereoSettings(ca_file=desk.cas.ca_file, **{**values, **changed})
    context = ConnectorContext("apereo", settings, partial(LiveSecret, settings), read_only=read_only)
    return ApereoConnector(context)


def turn(connector: ApereoConnector, account: Account) -> HandlerOutcome:
    return connector.handler().handle([Task(account)])[account.student_number]


def is_logged_in(browser: Browser, url: str) -> bool:
    return browser.get(url).status_code == 302


def test_a_hold_ends_every_session_of_the_student_and_nobody_else_s(desk: CasHarness, tmp_path: Path) -> None:
    held, other = desk.student(), desk.student()
    url = desk.client().login_url()
    browsers = [desk.browser() for _ in range(3)]
    for browser, student in zip(browsers, (held, held, other), strict=True):
        browser.ticket(url, student.login, PASSWORD)
    connector = sessions_of(desk, tmp_path)
    assert isinstance(turn(connector, held), Done)
    assert [is_logged_in(each, url) for each in browsers] == [True, True, True], "access is open"
    shut = held.model_copy(update={"holds": frozenset({Hold.STOLEN_PASSWORDS}), "version": 2})
    assert isinstance(turn(connector, shut), Done)
    assert [is_logged_in(each, url) for each in browsers] == [False, False, True]
    assert isinstance(turn(connector, shut), Done), "a second time changes nothing"


def test_services_are_told_of_the_end(desk: CasHarness, tmp_path: Path) -> None:
    student = desk.student(holds=frozenset())
    with site() as portal:
        desk.browser().ticket(desk.client(portal.url).login_url(), student.login, PASSWORD)
        shut = Change(student, None, {}, open=False)
        assert sessions_of(desk, tmp_path).close([shut], Deadline.after(5.0)) == {}
        assert b"SessionIndex" in portal.logout_request()


def test_who_may_not_end_sessions_is_told_so(desk: CasHarness, tmp_path: Path) -> None:
    connector = sessions_of(desk, tmp_path)
    connector.probe()
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text(f"{OPERATOR}:another", encoding="ascii")
    with pytest.raises(CredentialsRefused):
        sessions_of(desk, tmp_path, token_file=wrong).probe()
    with pytest.raises(Misconfigured):
        sessions_of(desk, tmp_path, url=f"{desk.cas.url}actuator/elsewhere").probe()
    student = desk.student()
    url, browser = desk.client().login_url(), desk.browser()
    browser.ticket(url, student.login, PASSWORD)
    watching = sessions_of(desk, tmp_path, read_only=True)
    watching.probe()
    shut = Change(student, None, {}, open=False)
    with pytest.raises(WriteForbidden):
        watching.close([shut], Deadline.after(5.0))
    assert is_logged_in(browser, url)


def test_a_list_of_holds_ends_their_sessions_in_a_site_that_runs(desk: CasHarness, tmp_path: Path) -> None:
    word = tmp_path / "operator"
    word.touch(mode=0o600)
    word.write_text(f"{OPERATOR}:{OPERATOR_PASSWORD}", encoding="ascii")
    settings = (
        'targets = ["directory", "apereo"]\n[apereo]\n'
        f'url = "{desk.cas.url}actuator/ssoSessions"\nca_file = "{desk.cas.ca_file}"\n'
        f'token_file = "{word}"\n'
    )
    url, numbers = desk.client().login_url(), [fresh_number(), fresh_number()]
    made = site_kit.Site(tmp_path / "site", settings, in_memory=("directory",))
    with closing(made) as site, site_kit.running(site):
        for number, name in zip(numbers, ("Quidam", "Quiberon"), strict=True):
            site.enrol_and_activate(number, name, "Zoé")
        complete = {"directory": "provisioned", "apereo": "provisioned"}
        until(lambda: all(site.states(number) == complete for number in numbers), site.letters)
        with site.database.read() as connection:
            known = newest(connection, numbers)
        browsers = {number: desk.browser() for number in numbers}
        for number, student in known.items():  # the site's directory is in memory, and CAS's is real
            ref = desk.consumer.vault.put(f"c-{number}", PASSWORD)
            desk.consumer.bring(student.model_copy(update={"credential_ref": ref}))
            browsers[number].ticket(url, student.login, PASSWORD)
        stolen = HoldListRequest(
            kind=Hold.STOLEN_PASSWORDS,
            reason="phishing",
            at=datetime.now(UTC),
            file="stolen.txt",
            lines=(known[numbers[0]].login,),
        )
        place_all(site, Actor("camille", frozenset({Role.OPERATOR})), stolen)
        until(lambda: not is_logged_in(browsers[numbers[0]], url), site.letters)
        assert is_logged_in(browsers[numbers[1]], url)
