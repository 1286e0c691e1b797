"""The library's handler, where nobody needs to read a group's members to change some, and nobody is told of a
conflict who did not ask for it."""

from __future__ import annotations

from typing import Any, Final

from scim2_models import PatchOp, PreconditionFailedException, Resource, ResourceType
from scim2_server.conditions import Conditions
from scim2_server.handler import ScimHandler

from sesame.operations.person_facts import PersonUnderWay
from sesame.web.api.scim.group_patch import split
from sesame.web.api.scim.resources import GROUPS
from sesame.web.api.scim.storage import Storage

_AGAIN_MAX: Final = 5


class RequestHandler(ScimHandler):
    """Serves one request: see `ScimHandler`."""

    storage: Storage

    def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any]:
        """See `ScimHandler.patch_resource`. What was read and is written is read once more if somebody came
        between."""
        if resource_type.name == GROUPS:
            return self._patch_group(resource_type, resource_id, patch_op, conditions)
        for _ in range(_AGAIN_MAX):
            try:
                return super().patch_resource(resource_type, resource_id, patch_op, conditions)
            except PreconditionFailedException:
                if conditions.if_match or conditions.if_none_match:
                    raise
        raise PersonUnderWay

    def _patch_group(
        self, resource_type: ResourceType, group_id: str, patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any]:
        group = self.storage.head(resource_type, group_id)
        moves, others = split(patch_op)
        self.service.check_preconditions(group, "PATCH", conditions)
        version = group.meta.version if conditions.if_match and group.meta else None
        rest = patch_op.model_copy(update={"operations": others})
        renamed = group if others and rest.patch(group) else None
        return self.storage.groups.change(group_id, renamed, moves, version)

    def replace_resource(
        self,
        resource_type: ResourceType,
        current: Resource[Any],
        replacement: Resource[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        """See `ScimHandler.replace_resource`."""
        version = current.meta.version if conditions.if_match and current.meta else None
        replaced = self.service.apply_replacement(current, replacement, conditions)
        return (
            current
            if replaced is None
            else self.storage.update(resource_type, replaced, expected_version=version)
        )

    def delete_resource(self, resource_type: ResourceType, resource_id: str, conditions: Conditions) -> None:
        """See `ScimHandler.delete_resource`."""
        current = self.storage.head(resource_type, resource_id)
        self.service.check_deletion(current, conditions)
        version = current.meta.version if conditions.if_match and current.meta else None
        self.storage.delete(resource_type, resource_id, expected_version=version)
