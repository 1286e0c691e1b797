"""Obstacles to writing an entry, as far as reading shows them; writes nothing.

The searches are for the same values as slapd's uniqueness (ops/ldap/slapd.conf) checks, and for the same
groups as a turn would join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from consumers.directory.answers import Patience, expect_success, taken
from consumers.directory.client import DirectoryClient
from consumers.directory.difference import texts
from consumers.directory.entry import is_renumbered
from consumers.directory.port import Applied, ApplyResult, DesiredEntry, EntryRefused, ObservedEntry
from consumers.kit.ldap import any_of

_MAIL: Final = ("mail", "supannAutreMail")
_DOMAINS: Final = {
    "uid": ("uid",),
    "mail": _MAIL,
    "supannAutreMail": _MAIL,
    "supannEtuId": ("supannEtuId",),
    "eduPersonPrincipalName": ("eduPersonPrincipalName",),
}
"""Attributes with unique values, each with those that share the same uniqueness."""

_TOGETHER: Final = 20  # entries looked for in one search

Holders = Mapping[tuple[str, str], set[str]]
"""By attribute and value in one case: the names, in one case, of the entries that have it."""

ForeignGroups = Mapping[str, tuple[str, ...]]
"""By student number, the wanted groups that are not ours."""


class Foresight:
    """Finds who already has the values that entries are to get.

    Args:
        client: the connections.
        patience: retries what is busy.
        people: the branch of people.
    """

    def __init__(self, client: DirectoryClient, patience: Patience, people: str) -> None:
        self._client = client
        self._patience = patience
        self._people = people

    def of(
        self,
        batch: Sequence[DesiredEntry],
        observed: Mapping[str, tuple[ObservedEntry, ...]],
        foreign: ForeignGroups,
    ) -> Mapping[str, ApplyResult]:
        """See `port.Directory.foresee`."""
        found: dict[str, ApplyResult] = {}
        for start in range(0, len(batch), _TOGETHER):
            part = [(one, observed.get(one.student_number, ())) for one in batch[start : start + _TOGETHER]]
            values = {one.student_number: list(_new_values(one, shown)) for one, shown in part}
            holders = self._holders([each for several in values.values() for each in several])
            for one, shown in part:
                number = one.student_number
                free = Applied(changed=False, foreign=foreign.get(number, ()))
                found[number] = _refusal(values[number], _own(shown), holders) or free
        return found

    def _holders(self, values: Sequence[tuple[str, str]]) -> Holders:
        wanted: dict[str, set[str]] = {}
        for name, value in values:
            for other in _DOMAINS[name]:
                wanted.setdefault(other, set()).add(value)
        if not wanted:
            return {}
        criterion = "(|" + "".join(any_of(name, sorted(each)) for name, each in wanted.items()) + ")"
        answer, rows = self._patience.had(partial(self._client.search, self._people, criterion, list(wanted)))
        expect_success(answer)
        holders: dict[tuple[str, str], set[str]] = {}
        for dn, raw in rows:
            for name in wanted:
                for value in texts(raw, name):
                    holders.setdefault((name, value.lower()), set()).add(dn.lower())
        return holders


def _refusal(values: Iterable[tuple[str, str]], own: str, holders: Holders) -> EntryRefused | None:
    for name, value in values:
        if any(holders.get((other, value.lower()), set()) - {own} for other in _DOMAINS[name]):
            return taken([name])
    return None


def _new_values(desired: DesiredEntry, shown: Sequence[ObservedEntry]) -> Iterator[tuple[str, str]]:
    """Each unique value that would be written, with its attribute; the login first."""
    found = shown[0] if len(shown) == 1 else None
    if found is None:
        yield "uid", desired.login
    if found is None or not found.student_numbers or is_renumbered(desired, found):
        there = () if found is None else found.numbers
        yield from (("supannEtuId", number) for number in desired.numbers if number not in there)
    for name in ("mail", "supannAutreMail", "eduPersonPrincipalName"):
        there = () if found is None else found.attributes.get(name, ())
        yield from ((name, value) for value in desired.attributes.get(name, ()) if value not in there)


def _own(shown: Sequence[ObservedEntry]) -> str:
    """The DN of the student's own entry, in one case; empty: there is none yet."""
    return shown[0].dn.lower() if len(shown) == 1 else ""
