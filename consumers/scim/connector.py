"""The SCIM connector: find users by student number, write differences, read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from consumers.kit.connector import (
    Change,
    Connector,
    ConnectorContext,
    Fields,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    find_own,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, read_reasons
from consumers.scim.service import USERS, FilterIgnored, ScimService, UnexpectedStatus, path_of
from consumers.scim.settings import ScimSettings
from consumers.scim.writes import Operation, UserWrites, refusal, write
from pipeline.errors import NotInstalled, TargetDown
from schemas.account import Account, Membership
from schemas.language import Language

if TYPE_CHECKING:
    from consumers.scim.groups import Groups

if find_spec("scim2_models") is None:  # it takes long to load: not before the first use
    raise NotInstalled("scim")

_FIELDS: Final = (
    "userName",
    "externalId",
    "name.givenName",
    "name.familyName",
    "displayName",
    "emails",
    "preferredLanguage",
)
_GROUPS: Final = "groups"
_ATTRIBUTES: Final = "userName,externalId,name,displayName,emails,preferredLanguage,active,meta"
_CANNOT_SEARCH: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_IMPLEMENTED)

GROUP_MARK: Final = "sesame:"
"""Prefix of the `externalId` of Sésame's groups; other groups are left alone."""


class Scim(Connector[ScimSettings]):
    """A service that speaks SCIM 2.0."""

    section = ScimSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "L'application en ligne", "en": "The online application"}
    level = "platinum"
    lacks: ClassVar[Mapping[str, str]] = {
        "changes_since": "RFC 7644 has no cursor of changes",
    }
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    owns = (*_FIELDS, "active", _GROUPS)

    def __init__(self, context: ConnectorContext[ScimSettings]) -> None:
        from consumers.kit.http import HttpClient  # slow to load; reasons are read without it

        super().__init__(context)
        self._service = ScimService(context, HttpClient(context, self.settings.url))
        self._users = UserWrites(self._service, self._shown, self._look_at)

    # --- what there is --------------------------------------------------------------------------------

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`."""
        from consumers.scim.resources import wanted_fields

        fields = wanted_fields(account, self.settings.user_name)
        if self.settings.groups:
            fields[_GROUPS] = tuple(sorted({each.key for each in self._memberships(account)}))
        return Wanted(fields)

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`."""
        adopted = self.adopted_refs([account.student_number for account in accounts])
        return self._with_groups(accounts, self._search_for(accounts, adopted, deadline), adopted, deadline)

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`: by pages, after our groups. Their members take memory."""
        groups = self._everybody_s_groups() if self.settings.groups else None
        for raw in self._service.everybody(USERS, self._moment, _ATTRIBUTES):
            one = self._shown(raw)
            if one is None:
                continue
            if groups is not None and one.student_number:
                one = replace(one, fields={**one.fields, _GROUPS: tuple(sorted(groups.get(one.ref, ())))})
            yield one

    def probe(self) -> None:
        """See `Connector.probe`: a search without a match. A test user would cost a licence."""
        deadline = self._moment()
        self._service.abilities(deadline, afresh=True)
        self._service.probe(USERS, deadline)
        if self.settings.groups:
            self._service.probe("/Groups", deadline)
            self._groups.check(deadline)

    # --- what is written ------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`: users first, then their groups."""
        refused, found = self._users.write(changes, deadline)
        if self.settings.groups:
            refused |= self._move(
                [each for each in changes if each.account.student_number not in refused], found, deadline
            )
        return refused

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: `active` alone."""
        shut = [replace(each, fields={}, open=False) for each in changes]
        return self._users.write(shut, deadline)[0]

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`: out of our groups, then removed."""
        if self.settings.groups and found:
            moves: dict[str, tuple[set[str], set[str]]] = {}
            for ref, keys in self._groups.of([one.ref for one in found], deadline).items():
                for key in keys:
                    moves.setdefault(key, (set(), set()))[1].add(ref)
            self._groups.move(moves, {}, deadline)
        operations = [Operation(one.ref, "DELETE", path_of(USERS, one.ref)) for one in found]
        return {
            operation.key: refusal(written)
            for operation, written in write(self._service, operations, deadline)
            if written.status and not written.ok and not written.gone
        }

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._service.disconnect()

    # --- reading --------------------------------------------------------------------------------------

    def _look_at(self, account: Account, deadline: Deadline) -> Seen:
        return self.read([account], deadline)[account.student_number]

    def _search_for(
        self, accounts: Sequence[Account], adopted: Mapping[str, str], deadline: Deadline
    ) -> dict[str, list[TargetObject] | Refused]:
        if self._service.abilities(deadline).filter:
            try:
                return {
                    account.student_number: self._look(account, adopted, deadline) for account in accounts
                }
            except FilterIgnored:
                self._service.unable("filter")
        return self._sweep(accounts, adopted, deadline)

    def _look(
        self, account: Account, adopted: Mapping[str, str], deadline: Deadline
    ) -> list[TargetObject] | Refused:
        """Search for one student by number, then by the wanted names not found yet."""
        found: dict[str, TargetObject] = {}
        wanted = self.wanted(account).fields
        number = account.student_number
        ref = adopted.get(number)
        try:
            self._search("externalId", number, found, deadline)
            if ref is not None and ref not in found:
                self._fetch(ref, found, deadline)
            for field, attribute in (("userName", "userName"), ("emails", "emails.value")):
                own = find_own(account, found.values(), ref)
                if wanted[field] and not any(_holds(one, field, wanted[field][0]) for one in own):
                    self._search(attribute, wanted[field][0], found, deadline)
        except UnexpectedStatus as error:
            return Refused("scim_failed", f"the service answers {error} to a search")
        except _NoId:
            return Refused("scim_unreadable", "the service shows a user without an id")
        return _concerned(account, wanted, found.values(), ref)

    def _search(self, attribute: str, value: str, found: dict[str, TargetObject], deadline: Deadline) -> None:
        from consumers.scim.resources import quoted

        by_mail = attribute == "emails.value"
        if by_mail and not self._service.able("mail_filter"):
            return
        try:
            for raw in self._service.find(USERS, f"{attribute} eq {quoted(value)}", deadline, _ATTRIBUTES):
                one = self._shown(raw)
                if one is None:
                    raise _NoId
                if _matches(one, attribute, value):
                    found[one.ref] = one
                elif by_mail:
                    return  # it may find addresses that it does not show
                else:
                    raise FilterIgnored
        except UnexpectedStatus as error:
            if error.status not in _CANNOT_SEARCH:
                raise
            if not by_mail:
                raise FilterIgnored from error
            self._service.unable("mail_filter")

    def _fetch(self, ref: str, found: dict[str, TargetObject], deadline: Deadline) -> None:
        raw = self._service.get(USERS, ref, deadline)
        one = self._shown(raw[0]) if raw is not None else None
        if one is not None:
            found[ref] = one

    def _sweep(
        self, accounts: Sequence[Account], adopted: Mapping[str, str], deadline: Deadline
    ) -> dict[str, list[TargetObject] | Refused]:
        """Read all users once, for a service that cannot search."""
        wanted = {account.student_number: self.wanted(account).fields for account in accounts}
        by_name: dict[tuple[str, str], list[Account]] = {}
        for account in accounts:
            number = account.student_number
            for name in _names_of(number, wanted[number], adopted.get(number)):
                by_name.setdefault(name, []).append(account)
        found: dict[str, list[TargetObject] | Refused] = {account.student_number: [] for account in accounts}
        for raw in self._service.everybody(USERS, lambda: deadline, _ATTRIBUTES):
            one = self._shown(raw)
            if one is None:
                continue
            concerned = {
                account.student_number for name in _names_shown(one) for account in by_name.get(name, ())
            }
            for number in concerned:
                seen = found[number]
                if isinstance(seen, list):
                    seen.append(one)
        return found

    def _shown(self, raw: Mapping[str, Any]) -> TargetObject | None:
        from consumers.scim.resources import shown

        return shown(raw, self.settings.user_name)

    def _with_groups(
        self,
        accounts: Sequence[Account],
        seen: Mapping[str, list[TargetObject] | Refused],
        adopted: Mapping[str, str],
        deadline: Deadline,
    ) -> dict[str, Seen]:
        """Add to each student's own users the groups they are in."""
        if not self.settings.groups:
            return dict(seen)
        own = {
            one.ref
            for account in accounts
            if not isinstance(found := seen[account.student_number], Refused)
            for one in find_own(account, found, adopted.get(account.student_number))
        }
        try:
            groups = self._groups.of(own, deadline)
        except UnexpectedStatus as error:
            failed = Refused("scim_failed", f"the service answers {error} to a search of groups")
            return {number: failed if found else found for number, found in seen.items()}
        return {
            number: found
            if isinstance(found, Refused)
            else [
                replace(one, fields={**one.fields, _GROUPS: groups[one.ref]}) if one.ref in groups else one
                for one in found
            ]
            for number, found in seen.items()
        }

    def _everybody_s_groups(self) -> Mapping[str, Sequence[str]]:
        try:
            return self._groups.everybody(self._moment)
        except UnexpectedStatus as error:
            raise TargetDown(f"the service answers {error} to a reading of groups", unknown=False) from error

    def _move(
        self, changes: Sequence[Change], found: Mapping[str, TargetObject], deadline: Deadline
    ) -> dict[str, Refused]:
        """Move these users into their wanted groups, and out of our others."""
        numbers: dict[str, str] = {}
        names: dict[str, str] = {}
        moves: dict[str, tuple[set[str], set[str]]] = {}
        for change in changes:
            if _GROUPS not in change.fields:
                continue
            number = change.account.student_number
            one = change.found or found.get(number)
            if one is None:
                continue  # the reading back will miss it, or its groups
            numbers[one.ref] = number
            names |= {each.key: each.name for each in self._memberships(change.account)}
            wanted, has = set(change.fields[_GROUPS]), set(one.fields.get(_GROUPS, ()))
            for key in sorted(wanted - has):
                moves.setdefault(key, (set(), set()))[0].add(one.ref)
            for key in sorted(has - wanted):
                moves.setdefault(key, (set(), set()))[1].add(one.ref)
        if not moves:
            return {}
        try:
            refused = self._groups.move(moves, names, deadline)
        except UnexpectedStatus as error:
            failed = Refused("scim_failed", f"the service answers {error} to a reading of groups")
            return dict.fromkeys(numbers.values(), failed)
        return {numbers[ref]: each for (ref, _), each in refused.items()}

    def _memberships(self, account: Account) -> list[Membership]:
        """An account's memberships that become groups here, without those not given yet."""
        return [
            each
            for kind in self.settings.groups
            for each in (account.groups if kind == "groups" else account.cohorts)
            if each.met
        ]

    @cached_property
    def _groups(self) -> Groups:
        from consumers.scim.groups import Groups

        return Groups(self._service, GROUP_MARK, self.name)

    def _moment(self) -> Deadline:
        return Deadline.after(self.settings.verb_s_max, self.context.monotonic)


class _NoId(Exception):
    """A user that cannot be named in a call."""


def _matches(one: TargetObject, attribute: str, value: str) -> bool:
    """True if this may be the search's object. Services ignore case, but no more."""
    if attribute == "externalId":
        return one.student_number.casefold() == value.casefold()
    field = "emails" if attribute == "emails.value" else attribute
    return _holds(one, field, value)


def _holds(one: TargetObject, field: str, value: str) -> bool:
    if field == "emails":
        return value.casefold() in (name.casefold() for kind, name in one.names if kind == "mail")
    return value.casefold() in (each.casefold() for each in one.fields.get(field, ()))


def _concerned(
    account: Account, wanted: Fields, found: Iterable[TargetObject], ref: str | None
) -> list[TargetObject]:
    names = set(_names_of(account.student_number, wanted, ref))
    return [one for one in found if names.intersection(_names_shown(one))]


def _names_of(number: str, wanted: Fields, ref: str | None) -> Iterator[tuple[str, str]]:
    """Names by which an object would be this student's, or in its way."""
    yield "externalId", number
    yield from (("userName", name.casefold()) for name in wanted["userName"])
    yield from (("emails", mail.casefold()) for mail in wanted["emails"])
    if ref is not None:
        yield "id", ref


def _names_shown(one: TargetObject) -> Iterator[tuple[str, str]]:
    yield "id", one.ref
    yield "externalId", one.student_number
    yield from (("userName", name.casefold()) for name in one.fields["userName"])
    yield from (("emails", name.casefold()) for kind, name in one.names if kind == "mail")
