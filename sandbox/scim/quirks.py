"""Known services' deviations from the standard or their own description.

Sources: the notes of scim2-server, and of Entra's, Okta's, Keycloak's and GitLab's own documentation.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # the library is slow to load, and a server's starter reads the names only
    from scim2_server.requests import ScimRequest
    from scim2_server.responses import ScimResponse

QUIRKS: Final[Mapping[str, str]] = {
    "no-put": "PUT is not allowed",
    "no-patch": "PATCH is not announced, and answered with 404",
    "patch-denied": "PATCH is announced, and answered with 501",
    "no-bulk": "bulk is not announced",
    "bulk-denied": "bulk is announced, and answered with 501",
    "small-bulk": "bulk takes three operations and 3000 bytes",
    "bulk-statuses": "bulk answers with numbers, and repeats no bulkId of what was not created",
    "throttled": "each twentieth call is answered with 429 and Retry-After",
    "throttled-silently": "the same without Retry-After",
    "filter-ignored": "every search finds everybody",
    "no-filter": "no search is answered",
    "no-member-filter": "groups cannot be searched by members",
    "member-filter-ignored": "a search of groups by members finds every group",
    "no-mail-filter": "users cannot be searched by address",
    "case-insensitive": "externalId is compared without regard to case",
    "not-found": "a search that finds nobody is answered with 404",
    "random-order": "pages are cut from an order that changes",
    "small-pages": "a page has two objects, whatever was asked",
    "total-of-page": "totalResults is what is on the page",
    "repeated-pages": "startIndex is ignored",
    "cursor": "pages are announced, and given, by cursor only",
    "strong-etags": "ETags are strong",
    "etags-never-match": "ETags are announced, and If-Match always fails",
    "no-etags": "there are no ETags",
    "status-200": "what is created is answered with 200, without Location; what is modified, with the object",
    "no-config": "there is no ServiceProviderConfig",
    "members-hidden": "lists of groups leave the members out",
    "string-booleans": "booleans are strings, names of attributes begin with capitals",
}
"""The names, with their meanings."""

_EQUALS: Final = re.compile(r'externalId eq "([^"]*)"')
_SEARCHED: Final = frozenset({"/Users", "/Groups"})
_WHOLE: Final = "1000000"
_BULK_OPERATIONS, _BULK_BYTES, _PAGE, _THROTTLED_EVERY = 3, 3000, 2, 20


class Bent:
    """Serves with quirks. `serve`: without them."""

    def __init__(self, serve: Callable[[ScimRequest], ScimResponse]) -> None:
        self._serve = serve
        self._calls = 0
        self._random = random.Random(0)  # noqa: S311  (an order, not a secret)

    def __call__(self, request: ScimRequest, quirks: Collection[str]) -> ScimResponse:
        """Serve one request."""
        self._calls += 1
        refused = self._refused(request, quirks)
        if refused is not None:
            return refused
        lists = request.method == "GET" and request.path in _SEARCHED
        query = dict(request.query)
        request.query = query
        if lists:
            self._bend_search(query, quirks)
        if "cursor" not in quirks and lists:
            query.setdefault("startIndex", "1")
        folded = _EQUALS.fullmatch(query.get("filter", "")) if "case-insensitive" in quirks else None
        shuffled = lists and "random-order" in quirks and "filter" not in query
        start, count = int(query.get("startIndex", "1")), int(query.get("count", "100"))
        if shuffled or (lists and folded):
            query.pop("filter", None)
            query |= {"startIndex": "1", "count": _WHOLE}
        answer = self._serve(request)
        if lists and answer.body is not None and answer.status == HTTPStatus.OK:
            if folded:
                _fold(answer.body, folded[1])
            if shuffled:
                self._shuffle(answer.body, start, count)
            answer = _bent_list(request, answer, quirks)
        return _bent(request, answer, quirks)

    def _refused(self, request: ScimRequest, quirks: Collection[str]) -> ScimResponse | None:
        """The answer given at once, if any."""
        method, path, text = request.method, request.path, request.query.get("filter", "")
        if self._calls % _THROTTLED_EVERY == 0:
            if "throttled" in quirks:
                return _error(HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": "1"})
            if "throttled-silently" in quirks:
                return _error(HTTPStatus.TOO_MANY_REQUESTS)
        invalid = (
            (text and "no-filter" in quirks)
            or ("members" in text and "no-member-filter" in quirks)
            or ("emails" in text and "no-mail-filter" in quirks)
        )
        if invalid:
            return _error(HTTPStatus.BAD_REQUEST, "invalidFilter")
        conditions = {
            HTTPStatus.METHOD_NOT_ALLOWED: method == "PUT" and "no-put" in quirks,
            HTTPStatus.NOT_IMPLEMENTED: (method == "PATCH" and "patch-denied" in quirks)
            or (path == "/Bulk" and "bulk-denied" in quirks),
            HTTPStatus.NOT_FOUND: (method == "PATCH" and "no-patch" in quirks)
            or (path == "/ServiceProviderConfig" and "no-config" in quirks),
            HTTPStatus.PRECONDITION_FAILED: request.header("If-Match") is not None
            and "etags-never-match" in quirks,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: path == "/Bulk"
            and "small-bulk" in quirks
            and _too_large(request.body),
        }
        return next((_error(status) for status, holds in conditions.items() if holds), None)

    def _bend_search(self, query: dict[str, str], quirks: Collection[str]) -> None:
        by_member = "members" in query.get("filter", "")
        if "filter-ignored" in quirks or ("member-filter-ignored" in quirks and by_member):
            query.pop("filter", None)
        if "small-pages" in quirks:
            query["count"] = str(_PAGE)
        if "repeated-pages" in quirks:
            query["startIndex"] = "1"
        if "random-order" in quirks:
            query.pop("sortBy", None)

    def _shuffle(self, body: dict[str, Any], start: int, count: int) -> None:
        found = body.get("Resources", [])
        self._random.shuffle(found)
        body |= {"Resources": found[start - 1 : start - 1 + count], "startIndex": start}


def _fold(body: dict[str, Any], value: str) -> None:
    found = [
        each
        for each in body.get("Resources", [])
        if each.get("externalId", "").casefold() == value.casefold()
    ]
    body |= {"Resources": found, "totalResults": len(found)}


def _bent_list(request: ScimRequest, answer: ScimResponse, quirks: Collection[str]) -> ScimResponse:
    body = answer.body or {}
    found = body.get("Resources", [])
    if "total-of-page" in quirks:
        body["totalResults"] = len(found)
    if "members-hidden" in quirks and request.path == "/Groups":
        for each in found:
            each.pop("members", None)
    if "not-found" in quirks and "filter" in request.query and not found:
        return _error(HTTPStatus.NOT_FOUND)
    return answer


def _bent(request: ScimRequest, answer: ScimResponse, quirks: Collection[str]) -> ScimResponse:
    if request.path == "/ServiceProviderConfig" and answer.body is not None:
        _announce(answer.body, quirks)
    if "status-200" in quirks and answer.status == HTTPStatus.CREATED:
        answer.status = HTTPStatus.OK
        answer.headers.pop("Location", None)
    if "bulk-statuses" in quirks and request.path == "/Bulk" and answer.body is not None:
        for each in answer.body.get("Operations", []):
            each["status"] = int(each["status"])
            if each["method"] != "POST":
                each.pop("bulkId", None)
    if {"no-etags", "strong-etags"} & set(quirks):
        _retag(answer, strong="strong-etags" in quirks)
    if "string-booleans" in quirks and answer.body is not None and request.path != "/Bulk":
        answer.body = _respelled(answer.body)
    return answer


def _announce(config: dict[str, Any], quirks: Collection[str]) -> None:
    """Describe the service, with its quirks."""
    if "no-patch" in quirks:
        config["patch"] = {"supported": False}
    if "no-bulk" in quirks:
        config["bulk"] = {"supported": False, "maxOperations": 0, "maxPayloadSize": 0}
    if "small-bulk" in quirks:
        config["bulk"] |= {"maxOperations": _BULK_OPERATIONS, "maxPayloadSize": _BULK_BYTES}
    if "no-etags" in quirks:
        config["etag"] = {"supported": False}
    if "no-filter" in quirks:
        config["filter"] = {"supported": False}
    if "random-order" in quirks:
        config["sort"] = {"supported": False}
    if "cursor" in quirks:
        config["pagination"] |= {"index": False, "defaultPaginationMethod": "cursor"}
    else:
        config.pop("pagination", None)


def _retag(answer: ScimResponse, *, strong: bool) -> None:
    def new(tag: str) -> str:
        return tag.removeprefix("W/")

    if "ETag" in answer.headers:
        answer.headers["ETag"] = new(answer.headers["ETag"])
    if not strong:
        answer.headers.pop("ETag", None)
    body = answer.body or {}
    for each in (body, *body.get("Resources", [])):
        if "version" in each.get("meta", {}):
            each["meta"]["version"] = new(each["meta"]["version"])
            if not strong:
                del each["meta"]["version"]


def _respelled(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return [_respelled(each) for each in value]
    if isinstance(value, dict) and "supported" not in json.dumps(value):
        return {_capital(name): _respelled(each) for name, each in value.items()}
    return value


def _capital(name: str) -> str:
    """Capitalise an attribute's name, but not of RFC 7644's messages, $ref or URNs."""
    kept = ":" in name or name in {"schemas", "id", "totalResults", "startIndex", "itemsPerPage", "$ref"}
    return name if kept else name[:1].upper() + name[1:]


def _too_large(body: bytes) -> bool:
    return len(body) > _BULK_BYTES or len(json.loads(body).get("Operations", [])) > _BULK_OPERATIONS


def _error(status: HTTPStatus, scim_type: str = "", headers: Mapping[str, str] | None = None) -> ScimResponse:
    from scim2_server.responses import ScimResponse

    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(int(status)),
        **({"scimType": scim_type} if scim_type else {}),
    }
    return ScimResponse(status, body, dict(headers or {}))
