"""The connectors' HTTP client: verified TLS, bounds everywhere, no redirects.

It sends no write while the target is only observed. Faults of the target as a whole are raised here, as the
engine's errors; the connector judges what an answer means for one student.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from consumers.kit.connector import ConnectorContext, Secret, secret_of
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.http_answers import AWAY, raise_for_service, seconds_of
from consumers.kit.http_answers import HttpAnswer as HttpAnswer  # noqa: PLC0414  (authors take it from here)
from consumers.kit.settings import HttpTokenSettings
from pipeline.errors import Misconfigured, SesameError, TargetDown, WriteForbidden
from pipeline.tls import tls_fault, trusting

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ATTEMPTS: Final = 2  # one more when a kept connection was just closed; the engine makes further ones
_BROKEN: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_WAIT_S_MAX: Final = 0.5  # between the two
_KEEPALIVE_S: Final = 4.0  # below the shortest keep-alive of common web servers (Apache: 5 s)
_SHORT_PAUSE_S: Final = 2.0  # waited here: starting the batch again costs more
_SHORT_PAUSES_MAX: Final = 3  # of one call
_FORM: Final = "application/x-www-form-urlencoded"
_HUNG_UP: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class AnswerLost(TargetDown):
    """The service was asked, and did not answer, or its answer broke off. What it may have carried out is
    compared before it is sent again."""


class HttpLimits(NamedTuple):
    """Bounds of each call, for sections without those of `HttpClientSettings`.

    Attributes:
        connect_s: longest wait for a connection.
        send_s: longest time to send the request.
        answer_s: longest wait for the answer.
        bytes_max: largest answer read.
        kept: keep the connection for the next call; else close it, without a `Connection: close` header.
    """

    connect_s: float
    send_s: float
    answer_s: float
    bytes_max: int
    kept: bool = True


class HttpClient:
    """Client of one service. Thread-safe; the calls under way are bounded.

    Args:
        context: the connector's; its settings give the authorities, the bounds and the token.
        url: base address of all paths.
        service: its name for operators.
        setting: the setting of the address.
        limits: None: as the settings say (`HttpClientSettings`).
        transport: for tests; None: the network.
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
        service: str = "the service",
        setting: str = "url",
        limits: HttpLimits | None = None,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        settings = context.settings
        self._limits = limits or HttpLimits(
            settings.connect_timeout_s, settings.timeout_s, settings.timeout_s, settings.bytes_max
        )
        self._name = context.name
        self._service = service
        self._setting = setting
        self._read_only = context.read_only
        self._monotonic = context.monotonic
        self._now = now
        self._pause = pause
        self._token: Secret | None = None
        if isinstance(settings, HttpTokenSettings) and settings.has_secret("token"):
            self._token = context.secret("token")
            self._token_header, self._basic = settings.token_header, settings.basic
        self._base = url.rstrip("/")
        self._timeout = httpx.Timeout(
            self._limits.answer_s, connect=self._limits.connect_s, write=self._limits.send_s
        ).as_dict()
        self._attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random(0, _WAIT_S_MAX),
            retry=retry_if_exception_type(_BROKEN),
            sleep=pause,
            reraise=True,
        )
        self._slots = threading.BoundedSemaphore(context.connections_max)
        self._http = httpx.Client(
            verify=trusting(context.name, settings.ca_file, "http"),
            trust_env=False,  # neither proxies nor certificates from the environment
            follow_redirects=False,  # a redirection would carry the token, and a student's name, elsewhere
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx.Limits(
                max_connections=context.connections_max,
                max_keepalive_connections=context.connections_max if self._limits.kept else 0,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            transport=transport,
        )

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: Any = None,
        form: Sequence[tuple[str, str]] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        reads: bool = False,
        again: bool | None = None,
        expect: Collection[int] = (),
    ) -> HttpAnswer:
        """Call the service, and retry at once what may safely be sent again.

        A read is repeated when its connection breaks or the answer is 502 or 503; a write is not. A call that
        the service did not take (429) and wants again in a moment is sent again in that moment.

        Args:
            path: below the settings' `url`, beginning with a slash; or an absolute address.
            deadline: of the batch: no call begins after it. One that has begun keeps its whole time: cut
                short, a healthy target would look as if it were away.
            body: sent as JSON.
            form: sent as a form, in this order.
            content: sent as it is, instead.
            headers: added to those of every call, or replacing them.
            params: of the query.
            reads: it changes nothing, whatever its method.
            again: whether to repeat it when its connection breaks. True for a write that may be carried out
                twice without harm; False for a read that its caller retries.
            expect: statuses that are about the student, and not about the service as a whole.

        Raises:
            OutOfTime: the time was used up before it began.
            AnswerLost: no answer, or half an answer; `unknown` if it may have been carried out.
            TargetDown: no connection, 502, 503 or 504; `unknown` likewise.
            Throttled: 429, or 503 with Retry-After.
            CredentialsRefused: 401. Misconfigured: 403, a redirection, a certificate that is not trusted.
            WriteForbidden: the target is only observed; nothing was sent.
        """
        writes = method not in _READS and not reads
        if writes and self._read_only:
            raise WriteForbidden
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        request = self._request(method, path, content, form, headers, params)
        repeats = (not writes) if again is None else again
        with self._faults(deadline, unknown=writes):
            answer = self._answer(request, deadline, wrote=writes, again=repeats)
            for _ in range(_SHORT_PAUSES_MAX):
                if not self._wants_it_again(
                    answer, deadline, reads=not writes, expected=answer.status in expect
                ):
                    break
                answer = self._answer(request, deadline, wrote=writes, again=repeats)
            if answer.status not in expect:
                raise_for_service(answer, self._name, self._setting)
        return answer

    def fetch(self, path: str, deadline: Deadline, *, params: Mapping[str, str] | None = None) -> Any:
        """Get JSON from a path. Raises as `call`, too.

        Raises:
            Misconfigured: the service refuses that (404 and the like): there is nothing of the kind there.
            TargetDown: an error of the service.
        """
        answer = self.call("GET", path, deadline, params=params)
        if answer.ok:
            return answer.json()
        said = f"the service answers {answer.status} at {path}"
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TargetDown(said, unknown=False)
        raise Misconfigured(said, remedy=f"Check {self._name}.{self._setting}: is this the service meant?")

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[HttpAnswer, Iterator[bytes]]]:
        """Read an answer of any length: its head, and its body in pieces.

        The call is made once, and the caller judges every status. Raises otherwise as `call`, also while the
        pieces arrive.
        """
        request = self._request(method, path, None, form, headers, None)
        with self._faults(deadline, unknown=False), self._sent(request, deadline) as (response, _):
            yield self._read(response, None, wrote=False), response.iter_raw()

    def disconnect(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | None,
        form: Sequence[tuple[str, str]] | None,
        headers: Mapping[str, str] | None,
        params: Mapping[str, str] | None,
    ) -> httpx.Request:
        given = {"Accept": "application/json", "Accept-Encoding": "identity", **self._authorization()}
        if form is not None:
            content, given["Content-Type"] = urlencode(form).encode("ascii"), _FORM
        url = path if "://" in path else self._base + path
        return self._http.build_request(
            method, url, content=content, params=params, headers={**given, **(headers or {})}
        )

    def _answer(self, request: httpx.Request, deadline: Deadline, *, wrote: bool, again: bool) -> HttpAnswer:
        if not again:
            return self._once(request, deadline, wrote=wrote)
        try:
            return self._attempts(self._once, request, deadline, wrote=wrote)
        except (httpx.ConnectError, httpx.ConnectTimeout, OutOfTime) as error:
            if self._attempts.statistics["attempt_number"] == 1:
                raise
            raise AnswerLost(f"the connection to {self._service} broke", unknown=wrote) from error

    def _wants_it_again(self, answer: HttpAnswer, deadline: Deadline, *, reads: bool, expected: bool) -> bool:
        """Wait before a repeat, if the service asked for a short pause and time allows.

        A read also waits when the service is away: it may soon be back.
        """
        pause_s = answer.retry_after_s
        if pause_s is None and reads and not expected and answer.status in AWAY:
            pause_s = random.uniform(0, _WAIT_S_MAX)  # noqa: S311 (spreads those who wait)
        elif answer.status != HTTPStatus.TOO_MANY_REQUESTS or pause_s is None:
            return False
        if pause_s > _SHORT_PAUSE_S or deadline.left_s() <= pause_s:
            return False
        self._pause(pause_s)
        return True

    def _once(self, request: httpx.Request, deadline: Deadline, *, wrote: bool) -> HttpAnswer:
        with self._sent(request, deadline) as (response, ends_at):
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > self._limits.bytes_max:
                    return self._read(response, None, wrote=wrote)
                if self._monotonic() >= ends_at:
                    raise httpx.ReadTimeout("the answer did not end in time", request=request)
            return self._read(response, bytes(body), wrote=wrote)

    @contextmanager
    def _sent(self, request: httpx.Request, deadline: Deadline) -> Iterator[tuple[httpx.Response, float]]:
        """An answer whose head has arrived, and the moment by which it must be complete.

        Calls under way at once are bounded.
        """
        if not self._slots.acquire(timeout=deadline.left_s()):
            raise OutOfTime
        try:
            deadline.left_s()
            ends_at = self._monotonic() + self._limits.answer_s
            request.extensions["timeout"] = self._timeout
            response = self._http.send(request, stream=True)
            try:
                yield response, ends_at
            finally:
                response.close()
        finally:
            self._slots.release()

    def _read(self, response: httpx.Response, body: bytes | None, *, wrote: bool) -> HttpAnswer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        retry_after_s = seconds_of(headers.get("retry-after"), self._now())
        return HttpAnswer(response.status_code, body, headers, wrote, retry_after_s)

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        token, name = secret_of(self._token), self._token_header
        if self._basic and ":" not in token:
            raise Misconfigured(
                f"{self._name}.token is not of the form login:password",
                remedy="Write both into its file, with a colon between them.",
            )
        if self._basic:
            return {name: f"Basic {base64.b64encode(token.encode()).decode('ascii')}"}
        if not token.isascii() or not token.isprintable():
            raise Misconfigured(
                f"{self._name}.token has characters that no header can carry",
                remedy="Write the token into its file and nothing else, as the service gave it.",
            )
        return {name: f"Bearer {token}" if name.lower() == "authorization" else token}

    @contextmanager
    def _faults(self, deadline: Deadline, *, unknown: bool) -> Iterator[None]:
        """Translate the library's errors to the engine's; remember an unanswered write."""
        try:
            with self._in_words(unknown=unknown):
                yield
        except TargetDown as error:
            deadline.unanswered = deadline.unanswered or error.unknown
            raise

    @contextmanager
    def _in_words(self, *, unknown: bool) -> Iterator[None]:
        try:
            yield
        except httpx.PoolTimeout as error:
            raise OutOfTime from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise AnswerLost(f"{self._service} does not answer in time", unknown=unknown) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            lost = f"{self._service}'s answer was lost: {type(error).__name__}"
            raise AnswerLost(lost, unknown=unknown) from error

    def _unreachable(self, error: httpx.TransportError) -> SesameError:
        fault = tls_fault(error)
        if isinstance(fault, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"{self._service}'s certificate is not trusted: {fault.verify_message}",
                remedy=f"Renew the certificate, or name its authority in {self._name}.ca_file.",
            )
        if fault is not None and not isinstance(fault, _HUNG_UP):
            return Misconfigured(
                f"{self._service} does not speak TLS at this address",
                remedy=f"Check the port and the scheme of {self._name}.{self._setting}.",
            )
        if fault is not None:
            return TargetDown(
                f"{self._service} hung up where TLS begins",
                remedy=f"If it stays so, {self._name}.{self._setting} may say https for a port that speaks "
                "plain HTTP: check the port and the scheme.",
                unknown=False,
            )
        return TargetDown(f"{self._service} cannot be reached: {_reason(error)}", unknown=False)


def _reason(error: BaseException) -> str:
    """The system's reason why a connection failed, e.g. Connection refused."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return "no answer in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__
