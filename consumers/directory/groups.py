"""Directory groups of two kinds: searches run by the server, or lists of members.

**Dynamic** groups are searches on sesameGroup (groupOfURLs; ops/ldap/slapd.conf), created when first needed.
**Static** ones are the members of a groupOfNames (RFC 4519, 3.5), for software that follows no memberURL.

- A group is *ours* if its `owner` is the provisioner. Each write asserts that in the same operation, by
  deleting and adding this value (RFC 4511, 4.6: refused if it is missing). Removing it takes the group away
  from Sésame.
- *A member is one value*, added or deleted alone: replacing the list would disturb writers on other machines.
- *Never empty.* The class wants a member: the group's own name is the first one and stays, which gives no
  right to anyone; so the last person can leave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from consumers.directory.answers import changed
from consumers.directory.objects import GroupNames, texts
from consumers.kit.connector import Refused
from consumers.kit.ldap import all_of, any_of, name_dn
from consumers.kit.ldap_answers import Code, LdapAnswer, Modification, Raw, normal
from consumers.kit.ldap_patience import PatientLdapClient

_DYNAMIC = "groupOfURLs"
_STATIC = "groupOfNames"
_ATTEMPTS_MAX = 4  # another writer creates or removes the group at the same moment
_PAGE_SIZE = 20  # groups have many members


class DirectoryGroups:
    """The groups of one branch, of either kind. Thread-safe, as its client is."""

    shows: str
    """The attribute that shows a group's owner."""

    def __init__(self, client: PatientLdapClient, branch: str) -> None:
        self._client = client
        self._branch = branch

    def is_ours(self, raw: Raw) -> bool:
        """True if a group with these values is ours."""
        raise NotImplementedError

    def among(self, names: Sequence[str]) -> GroupNames:
        """Which names are taken directly in the branch, and which not by us."""
        present: set[str] = set()
        foreign: set[str] = set()
        for dn, raw in self._client.rows(self._branch, any_of("cn", names), ["cn", self.shows]):
            if normal(re.split(r"(?<!\\),", dn, maxsplit=1)[-1]) == normal(self._branch):
                taken = {name.lower() for name in texts(raw, "cn")}
                present |= taken
                foreign |= set() if self.is_ours(raw) else taken
        return GroupNames(frozenset(present), frozenset(foreign))

    def ensure(self, groups: Mapping[str, str]) -> Refused | None:  # noqa: ARG002
        """Create missing groups before the entry is written; `groups`: descriptions by cn."""
        return None

    def settle(self, dn: str, wanted: Mapping[str, str]) -> Refused | None:  # noqa: ARG002
        """Make a written entry a member of exactly these; `wanted`: descriptions by cn."""
        return None

    def of(self, dn: str) -> tuple[str, ...] | None:  # noqa: ARG002
        """Names of our groups that list this entry, sorted; None: groups have no lists."""
        return None

    def everybody(self) -> Mapping[str, tuple[str, ...]] | None:
        """Those of every entry, by its `normal` DN."""
        return None

    def _dn(self, name: str) -> str:
        return name_dn("cn", name, self._branch)


class DynamicGroups(DirectoryGroups):
    """Groups as searches of the branch `people`."""

    shows = "objectClass"

    def __init__(self, client: PatientLdapClient, branch: str, people: str) -> None:
        super().__init__(client, branch)
        self._people = people
        self._known: set[str] = set()

    def is_ours(self, raw: Raw) -> bool:
        """See `DirectoryGroups.is_ours`."""
        return _DYNAMIC.lower() in (name.lower() for name in texts(raw, "objectClass"))

    def among(self, names: Sequence[str]) -> GroupNames:
        """See `DirectoryGroups.among`; vanished groups will be made again."""
        groups = super().among(names)
        ours = groups.present - groups.foreign
        self._known = {name for name in self._known if name not in names or name.lower() in ours}
        return groups

    def ensure(self, groups: Mapping[str, str]) -> Refused | None:
        """See `DirectoryGroups.ensure`; a name taken by another object is left."""
        for key in sorted(groups.keys() - self._known):
            criterion = quote(any_of("sesameGroup", [key])[2:-1], safe="()=")
            attributes = {
                "description": (groups[key],) if groups[key] else (),
                "memberURL": (f"ldap:///{quote(self._people, safe='=,')}??sub?{criterion}",),
            }
            answer = self._client.add(self._dn(key), [_DYNAMIC], attributes)
            if answer.code == Code.ENTRY_EXISTS:
                if not self.is_ours(self._client.entry(self._dn(key), [self.shows]) or {}):
                    continue
            elif (refused := changed(answer)) is not None:
                return refused
            self._known.add(key)
        return None


class StaticGroups(DirectoryGroups):
    """Groups as lists of members. `owner`: the provisioner's name, which marks them as ours."""

    shows = "owner"

    def __init__(self, client: PatientLdapClient, branch: str, owner: str) -> None:
        super().__init__(client, branch)
        self._owner = owner

    def is_ours(self, raw: Raw) -> bool:
        """See `DirectoryGroups.is_ours`."""
        return normal(self._owner) in map(normal, texts(raw, "owner"))

    def of(self, dn: str) -> tuple[str, ...]:
        """See `DirectoryGroups.of`."""
        found = self._client.rows(self._branch, self._ours(("member", dn)), ["cn"])
        return tuple(sorted(name for _, raw in found for name in texts(raw, "cn")))

    def everybody(self) -> Mapping[str, tuple[str, ...]]:
        """See `DirectoryGroups.everybody`."""
        found: dict[str, list[str]] = {}
        rows = self._client.everybody(self._branch, self._ours(), ["cn", "member"], page_size=_PAGE_SIZE)
        for _, raw in rows:
            for member in texts(raw, "member"):
                found.setdefault(normal(member), []).extend(texts(raw, "cn"))
        return {dn: tuple(sorted(names)) for dn, names in found.items()}

    def settle(self, dn: str, wanted: Mapping[str, str]) -> Refused | None:
        """See `DirectoryGroups.settle`. Writes only differences; leaves groups that are not ours."""
        inside = {name.lower(): name for name in self.of(dn)}
        for name, description in wanted.items():
            if name.lower() not in inside and (refused := self._join(dn, name, description)) is not None:
                return refused
        for name in inside.keys() - {name.lower() for name in wanted}:
            answer = self._change(inside[name], ("delete", "member", (dn,)))
            gone = answer.code in (Code.NO_SUCH_ATTRIBUTE, Code.NO_SUCH_OBJECT)  # as wanted
            if not gone and (refused := changed(answer)) is not None:
                return refused
        return None

    def _join(self, dn: str, name: str, description: str) -> Refused | None:
        answer = LdapAnswer(Code.BUSY)
        for _ in range(_ATTEMPTS_MAX):
            answer = self._change(name, ("add", "member", (dn,)))
            if answer.code == Code.NO_SUCH_OBJECT:
                answer = self._create(name, description, dn)
                if answer.code == Code.ENTRY_EXISTS:
                    continue
            break
        is_member_or_foreign = answer.code in (Code.VALUE_EXISTS, Code.NO_SUCH_ATTRIBUTE)
        return None if is_member_or_foreign else changed(answer)

    def _change(self, name: str, change: Modification) -> LdapAnswer:
        mine = (self._owner,)
        guard: Sequence[Modification] = (("delete", "owner", mine), ("add", "owner", mine))
        return self._client.modify(self._dn(name), [*guard, change], revision=None)

    def _create(self, name: str, description: str, dn: str) -> LdapAnswer:
        attributes = {
            "owner": (self._owner,),
            "member": (self._dn(name), dn),
            "description": (description,) if description else (),
        }
        return self._client.add(self._dn(name), [_STATIC], attributes)

    def _ours(self, *more: tuple[str, str]) -> str:
        return all_of([("objectClass", _STATIC), ("owner", self._owner), *more])
