"""BSS calls: one token per process, answers in the engine's or student's terms.

`POST {url}/Auth` gives a token for a keyed hash of the domain and the time; every other call is a form sent
to `{url}/{Method}/{token}`. A token lives 300 s.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from consumers.kit.connector import ConnectorContext, secret_of
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.partage.answers import Answer, BssMessage, NotBss, parse
from consumers.partage.settings import PartageSettings
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown

if TYPE_CHECKING:
    from consumers.kit.http import HttpClient

TOKEN_S: Final = 270.0
"""How long a token is used: 30 s less than it lives."""

_XML: Final = {"Accept": "application/xml, text/xml"}
_DOORS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_NO_BSS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class BssRefused(Exception):
    """BSS did not do it.

    Attributes:
        told: for operators: without personal data.
        wrote: whether the call would have changed something.
    """

    def __init__(self, meaning: BssMessage, told: str, *, wrote: bool) -> None:
        super().__init__(told)
        self.meaning = meaning
        self.told = told
        self.wrote = wrote


class Bss:
    """One domain's BSS. Thread-safe. `now`: epoch seconds, for the key's hash."""

    def __init__(
        self, context: ConnectorContext[PartageSettings], *, now: Callable[[], float] = time.time
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._now = now
        self._key = context.secret("key")
        self._lock = threading.Lock()
        self._client: HttpClient | None = None
        self._token = ""
        self._renew_at = 0.0

    def read(self, method: str, form: Mapping[str, str], deadline: Deadline) -> Answer:
        """Make a call that changes nothing.

        Raises:
            BssRefused: BSS answered with an error.
            TargetDown, Throttled, Misconfigured, OutOfTime: as the kit's client.
        """
        return self._call(method, form, deadline, reads=True)

    def write(self, method: str, form: Mapping[str, str], deadline: Deadline) -> None:
        """Make a call that changes something. Raises as `read`, and `WriteForbidden`."""
        self._call(method, form, deadline, reads=False)

    def disconnect(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.disconnect()

    def _call(self, method: str, form: Mapping[str, str], deadline: Deadline, *, reads: bool) -> Answer:
        for _ in range(2):
            client, token = self._entered(deadline)
            answer = self._post(client, f"/{method}/{token}", form, deadline, reads=reads)
            if answer.meaning is not BssMessage.TOKEN_EXPIRED:
                break
            self._forget(token)
        else:
            raise TargetDown("the service refuses the token that it has just given", unknown=False)
        if answer.meaning is not BssMessage.OK:
            raise BssRefused(answer.meaning, f"{method}: {answer.told(form)}", wrote=not reads)
        return answer

    def _entered(self, deadline: Deadline) -> tuple[HttpClient, str]:
        """The client and a token that is not about to expire. One thread requests it, the others wait."""
        if not self._lock.acquire(timeout=deadline.left_s()):
            raise OutOfTime
        try:
            if self._client is None:
                from consumers.kit.http import HttpClient

                self._client = HttpClient(self._context, self._settings.url)
            now = self._context.monotonic()
            if not self._token or now >= self._renew_at:
                self._token = self._authenticated(self._client, deadline)
                self._renew_at = now + TOKEN_S
            return self._client, self._token
        finally:
            self._lock.release()

    def _forget(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._token = ""

    def _authenticated(self, client: HttpClient, deadline: Deadline) -> str:
        domain, stamp = self._settings.domain, str(int(self._now()))
        key = secret_of(self._key)
        preauth = hmac.new(key.encode(), f"{domain}|{stamp}".encode(), hashlib.sha1).hexdigest()
        form = {"domain": domain, "timestamp": stamp, "preauth": preauth}
        answer = self._post(client, "/Auth", form, deadline, reads=True)
        name = self._context.name
        if answer.meaning in (BssMessage.TEMPORARY, BssMessage.MAINTENANCE):
            raise TargetDown(f"the service cannot let anybody in: {answer.told(form)}", unknown=False)
        token = answer.text("token")
        if answer.meaning is not BssMessage.OK or not token.isalnum():
            raise CredentialsRefused(
                f"the service refuses the key of {name} ({self._key.told}): {answer.told(form)}",
                remedy=f"Check {name}.domain and {name}.key_file with RENATER, and this machine's clock.",
            )
        return token

    def _post(
        self, client: HttpClient, path: str, form: Mapping[str, str], deadline: Deadline, *, reads: bool
    ) -> Answer:
        pairs = list(form.items())
        found = client.call("POST", path, deadline, form=pairs, headers=_XML, reads=reads, expect=_DOORS)
        try:
            return parse(found.body)
        except NotBss as error:
            if found.status in _DOORS:
                raise Misconfigured(
                    f"the service does not let us in ({found.status})",
                    remedy="Ask RENATER whether this machine's address may call BSS for the domain.",
                ) from error
            if found.status in _NO_BSS:
                raise Misconfigured(
                    f"BSS is not at this address ({found.status})", remedy=f"Check {self._context.name}.url."
                ) from error
            raise TargetDown(
                f"the service's answer is not one of BSS, or is cut ({found.status})", unknown=found.wrote
            ) from error
