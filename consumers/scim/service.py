"""The service: its abilities, single resources, and lists.

RFC 7643, 5; RFC 7644, 3.4; RFC 9865. A service may be unable to do what it announces. What it refused once,
this process does not try again; see `ScimService.unable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.scim.settings import ScimSettings
from pipeline.errors import Misconfigured, TargetDown

if TYPE_CHECKING:
    from consumers.kit.http import HttpAnswer, HttpClient

USERS: Final = "/Users"
GROUPS: Final = "/Groups"

Ability = Literal["patch", "bulk", "filter", "member_filter", "mail_filter", "sort", "etag"]
"""An ability that a service may turn out to lack.

`member_filter`: to find groups by their members; `mail_filter`: to find users by an address; `etag`: to
compare an ETag of its own."""

Raw = Mapping[str, Any]
Until = Callable[[], Deadline]

_MEDIA_TYPE: Final = "application/scim+json"
_KNOWN_FOR_S: Final = 600.0
_STALE_PAGES_MAX: Final = 3  # in succession without a new resource
_IDLE_PASSES_MAX: Final = 8  # likewise, of the whole list
_SCIM_TYPES: Final = frozenset(
    (
        *("invalidFilter", "tooMany", "uniqueness", "mutability", "invalidSyntax", "invalidPath"),
        *("noTarget", "invalidValue", "invalidVers", "sensitive"),
        *("invalidCursor", "expiredCursor", "invalidCount"),
    )
)


@dataclass(frozen=True, slots=True)
class Abilities:
    """The service's abilities, by its ServiceProviderConfig. Search and ETags are tried unannounced.

    Attributes:
        page_max: how many objects it gives at once at most; 0: not announced.
        bulk_operations: how many operations it takes at once; 0: no bulk.
        bulk_bytes: the largest body of these.
    """

    patch: bool = False
    filter: bool = True
    sort: bool = False
    etag: bool = True
    cursor: bool = False
    page_max: int = 0
    bulk_operations: int = 0
    bulk_bytes: int = 0

    @classmethod
    def of(cls, raw: Raw) -> Abilities:
        """Read a ServiceProviderConfig."""
        paging, bulk, search = _part(raw, "pagination"), _part(raw, "bulk"), _part(raw, "filter")
        has_bulk = bulk.get("supported") is True
        limits = [_number(paging.get("maxPageSize")), _number(search.get("maxResults"))]
        return cls(
            patch=_part(raw, "patch").get("supported") is True,
            filter=search.get("supported") is not False,
            sort=_part(raw, "sort").get("supported") is True,
            etag=_part(raw, "etag").get("supported") is not False,
            cursor=paging.get("cursor") is True,
            page_max=min(filter(None, limits), default=0),
            bulk_operations=_number(bulk.get("maxOperations")) if has_bulk else 0,
            bulk_bytes=_number(bulk.get("maxPayloadSize")) if has_bulk else 0,
        )


class UnexpectedStatus(Exception):
    """The service answered a call about one student otherwise than it should.

    Args:
        status: of HTTP.
        scim_type: a word of RFC 7644's table 9, or empty. The rest of the answer may be personal.
    """

    def __init__(self, status: int, scim_type: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.scim_type = scim_type

    def __str__(self) -> str:
        return f"{self.status} {self.scim_type}".strip()


class FilterIgnored(Exception):
    """The service answers a search with objects that were not searched for."""


PAGE_SIZE: Final = 100
"""Objects per page when all are read; a service may give fewer."""


class ScimService:
    """One service. Thread-safe; `http` is closed with the connector."""

    def __init__(self, context: ConnectorContext[ScimSettings], http: HttpClient) -> None:
        self._name = context.name
        self._monotonic = context.monotonic
        self._http = http
        self._unable: frozenset[Ability] = frozenset()
        self._known: tuple[float, Abilities] | None = None

    def abilities(self, deadline: Deadline, *, afresh: bool = False) -> Abilities:
        """The announced abilities, less those that it turned out to lack."""
        now = self._monotonic()
        if self._known is None or afresh or now - self._known[0] > _KNOWN_FOR_S:
            answer = self._call("GET", "/ServiceProviderConfig", deadline)
            if answer.ok:
                self._known = now, Abilities.of(_object(answer))
            elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise TargetDown(f"the service is out of order ({answer.status})", unknown=False)
            else:
                self._known = now, Abilities()
        said = self._known[1]
        return replace(
            said,
            patch=said.patch and self.able("patch"),
            sort=said.sort and self.able("sort"),
            etag=said.etag and self.able("etag"),
            filter=said.filter and self.able("filter"),
            bulk_operations=said.bulk_operations if self.able("bulk") else 0,
        )

    def able(self, ability: Ability) -> bool:
        """True if the service has not yet failed at this ability."""
        return ability not in self._unable

    def unable(self, ability: Ability) -> None:
        """Record that the service lacks this ability."""
        self._unable |= {ability}

    def get(self, endpoint: str, ref: str, deadline: Deadline) -> tuple[dict[str, Any], str] | None:
        """One resource and its ETag (empty: none); None: not found. Raises UnexpectedStatus."""
        answer = self._call("GET", path_of(endpoint, ref), deadline)
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return None
        found = _object(_expected(answer))
        return found, answer.headers.get("etag") or version_of(found)

    def find(
        self, endpoint: str, text: str, deadline: Deadline, attributes: str = ""
    ) -> Iterator[dict[str, Any]]:
        """A filter's results; the caller checks that they match. Raises UnexpectedStatus."""
        try:
            yield from self._everybody(endpoint, {"filter": text, **_only(attributes)}, lambda: deadline)
        except UnexpectedStatus as error:
            if error.status != HTTPStatus.NOT_FOUND:  # some services answer so when nothing matches
                raise

    def everybody(self, endpoint: str, until: Until, attributes: str = "") -> Iterator[dict[str, Any]]:
        """Each object of an endpoint once. Memory: a page, and 100 bytes for each object.

        Args:
            until: gives the time of each page.
            attributes: the wanted ones; empty: all.

        Raises:
            Misconfigured: the service does not give all of them, or no end of them.
        """
        try:
            yield from self._everybody(endpoint, _only(attributes), until)
        except UnexpectedStatus as error:
            raise Misconfigured(
                f"the service does not list {endpoint.strip('/')} ({error})",
                remedy=f"Check that {self._name}.url is the service's SCIM address, e.g. "
                f"https://host/scim/v2, and that the token of {self._name} may list.",
            ) from error

    def send(
        self, method: str, path: str, deadline: Deadline, body: Any = None, version: str = ""
    ) -> HttpAnswer:
        """Make one call that writes; the caller judges the status."""
        return self._call(method, path, deadline, body=body, version=version)

    def probe(self, endpoint: str, deadline: Deadline) -> None:
        """Make one search without a match. Raises Misconfigured, TargetDown: it is not answered."""
        params = {"filter": 'externalId eq "sesame-probe"', "startIndex": "1", "count": "1"}
        answer = self._call("GET", endpoint, deadline, params=params)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise Misconfigured(
                f"there is no {endpoint} at the service's address (404)",
                remedy=f"Set {self._name}.url to the service's SCIM address, e.g. https://host/scim/v2; a "
                f"service without groups wants {self._name}.groups to be empty.",
            )
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != _NOT_IMPLEMENTED:
            raise TargetDown(f"the service is out of order ({answer.status})", unknown=False)

    def disconnect(self) -> None:
        """Close the connections."""
        self._http.disconnect()

    def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        version: str = "",
    ) -> HttpAnswer:
        headers = {"Accept": f"{_MEDIA_TYPE}, application/json"}
        if body is not None:
            headers["Content-Type"] = _MEDIA_TYPE
        if version:
            headers["If-Match"] = version
        return self._http.call(method, path, deadline, body=body, headers=headers, params=params)

    # --- lists ----------------------------------------------------------------------------------------

    def _everybody(self, endpoint: str, params: Mapping[str, str], until: Until) -> Iterator[dict[str, Any]]:
        """Pages until the service's count was seen. The list is read again if its order changes."""
        seen: set[int] = set()
        total: int | None = None
        pages_max, idle = 0, 0
        while idle < _IDLE_PASSES_MAX:
            before, stale, number = len(seen), 0, 0
            for number, page in enumerate(self._pass(endpoint, params, until), start=1):
                known = len(seen)
                for each in page.resources:
                    key = hash(str(each.get("id")))
                    if key not in seen:
                        seen.add(key)
                        yield each
                total = page.total
                if page.last and (total is None or len(seen) >= total):
                    return
                stale = 0 if len(seen) > known else stale + 1
                if stale >= _STALE_PAGES_MAX and number >= pages_max:
                    break  # the same repeatedly; in a later pass most pages bring nothing new
            pages_max = max(pages_max, number)
            idle = 0 if len(seen) > before else idle + 1
        raise Misconfigured(
            f"the service's list of {endpoint.strip('/')} cannot be read to its end: it says "
            f"{total if total is not None else 'that there are more'}, and gave {len(seen)}",
            remedy="Ask its operator why its pages repeat or are cut; nothing is concluded from such a list.",
        )

    def _pass(self, endpoint: str, params: Mapping[str, str], until: Until) -> Iterator[_Page]:
        said = self.abilities(until())
        count = min(PAGE_SIZE, said.page_max or PAGE_SIZE)
        asked = dict(params) | {"count": str(count)}
        if said.cursor:
            yield from self._by_cursor(endpoint, asked, until)
            return
        start = 1
        while True:
            page = self._page(endpoint, self._sorted(asked, until) | {"startIndex": str(start)}, until)
            start += len(page.resources)
            ended = not page.resources or (
                len(page.resources) < count and start > (page.total if page.total is not None else 0)
            )
            yield replace(page, last=ended)
            if ended:
                return

    def _by_cursor(self, endpoint: str, asked: Mapping[str, str], until: Until) -> Iterator[_Page]:
        cursor: str | None = ""
        while cursor is not None:
            try:
                page = self._page(endpoint, {**asked, "cursor": cursor}, until)
            except UnexpectedStatus:
                if not cursor:
                    raise
                return  # it expired: from the beginning again
            cursor = page.cursor
            yield replace(page, last=cursor is None)

    def _sorted(self, asked: Mapping[str, str], until: Until) -> dict[str, str]:
        """The query, sorted in a stable order if the service has one."""
        order = {"sortBy": "id"} if self.abilities(until()).sort and "filter" not in asked else {}
        return {**asked, **order}

    def _page(self, endpoint: str, params: dict[str, str], until: Until) -> _Page:
        answer = self._call("GET", endpoint, until(), params=params)
        if answer.status == HTTPStatus.BAD_REQUEST and "sortBy" in params:
            self.unable("sort")
            answer = self._call(
                "GET", endpoint, until(), params={k: v for k, v in params.items() if k != "sortBy"}
            )
        return _Page.of(_object(_expected(answer)))


@dataclass(frozen=True, slots=True)
class _Page:
    resources: list[dict[str, Any]]
    total: int | None
    cursor: str | None
    last: bool = False

    @classmethod
    def of(cls, raw: Raw) -> _Page:
        found = _get(raw, "Resources")
        total, cursor = _get(raw, "totalResults"), _get(raw, "nextCursor")
        return cls(
            resources=[each for each in found if isinstance(each, dict)] if isinstance(found, list) else [],
            total=total if isinstance(total, int) and total >= 0 else None,
            cursor=cursor if isinstance(cursor, str) and cursor else None,
        )


_NOT_IMPLEMENTED: Final = HTTPStatus.NOT_IMPLEMENTED


def path_of(endpoint: str, ref: str) -> str:
    """The path of one resource: an id may hold any character (RFC 7643, 3.1)."""
    escaped = quote(ref, safe="")
    return f"{endpoint}/{escaped if escaped.strip('.') else escaped.replace('.', '%2E')}"


def version_of(raw: Raw) -> str:
    """A resource's version, if it is an ETag."""
    version = _get(_part(raw, "meta"), "version")
    return version if isinstance(version, str) and version.endswith('"') else ""


def scim_type_of(raw: Any) -> str:
    """An answer's kind of error, a token of RFC 7644; empty: it names none."""
    said = raw.get("scimType") if isinstance(raw, dict) else None
    return said if isinstance(said, str) and said in _SCIM_TYPES else ""


def error_of(answer: HttpAnswer) -> UnexpectedStatus:
    """The error for an unexpected answer to a call."""
    try:
        return UnexpectedStatus(answer.status, scim_type_of(answer.json()))
    except TargetDown:  # no JSON: the status says enough
        return UnexpectedStatus(answer.status)


def _expected(answer: HttpAnswer) -> HttpAnswer:
    if not answer.ok:
        raise error_of(answer)
    return answer


def _object(answer: HttpAnswer) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise TargetDown("the service's answer is no SCIM object", unknown=answer.wrote)
    return found


def _only(attributes: str) -> dict[str, str]:
    return {"attributes": attributes} if attributes else {}


def _get(raw: Raw, name: str) -> Any:
    """A member by its name, whose case does not matter (RFC 7643, 2.1)."""
    if name in raw:
        return raw[name]
    return next((value for key, value in raw.items() if key.lower() == name.lower()), None)


def _part(raw: Raw, name: str) -> Raw:
    found = _get(raw, name)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
