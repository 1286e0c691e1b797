"""Directory groups of two kinds: searches run by the server, or lists of members.

**Dynamic** groups are searches on sesameGroup (groupOfURLs; ops/ldap/slapd.conf), created when first needed.

**Static** ones are the members of a groupOfNames (RFC 4519, 3.5), for software that follows no memberURL.

- *Ours* is a group whose `owner` is the provisioner. Each write asserts that in the same operation, by
  deleting and adding this very value (RFC 4511, 4.6: refused if it is not there). Removing that value takes
  the group away from Sésame.
- *A member is one value*, added or deleted alone: writers on several machines do not disturb one another, as
  they would by replacing the list.
- *Never empty.* The class wants a member, so the group's own name is the first one and stays: the last person
  leaves like any other, and no one gets a right by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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


class DynamicGroups:
    """The dynamic groups of one branch. Thread-safe, as its client is.

    Args:
        client: the connections.
        branch: where the groups are.
        people: the branch that they search.
    """

    def __init__(self, client: PatientLdapClient, branch: str, people: str) -> None:
        self._client = client
        self._branch = branch
        self._people = people
        self._known: set[str] = set()

    def ensure(self, groups: Mapping[str, str]) -> Refused | None:
        """Create those that do not exist yet; a name that is taken otherwise is left.

        Args:
            groups: descriptions by cn.
        """
        for key in sorted(groups.keys() - self._known):
            criterion = quote(any_of("sesameGroup", [key])[2:-1], safe="()=")
            attributes = {
                "description": (groups[key],) if groups[key] else (),
                "memberURL": (f"ldap:///{quote(self._people, safe='=,')}??sub?{criterion}",),
            }
            dn = name_dn("cn", key, self._branch)
            answer = self._client.add(dn, [_DYNAMIC], attributes)
            if answer.code == Code.ENTRY_EXISTS and not _searches(
                self._client.entry(dn, ["objectClass"]) or {}
            ):
                continue
            if answer.code != Code.ENTRY_EXISTS and (refused := changed(answer)) is not None:
                return refused
            self._known.add(key)
        return None

    def among(self, names: Sequence[str]) -> GroupNames:
        """Which of these groups exist, and which names are taken otherwise; read-only."""
        groups = _among(self._client, self._branch, names, "objectClass", _searches)
        ours = groups.present - groups.foreign
        self._known = {name for name in self._known if name not in names or name.lower() in ours}
        return groups


def _searches(raw: Raw) -> bool:
    return _DYNAMIC.lower() in (name.lower() for name in texts(raw, "objectClass"))


class StaticGroups:
    """The static groups of one branch. Thread-safe, as its client is.

    Args:
        client: the connections.
        branch: where the groups are.
        owner: the provisioner's name: what marks a group as ours.
    """

    def __init__(self, client: PatientLdapClient, branch: str, owner: str) -> None:
        self._client = client
        self._branch = branch
        self._owner = owner

    def of(self, dn: str) -> tuple[str, ...]:
        """Names of our groups that this entry is a member of, sorted."""
        found = self._client.rows(self._branch, self._ours(("member", dn)), ["cn"])
        return tuple(sorted(name for _, raw in found for name in texts(raw, "cn")))

    def among(self, names: Sequence[str]) -> GroupNames:
        """Which of these groups exist, and which are not ours; writes nothing."""
        mine = normal(self._owner)

        def is_ours(raw: Raw) -> bool:
            return mine in map(normal, texts(raw, "owner"))

        return _among(self._client, self._branch, names, "owner", is_ours)

    def everybody(self) -> Mapping[str, tuple[str, ...]]:
        """The groups of each member, by `normal` name."""
        found: dict[str, list[str]] = {}
        rows = self._client.everybody(self._branch, self._ours(), ["cn", "member"], page_size=_PAGE_SIZE)
        for _, raw in rows:
            for member in texts(raw, "member"):
                found.setdefault(normal(member), []).extend(texts(raw, "cn"))
        return {dn: tuple(sorted(names)) for dn, names in found.items()}

    def settle(self, dn: str, wanted: Mapping[str, str]) -> Refused | None:
        """Make this entry a member of exactly these of our groups.

        Only what differs is written. A group that is not ours is left.

        Args:
            dn: the entry.
            wanted: descriptions by cn; a group that does not exist is created.
        """
        inside = {name.lower(): name for name in self.of(dn)}
        for name, description in wanted.items():
            if name.lower() not in inside and (refused := self._join(dn, name, description)) is not None:
                return refused
        for name in inside.keys() - {name.lower() for name in wanted}:
            answer = self._change(inside[name], ("delete", "member", (dn,)))
            gone = answer.code in (Code.NO_SUCH_ATTRIBUTE, Code.NO_SUCH_OBJECT)  # which is what we want
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

    def _dn(self, name: str) -> str:
        return name_dn("cn", name, self._branch)

    def _ours(self, *more: tuple[str, str]) -> str:
        return all_of([("objectClass", _STATIC), ("owner", self._owner), *more])


def _among(
    client: PatientLdapClient,
    branch: str,
    names: Sequence[str],
    attribute: str,
    is_ours: Callable[[Raw], bool],
) -> GroupNames:
    """Which of these names are taken directly in the branch, in one search.

    Args:
        client, branch, names: what to search for, and where.
        attribute: shows whose a group is.
        is_ours: judges its values.
    """
    present: set[str] = set()
    foreign: set[str] = set()
    for dn, raw in client.rows(branch, any_of("cn", names), ["cn", attribute]):
        if normal(re.split(r"(?<!\\),", dn, maxsplit=1)[-1]) == normal(branch):
            taken = {name.lower() for name in texts(raw, "cn")}
            present |= taken
            foreign |= set() if is_ours(raw) else taken
    return GroupNames(frozenset(present), frozenset(foreign))
