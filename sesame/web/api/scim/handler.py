"""The library's SCIM handler, with two changes.

Changing some members of a group does not read all of them, and conflicts are reported only to clients that
set a condition (`If-Match`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from scim2_models import BulkOperation, PatchOp, PreconditionFailedException, Resource, ResourceType
from scim2_server.bulk import BulkPlan, BulkStep
from scim2_server.conditions import Conditions
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation
from scim2_server.service import ScimService

from sesame.operations.programs.person_facts import PersonUnderWay
from sesame.web.api.places import OF_ONE
from sesame.web.api.rates import Rates
from sesame.web.api.scim.group_patch import split
from sesame.web.api.scim.resources import GROUPS, student_of
from sesame.web.api.scim.storage import Storage

_AGAIN_MAX: Final = 5


class RequestHandler(ScimHandler):
    """Serves one request: see `ScimHandler`.

    `rates`: where the operations of a bulk count, and the processor time that other threads take for it.
    """

    storage: Storage

    def __init__(self, service: ScimService, storage: Storage, rates: Rates) -> None:
        super().__init__(service, storage)
        self._rates = rates

    def bulk(self, request: ScimRequest) -> ScimResponse:
        """See `ScimHandler.bulk`. Users created in a row wait for the registry together."""
        with self.service.provider, ThreadPoolExecutor(OF_ONE) as threads:
            self.service.route(request, Operation.bulk)
            plan = self.service.read_bulk(request.body, request.header("Content-Type"))
            self._rates.carry(request.subject.name, len(plan.operations))
            begun: dict[int, Future[Any]] = {}
            for place, step in enumerate(plan.steps):
                if plan.stopped:
                    break
                if step.index not in begun:
                    for each in _made_together(plan, plan.steps[place:]):
                        run = partial(self._run_step, request, plan, each)
                        begun[each.index] = threads.submit(copy_context().run, run)
                waited = begun.get(step.index)
                plan.record(step, *(waited.result() if waited else self.run_bulk_step(request, plan, step)))
            return self.service.bulk_response(plan)

    def _run_step(self, request: ScimRequest, plan: BulkPlan, step: BulkStep) -> Any:
        before = time.thread_time()
        try:
            return self.run_bulk_step(request, plan, step)
        finally:
            self._rates.spend(request.subject.name, time.thread_time() - before)

    def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any]:
        """See `ScimHandler.patch_resource`. Retry what changed between read and write."""
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


def _made_together(plan: BulkPlan, steps: Sequence[BulkStep]) -> Iterator[BulkStep]:
    """The next steps that each create another user, if failures do not end the bulk."""
    students: set[str] = set()
    for step in steps if plan.fail_on_errors is None else ():
        operation = plan.operation(step)
        is_post = operation.method == BulkOperation.Method.post
        student = student_of(operation.data) if is_post and not plan.dependencies(step.index) else None
        if student is None or student in students:
            return
        students.add(student)
        yield step
