"""The login probe: logs a service account in through CAS, as a person would.

It goes from the form to the attributes. CAS refuses a login in the same words whether the password is wrong,
the service's access strategy is not met or its directory is away. So a refusal is looked at a second time, in
the directory; and, where the directory lets the account in, at CAS without a service. A wrong password is
never tried again: it would lock the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from consumers.directory.trial import Trial, TrialVerdict
from pipeline.errors import Misconfigured, SesameError, TargetDown
from schemas.language import gettext
from sesame.login.client import BoundedSession, CasClient, trouble
from sesame.login.form import LoginForm, login_form, onward_form
from sesame.login.outcome import ProbeOutcome, ProbeResult
from sesame.login.port import ServiceRefused, TicketRefused, Validated

SecondLook = Callable[[str, str], Trial]
"""Tries this login and password at the directory itself; raises a SesameError."""

_PAGES_BETWEEN_MAX = 3
_REDIRECTS = (HTTPStatus.FOUND, HTTPStatus.SEE_OTHER)
_OUTCOMES: tuple[tuple[type[SesameError], ProbeOutcome], ...] = (
    (ServiceRefused, ProbeOutcome.SERVICE_REFUSED),
    (TicketRefused, ProbeOutcome.TICKET_REJECTED),
    (Misconfigured, ProbeOutcome.MISCONFIGURED),
    (TargetDown, ProbeOutcome.UNAVAILABLE),
)


class LoginProbe:
    """Logs in as one account, and out again.

    Args:
        login, password: of a service account; the password is read at each probe. None: no login is
            tried.
        expected: attributes that must be released, with these values.
        second_look: tries at the directory a login that CAS refuses; None: there is no directory.
    """

    def __init__(
        self,
        client: CasClient,
        login: str,
        password: Callable[[], str] | None,
        *,
        expected: Mapping[str, str] | None = None,
        second_look: SecondLook | None = None,
    ) -> None:
        self._client = client
        self._login = login
        self._password = password
        self._expected = dict(expected or {})
        self._second_look = second_look

    def run(self) -> ProbeResult:
        """Take the whole path: form, password, ticket, validation, attributes, logout. Return failures."""
        try:
            with self._client.session() as session:
                try:
                    return self._probe(session)
                except requests.RequestException as error:
                    raise trouble(self._client, error) from error
        except (ServiceRefused, TicketRefused, Misconfigured, TargetDown) as error:
            outcome = next(outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
            remedy = error.remedy if isinstance(error, Misconfigured | ServiceRefused) else ""
            return ProbeResult(outcome, str(error), remedy)

    def _probe(self, session: BoundedSession) -> ProbeResult:
        url = self._client.login_url(renew=True)
        session.accepted = {HTTPStatus.OK, *_REDIRECTS}
        form = login_form(session.get(url).text)
        if self._password is None:
            with suppress(TicketRefused):  # the right answer: this ticket does not exist
                self._client.validate("ST-of-nobody")
            return ProbeResult(ProbeOutcome.NOT_TRIED, gettext("no login was tried"))
        if form is None:
            return ProbeResult(ProbeOutcome.NO_FORM, gettext("the login page has no form with a password"))
        password = self._password()
        session.accepted.add(HTTPStatus.UNAUTHORIZED)
        answer = self._send(session, url, form, username=self._login, password=password)
        if _refused(answer):
            return self._looked_at_again(password)
        return self._went_on(session, url, answer)

    def _send(self, session: BoundedSession, url: str, form: LoginForm, **given: str) -> requests.Response:
        address = urljoin(url, form.action)
        if urlsplit(address)[:2] != urlsplit(url)[:2]:
            raise Misconfigured(
                gettext("the login form goes to another site"),
                remedy=gettext("Let cas.server_url name that site."),
            )
        return session.post(address, data=form.hidden | given, headers={"Referer": url})

    def _went_on(self, session: BoundedSession, url: str, answer: requests.Response) -> ProbeResult:
        """Follow CAS, which has let the account in, through its own pages to a ticket."""
        between = 0
        while (form := onward_form(answer.text)) is not None and between < _PAGES_BETWEEN_MAX:
            answer = self._send(session, url, form)
            between += 1
        try:
            result = self._redeem(answer)
        finally:
            self._log_out(session)
        if between and result.outcome is ProbeOutcome.OK:
            return ProbeResult(
                ProbeOutcome.EXPIRING,
                gettext(
                    "{login} can log in, after a page that CAS shows before a password expires",
                    login=self._login,
                ),
            )
        return result

    def _log_out(self, session: BoundedSession) -> None:
        with suppress(requests.RequestException):  # the session expires then
            session.get(self._client.logout_url())

    def _redeem(self, answer: requests.Response) -> ProbeResult:
        if answer.status_code not in _REDIRECTS:
            return ProbeResult(
                ProbeOutcome.SERVICE_REFUSED, gettext("logged in, and refused for this service")
            )
        location = answer.headers.get("Location", "")
        ticket = parse_qs(urlsplit(location).query).get("ticket", [""])[-1]
        if not ticket or location.partition("?")[0] != self._client.service_url.partition("?")[0]:
            return ProbeResult(ProbeOutcome.SERVICE_REFUSED, gettext("sent elsewhere, or without a ticket"))
        return self._compared(self._client.validate(ticket))

    def _compared(self, validated: Validated) -> ProbeResult:
        if validated.login.lower() != self._login.lower():
            return ProbeResult(ProbeOutcome.MISMATCH, gettext("the ticket is somebody else's"))
        other = [
            name for name, value in self._expected.items() if value not in validated.attributes.get(name, ())
        ]
        if other:
            what = gettext("not released as expected: {names}", names=", ".join(other))
            return ProbeResult(ProbeOutcome.MISMATCH, what)
        return ProbeResult(ProbeOutcome.OK, gettext("{login} can log in", login=self._login))

    # --- a refusal, looked at again -------------------------------------------------------------------

    def _looked_at_again(self, password: str) -> ProbeResult:
        refused = gettext("CAS refuses the login of {login}", login=self._login)
        if self._second_look is None:
            unknown = gettext(
                "a wrong password, the service's access strategy, or CAS's own directory is away"
            )
            return ProbeResult(ProbeOutcome.REFUSED, gettext("{name}: {value}", name=refused, value=unknown))
        try:
            trial = self._second_look(self._login, password)
        except TargetDown as error:
            said = gettext("{refused}, and the directory is away: {why}", refused=refused, why=error)
            return ProbeResult(ProbeOutcome.DIRECTORY_DOWN, said)
        except SesameError as error:
            said = gettext(
                "{refused}, and the directory could not be asked why: {why}", refused=refused, why=error
            )
            return ProbeResult(ProbeOutcome.REFUSED, said, error.remedy)
        if trial.verdict is TrialVerdict.LETS_IN:
            return self._let_in_elsewhere(refused, password)
        wrong = trial.verdict is TrialVerdict.WRONG_PASSWORD
        outcome = ProbeOutcome.WRONG_PASSWORD if wrong else ProbeOutcome.UNFIT_ENTRY
        return ProbeResult(outcome, gettext("{name}: {value}", name=refused, value=trial.said))

    def _let_in_elsewhere(self, refused: str, password: str) -> ProbeResult:
        """Try a login that the directory accepts at CAS, without a service. No access strategy counts."""
        url = urljoin(self._client.server_url, "login")
        with self._client.session() as session:
            form = login_form(session.get(url).text) or LoginForm()
            session.accepted = {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, *_REDIRECTS}
            answer = self._send(session, url, form, username=self._login, password=password)
            if not _refused(answer):
                self._log_out(session)
                return ProbeResult(
                    ProbeOutcome.SERVICE_REFUSED,
                    gettext("{refused} for this service: its access strategy", refused=refused),
                )
        return ProbeResult(
            ProbeOutcome.CAS_ALONE_REFUSES,
            gettext(
                "{refused}, which the directory itself accepts: it may refuse everybody", refused=refused
            ),
        )


def _refused(answer: requests.Response) -> bool:
    """Whether CAS refused a login: 401 (Apereo) or the form again (django-cas-server)."""
    return answer.status_code == HTTPStatus.UNAUTHORIZED or login_form(answer.text) is not None
