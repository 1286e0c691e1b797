"""The HTTP client of connectors: verified TLS, bounds on everything, no redirects, and no write while
observing.

Every fault of the target as a whole is raised here, in the engine's words; what an answer means for one
student is the connector's to say. Sources: RFC 9110 (HTTP semantics; 10.2.3 Retry-After), RFC 6585 (429).
"""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from consumers.kit.connector import ConnectorContext, Secret
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.settings import HttpClientSettings, HttpTokenSettings
from pipeline.errors import (
    CredentialsRefused,
    Misconfigured,
    SesameError,
    TargetDown,
    Throttled,
    WriteForbidden,
)
from pipeline.tls import verified

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
READ_ATTEMPTS: Final = 2  # one more when a kept connection was just being ended; the rest is the engine's
_WAIT_S_MAX: Final = 0.5  # between the two
_KEEPALIVE_S: Final = 4.0  # below the shortest keep-alive of common web servers (Apache: 5 s)
_PAUSE_S: Final = 30.0  # when a service throttles without saying for how long
_PAUSE_S_MAX: Final = 3600.0
_SHORT_PAUSE_S: Final = 2.0  # waited here: a batch that begins anew costs more than that
_SHORT_PAUSES_MAX: Final = 3  # of one call
_AWAY: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, without the library that fetched it.

    Attributes:
        body: None: it was longer than `bytes_max`.
        wrote: whether it answers a call that may change something.
        headers: by name in lower case.
    """

    status: int
    body: bytes | None = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wrote: bool = False

    @property
    def ok(self) -> bool:
        """Whether the call was carried out."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            TargetDown: it is none, or was too long: a page of a proxy, an answer cut in half.
        """
        try:
            return json.loads(self.body if self.body is not None else "")
        except (ValueError, RecursionError) as error:
            raise TargetDown("the service's answer is not JSON, or is cut", unknown=self.wrote) from error


class HttpClient:
    """Calls one service. Safe to share between threads; bounded in flight.

    Args:
        context: the connector's; its settings name the bounds and the token.
        url: the service's address, which paths are below.
        pause: waits that many seconds between two attempts.
        now: epoch seconds, for a Retry-After that is a date.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    def __init__(
        self,
        context: ConnectorContext[Any],
        url: str = "",
        *,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        settings: HttpClientSettings = context.settings
        self._settings = settings
        self._name = context.name
        self._read_only = context.read_only
        self._monotonic = context.monotonic
        self._now = now
        self._pause = pause
        self._token: Secret | None = None
        if isinstance(settings, HttpTokenSettings) and settings.has_secret("token"):
            self._token = context.secret("token")
            self._token_header = settings.token_header
        self._base = url.rstrip("/")
        self._timeout = httpx.Timeout(settings.timeout_s, connect=settings.connect_timeout_s).as_dict()
        self._attempts = Retrying(
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_random(0, _WAIT_S_MAX),
            retry=retry_if_exception_type((httpx.NetworkError, httpx.RemoteProtocolError)),
            sleep=pause,
            reraise=True,
        )
        self._http = httpx.Client(
            verify=_tls(context.name, settings.ca_file),
            trust_env=False,  # neither proxies nor certificates from the environment
            follow_redirects=False,  # a redirection would carry the token, and a student's name, elsewhere
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx.Limits(
                max_connections=context.connections_max,
                max_keepalive_connections=context.connections_max,
                keepalive_expiry=_KEEPALIVE_S,
            ),
        )

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        reads: bool = False,
        expect: Collection[int] = (),
    ) -> HttpAnswer:
        """One call. A call that reads is made again when its connection breaks; one that writes never is.
        What the service did not take (429) and wants again in a moment is sent again in that moment.

        Args:
            method: e.g. `GET`.
            path: below the settings' `url`, beginning with a slash; or an absolute address.
            deadline: of the batch: after it no call is begun. One that was begun has its whole time: cut
                short, a target that is well would look as if it were away.
            body: sent as JSON.
            content: sent as it is, instead.
            reads: it changes nothing, whatever its method.
            expect: statuses that are about the student, and not about the service as a whole.

        Raises:
            OutOfTime: the time was used up before it was begun.
            TargetDown: no answer, half an answer, 502, 503 or 504; `unknown` if it may have been carried out.
            Throttled: 429, or 503 with Retry-After.
            CredentialsRefused: 401. Misconfigured: 403, a redirection, a certificate that is not trusted.
            WriteForbidden: the target is only observed; nothing was sent.
        """
        writes = method not in _READS and not reads
        if writes and self._read_only:
            raise WriteForbidden
        url = path if "://" in path else self._base + path
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
        given = {
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if body is not None else {}),
        }
        request = self._http.build_request(
            method,
            url,
            content=content,
            params=params,
            headers={**given, "Accept-Encoding": "identity", **self._authorization(), **(headers or {})},
        )
        try:
            answer = self._answer(request, deadline, writes=writes)
            for _ in range(_SHORT_PAUSES_MAX):
                if not self._wants_it_again(answer, deadline):
                    break
                answer = self._answer(request, deadline, writes=writes)
        except httpx.PoolTimeout as error:
            raise OutOfTime from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise TargetDown("the service does not answer in time", unknown=writes) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TargetDown(f"the answer was lost: {type(error).__name__}", unknown=writes) from error
        if answer.status not in expect:
            self._raise_for_service(answer)
        return answer

    def fetch(self, path: str, deadline: Deadline, *, params: Mapping[str, str] | None = None) -> Any:
        """What the service shows at a path, as JSON.

        Raises:
            Misconfigured: it refuses that (404 and the like): there is nothing of the kind at this address.
            TargetDown: an error of the service's own. And as `call` does.
        """
        answer = self.call("GET", path, deadline, params=params)
        if answer.ok:
            return answer.json()
        said = f"the service answers {answer.status} at {path}"
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TargetDown(said, unknown=False)
        raise Misconfigured(said, remedy=f"Check {self._name}.url: is this the service that is meant?")

    def disconnect(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _answer(self, request: httpx.Request, deadline: Deadline, *, writes: bool) -> HttpAnswer:
        if writes:
            return self._once(request, deadline, wrote=True)
        return self._attempts(self._once, request, deadline, wrote=False)

    def _wants_it_again(self, answer: HttpAnswer, deadline: Deadline) -> bool:
        """Wait, if the service asked for a moment's patience only, and there is time for it."""
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS or "retry-after" not in answer.headers:
            return False
        pause_s = self._seconds(answer.headers["retry-after"])
        if pause_s > _SHORT_PAUSE_S or deadline.left_s() <= pause_s:
            return False
        self._pause(pause_s)
        return True

    def _once(self, request: httpx.Request, deadline: Deadline, *, wrote: bool) -> HttpAnswer:
        deadline.left_s()
        end = self._monotonic() + self._settings.timeout_s
        request.extensions["timeout"] = self._timeout
        response = self._http.send(request, stream=True)
        try:
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > self._settings.bytes_max:
                    break
                if self._monotonic() >= end:
                    raise httpx.ReadTimeout("the answer did not end in time", request=request)
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        whole = len(body) <= self._settings.bytes_max
        return HttpAnswer(response.status_code, bytes(body) if whole else None, headers, wrote)

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        try:
            token = self._token()
        except SesameError as error:
            raise Misconfigured(str(error), remedy=error.remedy) from error
        if not token.isascii() or not token.isprintable():
            raise Misconfigured(
                f"{self._name}.token has characters that no header can carry",
                remedy="Write the token into its file and nothing else, as the service gave it.",
            )
        name = self._token_header
        return {name: f"Bearer {token}" if name.lower() == "authorization" else token}

    def _raise_for_service(self, answer: HttpAnswer) -> None:
        status = answer.status
        retry_after = answer.headers.get("retry-after")
        if status == HTTPStatus.TOO_MANY_REQUESTS or (
            status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None
        ):
            raise Throttled(
                f"the service asked to be called later ({status})", retry_after_s=self._seconds(retry_after)
            )
        if status in _AWAY:
            raise TargetDown(f"the service is out of order ({status})", unknown=answer.wrote)
        if status == HTTPStatus.UNAUTHORIZED:
            raise CredentialsRefused(f"the service refuses the token of {self._name} (401)")
        if status == HTTPStatus.FORBIDDEN:
            raise Misconfigured(
                "the service says that this token may not do that (403)",
                remedy=f"Give the account of {self._name}.token the right to read and write users.",
            )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise Misconfigured(
                f"the service sends us elsewhere ({status}), and redirections are not followed",
                remedy=f"Set {self._name}.url to the final address.",
            )

    def _seconds(self, retry_after: str | None) -> float:
        """RFC 9110, 10.2.3: seconds, or a date."""
        text = (retry_after or "").strip()
        try:
            seconds = float(text)
        except ValueError:
            try:
                at = parsedate_to_datetime(text)
            except ValueError:
                return _PAUSE_S
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - self._now()
        return min(max(seconds, 1.0), _PAUSE_S_MAX) if math.isfinite(seconds) else _PAUSE_S

    def _unreachable(self, error: httpx.TransportError) -> SesameError:
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, ssl.SSLCertVerificationError):
                return Misconfigured(
                    f"the service's certificate is not trusted: {seen.verify_message}",
                    remedy=f"Renew the certificate, or name its authority in {self._name}.ca_file.",
                )
            if isinstance(seen, ssl.SSLError):
                return Misconfigured(
                    "the service does not speak TLS at this address",
                    remedy=f"Check the port and the scheme of {self._name}.url.",
                )
            seen = seen.__cause__ or seen.__context__
        return TargetDown(f"the service cannot be reached: {type(error).__name__}", unknown=False)


def _tls(name: str, ca_file: Path | None) -> ssl.SSLContext:
    """Verified TLS: certificate and host name, from the system's authorities or from `ca_file` alone."""
    try:
        return verified(ca_file)
    except OSError as error:
        raise Misconfigured(
            f"{name}.ca_file cannot be used: {type(error).__name__}",
            remedy="Name a readable PEM file with the authority of the service's certificate.",
        ) from error
