"""Deferred answers: 202, then a Security Event Token (RFC 9967, 2.5.1 and 3)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import structlog
from scim2_server.responses import ScimResponse

from consumers.webhooks.security_events import uris_of
from pipeline.errors import DependencyDown, SesameError, fault
from producers.registrar.accepted_requests import AcceptedRequest
from sesame.acts.ports import HasSettings
from sesame.operations.programs import late_answers
from sesame.operations.programs.late_answers import Outcome
from sesame.web.api.scim.errors import error_of
from sesame.web.api.scim.resources import version_of
from sesame.web.kit.site import Site

_LOOK_S: Final = 0.5
_ASYNC, _WAIT = "respond-async", re.compile(r"\d{1,4}")
_DONE: Final = {
    "POST": HTTPStatus.CREATED,
    "PUT": HTTPStatus.OK,
    "PATCH": HTTPStatus.OK,
    "DELETE": HTTPStatus.NO_CONTENT,
}


class AnsweredLater(Exception):
    """What was asked is in the log, and is answered once the registry has applied it."""

    def __init__(self, txn: str, student_number: str) -> None:
        super().__init__(txn)
        self._headers = {"Set-Txn": txn, "Preference-Applied": _ASYNC}
        self._number = student_number

    def response(self, base_url: str) -> ScimResponse:
        """The answer 202 without a body (RFC 9967)."""
        where = {"Location": f"{base_url}/Users/{self._number}"}
        return ScimResponse(HTTPStatus.ACCEPTED, None, self._headers | where)


def wait_s_of(prefer: Iterable[str]) -> float | None:
    """The client's wait, in seconds, before a deferred answer (RFC 7240, 4.1, 4.3).

    `prefer`: the values of the header `Prefer`. None: never.
    """
    preferences: dict[str, str] = {}
    for each in ",".join(prefer).split(","):
        name, _, value = each.partition(";")[0].partition("=")
        preferences.setdefault(name.strip().lower(), value.strip().strip('"'))
    if _ASYNC not in preferences:
        return None
    wait = preferences.get("wait", "")
    return float(wait) if _WAIT.fullmatch(wait) else 0.0


def security_events(site: HasSettings) -> dict[str, Any] | None:
    """The tokens' part of ServiceProviderConfig (RFC 9967, 4); None: no token is sent."""
    receivers = site.settings.webhooks.receivers.values()
    types = {name: None for each in receivers if each.form == "set" for name in each.types}
    if not types:
        return None
    answers = "request" if late_answers.listeners(site) else "none"
    return {"asyncRequest": answers, "eventUris": [uri for name in types for uri in uris_of(name)]}


class LateAnswers:
    """Sends the outcomes of accepted requests. Owned by the thread that calls `keep`."""

    def __init__(self, site: Site, base_url: str) -> None:
        self._site = site
        self._base_url = base_url

    def keep(self, stopping: threading.Event) -> None:
        """Send deferred answers until `stopping` is set."""
        while not stopping.wait(_LOOK_S):
            with suppress(DependencyDown):  # the console's pages show it
                self.tell()

    def tell(self) -> None:
        """Look at all of them once. Raises `StoreUnavailable`: look again."""
        for request in late_answers.waiting(self._site):
            try:
                late_answers.tell(self._site, request, self._answer)
            except DependencyDown:
                raise
            except Exception as error:  # noqa: BLE001 (one answer's failure must not keep the others)
                structlog.get_logger().error("late_answer_fault", error=fault(error))

    def _answer(self, request: AcceptedRequest, came: Outcome) -> dict[str, Any]:
        """The outcome as one operation of a bulk response (RFC 7644, 3.7.3)."""
        said: dict[str, Any] = {"method": request.method}
        failed = isinstance(came, SesameError)
        if not (failed and request.method == "POST"):
            said["location"] = f"{self._base_url}/Users/{request.student_number}"
        if isinstance(came, SesameError):
            error = error_of(came)
            return {**said, "status": str(error.status), "response": error.model_dump()}
        if came is not None:
            said["version"] = version_of(came)
        return {**said, "status": str(int(_DONE[request.method]))}
