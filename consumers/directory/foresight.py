"""Obstacles to writing an entry, as far as reading shows them; writes nothing.

The searches are for the same values as slapd's uniqueness (ops/ldap/slapd.conf) checks, and for the same
groups as a turn would join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from consumers.directory.answers import taken
from consumers.directory.entry import numbers_of
from consumers.directory.objects import EntryObject, texts
from consumers.kit.connector import Change, Refused
from consumers.kit.ldap import any_of
from consumers.kit.ldap_patience import PatientLdapClient

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


def taken_values(client: PatientLdapClient, people: str, batch: Sequence[Change]) -> Mapping[str, Refused]:
    """Who is to get a value that another entry below `people` has, by student number.

    Args:
        client: the connections.
        people: the branch of people.
        batch: the changes; the fields of each are all that is wanted.
    """
    found: dict[str, Refused] = {}
    for start in range(0, len(batch), _TOGETHER):
        part = batch[start : start + _TOGETHER]
        values = {change.account.student_number: list(_new_values(change)) for change in part}
        holders = _holders(client, people, [each for several in values.values() for each in several])
        for change in part:
            number = change.account.student_number
            own = "" if change.found is None else change.found.ref
            if (refused := _refusal(values[number], own, holders)) is not None:
                found[number] = refused
    return found


def _holders(client: PatientLdapClient, people: str, values: Sequence[tuple[str, str]]) -> Holders:
    wanted: dict[str, set[str]] = {}
    for name, value in values:
        for other in _DOMAINS[name]:
            wanted.setdefault(other, set()).add(value)
    if not wanted:
        return {}
    criterion = "(|" + "".join(any_of(name, sorted(each)) for name, each in wanted.items()) + ")"
    holders: dict[tuple[str, str], set[str]] = {}
    for dn, raw in client.find(people, criterion, list(wanted)):
        for name in wanted:
            for value in texts(raw, name):
                holders.setdefault((name, value.lower()), set()).add(dn.lower())
    return holders


def _refusal(values: Iterable[tuple[str, str]], own: str, holders: Holders) -> Refused | None:
    for name, value in values:
        if any(holders.get((other, value.lower()), set()) - {own} for other in _DOMAINS[name]):
            return taken([name])
    return None


def _new_values(change: Change) -> Iterator[tuple[str, str]]:
    """Each unique value that would be written, with its attribute; the login first."""
    found, account = change.found, change.account
    entry = found if isinstance(found, EntryObject) else EntryObject("")
    if found is None:
        yield "uid", account.login
    if not entry.student_numbers or entry.is_renumbered(account):
        yield from (("supannEtuId", each) for each in numbers_of(account) if each not in entry.numbers)
    for name in ("mail", "supannAutreMail", "eduPersonPrincipalName"):
        there = entry.of(name)
        yield from ((name, value) for value in change.fields.get(name, ()) if value not in there)
