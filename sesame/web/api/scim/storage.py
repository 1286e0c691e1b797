"""What the SCIM library asks of a store, answered by acts: one storage serves one request."""

# ruff: noqa: ARG002 (the library calls them all)

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from scim2_models import (
    InvalidCursorException,
    NotFoundException,
    NotImplementedException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SearchRequest,
    UniquenessException,
)
from scim2_server.storage import ScimStorage, SearchPage

from sesame.operations import registered_persons, sent_persons
from sesame.operations.acts import Actor
from sesame.operations.registered_persons import PersonsAsked, RegisteredPerson
from sesame.operations.sent_persons import EndedPerson, Still, Wait
from sesame.web.api.scim.filters import equalities
from sesame.web.api.scim.resources import PAGE_MAX, person_of, user_of
from sesame.web.kit.site import Site

_USERS_BY: Final = {
    "id": "number",
    "studentnumber": "number",
    "username": "login",
    "externalid": "external_id",
    "emails": "mail",
    "emails.value": "mail",
}


class Storage(ScimStorage):
    """Users over the registry.

    Args:
        wait: see `sent_persons.Wait`.
        approve: the guard's id that whoever asks gave.
    """

    supports_cursors = True

    def __init__(
        self, site: Site, actor: Actor, clock: Callable[[], datetime], wait: Wait, approve: str | None
    ) -> None:
        self._site = site
        self._actor = actor
        self._clock = clock
        self._wait = wait
        self._approve = approve

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """See `ScimStorage.get`."""
        found = registered_persons.look(self._site, self._actor, PersonsAsked(number=resource_id)).persons
        if not found:
            raise NotFoundException
        user: Resource[Any] = user_of(found[0])
        return user

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """See `ScimStorage.search`."""
        if len(resource_types) > 1:
            raise NotImplementedException
        if not isinstance(position, str | None):
            raise InvalidCursorException
        wanted = search_request.filter
        by_cursor = search_request.cursor is not None
        count = PAGE_MAX if search_request.count is None else search_request.count
        asked = PersonsAsked(
            **({} if wanted is None else equalities(wanted.ast, _USERS_BY)),
            after=position or "",
            skip=0 if by_cursor else search_request.start_index_0 or 0,
            limit=count,
            counted=not by_cursor,
        )
        fits = None if wanted is None else lambda person: wanted.match(user_of(person))
        found = registered_persons.look(self._site, self._actor, asked, fits=fits)
        return SearchPage(found.total, [user_of(each) for each in found.persons], next=found.after)

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """See `ScimStorage.create`."""

        def still(before: RegisteredPerson | None) -> None:
            if before is not None:
                raise UniquenessException

        return self._put(resource, still)

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """See `ScimStorage.update`."""
        return self._put(resource, _as_read(expected_version))

    def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """See `ScimStorage.delete`."""
        request = EndedPerson(student_number=resource_id, approve=self._approve)
        how: Any = {"clock": self._clock, "wait": self._wait, "still": _as_read(expected_version)}
        sent_persons.end(self._site, self._actor, request, **how)

    def _put(self, resource: Resource[Any], still: Still) -> Resource[Any]:
        request = person_of(resource, self._approve)
        how: Any = {"clock": self._clock, "wait": self._wait, "still": still}
        user: Resource[Any] = user_of(sent_persons.put(self._site, self._actor, request, **how))
        return user


def _as_read(version: str | None) -> Still:
    """Makes sure that a user is there, and is the one that was read."""

    def still(before: RegisteredPerson | None) -> None:
        if before is None:
            raise NotFoundException
        if version is not None and user_of(before).meta.version != version:
            raise PreconditionFailedException

    return still
