"""Groups: teaching groups, whose members are rows."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from scim2_models import InvalidFilterException, InvalidValueException, NotFoundException, Resource
from scim2_models.path import Comparison, FilterNode, LogicalExpr, Not, Present, ValuePath
from scim2_server.storage import SearchPage

from schemas.language import gettext
from sesame.acts.acts import Actor
from sesame.operations.programs import teaching_groups
from sesame.operations.programs.teaching_groups import ChangeGroupRequest, EndGroupRequest, GroupsRequest
from sesame.web.api.scim.errors import places_of
from sesame.web.api.scim.filters import equalities
from sesame.web.api.scim.group_patch import MemberMoves
from sesame.web.api.scim.resources import group_of, made_of, members_in
from sesame.web.kit.site import Site

_MEMBERS: Final = ("members", "members.value")
_BY: Final = {
    "id": "id",
    "displayname": "display_name",
    "externalid": "external_id",
    **dict.fromkeys(_MEMBERS, "member"),
}
SORTED_BY: Final = {
    "id": "id",
    "displayname": "display_name",
    "externalid": "external_id",
    "meta.lastmodified": "changed_at",
}
"""Sortable attributes of groups, and their names in `GroupsRequest`."""


class ScimGroups:
    """A `storage.ResourceStore`."""

    def __init__(self, site: Site, actor: Actor) -> None:
        self._site = site
        self._actor = actor

    def get(self, resource_id: str, *, whole: bool, to_change: bool = False) -> Resource[Any]:  # noqa: ARG002
        """See `storage.ResourceStore`."""
        asked = GroupsRequest(id=resource_id, with_members=whole)
        found = teaching_groups.look(self._site, self._actor, asked).groups
        if not found:
            raise NotFoundException
        group: Resource[Any] = group_of(found[0])
        return group

    def search(self, wanted: Any, *, whole: bool, **page: Any) -> SearchPage:
        """See `storage.ResourceStore`. Members are looked for by index alone."""
        narrowed = {} if wanted is None else equalities(wanted.ast, _BY)
        if wanted is not None and _mentions(wanted.ast) > ("member" in narrowed):
            raise InvalidFilterException(
                detail=gettext('groups are found by one member: members.value eq "…", perhaps with "and"')
            )
        asked = GroupsRequest(**narrowed, **page, with_members=whole)
        fits = None if wanted is None else lambda group: wanted.match(group_of(group))
        found = teaching_groups.look(self._site, self._actor, asked, fits=fits)
        return SearchPage(found.total, [group_of(each) for each in found.groups], next=found.after)

    def create(self, resource: Resource[Any]) -> Resource[Any]:
        """See `storage.ResourceStore`."""
        made = teaching_groups.make(self._site, self._actor, made_of(resource))
        return self._answered(made, tuple(members_in(resource)))

    def update(self, resource: Resource[Any], version: str | None) -> Resource[Any]:
        """See `storage.ResourceStore`."""
        group: Any = resource
        members = None if group.members is None else tuple(members_in(group))
        return self._answered(self._change(group, version, members=members), members)

    def change(
        self, group_id: str, renamed: Resource[Any] | None, moves: MemberMoves, version: str | None
    ) -> Resource[Any]:
        """Change a part of it; the answer has its members, if they are few."""
        whole = None if moves.whole is None else tuple(sorted(moves.whole))
        how = {"members": whole, "join": tuple(sorted(moves.join)), "leave": tuple(sorted(moves.leave))}
        if renamed is not None:
            changed = self._change(renamed, version, **how)
        elif moves:
            change = ChangeGroupRequest(id=group_id, version=_number(version), **how)
            changed = teaching_groups.change(self._site, self._actor, change)
        else:
            return self.get(group_id, whole=False)
        group: Resource[Any] = group_of(changed)
        return group

    def delete(self, resource_id: str, version: str | None) -> None:
        """See `storage.ResourceStore`."""
        teaching_groups.end(
            self._site, self._actor, EndGroupRequest(id=resource_id, version=_number(version))
        )

    def _change(self, group: Any, version: str | None, **how: Any) -> Any:
        named = {"display_name": group.display_name, "external_id": group.external_id}
        try:
            change = ChangeGroupRequest(id=group.id, version=_number(version), **named, **how)
        except ValidationError as error:
            raise InvalidValueException(detail=places_of(error, {})) from None
        return teaching_groups.change(self._site, self._actor, change)

    @staticmethod
    def _answered(shown: Any, members: tuple[str, ...] | None) -> Resource[Any]:
        answered: Resource[Any] = group_of(shown.model_copy(update={"members": members}))
        return answered


def _number(version: str | None) -> int | None:
    return None if version is None else int(version.removeprefix("W/").strip('"'))


def _mentions(node: FilterNode, within: str = "") -> int:
    """Number of mentions of members in a filter."""
    match node:
        case LogicalExpr():
            return sum(_mentions(term, within) for term in node.terms)
        case Not():
            return _mentions(node.expr, within)
        case ValuePath() | Comparison() | Present():
            return node.attr_path.attr.lower() == _MEMBERS[0]
    return 0
