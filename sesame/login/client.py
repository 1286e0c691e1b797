"""CAS over python-cas: the one file that imports `cas` and avoids its traps.

python-cas 1.7 knows no time-outs, follows redirects, takes no notice of the answer's status (a 500 that
carries a success is a login to it), drops the server's reason, and lets a variable of the environment replace
the certificate authorities. So its session is ours, and each call sets what to verify with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import requests
from cas import CASClientV3  # type: ignore[import-untyped]

from pipeline.errors import Misconfigured, SesameError, TargetDown
from sesame.login.port import ServiceRefused, TicketRefused, Validated

_TICKET = re.compile(r"ST-[!-~]{1,253}")
_LOGOUT_BYTES_MAX = 16_384
_REFUSED_SERVICE = frozenset({"UNAUTHORIZED_SERVICE", "INVALID_SERVICE_PROXY"})
_PATH_REMEDY = (
    "cas.server_url is what stands before `login` in the address of the login page, as https://…/cas/."
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


class CasClient:
    """See `port.LoginServer`.

    Args:
        server_url: of the CAS server, up to the part before `login`.
        service_url: where it sends people back to.
        ca_file: what its certificate is verified with; None: the system's authorities.
        connect_timeout_s, read_timeout_s: longest waits, for a connection and for an answer.
    """

    def __init__(
        self,
        server_url: str,
        service_url: str,
        *,
        ca_file: Path | None = None,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 10.0,
    ) -> None:
        self.server_url = (
            server_url.rstrip("/") + "/"
        )  # without it python-cas loses the last part of the path
        self.service_url = service_url
        self._verify = str(ca_file) if ca_file is not None else True
        self._timeout_s = (connect_timeout_s, read_timeout_s)

    def login_url(self, *, renew: bool = False) -> str:
        """See `port.LoginServer.login_url`."""
        return str(self._client(renew=renew).get_login_url())

    def logout_url(self) -> str:
        """See `port.LoginServer.logout_url`."""
        return str(self._client().get_logout_url(self.service_url))

    def validate(self, ticket: str) -> Validated:
        """See `port.LoginServer.validate`."""
        if not _TICKET.fullmatch(ticket):
            raise TicketRefused("it does not look like a service ticket")
        with self.session() as session:
            client = self._client(session)
            try:
                content = client.get_verification_response(ticket)
            except requests.RequestException as error:
                raise trouble(self, error) from error
        try:
            login, attributes, _ = client.verify_response(content)
        except (ET.ParseError, LookupError, ValueError, AttributeError) as error:
            raise TargetDown(f"{self.server_url} answers what is no CAS answer", unknown=False) from error
        if not login or not login.strip():
            raise self._refusal(content)
        return Validated(login.strip(), _lists(attributes))

    def logged_out(self, body: bytes) -> str | None:
        """See `port.LoginServer.logged_out`."""
        if len(body) > _LOGOUT_BYTES_MAX or b"<!" in body:  # no entities, no document types
            return None
        try:
            found = CASClientV3.get_saml_slos(body)
        except ValueError:
            return None
        ticket = (found[0].text or "").strip() if found else ""
        return ticket if _TICKET.fullmatch(ticket) else None

    def session(self) -> BoundedSession:
        """A session with time-outs and TLS verification that follows no redirects."""
        return BoundedSession(verify=self._verify, timeout_s=self._timeout_s)

    def refused(self) -> ServiceRefused:
        """The CAS server does not serve us."""
        return ServiceRefused(
            f"the CAS server does not serve {self.service_url}",
            remedy="Register cas.service_url with the CAS server, exactly: docs/how-to/connect-cas.md.",
        )

    def _refusal(self, content: bytes) -> TicketRefused | ServiceRefused | TargetDown:
        """Return why an answer has no login (CAS protocol 3.0, section 2.5.3).

        A ticket for another service (INVALID_SERVICE) is a wrong one, and says nothing of our registration.
        """
        failure = next((e for e in ET.fromstring(content).iter() if "code" in e.attrib), None)  # noqa: S314
        code = failure.attrib["code"] if failure is not None else ""
        if code in _REFUSED_SERVICE:
            return self.refused()
        if code == "INTERNAL_ERROR":
            return TargetDown("the CAS server met an error of its own", unknown=False)
        return TicketRefused(f"the CAS server refuses the ticket: {code or 'no reason given'}")

    def _client(self, session: requests.Session | None = None, *, renew: bool = False) -> Any:
        return CASClientV3(
            service_url=self.service_url,
            server_url=self.server_url,
            renew=renew,
            verify_ssl_certificate=self._verify,
            session=session or object(),  # without one it makes one that has no time-out
        )


class BoundedSession(requests.Session):
    """A session with time-outs, no redirects, proxies or environment CAs; `accepted`: its good statuses."""

    def __init__(self, *, verify: str | bool, timeout_s: tuple[float, float]) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = verify
        self._timeout_s = timeout_s
        self.accepted = {HTTPStatus.OK}

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As `requests`, within these bounds. Raises RequestException, also for other statuses."""
        kwargs |= {"timeout": self._timeout_s, "allow_redirects": False, "verify": self.verify}
        response = super().request(method, url, *args, **kwargs)
        if response.status_code not in self.accepted:
            response.close()
            raise requests.HTTPError(f"status {response.status_code}", response=response)
        return response


def trouble(client: CasClient, error: requests.RequestException) -> SesameError:
    """The error for a failed call: server down, wrong setting, or service refused."""
    url = client.server_url
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_trouble(url, error)
    status = error.response.status_code if error.response is not None else None
    if status == HTTPStatus.FORBIDDEN:
        return client.refused()
    if status == HTTPStatus.NOT_FOUND:
        return Misconfigured(f"there is no CAS server at {url}: status 404", remedy=_PATH_REMEDY)
    if status == HTTPStatus.BAD_REQUEST and url.startswith("http:"):
        return Misconfigured(f"{url} wants TLS: status 400", remedy="Write https:// in cas.server_url.")
    what = str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
    return TargetDown(f"{urlsplit(url).netloc} gives no answer: {what}", unknown=False)


def _tls_trouble(url: str, error: requests.exceptions.SSLError) -> TargetDown | Misconfigured:
    """The error for a failed TLS handshake: a refused certificate, no TLS, or a cut."""
    if why := re.search(r"certificate verify failed: ([^(\"]*)", str(error)):
        return Misconfigured(
            f"the certificate of {url} does not verify: {why.group(1).strip().rstrip('.')}",
            remedy="cas.ca_file names its authority, and cas.server_url a name that it holds.",
        )
    if any(sign in str(error) for sign in _NO_TLS):
        return Misconfigured(
            f"{url} does not speak TLS", remedy="Let cas.server_url name the port where it does."
        )
    return TargetDown(f"{urlsplit(url).netloc} broke off the TLS handshake", unknown=False)


def _lists(attributes: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    """Make each value a list; drop empty ones."""
    found = {
        name: value if isinstance(value, list) else [value] for name, value in (attributes or {}).items()
    }
    return {name: tuple(value for value in values if value) for name, values in found.items()}
