"""Translate answers about the service as a whole into the engine's errors.

Sources: RFC 9110 (HTTP semantics; 10.2.3 Retry-After), RFC 6585 (429).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from pipeline.errors import CredentialsRefused, Misconfigured, OutOfOrder, TargetDown, Throttled

ANY_STATUS: Final = range(100, 600)
"""For `HttpClient.call`: the connector judges every status."""

_PAUSE_S: Final = 30.0  # when a service throttles without saying for how long
_PAUSE_S_MAX: Final = 3600.0
AWAY: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
"""One server of several may answer so for a moment: a read is repeated."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, without the library that fetched it.

    Attributes:
        body: None: too long to read.
        wrote: it answers a call that may change something.
        headers: by name in lower case.
        retry_after_s: the pause that the service wants; None: it named none.
    """

    status: int
    body: bytes | None = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wrote: bool = False
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """True if the call was carried out."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def json(self) -> Any:
        """The body as JSON. Raises TargetDown if it is none: a page of a proxy, half an answer."""
        try:
            return json.loads(self.body if self.body is not None else "")
        except (ValueError, RecursionError) as error:
            raise TargetDown("the service's answer is not JSON, or is cut", unknown=self.wrote) from error

    def throttled(self, message: str) -> Throttled:
        """The error of a service that wants fewer calls."""
        after_s = _PAUSE_S if self.retry_after_s is None else self.retry_after_s
        return Throttled(f"{message} ({self.status})", retry_after_s=after_s)


def raise_for_service(answer: HttpAnswer, name: str, setting: str) -> None:
    """Raise a status's error for the service as a whole. Remedies name the setting `name`.`setting`."""
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after_s is not None
    ):
        raise answer.throttled("the service asked to be called later")
    if status in AWAY:
        raise OutOfOrder(f"the service is out of order ({status})", unknown=answer.wrote)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        raise TargetDown("a gateway gave up waiting for the service (504)", unknown=answer.wrote)
    if speaks_tls(answer):
        raise Misconfigured("the service speaks TLS on this port", remedy=f"Write https in {name}.{setting}.")
    if status == HTTPStatus.UNAUTHORIZED:
        raise CredentialsRefused(f"the service refuses the token of {name} (401)")
    if status == HTTPStatus.FORBIDDEN:
        raise Misconfigured(
            "the service says that this token may not do that (403)",
            remedy=f"Give the account of {name}.token the right to read and write users.",
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise Misconfigured(
            f"the service sends us elsewhere ({status}), and redirections are not followed",
            remedy=f"Set {name}.{setting} to the final address.",
        )


def speaks_tls(answer: HttpAnswer) -> bool:
    """True if we spoke plain HTTP to a TLS port, by the texts of nginx and Apache."""
    return answer.status == HTTPStatus.BAD_REQUEST and b"plain HTTP" in (answer.body or b"")[:4096]


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """The pause of a `Retry-After` in seconds, within bounds (RFC 9110, 10.2.3). `now`: epoch seconds."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return _PAUSE_S
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 1.0), _PAUSE_S_MAX) if math.isfinite(seconds) else _PAUSE_S
