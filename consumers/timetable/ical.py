"""Calendars over HTTP: the only file of this room that imports the HTTP client.

An address names a student, so it is in no message. Redirections are not followed, no cookie is kept from one
student to the next, nothing is read beyond `bytes_max`, and everything ends within its time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from consumers.timetable.address import Template
from consumers.timetable.answers import MISSING, CalendarAnswer, judge
from consumers.timetable.port import NotScheduled, Observed, Odd, Scheduled, Subject
from consumers.timetable.settings import TimetableSettings
from pipeline.errors import Misconfigured, SesameError, TargetDown
from pipeline.tls import verified

PROBE: Final = Subject("sesame-probe", "sesame-probe", "sesame-probe@localhost")
"""Nobody: whose calendar the probe asks for when no address is set for it."""

ATTEMPTS: Final = 2
"""When a connection breaks: one more, for a kept one that the server just ended. The rest is the engine's."""

_KEEPALIVE_S: Final = 4.0  # below the shortest keep-alive of common web servers (Apache: 5 s)
_WAIT_S_MAX: Final = 0.5  # between two attempts

_REMEDIES: Final = {
    "timetable_refused": "check timetable.token_file and timetable.token_header with the service's operator",
    "timetable_redirected": "set timetable.calendar_url to the final address: redirections are not followed",
    "timetable_missing": "set timetable.probe_url to a calendar that exists, in the service of calendar_url",
    "timetable_unreadable": "check timetable.calendar_url: it must give an iCalendar object, not a page",
    "timetable_too_large": "raise timetable.bytes_max, or set timetable.probe_url to a smaller calendar",
}


class IcalTimetable:
    """`port.Timetable` over HTTP.

    Args:
        settings: of the service.
        token: read anew for each call, so that it can be changed in its file; None: none is sent.
        connections_max: at once.
        clock: monotonic seconds.
        pause: waits that many seconds between two attempts.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    def __init__(
        self,
        settings: TimetableSettings,
        *,
        token: Callable[[], str] | None = None,
        connections_max: int,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._token = token
        self._template = Template.of(settings.calendar_url)
        self._clock = clock
        once_s = 2 * settings.connect_timeout_s + 2 * settings.timeout_s + _WAIT_S_MAX
        self.verb_s_max = ATTEMPTS * once_s
        self._attempts = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random(0, _WAIT_S_MAX),
            retry=retry_if_exception_type((httpx.NetworkError, httpx.RemoteProtocolError)),
            sleep=pause,
            reraise=True,
        )
        self._http = httpx.Client(
            verify=_tls(settings.ca_file),
            trust_env=False,  # neither proxies nor certificates from the environment
            follow_redirects=False,  # a redirection would carry the token, and the student's name, elsewhere
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx.Timeout(settings.timeout_s, connect=settings.connect_timeout_s),
            limits=httpx.Limits(
                max_connections=connections_max,
                max_keepalive_connections=connections_max,
                keepalive_expiry=_KEEPALIVE_S,
            ),
        )

    def apply(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """See `Timetable.apply`."""
        return self.read(batch)

    def close(self, batch: Sequence[Subject]) -> None:
        """See `Timetable.close`."""

    def read(self, batch: Sequence[Subject]) -> Mapping[str, Observed]:
        """See `Timetable.read`."""
        return {subject.student_number: self._read(subject) for subject in batch}

    def dump(self) -> Iterator[str]:
        """See `Timetable.dump`."""
        return iter(())

    def probe(self) -> None:
        """See `Timetable.probe`.

        Raises:
            TargetDown, Throttled, Misconfigured: as the port says.
        """
        asked = self._settings.probe_url
        answer = self._fetch(asked or self._template.address(PROBE))
        # A service that does not know the probe's name has answered, which is all that can be asked of it.
        seen = judge(answer, () if asked else (MISSING,))
        match seen:
            case Scheduled() | NotScheduled():
                return
            case Odd(cause, message):
                text = message.replace(" this student's calendar", " the probe's calendar")
                text = text.replace("this student", "the probe")
                raise Misconfigured(text, remedy=_REMEDIES[cause])

    def disconnect(self) -> None:
        """See `Timetable.disconnect`."""
        self._http.close()

    def _read(self, subject: Subject) -> Observed:
        address = self._template.address(subject)
        return judge(self._fetch(address), self._settings.not_scheduled)

    def _fetch(self, address: str) -> CalendarAnswer:
        try:
            return self._attempts(self._fetch_once, address)
        except httpx.TimeoutException as error:
            raise _slow() from error
        except httpx.TransportError as error:
            raise _unreachable(error) from error

    def _fetch_once(self, address: str) -> CalendarAnswer:
        end = self._clock() + self._settings.timeout_s
        with self._http.stream("GET", address, headers=self._headers()) as response:
            encoded = response.headers.get("content-encoding", "identity").strip().lower()
            if response.status_code != HTTPStatus.OK:
                return CalendarAnswer(response.status_code, retry_after=response.headers.get("retry-after"))
            if encoded != "identity":
                return CalendarAnswer(
                    HTTPStatus.OK
                )  # asked for as it is: compressed, its size could not be bounded
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > self._settings.bytes_max:
                    return CalendarAnswer(HTTPStatus.OK, None)
                if self._clock() >= end:
                    raise _slow()
        return CalendarAnswer(HTTPStatus.OK, bytes(body))

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "text/calendar", "Accept-Encoding": "identity"}
        if self._token is not None:
            name = self._settings.token_header
            bearer = "Bearer " if name.lower() == "authorization" else ""
            headers[name] = bearer + _carried(self._token)
        return headers


def _carried(token: Callable[[], str]) -> str:
    """The token, if a header can carry it.

    Raises:
        Misconfigured: it cannot, or its file cannot be read.
    """
    try:
        text = token()
    except SesameError as error:
        raise Misconfigured(str(error), remedy=error.remedy) from error
    if not text.isascii() or not text.isprintable():
        raise Misconfigured(
            "timetable.token has characters that no header can carry",
            remedy="Write the token into its file and nothing else, as the service gave it.",
        )
    return text


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Verified TLS: certificate and host name, from the system's authorities or from `ca_file` alone."""
    try:
        return verified(ca_file)
    except OSError as error:
        raise Misconfigured(
            f"timetable.ca_file cannot be used: {type(error).__name__}",
            remedy="name a readable PEM file with the authority of the service's certificate",
        ) from error


def _slow() -> TargetDown:
    return TargetDown("the timetable service does not answer in time (timetable.timeout_s)", unknown=False)


def _unreachable(error: httpx.TransportError) -> Exception:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"the timetable service's certificate is not trusted: {seen.verify_message}",
                remedy="renew the certificate, or name its authority in timetable.ca_file",
            )
        seen = seen.__cause__ or seen.__context__
    text = f"the timetable service cannot be reached: {type(error).__name__}"
    return TargetDown(text, unknown=False)
