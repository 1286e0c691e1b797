"""Users: persons as the registry holds them, and as they are sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from scim2_models import NotFoundException, PreconditionFailedException, Resource
from scim2_server.storage import SearchPage

from sesame.acts.acts import Actor
from sesame.operations.programs import registered_persons, sent_persons
from sesame.operations.programs.person_facts import AsyncAnswer, PersonAccepted, Wait, wait_for_accepted
from sesame.operations.programs.registered_persons import PersonsRequest, RegisteredPerson
from sesame.operations.programs.sent_persons import EndPersonRequest, Still
from sesame.web.api.scim.filters import narrowed
from sesame.web.api.scim.late_answers import AnsweredLater
from sesame.web.api.scim.resources import SOMEBODY, person_of, user_of, version_of
from sesame.web.kit.site import Site

_BY: Final = {
    "id": "number",
    "studentnumber": "number",
    "username": "login",
    "externalid": "external_id",
    "emails": "mail",
    "emails.value": "mail",
}
SORTED_BY: Final = {
    "id": "number",
    "studentnumber": "number",
    "username": "login",
    "externalid": "external_id",
    "name.familyname": "birth_name",
    "name.givenname": "given_name",
    "meta.lastmodified": "changed",
}
"""Sortable attributes of users, and their names in `PersonsRequest`."""


class ScimUsers:
    """A `storage.ResourceStore`.

    Args:
        wait, later: see `sent_persons.put`.
        approve: the id of the guard's hold, as the client sent it.
        accept: the code of a value that looks damaged and is right, likewise.
    """

    def __init__(
        self,
        site: Site,
        actor: Actor,
        clock: Callable[[], datetime],
        *,
        wait: Wait,
        later: AsyncAnswer | None,
        approve: str | None,
        accept: str | None,
    ) -> None:
        self._site = site
        self._actor = actor
        self._approve = approve
        self._accept = () if accept is None else (accept,)
        self._later = later
        self._how: Any = {"clock": clock, "wait": wait, "later": later}

    def get(self, resource_id: str, *, whole: bool, to_change: bool = False) -> Resource[Any]:  # noqa: ARG002
        """See `storage.ResourceStore`."""
        if to_change:
            wait_for_accepted(self._site.database, resource_id, self._how["wait"])
        found = registered_persons.look(self._site, self._actor, PersonsRequest(number=resource_id)).persons
        if not found:
            raise NotFoundException
        user: Resource[Any] = user_of(found[0])
        return user

    def search(self, wanted: Any, *, whole: bool, **page: Any) -> SearchPage:
        """See `storage.ResourceStore`. Whole ones are still persons: see `user_json`."""
        known = None if wanted is None else narrowed(wanted, _BY, user_of(SOMEBODY))
        is_answered = wanted is None or (known is not None and known.exact)
        found = registered_persons.look(
            self._site,
            self._actor,
            PersonsRequest(**page),
            where=None if known is None else known.where,
            fits=None if is_answered else lambda each: wanted.match(user_of(each)),
        )
        as_they_are = found.persons if whole else [user_of(each) for each in found.persons]
        return SearchPage(found.total, list[Any](as_they_are), next=found.after)

    def create(self, resource: Resource[Any]) -> Resource[Any]:
        """See `storage.ResourceStore`."""
        return self._put(resource, new=True)

    def update(self, resource: Resource[Any], version: str | None) -> Resource[Any]:
        """See `storage.ResourceStore`."""
        return self._put(resource, still=_as_read(version))

    def delete(self, resource_id: str, version: str | None) -> None:
        """See `storage.ResourceStore`."""
        request = EndPersonRequest(student_number=resource_id, approve=self._approve)
        self._settle(sent_persons.end(self._site, self._actor, request, still=_as_read(version), **self._how))

    def _put(self, resource: Resource[Any], *, new: bool = False, **how: Any) -> Resource[Any]:
        request = person_of(resource, self._approve)
        request = request.model_copy(update={"new": new, "accept": self._accept})
        after = sent_persons.put(self._site, self._actor, request, **how, **self._how)
        user: Resource[Any] = user_of(self._settle(after))
        return user

    def _settle(self, came: Any) -> Any:
        if isinstance(came, PersonAccepted) and self._later is not None:
            raise AnsweredLater(self._later.txn, came.student_number)
        return came


def _as_read(version: str | None) -> Still:
    """Check that a user is there, and is the one that was read."""

    def still(before: RegisteredPerson | None) -> None:
        if before is None:
            raise NotFoundException
        if version is not None and version_of(before) != version:
            raise PreconditionFailedException

    return still
