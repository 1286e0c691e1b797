"""Write resources, one by one or in bulk (RFC 7644, 3.7), and users' differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from consumers.kit.connector import Change, Refused, Seen, TargetObject, Wanted, differing, find_own
from consumers.kit.deadline import Deadline
from consumers.scim.service import USERS, ScimService, UnexpectedStatus, error_of, path_of, scim_type_of
from pipeline.errors import Misconfigured, Throttled
from schemas.account import Account

_BULK: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
_ENVELOPE_BYTES: Final = 200
_ATTEMPTS_MAX: Final = 3  # of a write that another writer overtakes
_GROUPS: Final = "groups"  # a field that no user carries
_PAUSE_S: Final = 30.0  # when one operation of many was throttled: its answer has no Retry-After


@dataclass(frozen=True, slots=True)
class Operation:
    """A write of one resource.

    Attributes:
        key: its owner, for the caller.
        version: an ETag: refused with 412 if the resource has changed since; empty: unguarded.
    """

    key: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """The service's answer to an operation.

    Attributes:
        status: of HTTP; 0: the answer did not mention it.
        ref: the resource's id, if given.
        body: the resource, or empty.
    """

    status: int
    scim_type: str = ""
    ref: str = ""
    body: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """True if it was carried out."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def gone(self) -> bool:
        """True if there is no such resource."""
        return self.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

    @property
    def unable(self) -> bool:
        """True if the service has no such method."""
        return self.status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)

    def __str__(self) -> str:
        return str(UnexpectedStatus(self.status, self.scim_type))


def write(
    service: ScimService, operations: Sequence[Operation], deadline: Deadline
) -> Iterator[tuple[Operation, WriteAnswer]]:
    """Carry out each operation, whatever becomes of the others. Yield it with its answer."""
    said = service.abilities(deadline)
    if said.bulk_operations < 2 or len(operations) < 2:  # noqa: PLR2004
        for operation in operations:
            yield operation, _single(service, operation, deadline)
        return
    for some in _portions(operations, said.bulk_operations, said.bulk_bytes):
        if len(some) == 1 or not service.able("bulk"):
            for operation in some:
                yield operation, _single(service, operation, deadline)
        else:
            yield from _bulk(service, some, deadline)


def _single(service: ScimService, operation: Operation, deadline: Deadline) -> WriteAnswer:
    answer = service.send(operation.method, operation.path, deadline, operation.body, operation.version)
    if not answer.ok:
        error = error_of(answer)
        return WriteAnswer(error.status, error.scim_type)
    try:
        found = json.loads(answer.body or b"{}")
    except ValueError:
        found = {}
    body = found if isinstance(found, dict) else {}
    ref = body.get("id") or _last_part(answer.headers.get("location"))
    return WriteAnswer(answer.status, ref=ref if isinstance(ref, str) else "", body=body)


def _bulk(
    service: ScimService, operations: Sequence[Operation], deadline: Deadline
) -> Iterator[tuple[Operation, WriteAnswer]]:
    body = {"schemas": [_BULK], "Operations": [_in_bulk(n, each) for n, each in enumerate(operations)]}
    answer = service.send("POST", "/Bulk", deadline, body)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(operations) > 1:
        half = len(operations) // 2
        yield from _bulk(service, operations[:half], deadline)
        yield from _bulk(service, operations[half:], deadline)
        return
    if not answer.ok:  # nothing was carried out: one by one, from now on
        service.unable("bulk")
        for operation in operations:
            yield operation, _single(service, operation, deadline)
        return
    said = answer.json()
    results = said.get("Operations") if isinstance(said, dict) else None
    told = _told(results if isinstance(results, list) else [])
    for number, operation in enumerate(operations):
        written = told.get(str(number)) or told.get(operation.path) or WriteAnswer(0)
        if written.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise Throttled(
                f"the service asked to be called later ({written.status})", retry_after_s=_PAUSE_S
            )
        yield operation, written


def _in_bulk(number: int, operation: Operation) -> dict[str, Any]:
    return {
        "method": operation.method,
        "bulkId": str(number),
        "path": operation.path,
        **({"version": operation.version} if operation.version else {}),
        **({"data": operation.body} if operation.body is not None else {}),
    }


def _told(results: Sequence[Any]) -> dict[str, WriteAnswer]:
    """The answers by `bulkId`, or by path if it is not repeated."""
    told: dict[str, WriteAnswer] = {}
    for each in results:
        if not isinstance(each, dict):
            continue
        ref = _last_part(each.get("location"))
        response = each.get("response")
        written = WriteAnswer(
            _status(each.get("status")),
            scim_type_of(response),
            ref,
            response if isinstance(response, dict) else {},
        )
        if isinstance(each.get("bulkId"), str):
            told[each["bulkId"]] = written
        elif isinstance(each.get("location"), str):
            told["/" + "/".join(each["location"].split("/")[-2:])] = written
    return told


def _status(said: Any) -> int:
    """A status as services give it: "201", 201, or an object of an early draft."""
    if isinstance(said, dict):
        said = said.get("code")
    try:
        return int(said)
    except (TypeError, ValueError):
        return 0


def _last_part(location: Any) -> str:
    return unquote(location.rstrip("/").rpartition("/")[2]) if isinstance(location, str) else ""


def _portions(
    operations: Sequence[Operation], count_max: int, bytes_max: int
) -> Iterator[Sequence[Operation]]:
    """As many at once as the service takes, by number and by size."""
    portion: list[Operation] = []
    size = _ENVELOPE_BYTES
    for operation in operations:
        added = len(json.dumps(_in_bulk(len(portion), operation), ensure_ascii=False).encode()) + 2
        if portion and (len(portion) >= count_max or (bytes_max and size + added > bytes_max)):
            yield portion
            portion, size = [], _ENVELOPE_BYTES
        portion.append(operation)
        size += added
    if portion:
        yield portion


def refusal(written: WriteAnswer) -> Refused:
    """The refusal of a write's student."""
    failed = written.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(
        "scim_failed" if failed else "scim_refused", f"the service answers {written}", lasting=not failed
    )


class UserWrites:
    """Writes users by difference: PATCH, or else PUT of the whole, under an ETag. `look`: reads one again."""

    def __init__(
        self,
        service: ScimService,
        shown: Callable[[Mapping[str, Any]], TargetObject | None],
        look: Callable[[Account, Deadline], Seen],
    ) -> None:
        self._service = service
        self._shown = shown
        self._look = look

    def write(
        self, changes: Sequence[Change], deadline: Deadline
    ) -> tuple[dict[str, Refused], dict[str, TargetObject]]:
        """Write these users, without their groups. Return, by student number, refusals and new users."""
        refused: dict[str, Refused] = {}
        made: dict[str, TargetObject] = {}
        left = {each.account.student_number: each for each in changes}
        for _ in range(_ATTEMPTS_MAX):
            operations = []
            for number, change in left.items():
                operation = self._operation(change, deadline)
                if isinstance(operation, Refused):
                    refused[number] = operation
                elif operation is not None:
                    operations.append(operation)
            again: dict[str, Change] = {}
            for operation, written in write(self._service, operations, deadline):
                change = left[operation.key]
                meant = self._meaning(change, operation, written, deadline)
                if isinstance(meant, Refused):
                    refused[operation.key] = meant
                elif isinstance(meant, Change):
                    again[operation.key] = meant
                elif meant is not None:
                    made[operation.key] = meant
            left = again
            if not left:
                break
        contended = Refused("scim_contended", "the user changed at each attempt to write it")
        return refused | dict.fromkeys(left, contended), made

    def _operation(self, change: Change, deadline: Deadline) -> Operation | Refused | None:
        """The operation for one user; None: nothing to send, as when only groups differ."""
        from consumers.scim import resources

        number = change.account.student_number
        fields = {name: values for name, values in change.fields.items() if name != _GROUPS}
        if change.found is None:
            body = resources.new_user(fields, active=change.open is not False)
            return Operation(number, "POST", USERS, body)
        if not fields and change.open is None:
            return None
        said = self._service.abilities(deadline)
        path, version = path_of(USERS, change.found.ref), change.found.revision
        raw: Mapping[str, Any] = {}
        if not said.patch or "emails" in fields:  # others' values in them stay
            try:
                now = self._service.get(USERS, change.found.ref, deadline)
            except UnexpectedStatus as error:
                return Refused("scim_failed", f"the service answers {error} to a reading")
            if now is None:
                return None  # the reading back will miss it
            raw, version = now
        version = version if said.etag else ""
        if said.patch:
            body = resources.patched_user(fields, active=change.open, raw=raw)
            return Operation(number, "PATCH", path, body, version)
        body = resources.replaced_user(raw, fields, active=change.open)
        return Operation(number, "PUT", path, body, version)

    def _meaning(
        self, change: Change, operation: Operation, written: WriteAnswer, deadline: Deadline
    ) -> Refused | Change | TargetObject | None:
        """Interpret an answer: refused, to be sent once more, or made. None: the read-back decides."""
        try:
            return self._judge(change, operation, written, deadline)
        except UnexpectedStatus as error:
            return Refused("scim_failed", f"the service answers {error} to a reading")

    def _judge(
        self, change: Change, operation: Operation, written: WriteAnswer, deadline: Deadline
    ) -> Refused | Change | TargetObject | None:
        number = change.account.student_number
        if operation.method == "POST":
            if written.ok:
                return TargetObject(written.ref, number) if written.ref else None
            if written.status == HTTPStatus.CONFLICT:
                return self._conflict(change, deadline)
            return refusal(written) if written.status else None
        if written.ok or not written.status or change.found is None:
            return None
        if written.status == HTTPStatus.PRECONDITION_FAILED:
            return self._changed(change, operation, deadline)
        if operation.method == "PATCH" and (
            written.unable
            or (written.gone and self._service.get(USERS, change.found.ref, deadline) is not None)
        ):
            self._service.unable("patch")
            return change
        if written.unable:
            raise Misconfigured(
                f"the service takes neither PATCH nor PUT of a user ({written})",
                remedy="Have the service offer PATCH, and say so in its ServiceProviderConfig.",
            )
        return None if written.gone else refusal(written)

    def _conflict(self, change: Change, deadline: Deadline) -> Refused | TargetObject | None:
        """Find why a name is taken. By our own lost call, another user, or a hidden one."""
        seen = self._look(change.account, deadline)
        if isinstance(seen, Refused):
            return seen
        objects = seen if isinstance(seen, Sequence) else ()
        own = find_own(change.account, objects, None)
        if own or objects:
            return own[0] if own else None
        message = "the service says that the user name or the address is taken, and shows nobody"
        return Refused("scim_taken_unseen", message, lasting=True)

    def _changed(self, change: Change, operation: Operation, deadline: Deadline) -> Change | None:
        """Send once more what still differs from the changed user.

        A service showing the version that it refused cannot compare ETags: leave them out from then on.
        """
        if change.found is None:
            return None
        now = self._service.get(USERS, change.found.ref, deadline)
        one = self._shown(now[0]) if now is not None else None
        if now is None or one is None:
            return None
        if now[1] == operation.version:
            self._service.unable("etag")
        one = replace(one, fields={**change.found.fields, **one.fields}, revision=now[1])
        return replace(
            change,
            found=one,
            fields=differing(Wanted(change.fields), one),
            open=change.open if one.open != change.open else None,
        )
