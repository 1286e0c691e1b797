"""Dynamic groups: searches on sesameGroup (groupOfURLs; ops/ldap/slapd.conf), created when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from consumers.directory.answers import Code, judge
from consumers.directory.difference import Raw, texts
from consumers.directory.ldap import LdapClient, any_of, name_dn
from consumers.directory.port import EntryRefused

_CLASS = "groupOfURLs"


class DynamicGroups:
    """The dynamic groups of one branch. Thread-safe, as its client is.

    Args:
        client: the connections.
        branch: where the groups are.
        people: the branch that they search.
    """

    def __init__(self, client: LdapClient, branch: str, people: str) -> None:
        self._client = client
        self._branch = branch
        self._people = people
        self._known: set[str] = set()

    def ensure(self, groups: Mapping[str, str]) -> EntryRefused | tuple[str, ...]:
        """Create those that do not exist yet.

        Args:
            groups: descriptions by cn.

        Returns:
            The names that something else has already.
        """
        foreign = []
        for key in sorted(groups.keys() - self._known):
            criterion = quote(any_of("sesameGroup", [key])[2:-1], safe="()=")
            attributes = {
                "description": (groups[key],) if groups[key] else (),
                "memberURL": (f"ldap:///{quote(self._people, safe='=,')}??sub?{criterion}",),
            }
            dn = name_dn("cn", key, self._branch)
            answer = self._client.add(dn, [_CLASS], attributes)
            if answer.code not in (Code.SUCCESS, Code.ENTRY_EXISTS):
                return judge(answer)
            if answer.code == Code.ENTRY_EXISTS and not self._is_dynamic(dn):
                foreign.append(key)
            else:
                self._known.add(key)
        return tuple(foreign)

    def foreign(self, names: Sequence[str]) -> frozenset[str]:
        """Names, in one case, of those of these groups that something else has; nothing is written."""
        return frozenset(
            name.lower()
            for name in names
            if (raw := self._client.entry(name_dn("cn", name, self._branch), ["objectClass"])) is not None
            and not _has_class(raw)
        )

    def _is_dynamic(self, dn: str) -> bool:
        return _has_class(self._client.entry(dn, ["objectClass"]) or {})


def _has_class(raw: Raw) -> bool:
    return _CLASS.lower() in (name.lower() for name in texts(raw, "objectClass"))
