"""The login probe: a service account logs in through CAS as a person would, from the form to the attributes.

A wrong password is never tried again: it would lock the account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html.parser import HTMLParser
from http import HTTPStatus
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from pipeline.errors import Misconfigured, TargetDown
from sesame.cas.client import BoundedSession, CasClient, trouble
from sesame.cas.port import ServiceRefused, TicketRefused, Validated

_REDIRECTS = (HTTPStatus.FOUND, HTTPStatus.SEE_OTHER)


class ProbeOutcome(StrEnum):
    """How a probe ended."""

    OK = "ok"
    BAD_CREDENTIALS = "bad_credentials"
    SERVICE_REFUSED = "service_refused"
    TICKET_REJECTED = "ticket_rejected"
    MISMATCH = "mismatch"  # another login, or other attributes, than expected
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a probe ended, and for operators what it met."""

    outcome: ProbeOutcome
    message: str = ""


class LoginProbe:
    """Logs in as one account, and out again.

    Args:
        login, password: of a service account; the password is asked for at each probe.
        expected: attributes that must be released, with these values.
    """

    def __init__(
        self,
        client: CasClient,
        login: str,
        password: Callable[[], str],
        *,
        expected: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._login = login
        self._password = password
        self._expected = dict(expected or {})

    def run(self) -> ProbeResult:
        """Take the whole path: form, password, ticket, validation, attributes, logout."""
        with self._client.session() as session:
            session.accepted = {HTTPStatus.OK, *_REDIRECTS}
            try:
                return self._log_in(session)
            except requests.RequestException as error:
                return ProbeResult(ProbeOutcome.UNAVAILABLE, str(trouble(self._client.server_url, error)))
            except (TargetDown, Misconfigured) as error:
                return ProbeResult(ProbeOutcome.UNAVAILABLE, str(error))

    def _log_in(self, session: BoundedSession) -> ProbeResult:
        url = self._client.login_url(renew=True)
        page = _Form.of(session.get(url).text)
        if not page.asks_password:
            return ProbeResult(ProbeOutcome.UNAVAILABLE, "the login page has no form with a password")
        address = urljoin(url, page.action)
        if urlsplit(address)[:2] != urlsplit(url)[:2]:
            return ProbeResult(ProbeOutcome.UNAVAILABLE, "the login form goes to another site")
        given = page.hidden | {"username": self._login, "password": self._password()}
        answer = session.post(address, data=given, headers={"Referer": url})
        if answer.status_code == HTTPStatus.OK:
            if _Form.of(answer.text).asks_password:
                return ProbeResult(ProbeOutcome.BAD_CREDENTIALS, "the CAS server refuses login and password")
            session.get(self._client.logout_url())
            return ProbeResult(ProbeOutcome.SERVICE_REFUSED, "logged in, and refused for this service")
        result = self._redeem(answer.headers.get("Location", ""))
        session.get(self._client.logout_url())
        return result

    def _redeem(self, location: str) -> ProbeResult:
        ticket = parse_qs(urlsplit(location).query).get("ticket", [""])[-1]
        if not ticket or location.partition("?")[0] != self._client.service_url.partition("?")[0]:
            return ProbeResult(ProbeOutcome.SERVICE_REFUSED, "sent elsewhere, or without a ticket")
        try:
            return self._compared(self._client.validate(ticket))
        except TicketRefused as error:
            return ProbeResult(ProbeOutcome.TICKET_REJECTED, str(error))
        except ServiceRefused as error:
            return ProbeResult(ProbeOutcome.SERVICE_REFUSED, str(error))

    def _compared(self, validated: Validated) -> ProbeResult:
        if validated.login.lower() != self._login.lower():
            return ProbeResult(ProbeOutcome.MISMATCH, "the ticket is somebody else's")
        other = [
            name for name, value in self._expected.items() if value not in validated.attributes.get(name, ())
        ]
        if other:
            return ProbeResult(ProbeOutcome.MISMATCH, f"not released as expected: {', '.join(other)}")
        return ProbeResult(ProbeOutcome.OK)


@dataclass(slots=True)
class _Form:
    """What a login page asks for: the form that has a password field, with every hidden field of it."""

    action: str = ""
    hidden: dict[str, str] = field(default_factory=dict)
    asks_password: bool = False

    @classmethod
    def of(cls, text: str) -> _Form:
        reader = _FormReader()
        reader.feed(text)
        return next((form for form in reader.forms if form.asks_password), cls())


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[_Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(action=given.get("action", "")))
        elif tag == "input" and self.forms:
            kind = given.get("type", "text").lower()
            form = self.forms[-1]
            form.asks_password = form.asks_password or kind == "password"
            if kind == "hidden" and given.get("name"):
                form.hidden[given["name"]] = given.get("value", "")
