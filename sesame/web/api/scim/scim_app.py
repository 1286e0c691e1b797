"""SCIM 2.0 as an application (RFC 7644).

The library does the protocol, the acts check the rights. Tokens, rates and acts are the API's; errors are
SCIM's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Union
from urllib.parse import parse_qsl
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from scim2_models import (
    BulkRequest,
    BulkResponse,
    Error,
    ForbiddenException,
    InvalidFilterException,
    InvalidValueException,
    ListResponse,
    PatchOp,
    Resource,
    ResourceType,
    ResponseParameters,
    ScimProvider,
    SearchRequest,
)
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation, Target
from scim2_server.service import ScimService
from scim2_server.storage import SearchPage
from scim2_server.utils import parametrize
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import SesameError
from pipeline.vault import derive_keys
from schemas.language import gettext
from sesame.acts.acts import ActRefused, check
from sesame.operations.programs import late_answers, tokens
from sesame.operations.programs.person_facts import AsyncAnswer
from sesame.operations.programs.registered_persons import RegisteredPerson
from sesame.web.api import problems
from sesame.web.api.api_app import ApiGuard
from sesame.web.api.places import AT_ONCE
from sesame.web.api.routes import (
    SCIM_PREFIX,
    Api,
    UnusableRequest,
    bearer_token,
    check_json,
    check_text,
    language_of,
    read_body,
)
from sesame.web.api.scim.errors import error_of, error_of_value, in_words
from sesame.web.api.scim.filters import FILTER_CHARACTERS_MAX
from sesame.web.api.scim.groups import ScimGroups
from sesame.web.api.scim.handler import RequestHandler
from sesame.web.api.scim.late_answers import AnsweredLater, security_events, wait_s_of
from sesame.web.api.scim.resources import GROUPS, PROVIDER, USERS, ScimGroup, user_json
from sesame.web.api.scim.storage import Storage
from sesame.web.api.scim.users import ScimUsers
from sesame.web.kit.languages import speak_for

WAIT_S_MAX: Final = 15.0
"""How long a request waits for the registry; clients wait 30 s or more."""

_LOOK_S: Final = 0.02
_LOOKS: Final = frozenset({Operation.query, Operation.search, Operation.search_with_body})
ACTS: Final = {
    **{(USERS, operation): "person.look" for operation in _LOOKS},
    **{(USERS, each): "person.put" for each in (Operation.create, Operation.replace, Operation.patch)},
    (USERS, Operation.delete): "person.end",
    **{(GROUPS, operation): "group.look" for operation in _LOOKS},
    (GROUPS, Operation.create): "group.make",
    **{(GROUPS, each): "group.change" for each in (Operation.replace, Operation.patch)},
    (GROUPS, Operation.delete): "group.end",
}
"""The act of an operation on a resource type."""


def make_scim(api: Api, keys: list[str]) -> ASGIApp:
    """SCIM, to be mounted at `SCIM_PREFIX`. Tokens and rates of the API count here, too.

    `keys`: the vault's, the present one first; a key derived from it seals cursors.
    """
    Error.from_validation_error = error_of_value  # type: ignore[method-assign] # it can be had no other way
    console = api.site.settings.console
    host = console.origin.partition("://")[2]
    return ApiGuard(_Scim(api, derive_keys(keys, "cursors")[0]), host=host, secure=console.secure)


class _Scim:
    def __init__(self, api: Api, secret: bytes) -> None:
        self._api = api
        self._service = _Service(PROVIDER, security_events(api.site), secret=secret)
        self._base_url = api.site.settings.console.origin + SCIM_PREFIX
        self._threads = CapacityLimiter(2 * AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        speak_for(language_of(request, self._api))
        headers: dict[str, str] = {}
        try:
            token = bearer_token(request)
            actor = await to_thread.run_sync(tokens.bearer, self._api.site.database, token)
            headers = self._api.rates.take(actor.name)
            asked = _asked(request, self._base_url, await read_body(request))
            asked.subject = actor
            wait_s = wait_s_of(request.headers.getlist("prefer"))
            places = self._api.looks if _is_look(asked) else self._api.acts
            async with places.one(actor.name):
                answered = await to_thread.run_sync(self._answer, asked, wait_s, limiter=self._threads)
        except AnsweredLater as accepted:
            answered = accepted.response(self._base_url)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is answered)
            answered = self._service.error_response(error)
        answered.headers.update(headers)
        await _send(answered, send)

    def _answer(self, asked: ScimRequest, wait_s: float | None) -> ScimResponse:
        """Answer a request. `wait_s`: after so long the client prefers a deferred answer; None: never."""
        begun = time.thread_time()
        try:
            return self._handled(asked, wait_s)
        finally:
            self._api.rates.spend(asked.subject.name, time.thread_time() - begun)

    def _handled(self, asked: ScimRequest, wait_s: float | None) -> ScimResponse:
        api, later = self._api, None
        is_bulk = asked.path.strip("/") == "Bulk"  # whose operations may need what others make
        if wait_s is not None and not is_bulk and late_answers.listeners(api.site):
            later = AsyncAnswer(uuid4().hex, asked.method, _Patience(min(wait_s, WAIT_S_MAX)))
        users = ScimUsers(
            api.site,
            asked.subject,
            api.clock,
            wait=_Patience(WAIT_S_MAX),
            later=later,
            approve=asked.query.get("approve"),
            accept=asked.query.get("accept"),
        )
        storage = Storage(users, ScimGroups(api.site, asked.subject))
        return RequestHandler(self._service, storage, api.rates).handle(asked)


class _Patience:
    """Waits, a little each time, until so many seconds are over."""

    def __init__(self, s_max: float) -> None:
        self._end = time.monotonic() + s_max

    def __call__(self) -> bool:
        time.sleep(_LOOK_S)
        return time.monotonic() < self._end


class _Service(ScimService):
    """The library's, with our acts, our errors and our tokens."""

    def __init__(self, provider: ScimProvider, events: dict[str, Any] | None, *, secret: bytes) -> None:
        super().__init__(provider, secret=secret)
        self._events = events
        # pydantic makes a generic model's class again (10 ms) unless something holds the first one.
        models = self.get_models()
        self._classes: list[Any] = [
            parametrize(generic, Union[tuple(models)])  # noqa: UP007 (at run time)
            for generic in (BulkRequest, BulkResponse, ListResponse, SearchRequest)
        ]
        for model in models:
            self._classes += (
                parametrize(each, model) for each in (PatchOp, ResponseParameters, SearchRequest)
            )

    def service_provider_config(self, location: str, query: Mapping[str, str]) -> ScimResponse:
        """See `ScimService.service_provider_config`; adds RFC 9967, which it lacks."""
        answered = super().service_provider_config(location, query)
        if self._events is not None and answered.body is not None:
            answered.body["securityEvents"] = self._events
        return answered

    def authorize(self, request: ScimRequest, target: Target, resource_type: ResourceType) -> None:
        """See `ScimService.authorize`."""
        try:
            check(request.subject, ACTS[str(resource_type.name), target.operation])
        except ActRefused as error:
            raise ForbiddenException(detail=in_words(error)) from error

    def patch_response(
        self, base_url: str, resource: Resource[Any], response_parameters: ResponseParameters[Any]
    ) -> ScimResponse:
        """The resource after the change. Empty for a group whose members were not read (RFC 7644, 3.5.2)."""
        if isinstance(resource, ScimGroup) and resource.members is None:
            return super().patch_response(base_url, resource, response_parameters)
        return self.replacement_response(base_url, resource, response_parameters)

    def read_search(self, resource_types: list[ResourceType], payload: Any) -> tuple[SearchRequest[Any], Any]:
        """See `ScimService.read_search`. A text too long for a filter is not parsed."""
        for name, value in payload.items() if isinstance(payload, dict) else ():
            if name.casefold() == "filter" and len(str(value)) > FILTER_CHARACTERS_MAX:
                raise InvalidFilterException(
                    detail=gettext("a filter has at most {count} characters", count=FILTER_CHARACTERS_MAX)
                )
        return super().read_search(resource_types, payload)

    def search_response(
        self,
        base_url: str,
        resource_types: list[ResourceType],
        page: SearchPage,
        search_request: SearchRequest[Any],
    ) -> ScimResponse:
        """See `ScimService.search_response`. Persons are not made the library's models first."""
        found: list[Any] = list(page.resources)
        persons = [each for each in found if isinstance(each, RegisteredPerson)]
        rest = replace(page, resources=[each for each in found if not isinstance(each, RegisteredPerson)])
        answered = super().search_response(base_url, resource_types, rest, search_request)
        if persons and answered.body is not None:
            shown = [user_json(each, base_url) for each in persons] + answered.body.get("Resources", [])
            answered.body |= {"itemsPerPage": len(shown), "Resources": shown}
        return answered

    @staticmethod
    def error_of(exception: Exception) -> Error:
        """See `ScimService.error_of`."""
        return error_of(exception)

    def error_response(self, exception: Exception) -> ScimResponse:
        """See `ScimService.error_response`."""
        answered = super().error_response(exception)
        if isinstance(exception, SesameError):
            answered.headers.update(problems.headers_of(exception))
        return answered


def _is_look(asked: ScimRequest) -> bool:
    return asked.method in ("GET", "HEAD") or asked.path.rstrip("/").endswith("/.search")


def _asked(request: Request, base_url: str, body: bytes) -> ScimRequest:
    scope = request.scope
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).removesuffix(".scim")
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = dict(given)
    if len(query) < len(given):
        raise InvalidValueException(detail=gettext("a parameter is given twice"))
    try:
        for text in (body, path.encode(), *(each.encode() for each in query.values())):
            check_text(text)
    except UnusableRequest as error:
        raise InvalidValueException(detail=str(error)) from error
    check_json(body, key=str.lower)  # SCIM compares names so (RFC 7643, 2.1)
    return ScimRequest(
        method=request.method,
        base_url=base_url,
        path=path,
        query=query,
        headers=list(request.headers.items()),
        body=body,
    )


async def _send(answered: ScimResponse, send: Send) -> None:
    body = b"" if answered.body is None else json.dumps(answered.body).encode()
    headers = [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in (answered.headers | {"Content-Length": str(len(body))}).items()
    ]
    await send({"type": "http.response.start", "status": int(answered.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
