"""Groups of one OU that Sésame has made, and that it alone fills.

A group is ours if its `adminDisplayName` says so; removing that takes the group away from Sésame. Members are
added and removed by name, so writers on several machines do not disturb one another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from consumers.active_directory.answers import AdRefused, Refusal
from consumers.active_directory.client import DomainController
from consumers.active_directory.objects import Member
from consumers.kit.connector import Refused
from consumers.kit.ldap import all_of, any_of, name_dn
from consumers.kit.ldap_answers import Operation, Raw, normal

_OURS: Final = (("objectClass", "group"), ("adminDisplayName", "sesame"))
_GLOBAL_SECURITY: Final = "-2147483646"  # [MS-ADTS] 2.2.12
_CN_MAX: Final = 64
_KNOWN_S: Final = 60.0


class DomainGroups:
    """Our groups. Thread-safe, as its client is.

    Args:
        page_size: groups per page of a listing.
        monotonic: seconds; a group is believed to be ours for a minute.
    """

    def __init__(
        self,
        client: DomainController,
        branch: str,
        page_size: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._branch = branch
        self._page_size = page_size
        self._monotonic = monotonic
        self._known: dict[str, float] = {}  # group -> when it was seen to be ours

    def among(self, names: Iterable[str]) -> Mapping[str, str]:
        """Our groups among these DNs: the name of each, in lower case."""
        here = normal(self._branch)
        asked = sorted({name for name in names if normal(name).endswith(f",{here}")})
        found: dict[str, str] = {}
        for start in range(0, len(asked), self._page_size):
            which = any_of("distinguishedName", asked[start : start + self._page_size])
            rows = self._client.find(self._branch, f"(&{all_of(_OURS)}{which})", ["cn"])
            found |= {normal(dn): _cn(raw) for dn, raw in rows}
        return found

    def all(self) -> Mapping[str, str]:
        """All our groups: the name of each, in lower case, by DN."""
        rows = self._client.everybody(self._branch, all_of(_OURS), ["cn"], page_size=self._page_size)
        return {normal(dn): _cn(raw) for dn, raw in rows}

    def settle(self, member: Member, joining: dict[str, set[str]]) -> Refused | None:
        """Change the memberships of an object; a missing group is made.

        Args:
            joining: `to_join` of its batch. They join a group with the first of them, as a domain controller
                rewrites the whole group each time, and are then left out.
        """
        for key, name in sorted(member.joins.items()):
            if (refused := self._join(name, member.dn, joining[key])) is not None:
                return refused
        for key in sorted(member.leaves):
            self._change_one(key, "delete", member.dn, Refusal.NOT_MEMBER)
        return None

    def _join(self, name: str, member: str, joining: set[str]) -> Refused | None:
        if member not in joining:
            return None
        if len(name) > _CN_MAX:
            return Refused("ad_group_refused", "a group's name has more than 64 characters", lasting=True)
        if not self._is_known(name):
            found = self._find(name) or self._made(name)
            if not any(b"sesame" in raw.get("adminDisplayName", ()) for raw in found):
                return Refused("ad_group_not_ours", "a group of this name is not Sésame's", lasting=True)
            self._known[name.lower()] = self._monotonic()
        if len(joining) > 1 and self._join_together(name, joining):
            joining.clear()
            return None
        joining.discard(member)
        self._change_one(name, "add", member, Refusal.NAME_TAKEN)
        return None

    def _join_together(self, name: str, joining: set[str]) -> bool:
        """Add these members, or none; False: one is refused, or a member already."""
        try:
            self._change(name, "add", sorted(joining))
        except AdRefused:
            return False
        return True

    def _is_known(self, name: str) -> bool:
        return self._monotonic() - self._known.get(name.lower(), -_KNOWN_S) < _KNOWN_S

    def _find(self, name: str) -> list[Raw]:
        rows = self._client.find(self._branch, any_of("cn", [name]), ["cn", "adminDisplayName"])
        return [raw for _, raw in rows]

    def _made(self, name: str) -> list[Raw]:
        """Make the group. The list is empty if its account name is taken elsewhere in the domain."""
        attributes = {
            "sAMAccountName": (re.sub(r'["/\\\[\]:;|=,+*?<>@]', "_", name),),
            "groupType": (_GLOBAL_SECURITY,),
            "adminDisplayName": ("sesame",),
        }
        try:
            self._client.make(name_dn("CN", name, self._branch), ("top", "group"), attributes)
        except AdRefused as error:
            if error.refusal is not Refusal.NAME_TAKEN:  # another writer was faster
                raise
        return self._find(name)

    def _change(self, name: str, operation: Operation, members: Sequence[str]) -> None:
        """Add or remove members, all or none.

        Samba announces the control for members that are so already, but refuses them.
        """
        change = (operation, "member", members)
        self._client.change(name_dn("CN", name, self._branch), [change], permissive=True)

    def _change_one(self, name: str, operation: Operation, member: str, so_already: Refusal) -> None:
        """Add or remove one member, if not so already."""
        try:
            self._change(name, operation, (member,))
        except AdRefused as error:
            self._known.pop(name.lower(), None)
            if error.refusal is not so_already:
                raise


def _cn(raw: Mapping[str, Sequence[bytes]]) -> str:
    return b"".join(raw.get("cn", ())).decode("utf-8", errors="replace").lower()
