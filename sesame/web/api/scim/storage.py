"""The SCIM library's storage, implemented by acts; one instance per request."""

from __future__ import annotations

from typing import Any, Protocol

from scim2_models import (
    InvalidCursorException,
    InvalidPathException,
    NotImplementedException,
    Path,
    Resource,
    ResourceType,
    ResponseParameters,
    SearchRequest,
)
from scim2_server.storage import ScimStorage, SearchPage

from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.web.api.scim import groups as scim_groups
from sesame.web.api.scim import users as scim_users
from sesame.web.api.scim.filters import check_terms, equalities
from sesame.web.api.scim.groups import ScimGroups
from sesame.web.api.scim.resources import GROUPS, PAGE_MAX, USERS, GroupOfTeaching
from sesame.web.api.scim.users import ScimUsers


class ResourceStore(Protocol):
    """Resources of one type."""

    def get(self, resource_id: str, *, whole: bool, to_change: bool = False) -> Resource[Any]:
        """See `ScimStorage.get`.

        Args:
            whole: with the attributes that may be large.
            to_change: after all accepted changes of it are done.
        """

    def search(self, wanted: Any, *, whole: bool, **page: Any) -> SearchPage:
        """See `ScimStorage.search`; `page`: of `PersonsRequest`."""

    def create(self, resource: Resource[Any]) -> Resource[Any]:
        """See `ScimStorage.create`."""

    def update(self, resource: Resource[Any], version: str | None) -> Resource[Any]:
        """See `ScimStorage.update`."""

    def delete(self, resource_id: str, version: str | None) -> None:
        """See `ScimStorage.delete`."""


class Storage(ScimStorage):
    """Users over the registry, and teaching groups."""

    supports_cursors = True

    def __init__(self, users: ScimUsers, groups: ScimGroups) -> None:
        self.groups = groups
        self._kinds: dict[str, ResourceStore] = {USERS: users, GROUPS: groups}

    def _of(self, resource_type: ResourceType) -> ResourceStore:
        return self._kinds[str(resource_type.name)]

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """See `ScimStorage.get`; `response_parameters` are given for a read."""
        return self._of(resource_type).get(
            resource_id, whole=_with_members(response_parameters), to_change=response_parameters is None
        )

    def head(self, resource_type: ResourceType, resource_id: str) -> Resource[Any]:
        """A resource to be changed, without the attributes that may be large."""
        return self._of(resource_type).get(resource_id, whole=False, to_change=True)

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """See `ScimStorage.search`."""
        kinds, after = [str(each.name) for each in resource_types], ""
        if position is not None:
            kind, after = position if isinstance(position, list) else ("", "")
            if kind not in kinds:  # given to a client with more rights, or by a former release
                raise InvalidCursorException
            kinds = kinds[kinds.index(kind) :]
        wanted = search_request.filter
        if wanted is not None:
            check_terms(wanted)
        named = {} if wanted is None else equalities(wanted.ast, {"meta.resourcetype": "kind"})
        return self._one_after_the_other(
            [kind for kind in kinds if named.get("kind", kind) == kind], search_request, after
        )

    def _one_after_the_other(self, kinds: list[str], asked: SearchRequest[Any], after: str) -> SearchPage:
        """A page of resources of several types. Its place is a type, and how far that type was shown."""
        by_cursor = asked.cursor is not None
        page = SearchPage(None if by_cursor else 0, [])
        skip = 0 if by_cursor else min(asked.start_index_0 or 0, INTEGER_MAX)
        left = PAGE_MAX if asked.count is None else asked.count
        order = _order(kinds, asked)
        for kind in kinds:
            if by_cursor and left == 0 and page.resources:
                page.next = [kind, ""]
                break
            found = self._kinds[kind].search(
                asked.filter,
                whole=_is_whole(asked) if kind == USERS else _with_members(asked),
                after=after,
                skip=skip,
                limit=left,
                counted=not by_cursor,
                **order,
            )
            page.resources += found.resources
            left -= len(found.resources)
            after = ""
            if page.total is not None and found.total is not None:
                page.total += found.total
                skip = max(0, skip - found.total)
            if found.next is not None:
                page.next = [kind, found.next]
                break
        return page

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """See `ScimStorage.create`."""
        return self._of(resource_type).create(resource)

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """See `ScimStorage.update`."""
        return self._of(resource_type).update(resource, expected_version)

    def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """See `ScimStorage.delete`."""
        self._of(resource_type).delete(resource_id, expected_version)


def _order(kinds: list[str], asked: SearchRequest[Any]) -> dict[str, Any]:
    """The order that a search requests.

    Raises:
        InvalidPathException: by something that the database does not sort by.
        NotImplementedException: users and groups mixed.
    """
    if asked.sort_by is None or not kinds:
        return {}
    if len(kinds) > 1:
        raise NotImplementedException(detail=gettext("users or groups are sorted, not both in one list"))
    known = {USERS: scim_users.SORTED_BY, GROUPS: scim_groups.SORTED_BY}[kinds[0]]
    named = str(asked.sort_by).rpartition(":")[2].lower()
    if named not in known:
        raise InvalidPathException(detail=gettext("the order may be by: {names}", names=", ".join(known)))
    descending = asked.sort_order == SearchRequest.SortOrder.descending
    return {"sort": known[named], "descending": descending}


def _is_whole(asked: ResponseParameters[Any]) -> bool:
    return not asked.attributes and not asked.excluded_attributes


def _with_members(asked: ResponseParameters[Any] | None) -> bool:
    if asked is None:
        return True
    kept = Path[GroupOfTeaching].iter_paths(
        attributes=asked.attributes, excluded_attributes=asked.excluded_attributes or []
    )
    return any(str(path).rpartition(":")[2] == "members" for path in kept)
