"""HTTP client of Pégase's modules: its token, bounds, and errors in words.

Sources: see the package; for the token PC-Scol's own examples (`authn-app`, CAS REST protocol).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.errors import DependencyDown, SesameError
from pipeline.tls import tls_fault, verified
from producers.registrar.pegase.settings import Instance

ANSWER_S_MAX: Final = 45.0
"""Time limit of one answer: calls of 30 s were seen. A process counts as silent after 60 s."""
_WHOLE_S_MAX: Final = 300.0
_CONNECT_S_MAX: Final = 10.0
_BYTES_MAX: Final = 200_000_000  # all groups of a large university
_ATTEMPTS: Final = 3
_TOKEN_S: Final = 5 * 3600.0  # clients keep it about six hours
_TICKETS: Final = "/cas/v1/tickets"
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_JWT_DOTS: Final = 2


class PegaseDown(DependencyDown):
    """Pégase cannot be reached, or its answer cannot be read. The same period of time is read again at the
    next poll, so that no enrolment is lost."""


class PegaseRefuses(SesameError):
    """Pégase refuses the service account, or a call. Check `[pegase]`: the address, the account's password,
    its rights on `ins` and `chc`, and the codes of establishments and periods."""


class PegaseClient:
    """Reads JSON from Pégase's modules. For one thread.

    Args:
        instance: read anew for each token, since the account's password may change.
        pause: waits that many seconds between two attempts.
        now: epoch seconds.
    """

    def __init__(
        self,
        instance: Callable[[], Instance],
        *,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._instance = instance
        self._at = instance()
        self._now = now
        self._token = ""
        self._token_until = 0.0
        self._ahead_s = 0.0
        self._attempts = Retrying(
            retry=retry_if_exception_type(PegaseDown),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            sleep=pause,
            reraise=True,
        )
        self._http = httpx.Client(
            verify=verified(None, "http"),
            trust_env=False,
            follow_redirects=False,  # a redirection would carry the token elsewhere
            timeout=httpx.Timeout(ANSWER_S_MAX, connect=_CONNECT_S_MAX),
        )

    def read(
        self, module: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        """Read JSON; POST if there is a `body`. It is repeated when there is no answer.

        Raises:
            PegaseDown: no answer, or none that is JSON.
            PegaseRefuses: the account, its rights, or the call.
        """
        return self._attempts(self._read, module, path, params, body)

    def clock(self) -> int:
        """The time by Pégase's own clock, in epoch seconds. Raises as `read`."""
        self._attempts(self._authorise)
        return int(self._now() + self._ahead_s)

    def token(self) -> str:
        """The token. Raises as `read`."""
        self._attempts(self._authorise)
        return self._token

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _read(self, module: str, path: str, params: Mapping[str, str] | None, body: Any) -> Any:
        kept = self._now() < self._token_until
        answer = self._authorised(module, path, params, body)
        if answer.status_code in _REFUSALS and kept:  # an expired token is 403 at some modules
            self._token_until = 0.0
            answer = self._authorised(module, path, params, body)
        if answer.status_code != HTTPStatus.OK:
            said = f"{module} answers {answer.status_code} at {path}"
            away = answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
            raise PegaseDown(said) if away else PegaseRefuses(said)
        try:
            return answer.json()
        except ValueError as error:
            kind = answer.headers.get("content-type", "no content type")
            raise PegaseDown(f"{module} answers 200 with something else than JSON ({kind})") from error

    def _authorised(
        self, module: str, path: str, params: Mapping[str, str] | None, body: Any
    ) -> httpx.Response:
        self._authorise()
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        method, more = ("GET", {}) if body is None else ("POST", {"json": body})
        return self._call(method, module, path, headers=headers, params=params, **more)

    def _authorise(self) -> None:
        if self._now() >= self._token_until:
            self._token, self._token_until = self._new_token(), self._now() + _TOKEN_S

    def _new_token(self) -> str:
        """A new token. Releases before V31 want `token` in the query, later ones in the form."""
        self._at = self._instance()
        form = {"username": self._at.username, "password": self._at.password}
        asked: tuple[dict[str, Any], ...] = (
            {"data": form | {"token": "true"}},
            {"data": form, "params": {"token": "true"}},
        )
        status = 0
        for more in asked:
            answer = self._call("POST", "authn-app", _TICKETS, **more)
            status, token = answer.status_code, answer.text.strip()
            if answer.is_success and token.count(".") == _JWT_DOTS and token.isprintable():
                return token
            if answer.is_server_error:
                raise PegaseDown(f"authn-app answers {status}")
        raise PegaseRefuses(f"authn-app gives {self._at.username} no token ({status})")

    def _call(self, method: str, module: str, path: str, **more: Any) -> httpx.Response:
        url = self._at.address(module) + path
        ends_at = time.monotonic() + _WHOLE_S_MAX
        try:
            with self._http.stream(method, url, **more) as answer:
                size = 0
                pieces = []
                for piece in answer.iter_bytes():
                    size += len(piece)
                    if size > _BYTES_MAX:
                        raise PegaseDown(f"{module}'s answer is longer than {_BYTES_MAX} bytes")
                    if time.monotonic() > ends_at:
                        raise PegaseDown(f"{module}'s answer takes more than {_WHOLE_S_MAX:g} s")
                    pieces.append(piece)
        except httpx.TransportError as error:
            raise _unreachable(module, error) from error
        except httpx.DecodingError as error:
            raise PegaseDown(f"{module}'s answer cannot be decoded") from error
        told = {name: answer.headers.get(name, "") for name in ("date", "content-type")}
        self._set_clock(told["date"])
        return httpx.Response(answer.status_code, headers=told, content=b"".join(pieces))

    def _set_clock(self, date: str) -> None:
        try:
            self._ahead_s = parsedate_to_datetime(date).timestamp() - self._now()
        except ValueError:
            return


def _unreachable(module: str, error: httpx.TransportError) -> SesameError:
    if (fault := tls_fault(error)) is not None:
        return PegaseRefuses(f"{module}: TLS fails: {fault.reason or type(fault).__name__}")
    return PegaseDown(f"{module} gives no answer: {type(error).__name__}")
