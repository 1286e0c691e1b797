"""Logging in through a real CAS server, whose people are those of a real directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.accounts import accounts
from pipeline.db.database import Database
from pipeline.errors import Misconfigured, TargetDown
from sandbox.cas import CasServer
from sandbox.slapd import Slapd
from schemas.account import Account, Hold
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import CheckResult, CheckState, examine
from sesame.app.wiring import build
from sesame.login import cas_logins
from sesame.login.cas_logins import CasLogin
from sesame.login.client import CasClient
from sesame.login.login import CasLogins, LoginFailure
from sesame.login.outcome import ProbeOutcome, ProbeResult
from sesame.login.port import ServiceRefused, TicketRefused
from sesame.login.probe import LoginProbe
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.settings import CasSettings, DirectorySettings, Settings, StoreSettings
from sesame.testing.servers import stores
from sesame.testing.servers.cas_kit import STAFF, Browser, LoginServer, Site, Wire, site, ticket_of
from sesame.testing.servers.directory_kit import Consumer, account, fresh_number
from sesame.testing.servers.sections import slapd_section

PASSWORD = "Un-mot-de-passe-2026"
ACTIVATED = datetime(2026, 9, 1, tzinfo=UTC)
SERVICE = "http://127.0.0.1:9/cas"
SUCCESS = (
    b'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess>'
    b"<cas:user>zoe.lefevre</cas:user></cas:authenticationSuccess></cas:serviceResponse>"
)
LOGOUT = (
    b'<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">'
    b"<samlp:SessionIndex>%s</samlp:SessionIndex></samlp:LogoutRequest>"
)
FAILURE = (
    b'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">'
    b'<cas:authenticationFailure code="%s">no</cas:authenticationFailure></cas:serviceResponse>'
)


@pytest.fixture(scope="module")
def database(module_store: str) -> Iterator[Database]:
    database = Database(module_store)
    yield database
    database.close()


@dataclass
class CasHarness:
    """A portal: students with accounts, and the CAS server that they log in through."""

    cas: CasServer
    wire: Wire
    consumer: Consumer
    database: Database
    service: str = SERVICE
    browsers: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        self.browsers.append(Browser(self.cas))
        return self.browsers[-1]

    def close(self) -> None:
        for browser in self.browsers:
            browser.close()
        self.consumer.directory.disconnect()

    def client(self, service: str | None = None) -> CasClient:
        return CasClient(self.cas.url, service or self.service, ca_file=self.cas.ca_file)

    def logins(self, *, session_s: float = 600.0) -> CasLogins:
        return CasLogins(self.database, self.client(), session_s=session_s)

    def student(self, **fields: object) -> Account:
        """A student with an entry and a password in the directory, and an account in the store."""
        number = fresh_number()
        made = account(number, credential_ref=self.consumer.vault.put(f"c-{number}", PASSWORD), **fields)
        self.consumer.bring(made)
        stores.keep(self.database, made)
        return made

    def ticket(self, student: Account, password: str = PASSWORD) -> str:
        return self.browser().ticket(self.client().login_url(), student.login, password)

    def known(self, student: Account) -> CasLogin | None:
        with self.database.read() as connection:
            return cas_logins.of(connection, student.student_number)


@pytest.fixture
def desk(login_server: LoginServer, slapd: Slapd, database: Database) -> Iterator[CasHarness]:
    desk = CasHarness(login_server.cas, login_server.wire, Consumer(slapd), database)
    yield desk
    desk.close()


# --- the first login is the observation ---------------------------------------------------------------


def test_the_first_login_is_the_observation_that_cas_works_for_this_student(desk: CasHarness) -> None:
    student = desk.student()
    assert desk.known(student) is None
    logins = desk.logins()
    arrival = logins.arrive(desk.ticket(student), expected=student.student_number)
    assert (arrival.student_number, arrival.as_expected) == (student.student_number, True)
    session = logins.session(arrival.token)
    assert session is not None
    assert (session.login, session.student_number) == (student.login, student.student_number)
    first = desk.known(student)
    assert first is not None
    assert first.seen_at is not None
    assert first.failure is None
    logins.arrive(desk.ticket(student))
    again = desk.known(student)
    assert again is not None
    assert again.seen_at == first.seen_at
    assert again.last_at is not None
    assert again.last_at >= first.seen_at


def test_a_ticket_releases_the_attributes_of_the_directory(desk: CasHarness) -> None:
    student = desk.student()
    validated = desk.client().validate(desk.ticket(student))
    assert validated.login == student.login
    assert validated.attributes["supannEtuId"] == (student.student_number,)
    assert set(validated.attributes["eduPersonAffiliation"]) == {"student", "member"}


def test_somebody_else_who_comes_back_marks_their_own_account_and_not_the_one_expected(
    desk: CasHarness,
) -> None:
    expected, other = desk.student(), desk.student()
    arrival = desk.logins().arrive(desk.ticket(other), expected=expected.student_number)
    assert (arrival.student_number, arrival.as_expected) == (other.student_number, False)
    seen, failed = desk.known(other), desk.known(expected)
    assert seen is not None
    assert seen.seen_at is not None
    assert failed is not None
    assert (failed.seen_at, failed.failure) == (None, LoginFailure.OTHER_PERSON)


def test_a_ticket_is_good_once(desk: CasHarness) -> None:
    student = desk.student()
    logins, ticket = desk.logins(), desk.ticket(student)
    logins.arrive(ticket)
    with pytest.raises(TicketRefused):
        logins.arrive(ticket, expected=student.student_number)
    known = desk.known(student)
    assert known is not None
    assert known.failure == LoginFailure.TICKET_REFUSED


def test_a_ticket_of_another_service_is_refused(desk: CasHarness) -> None:
    student = desk.student()
    ticket = desk.browser().ticket(
        desk.client("http://127.0.0.1:8/other").login_url(), student.login, PASSWORD
    )
    with pytest.raises(TicketRefused):
        desk.client().validate(ticket)


@pytest.mark.parametrize("ticket", ["", "ST-of-nobody", "PT-1", "ST-\n", "ST-é", "ST-" + "x" * 300])
def test_a_ticket_that_was_made_up_is_refused(desk: CasHarness, ticket: str) -> None:
    with pytest.raises(TicketRefused):
        desk.client().validate(ticket)


def test_a_login_whose_number_is_another_one_now_shows_nobodys_page(desk: CasHarness) -> None:
    student = desk.student()
    with desk.database.write() as connection:
        mine = accounts.c.student_number == student.student_number
        connection.execute(accounts.update().where(mine).values(student_number="22699999"))
    arrival = desk.logins().arrive(desk.ticket(student))
    assert arrival.student_number is None
    assert desk.known(student) is None


def test_a_shut_account_cannot_log_in(desk: CasHarness) -> None:
    student = desk.student()
    desk.consumer.bring(student.model_copy(update={"version": 2, "holds": frozenset({Hold.SUSPENDED})}))
    answer = desk.browser().log_in(desk.client().login_url(), student.login, PASSWORD)
    assert answer.status_code in (200, 401)
    assert 'type="password"' in answer.text


# --- sessions and single logout -----------------------------------------------------------------------


def test_a_single_logout_ends_the_session_of_its_ticket_and_no_other(desk: CasHarness) -> None:
    student = desk.student()
    with site() as portal:
        desk.service = portal.url
        logins, browser = desk.logins(), desk.browser()
        mine = logins.arrive(browser.ticket(desk.client().login_url(), student.login, PASSWORD))
        elsewhere = logins.arrive(desk.ticket(student))
        assert logins.session(mine.token) is not None
        browser.log_out()
        request = portal.logout_request()
    assert logins.logged_out(request)
    assert logins.session(mine.token) is None
    assert logins.session(elsewhere.token) is not None
    assert not logins.logged_out(request)


def test_a_session_ends_by_leaving_by_time_and_for_other_services(desk: CasHarness) -> None:
    student = desk.student()
    logins = desk.logins()
    arrival = logins.arrive(desk.ticket(student))
    assert replace(desk, service="http://127.0.0.1:8/other").logins().session(arrival.token) is None
    logins.leave(arrival.token)
    assert logins.session(arrival.token) is None
    brief = desk.logins(session_s=0.0)
    assert brief.session(brief.arrive(desk.ticket(student)).token) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY e "ST-1">]><a>&e;</a>',
        LOGOUT % b"TGT-1",
        b"<a>" + b" " * 20_000 + b"</a>",
    ],
)
def test_what_is_no_logout_request_ends_nothing(desk: CasHarness, body: bytes) -> None:
    assert not desk.logins().logged_out(body)


# --- a server that does not answer as one -------------------------------------------------------------


def broken(portal: Site) -> CasClient:
    """A client of a server that is no CAS server, with little patience."""
    return CasClient(f"{portal.url}", SERVICE, connect_timeout_s=1.0, read_timeout_s=0.2)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, SUCCESS),
        (201, SUCCESS),
        (200, b"<html><p>maintenance</html>"),
        (200, b'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"/>'),
        (200, b""),
        (200, FAILURE % b"INTERNAL_ERROR"),
    ],
)
def test_an_answer_that_is_none_is_no_login(status: int, body: bytes) -> None:
    with site() as portal:
        portal.status, portal.body = status, body
        with pytest.raises(TargetDown):
            broken(portal).validate("ST-1")


def test_a_redirection_is_not_followed() -> None:
    with site() as portal, site() as elsewhere:
        elsewhere.body = SUCCESS
        portal.status, portal.location = 302, elsewhere.url
        with pytest.raises(TargetDown, match="status 302"):
            broken(portal).validate("ST-1")


def test_a_server_that_is_silent_or_absent_is_down(desk: CasHarness) -> None:
    with site() as portal:
        portal.silent = True
        with pytest.raises(TargetDown):
            broken(portal).validate("ST-1")
    student = desk.student()
    logins = CasLogins(desk.database, broken(portal), session_s=600)
    with pytest.raises(TargetDown):
        logins.arrive("ST-1", expected=student.student_number)
    known = desk.known(student)
    assert known is not None
    assert known.failure == LoginFailure.CAS_DOWN


def test_a_success_without_a_name_is_nobodys() -> None:
    with site() as portal:
        portal.body = SUCCESS.replace(b"zoe.lefevre", b" ")
        with pytest.raises(TicketRefused):
            broken(portal).validate("ST-1")


def test_a_certificate_of_an_unknown_authority_is_refused_whatever_the_environment_says(
    desk: CasHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(desk.cas.ca_file))
    with pytest.raises(Misconfigured):
        CasClient(desk.cas.url, SERVICE).validate("ST-1")


# --- an address or a certificate that is wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "what", "remedy"),
    [
        (403, "does not serve http://127.0.0.1:9/cas", "Register cas.service_url"),
        (404, "there is no CAS server at", "cas.server_url is what stands before `login`"),
        (400, "wants TLS", "Write https:// in cas.server_url"),
    ],
)
def test_a_setting_that_is_wrong_has_its_own_word_and_remedy(status: int, what: str, remedy: str) -> None:
    with site() as portal:
        portal.status = status
        with pytest.raises((Misconfigured, ServiceRefused), match=what) as raised:
            broken(portal).validate("ST-1")
        for password in (None, lambda: "-"):
            result = LoginProbe(broken(portal), "somebody", password).run()
            assert (result.outcome.down, result.message) == (False, str(raised.value))
            assert remedy in result.remedy


def test_what_speaks_no_tls_has_no_certificate_to_refuse() -> None:
    with site() as portal:
        url = portal.url.replace("http:", "https:")
        with pytest.raises(Misconfigured, match="does not speak TLS"):
            CasClient(url, SERVICE).validate("ST-1")


# --- the login probe ----------------------------------------------------------------------------------


def settings_of(
    desk: CasHarness, slapd: Slapd, *, directory: dict[str, object] | None = None, **cas: object
) -> Settings:
    """The settings of a site with this CAS server, this directory, and a probe with its right password."""
    given = {"server_url": desk.cas.url, "ca_file": desk.cas.ca_file, "service_url": desk.service}
    word = {"probe_login": slapd.probe_uid, "probe_password_file": slapd.probe_password_file}
    ours = slapd_section(slapd) | {"policy_dn": slapd.policy_dn}
    return Settings(
        targets=("directory",),
        store=StoreSettings(url=SecretStr(desk.database.engine.url.render_as_string(hide_password=False))),
        directory=DirectorySettings.model_validate(ours | (directory or {})),
        cas=CasSettings.model_validate(given | word | cas),
    )


def probe(desk: CasHarness, slapd: Slapd, *, password: str | None = None, **expected: str) -> LoginProbe:
    """One that has no directory to ask."""
    word = password or slapd.probe_password_file.read_text(encoding="ascii")
    return LoginProbe(desk.client(), slapd.probe_uid, lambda: word, expected=expected)


def wrong_password(folder: Path) -> Path:
    """A file with a password that is nobody's."""
    file = folder / "wrong"
    file.touch(mode=0o600)
    file.write_text("wrong", encoding="ascii")
    return file


def doctor(settings: Settings) -> CheckResult:
    """What the doctor says of CAS."""
    return examine(next(check for check in checks_for(settings) if check.name == "cas"))


def probed(settings: Settings) -> ProbeResult:
    """How the probe of a site ends."""
    probe = build(settings).cas_probe()
    assert probe is not None
    return probe.run()


def rules_of(student: Account, settings: Settings) -> list[str]:
    """What a student is told of CAS."""
    application = build(settings)
    try:
        found = diagnose(application, student.student_number, look_s_max=60.0)
    finally:
        application.close()
    assert found.live
    return [each.rule for each in found.findings if each.rule.startswith("cas_")]


def test_the_probe_logs_in_as_a_person_would_and_out_again(desk: CasHarness, slapd: Slapd) -> None:
    assert probe(desk, slapd, mail=slapd.probe_mail).run().outcome is ProbeOutcome.OK
    result = probe(desk, slapd, mail="somebody@univ-exemple.fr").run()
    assert (result.outcome, "mail" in result.message) == (ProbeOutcome.MISMATCH, True)


def test_a_refused_login_is_refused_and_never_a_server_that_is_down(
    desk: CasHarness, slapd: Slapd, tmp_path: Path
) -> None:
    blind = probe(desk, slapd, password="wrong").run()
    assert (blind.outcome, blind.outcome.down) == (ProbeOutcome.REFUSED, False)
    wrong = settings_of(desk, slapd, probe_password_file=wrong_password(tmp_path))
    assert probed(wrong).outcome is ProbeOutcome.WRONG_PASSWORD
    found = doctor(wrong)
    assert (found.state, found.down, "cas.probe_password_file" in found.remedy) == (
        CheckState.FAIL,
        False,
        True,
    )
    assert rules_of(desk.student(activated_at=ACTIVATED), wrong) == []


def test_an_entry_of_the_probe_that_is_not_what_it_should_be_is_told(
    desk: CasHarness, slapd: Slapd, tmp_path: Path
) -> None:
    nobody = probed(settings_of(desk, slapd, probe_login="nobody-here"))
    assert (nobody.outcome, "no entries" in nobody.message) == (ProbeOutcome.UNFIT_ENTRY, True)
    student = desk.student()
    held = {"version": student.version + 1, "holds": frozenset({Hold.SUSPENDED})}
    desk.consumer.bring(student.model_copy(update=held))
    word = wrong_password(tmp_path)
    word.write_text(PASSWORD, encoding="ascii")
    shut = probed(settings_of(desk, slapd, probe_login=student.login, probe_password_file=word))
    assert (shut.outcome, "locked" in shut.message) == (ProbeOutcome.UNFIT_ENTRY, True)


def test_a_service_that_lets_in_others_only_is_told_from_a_wrong_password(
    desk: CasHarness, slapd: Slapd
) -> None:
    desk.service = STAFF
    settings = settings_of(desk, slapd)
    assert probed(settings).outcome is ProbeOutcome.SERVICE_REFUSED
    found = doctor(settings)
    assert (found.down, "access strategy" in found.remedy) == (False, True)


def test_a_cas_server_that_does_not_reach_its_directory_lets_nobody_in(
    desk: CasHarness, slapd: Slapd
) -> None:
    settings = settings_of(desk, slapd)
    student = desk.student(activated_at=ACTIVATED)
    assert rules_of(student, settings) == []
    with desk.wire.severed():
        assert doctor(settings).down
        assert rules_of(student, settings) in (["cas_lets_nobody_in"], ["cas_down"])
        away = probed(settings_of(desk, slapd, directory={"uri": f"ldap://{desk.wire.address}"}))
        assert away.outcome in (ProbeOutcome.DIRECTORY_DOWN, ProbeOutcome.UNAVAILABLE)
    assert doctor(settings).state is CheckState.OK


def test_a_service_that_is_not_registered_is_refused(desk: CasHarness, slapd: Slapd) -> None:
    desk.service = "https://elsewhere.test/cas"
    assert probe(desk, slapd).run().outcome is ProbeOutcome.SERVICE_REFUSED
    settings = settings_of(desk, slapd)
    found = doctor(settings)
    assert (found.state, found.down, "cas.service_url" in found.remedy) == (CheckState.FAIL, False, True)
    assert rules_of(desk.student(activated_at=ACTIVATED), settings) == ["cas_refuses_portal"]


def test_an_address_of_cas_that_is_wrong_is_told_to_students_as_what_it_is(
    desk: CasHarness, slapd: Slapd
) -> None:
    settings = settings_of(desk, slapd, server_url=f"{desk.cas.url}elsewhere/")
    assert rules_of(desk.student(activated_at=ACTIVATED), settings) == ["cas_misconfigured"]


def test_the_probe_finds_a_server_that_is_silent_or_shows_no_form(desk: CasHarness, slapd: Slapd) -> None:
    with site() as portal:
        there = LoginProbe(broken(portal), slapd.probe_uid, lambda: "-")
        shown = there.run().outcome
        assert (shown, shown.down) == (ProbeOutcome.NO_FORM, False)
        portal.silent = True
        assert there.run().outcome is ProbeOutcome.UNAVAILABLE


def test_whoever_is_logged_in_already_gets_a_ticket_without_a_form_unless_asked_anew(
    desk: CasHarness,
) -> None:
    student = desk.student()
    browser = desk.browser()
    client = desk.client()
    browser.ticket(client.login_url(), student.login, PASSWORD)
    assert desk.logins().arrive(ticket_of(browser.get(client.login_url()))).login == student.login
    assert 'type="password"' in browser.get(client.login_url(renew=True)).text


def test_logging_out_returns_to_the_address_that_is_registered(desk: CasHarness) -> None:
    student = desk.student()
    browser, client = desk.browser(), desk.client()
    browser.ticket(client.login_url(), student.login, PASSWORD)
    answer = browser.get(client.logout_url())
    assert (answer.status_code, answer.headers["Location"]) == (302, SERVICE)


def test_the_doctor_takes_the_whole_path_and_says_what_is_wrong(desk: CasHarness, slapd: Slapd) -> None:
    assert doctor(settings_of(desk, slapd)).state is CheckState.OK
    wordless = {"probe_password_file": None}
    assert doctor(settings_of(desk, slapd, **wordless)).state is CheckState.WARN
    for word in ({}, wordless):
        path = doctor(settings_of(desk, slapd, server_url=desk.cas.url.replace("/cas/", "/"), **word))
        assert (path.state, path.down, "there is no CAS server" in path.text) == (
            CheckState.FAIL,
            False,
            True,
        )
        other = doctor(settings_of(desk, slapd, ca_file=slapd.ca_file, **word))
        assert (other.state, other.down, "certificate" in other.text) == (CheckState.FAIL, False, True)
        away = doctor(settings_of(desk, slapd, server_url="https://127.0.0.1:9/cas/", **word))
        assert (away.state, away.down) == (CheckState.FAIL, True)
    assert "cas" not in [check.name for check in checks_for(Settings())]
