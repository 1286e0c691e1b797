"""DomainGroups of one OU: those that Sésame has made, and that it alone fills.

A group is ours if its `adminDisplayName` says so. Whoever takes that away takes the group away from Sésame.
A member is one value, added or taken away by itself: writers on several machines do not disturb one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from consumers.active_directory.answers import AdRefused, Refusal
from consumers.active_directory.client import DomainController
from consumers.active_directory.objects import by_guid, normal
from consumers.kit.connector import Refused
from consumers.kit.deadline import Deadline
from consumers.kit.ldap import all_of, any_of, name_dn

_OURS: Final = (("objectClass", "group"), ("adminDisplayName", "sesame"))
_GLOBAL_SECURITY: Final = "-2147483646"  # [MS-ADTS] 2.2.12
_CN_MAX: Final = 64


class DomainGroups:
    """Our groups. Thread-safe, as its client is.

    Args:
        branch: the OU.
        page_size: groups per page of a listing.
    """

    def __init__(self, client: DomainController, branch: str, page_size: int) -> None:
        self._client = client
        self._branch = branch
        self._page_size = page_size

    def among(self, names: Iterable[str], deadline: Deadline) -> Mapping[str, str]:
        """Of these names of entries, those of our groups: what each is called, in lower case."""
        here = normal(self._branch)
        asked = sorted({name for name in names if normal(name).endswith(f",{here}")})
        found: dict[str, str] = {}
        for start in range(0, len(asked), self._page_size):
            which = any_of("distinguishedName", asked[start : start + self._page_size])
            rows = self._client.find(self._branch, f"(&{all_of(_OURS)}{which})", ["cn"], deadline)
            found |= {normal(dn): _cn(raw) for dn, raw in rows}
        return found

    def all(self) -> Mapping[str, str]:
        """The same, of every group of ours."""
        rows = self._client.everybody(self._branch, all_of(_OURS), ["cn"], page_size=self._page_size)
        return {normal(dn): _cn(raw) for dn, raw in rows}

    def settle(
        self, ref: str, before: Iterable[str], wanted: Mapping[str, str], deadline: Deadline
    ) -> Refused | None:
        """Make an object a member of exactly these of our groups.

        Args:
            ref: the object's.
            before: names of those that it is a member of.
            wanted: what each is called by its name in lower case; one that does not exist is made.
        """
        inside = set(before)
        member = by_guid(ref)
        for key in sorted(wanted.keys() - inside):
            if (refused := self._join(wanted[key], member, deadline)) is not None:
                return refused
        for key in sorted(inside - wanted.keys()):
            self._change(key, "delete", member, deadline)
        return None

    def _join(self, name: str, member: str, deadline: Deadline) -> Refused | None:
        if len(name) > _CN_MAX:
            return Refused("ad_group_refused", "a group's name has more than 64 characters", lasting=True)
        rows = self._client.find(self._branch, any_of("cn", [name]), ["cn", "adminDisplayName"], deadline)
        if rows and not any(b"sesame" in raw.get("adminDisplayName", ()) for _, raw in rows):
            return Refused("ad_group_not_ours", "a group of this name is not Sésame's", lasting=True)
        if not rows:
            self._make(name, deadline)
        self._change(name, "add", member, deadline)
        return None

    def _make(self, name: str, deadline: Deadline) -> None:
        attributes = {
            "sAMAccountName": (re.sub(r'["/\\\[\]:;|=,+*?<>@]', "_", name),),
            "groupType": (_GLOBAL_SECURITY,),
            "adminDisplayName": ("sesame",),
        }
        try:
            self._client.make(name_dn("CN", name, self._branch), ("top", "group"), attributes, deadline)
        except AdRefused as error:
            if error.refusal is not Refusal.NAME_TAKEN:  # somebody else was faster
                raise

    def _change(self, name: str, how: str, member: str, deadline: Deadline) -> None:
        dn = name_dn("CN", name, self._branch)
        try:
            if how == "add":
                self._client.change(dn, [("add", "member", (member,))], deadline, permissive=True)
            else:
                self._client.change(dn, [("delete", "member", (member,))], deadline, permissive=True)
        except AdRefused as error:
            if error.refusal is not Refusal.NAME_TAKEN:  # it is one already
                raise


def _cn(raw: Mapping[str, Sequence[bytes]]) -> str:
    return b"".join(raw.get("cn", ())).decode("utf-8", errors="replace").lower()
