"""Our groups at the service, and their members (RFC 7643, 4.2).

- A group is *ours* if its `externalId` begins with the mark; the membership's key follows. Others are neither
  written nor counted.
- *Members are added and removed one by one*, by a PATCH that names them: two writers that each replaced the
  whole list would lose one another's members. Without PATCH the whole list is replaced under an ETag, and a
  service that has neither is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from consumers.kit.connector import Refused
from consumers.kit.deadline import Deadline
from consumers.scim import resources
from consumers.scim.service import GROUPS, ScimService, UnexpectedStatus, path_of
from consumers.scim.writes import Operation, WriteAnswer, write
from pipeline.errors import Misconfigured

_NOBODY: Final = "sesame-nobody"
_MEMBERS_AT_ONCE: Final = 20  # of one PATCH: Entra's own bound
_ATTEMPTS_MAX: Final = 4
_LIST: Final = "externalId,displayName"
_LIST_WITH_MEMBERS: Final = "externalId,displayName,members"

Part = tuple[list[str], list[str]]
"""Users' ids to add to a group, and to remove from it."""

Moves = Mapping[str, tuple[set[str], set[str]]]
"""Users' ids to add and to remove, by a group's key."""


class Groups:
    """Groups of one service. Thread-safe; `mark`: prefix of our `externalId`; `name`: the connector's."""

    def __init__(self, service: ScimService, mark: str, name: str) -> None:
        self._service = service
        self._mark = mark
        self._name = name
        self._refs: dict[str, str] = {}
        self._making = threading.Lock()

    def check(self, deadline: Deadline) -> None:
        """Check that writing members loses none that others add. Raises Misconfigured: it may."""
        said = self._service.abilities(deadline)
        if not said.patch and not said.etag:
            raise Misconfigured(
                "the service offers neither PATCH nor ETags: who writes a group could lose the members that "
                "somebody else adds meanwhile",
                remedy=f"Set {self._name}.groups to be empty, or have the service offer PATCH.",
            )

    def of(self, refs: Iterable[str], deadline: Deadline) -> dict[str, tuple[str, ...]]:
        """The sorted keys of our groups with each of these users."""
        found: dict[str, set[str]] = {ref: set() for ref in refs}
        if found and not (self._service.abilities(deadline).filter and self._searched(found, deadline)):
            for member, key in self._memberships(lambda: deadline):
                if member in found:
                    found[member].add(key)
        return {ref: tuple(sorted(keys)) for ref, keys in found.items()}

    def everybody(self, moment: Callable[[], Deadline]) -> Mapping[str, Sequence[str]]:
        """The keys of our groups with each user. `moment`: a deadline for one page, or one group."""
        found: dict[str, list[str]] = {}
        for member, key in self._memberships(moment):
            found.setdefault(member, []).append(key)
        return found

    def move(
        self, moves: Moves, names: Mapping[str, str], deadline: Deadline
    ) -> dict[tuple[str, str], Refused]:
        """Add and remove members; return refusals by user's id and key."""
        refused: dict[tuple[str, str], Refused] = {}
        operations: list[Operation] = []
        parts: dict[str, Part] = {}
        self.check(deadline)
        for key, (add, remove) in moves.items():
            group = self._ensure(key, names.get(key, key), deadline) if add else self._find(key, deadline)
            if isinstance(group, Refused):
                refused |= {(ref, key): group for ref in add}
            elif group is not None:
                for one in _portions(sorted(add), sorted(remove)):
                    label = f"{key} {len(parts)}"
                    parts[label] = one
                    operations.append(
                        Operation(label, "PATCH", path_of(GROUPS, group), resources.patched_members(*one))
                    )
        if not self._service.abilities(deadline).patch:
            for operation in operations:
                refused |= self._replace(_key_of(operation), parts[operation.key], deadline)
            return refused
        for operation, written in write(self._service, operations, deadline):
            refused |= self._judge(operation, written, parts[operation.key], deadline)
        return refused

    def _judge(
        self, operation: Operation, written: WriteAnswer, part: Part, deadline: Deadline
    ) -> dict[tuple[str, str], Refused]:
        if written.ok or not written.status:
            return {}
        add, remove = part
        key = _key_of(operation)
        if written.gone:  # removed meanwhile, and made again at the next attempt; or PATCH is missing
            ref = self._refs.pop(key, "")
            if ref and self._service.get(GROUPS, ref, deadline) is not None:
                self._service.unable("patch")
                return self._replace(key, part, deadline)
            return {(one, key): _contended() for one in add}
        if written.unable:
            self._service.unable("patch")
            return self._replace(key, part, deadline)
        if len(add) + len(remove) == 1:
            return {(one, key): _refused(written) for one in (*add, *remove)}
        refused: dict[tuple[str, str], Refused] = {}
        singles: list[Part] = [([one], []) for one in add] + [([], [one]) for one in remove]
        for single in singles:  # one of them is at fault
            again = Operation(operation.key, "PATCH", operation.path, resources.patched_members(*single))
            for _, answer in write(self._service, [again], deadline):
                refused |= self._judge(again, answer, single, deadline)
        return refused

    def _replace(self, key: str, part: Part, deadline: Deadline) -> dict[tuple[str, str], Refused]:
        """Replace a group's members under its ETag."""
        add, remove = part
        self.check(deadline)
        written = WriteAnswer(0)
        for _ in range(_ATTEMPTS_MAX):
            ref = self._find(key, deadline)
            found = self._service.get(GROUPS, ref, deadline) if ref is not None else None
            if found is None or ref is None:
                break
            raw, version = found
            if not version:
                self._service.unable("etag")
                self.check(deadline)
            body = resources.replaced_members(raw, add, remove)
            operation = Operation(key, "PUT", path_of(GROUPS, ref), body, version)
            written = next(one for _, one in write(self._service, [operation], deadline))
            if written.status != HTTPStatus.PRECONDITION_FAILED:
                break
        if written.ok:
            return {}
        if written.unable:
            raise Misconfigured(
                f"the service takes neither PATCH nor PUT of a group ({written})",
                remedy=f"Set {self._name}.groups to be empty, or have the service offer PATCH.",
            )
        lost = written.status in (0, HTTPStatus.PRECONDITION_FAILED) or written.gone
        return {(one, key): _contended() if lost else _refused(written) for one in (*add, *remove)}

    def _searched(self, found: dict[str, set[str]], deadline: Deadline) -> bool:
        """Fill in what the service finds by members; False: it cannot search so."""
        if not self._service.able("member_filter"):
            return False
        try:
            # First without a match: a service that ignores the filter answers with every group.
            if any(self._service.find(GROUPS, _has_member(_NOBODY), deadline, _LIST)):
                self._service.unable("member_filter")
                return False
            for ref, keys in found.items():
                for group in self._service.find(GROUPS, _has_member(ref), deadline, _LIST):
                    if (key := self._key(group)) is not None:
                        keys.add(key)
        except UnexpectedStatus as error:
            if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_IMPLEMENTED):
                raise
            self._service.unable("member_filter")
            return False
        return True

    def _memberships(self, moment: Callable[[], Deadline]) -> Iterator[tuple[str, str]]:
        """User's id and key of every membership in our groups, group by group."""
        for group in self._service.everybody(GROUPS, moment, _LIST_WITH_MEMBERS):
            if (key := self._key(group)) is not None:
                yield from ((member, key) for member in self._members(group, moment()))

    def _members(self, group: Mapping[str, Any], deadline: Deadline) -> Sequence[str]:
        """A group's members, read separately if the list leaves them out."""
        members = resources.members_of(group)
        if members is None:
            whole = self._service.get(GROUPS, str(group.get("id")), deadline)
            members = resources.members_of(whole[0]) if whole is not None else None
        return members or ()

    def _key(self, group: Mapping[str, Any]) -> str | None:
        """The membership of a group of ours; None: it is not ours."""
        external_id = resources.mark_of(group)
        return external_id.removeprefix(self._mark) if external_id.startswith(self._mark) else None

    def _find(self, key: str, deadline: Deadline) -> str | None:
        """The id of our group of this key. Of several made at the same moment, always the same one."""
        if key not in self._refs:
            ours = [
                str(group.get("id"))
                for group in self._matching("externalId", self._mark + key, deadline)
                if self._key(group) == key
            ]
            if not ours:
                return None
            self._refs[key] = min(ours)
        return self._refs[key]

    def _ensure(self, key: str, name: str, deadline: Deadline) -> str | Refused:
        """The id of our group of this key, made if there is none."""
        with self._making:
            ref = self._find(key, deadline)
            if ref is not None:
                return ref
            same = [
                group
                for group in self._matching("displayName", name, deadline)
                if resources.name_of(group).casefold() == name.casefold()
            ]
            if any(self._key(group) is None for group in same):
                return _not_ours(key)
            shown = f"{name} ({key})" if same else name
            operation = Operation(key, "POST", GROUPS, resources.new_group(shown, self._mark + key))
            written = next(one for _, one in write(self._service, [operation], deadline))
            if not written.ok and written.status != HTTPStatus.CONFLICT:
                return _refused(written)
            ref = self._find(key, deadline)
            if ref is None and written.ok and written.ref:
                self._service.send("DELETE", path_of(GROUPS, written.ref), deadline)
                raise Misconfigured(
                    "the service does not keep a group's externalId, by which Sésame knows its own",
                    remedy=f"Set {self._name}.groups to be empty, or have the service keep externalId.",
                )
            return ref if ref is not None else _not_ours(key)

    def _matching(self, attribute: str, value: str, deadline: Deadline) -> Iterable[Mapping[str, Any]]:
        """Groups that may have this value; all of them, if the service cannot search."""
        if self._service.abilities(deadline).filter:
            try:
                text = f"{attribute} eq {resources.quoted(value)}"
                return list(self._service.find(GROUPS, text, deadline, _LIST))
            except UnexpectedStatus as error:
                if error.status != HTTPStatus.BAD_REQUEST:
                    raise
        return self._service.everybody(GROUPS, lambda: deadline, _LIST)


def _not_ours(key: str) -> Refused:
    message = f"the group {key} cannot be made: a group that is not ours has its name"
    return Refused("scim_group_not_ours", message, lasting=True)


def _has_member(ref: str) -> str:
    return f"members.value eq {resources.quoted(ref)}"


def _key_of(operation: Operation) -> str:
    return operation.key.rpartition(" ")[0]


def _portions(add: list[str], remove: list[str]) -> Iterable[Part]:
    moves = [(ref, True) for ref in add] + [(ref, False) for ref in remove]
    for at in range(0, len(moves), _MEMBERS_AT_ONCE):
        some = moves[at : at + _MEMBERS_AT_ONCE]
        yield [ref for ref, adds in some if adds], [ref for ref, adds in some if not adds]


def _refused(written: WriteAnswer) -> Refused:
    failed = written.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(
        "scim_failed" if failed else "scim_refused",
        f"the service answers {written} to a membership",
        lasting=not failed,
    )


def _contended() -> Refused:
    return Refused("scim_contended", "the group changed, or went, at each attempt to write it")
