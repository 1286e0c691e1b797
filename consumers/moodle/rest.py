"""Moodle's REST protocol over HTTP: the only file of this room that imports the HTTP client.

A call is a POST, form-encoded, with the token, the function and the format *first*: PHP keeps the first
`max_input_vars` variables and drops the rest, and whatever is dropped, these three must not be. JSON bodies
and the Authorization header are ignored by Moodle; in the query string the token would end up in access
logs.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from consumers.moodle.answers import MoodleAnswer, result_of
from consumers.moodle.errors import BatchDeadline, Broken, NoTimeLeft, OutcomeUnknown, WriteRefused
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden
from pipeline.tls import verified

_KEEPALIVE_S: Final = 4.0
"""Below the shortest keep-alive of common web servers (Apache: 5 s), so that no request is written into a
connection that the other side is just closing: its outcome would be unknown."""

_WAIT_S: Final = 0.1  # the first pause between attempts; doubled each time


class RestClient:
    """Calls functions of one Moodle site. Safe to share between threads; bounded in flight."""

    def __init__(
        self,
        settings: MoodleSettings,
        *,
        token: Callable[[], str] | None = None,
        pause: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            settings: address, token, time-outs and limits.
            token: gives the token; asked at each call, so that it can change. None: the settings'.
            pause: waits that many seconds between two attempts.
            chance: jitters these pauses.
            transport: for tests of the classification; None: the network.

        Raises:
            Misconfigured: the file of certificate authorities cannot be read.
        """
        self._settings = settings
        self._token = token or (lambda: settings.secret("token").get_secret_value())
        self._pause = pause
        self._chance = chance or random.Random()  # noqa: S311  (pauses, not secrets)
        self._slots = threading.BoundedSemaphore(settings.max_in_flight)
        self._http = httpx.Client(
            verify=_tls(settings),
            trust_env=False,  # neither proxies nor certificates from the environment
            follow_redirects=False,  # a redirection would carry the token elsewhere
            timeout=self._timeout(settings.read_timeout_s),
            limits=httpx.Limits(
                max_connections=settings.max_in_flight,
                max_keepalive_connections=settings.max_in_flight,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            transport=transport,
        )

    def read(self, function: str, params: Mapping[str, Any], deadline: BatchDeadline) -> Any:
        """Call a function that changes nothing; try again when the answer was lost.

        Raises:
            Refused: Moodle says no to these parameters.
            NoTimeLeft: the deadline has passed.
            TargetDown, Throttled, Misconfigured: as the port says.
        """
        attempts = Retrying(
            stop=stop_after_attempt(self._settings.read_attempts),
            wait=self.wait_s,
            retry=retry_if_exception_type((OutcomeUnknown, Broken)),
            sleep=self._pause,
            reraise=True,
        )
        try:
            return attempts(self._call, function, params, deadline)
        except (OutcomeUnknown, Broken) as error:
            raise TargetDown(f"Moodle does not answer reads: {error}", unknown=False) from error

    def write(self, function: str, params: Mapping[str, Any], deadline: BatchDeadline) -> Any:
        """Call a function that writes, and never again while its outcome is unknown: `deadline.lost` then.

        A write that the database refused is tried again a few times, since nothing was committed.

        Raises:
            Refused, WriteRefused, Broken, OutcomeUnknown, NoTimeLeft: see `errors.py`.
            TargetDown, Throttled, Misconfigured: as the port says.
            WriteForbidden: the site is only observed; nothing was sent.
        """
        if self._settings.read_only:
            raise WriteForbidden
        attempts = Retrying(
            stop=stop_after_attempt(self._settings.write_attempts),
            wait=self.wait_s,
            retry=retry_if_exception_type(WriteRefused),
            sleep=self._pause,
            reraise=True,
        )
        try:
            return attempts(self._call, function, params, deadline)
        except OutcomeUnknown:
            deadline.lost = True
            raise
        except TargetDown as error:
            deadline.lost = deadline.lost or error.unknown
            raise

    def wait_s(self, state: RetryCallState) -> float:
        """Full jitter under a doubling ceiling: concurrent writers that collided must not collide again."""
        ceiling: float = min(_WAIT_S * 2**state.attempt_number, self._settings.retry_wait_s_max)
        return self._chance.uniform(0, ceiling)

    @contextmanager
    def stream(self, function: str, params: Mapping[str, Any]) -> Iterator[Iterator[str]]:
        """Call a reading function whose answer may be very large; yields its JSON text in pieces.

        Raises:
            as `read`, but nothing is tried again.
        """
        body = self._body(function, params)
        with self._slots:
            try:
                with self._http.stream(
                    "POST", self._settings.endpoint, content=body, headers=_FORM
                ) as response:
                    if response.status_code != httpx.codes.OK or not _is_json(response):
                        response.read()
                        result_of(_answer(response))
                    yield response.iter_text()
            except httpx.TransportError as error:
                raise TargetDown(
                    f"Moodle's answer broke off: {type(error).__name__}", unknown=False
                ) from error

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _call(self, function: str, params: Mapping[str, Any], deadline: BatchDeadline) -> Any:
        body = self._body(function, params)
        if not self._slots.acquire(timeout=deadline.left_s()):
            raise NoTimeLeft("no call could be made in time: too many in flight")
        try:
            read_s = min(self._settings.read_timeout_s, deadline.left_s())
            response = self._http.post(
                self._settings.endpoint, content=body, headers=_FORM, timeout=self._timeout(read_s)
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _unreachable(error) from error
        except httpx.PoolTimeout as error:
            raise NoTimeLeft("no connection came free in time") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise OutcomeUnknown(f"the answer was lost: {type(error).__name__}") from error
        finally:
            self._slots.release()
        return result_of(_answer(response))

    def _body(self, function: str, params: Mapping[str, Any]) -> bytes:
        first = [
            ("wstoken", self._token()),
            ("wsfunction", function),
            ("moodlewsrestformat", "json"),
        ]
        return urlencode(first + list(flatten(params))).encode("ascii")

    def _timeout(self, read_s: float) -> httpx.Timeout:
        return httpx.Timeout(
            connect=self._settings.connect_timeout_s,
            read=read_s,
            write=self._settings.write_timeout_s,
            pool=self._settings.connect_timeout_s,
        )


_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


def flatten(params: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """PHP's form of nested values: `users[0][username]=…`. True is 1, False is 0."""
    pairs = params.items() if isinstance(params, Mapping) else enumerate(params)
    for key, value in pairs:
        name = f"{prefix}[{key}]" if prefix else str(key)
        if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
            yield from flatten(value, name)
        else:
            yield name, str(int(value)) if isinstance(value, bool) else str(value)


def _tls(settings: MoodleSettings) -> ssl.SSLContext:
    """Verified TLS: certificate and host name, from the system's authorities or from `ca_file` alone."""
    try:
        return verified(settings.ca_file)
    except OSError as error:
        raise Misconfigured(
            f"moodle.ca_file cannot be used: {type(error).__name__}",
            remedy="name a readable PEM file with the authority of the site's certificate",
        ) from error


def _unreachable(error: httpx.TransportError) -> Exception:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"the site's certificate is not trusted: {seen.verify_message}",
                remedy="renew the certificate, or name its authority in moodle.ca_file",
            )
        seen = seen.__cause__ or seen.__context__
    return TargetDown(f"the site cannot be reached: {type(error).__name__}", unknown=False)


def _is_json(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).lower().startswith("application/json")


def _answer(response: httpx.Response) -> MoodleAnswer:
    return MoodleAnswer(
        status=response.status_code,
        content_type=response.headers.get("content-type", ""),
        body=response.content,
        retry_after=response.headers.get("retry-after"),
    )
