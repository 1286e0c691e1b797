"""The Active Directory connector: a user for each student, with their password.

It finds a user in the whole domain, by student number or by the names that the student wants, and writes it
under its objectGUID: a user that an administrator moves stays the student's. userAccountControl, of which one
bit is ours, is written only if it is still what was read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from consumers.active_directory import objects as words
from consumers.active_directory.answers import AdRefused, Refusal
from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import (
    LOCK_IS_ANOTHER,
    Advice,
    Change,
    Changes,
    Connector,
    ConnectorContext,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.handler import OUT_OF_REACH
from consumers.kit.ldap_answers import Code, LdapAnswer, Operation, Raw, normal
from consumers.kit.reasons import Reason, read_reasons
from pipeline.errors import Misconfigured
from pipeline.target import Description
from schemas.account import Account
from schemas.language import Language, gettext

_RANDOM_BYTES: Final = 48

_Item = TypeVar("_Item", bound=Change | TargetObject)
_Modifications = list[tuple[Operation, str, Sequence[str | bytes]]]

PAGE_SIZE: Final = 500
"""Users per page of a listing: half of a domain controller's limit ([MS-ADTS] MaxPageSize)."""


class ActiveDirectoryConnector(Connector[ActiveDirectorySettings]):
    """Users and groups of one domain."""

    section = ActiveDirectorySettings
    title: ClassVar[Mapping[Language, str]] = {
        "fr": "Les salles informatiques (Windows)",
        "en": "The computer rooms (Windows)",
    }
    level = "platinum"
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    keeps = (
        "the deleted object, until its lifetime there is over",
        "freed pages of the domain's database (Samba: sam.ldb), until they are used again",
        "its own logs and backups",
    )
    owns = ("employeeID", *words.OWN, words.GROUPS, words.CONTROL, "unicodePwd")
    credential = words.CREDENTIAL
    short_login = True

    def __init__(self, context: ConnectorContext[ActiveDirectorySettings]) -> None:
        from consumers.active_directory.client import DomainController
        from consumers.active_directory.groups import DomainGroups

        super().__init__(context)
        settings = context.settings
        self._client = DomainController(context)
        self._groups: DomainGroups | None = None
        if settings.groups_dn is not None:
            self._groups = DomainGroups(self._client, settings.groups_dn, PAGE_SIZE, context.monotonic)

    def describe(self) -> Description:
        """See `Connector.describe`."""
        return Description(self.name, self.settings.system, (*words.owned(self.settings), "unicodePwd"))

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`."""
        return Wanted(words.wanted_fields(account, self.settings))

    # --- reading --------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: one search for all, and one for their groups."""
        adopted = self.adopted_refs([account.student_number for account in accounts])
        with self._client.within(deadline.left_s()):
            rows = self._client.concerned(accounts)
            known = {words.ref_of(raw) for _, raw in rows}
            for dn in (words.by_guid(ref) for ref in adopted.values() if ref not in known):
                raw = self._client.shown(dn, words.looked_at(self.settings))
                rows += [(dn, raw)] if raw is not None else []
            found = self._shown(rows)

        def concerned(account: Account) -> list[TargetObject]:
            ref = adopted.get(account.student_number)
            return [one for one in found if one.ref == ref or words.concerns(one, account, self.settings)]

        return {account.student_number: concerned(account) for account in accounts}

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`: every person's account of the domain."""
        return self._everybody(words.PEOPLE)

    def changes_since(self, mark: str) -> Changes[TargetObject] | None:
        """See `Connector.changes_since`: by uSNChanged. Its numbers are this controller's only."""
        with self._within():
            controller, usn = self._client.mark()
        before, _, number = mark.partition(":")
        now = f"{controller}:{usn}"
        if not mark or now == mark:
            return Changes(now)
        if before != controller:
            return Changes(now, gone=True)
        if usn < int(number):
            return Changes(now, gone=True, went_back=True)
        since = int(number) + 1
        found = self._everybody(f"(&{words.PEOPLE}(uSNChanged>={since}))")
        with self._within():
            return Changes(now, found, self._client.deleted_since(since))

    def _everybody(self, criterion: str) -> Iterator[TargetObject]:
        ours = self._groups.all() if self._groups is not None else {}
        attributes = words.read_attributes(self.settings)
        rows = self._client.everybody(self.settings.domain_dn, criterion, attributes, page_size=PAGE_SIZE)
        places: dict[str, bool] = {}  # container -> its users are out of reach: a list only suspects
        for _, raw in rows:
            place = words.name_of(raw).partition(",")[2]
            if place not in places and raw.get(self.settings.number_attribute):
                with self._within():
                    places[place] = bool(self._out_of_reach([raw]))
            yield self._object(raw, ours, out_of_reach=places.get(place, False))

    def _shown(self, rows: Sequence[tuple[str, Raw]]) -> list[TargetObject]:
        groups: Mapping[str, str] = {}
        if self._groups is not None and rows:
            names = [name for _, raw in rows for name in words.member_of(raw)]
            groups = self._groups.among(names)
        away = self._out_of_reach([raw for _, raw in rows])
        return [self._object(raw, groups, out_of_reach=words.ref_of(raw) in away) for _, raw in rows]

    def _object(self, raw: Raw, groups: Mapping[str, str], *, out_of_reach: bool) -> TargetObject:
        names = (groups.get(normal(name)) for name in words.member_of(raw)) if groups else ()
        ours = [name for name in names if name is not None]
        return words.object_of(raw, ours, self.settings, out_of_reach=out_of_reach)

    def _out_of_reach(self, users: Sequence[Raw]) -> set[str]:
        """The `ref` of users outside the users' OU that we may not write."""
        elsewhere = [raw for raw in users if not words.is_below(words.name_of(raw), self.settings.users_dn)]
        if not elsewhere:
            return set()
        may_write = self._client.may_write([words.name_of(raw) for raw in elsewhere])
        needed = words.written(self.settings)
        away = {words.ref_of(raw) for raw in elsewhere}
        return {ref for ref in away if not needed <= may_write.get(ref, frozenset())}

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: an index, and when passwords were set."""
        number = self.settings.number_attribute
        with self._within():
            is_indexed = self._client.is_indexed(number)
        if not is_indexed:
            yield Advice(
                gettext("the domain reads all its users for each student number: it has no index"),
                gettext("In the schema console, tick Index this attribute for {name}.", name=number),
            )
        criterion = f"(&{words.PEOPLE}({words.CREDENTIAL}=*))"
        users = self._client.everybody(self.settings.users_dn, criterion, [words.PASSWORD_SET], page_size=1)
        if not all(raw.get(words.PASSWORD_SET) for _, raw in islice(users, 1)):
            yield Advice(
                gettext("whether somebody replaced a password cannot be told"),
                gettext(
                    "Let Sésame's account read pwdLastSet of the users in {dn}.", dn=self.settings.users_dn
                ),
            )

    def probe(self) -> None:
        """See `Connector.probe`: read what we may make ([MS-ADTS] 3.1.1.4.5.22)."""
        places = [("users_dn", self.settings.users_dn, "user")]
        if self.settings.groups_dn is not None:
            places.append(("groups_dn", self.settings.groups_dn, "group"))
        for setting, dn, kind in places:
            with self._within():
                raw = self._client.shown(dn, [_MAY_MAKE])
            if raw is None:
                raise Misconfigured(
                    f"the domain has no such OU: {dn}", remedy=f"Create it, or correct {self.name}.{setting}."
                )
            if not self.context.read_only and kind.encode() not in raw.get(_MAY_MAKE, ()):
                raise Misconfigured(
                    f"Sésame's account may make no {kind} in {dn}",
                    remedy="Delegate the rights that docs/how-to/connect-active-directory.md lists.",
                )

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`: each user, then the groups of all together."""
        members: dict[str, words.Member] = {}
        with self._client.within(deadline.left_s()):
            said = one_by_one(changes, deadline, _charged(partial(self._write, members)))
            if (groups := self._groups) is None:
                return said
            joining = words.to_join(members.values())

            def settle(change: Change) -> Refused | None:
                return groups.settle(members[change.account.student_number], joining)

            left = [change for change in changes if change.account.student_number in members]
            return one_by_one(left, deadline, _charged(settle), said)

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: one bit of userAccountControl."""
        return self._each(changes, deadline, self._shut)

    def unlock(self, found: TargetObject, deadline: Deadline) -> Refused | None:
        """See `Connector.unlock`: lockoutTime becomes 0, if it is still what was read."""
        if found.lockout is None:
            return LOCK_IS_ANOTHER
        was = (found.lockout.value,)
        dn = words.by_guid(found.ref)
        try:
            with self._client.within(deadline.left_s()):
                self._client.change(dn, [("delete", words.LOCKED_AT, was), ("add", words.LOCKED_AT, ("0",))])
        except AdRefused as error:
            return LOCK_IS_ANOTHER if error.refusal is Refusal.CHANGED else _refused(error, found)
        return None

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`. Personal data goes first: a domain keeps deleted objects for months."""
        return self._each(found, deadline, self._erase)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._client.disconnect()

    def _each(
        self, items: Sequence[_Item], deadline: Deadline, verb: Callable[[_Item], Refused | None]
    ) -> dict[str, Refused]:
        with self._client.within(deadline.left_s()):
            return one_by_one(items, deadline, _charged(verb))

    def _within(self) -> AbstractContextManager[None]:
        return self._client.within(self.settings.verb_s_max)

    def _write(self, members: dict[str, words.Member], change: Change) -> Refused | None:
        """Write the user; note the member if its groups change.

        A user whose password the domain refuses is written without it.
        """
        before: frozenset[str] = frozenset()
        if change.found is not None:
            dn = words.by_guid(change.found.ref)
            refused = self._change(dn, change)
            before = frozenset(change.found.fields.get(words.GROUPS, ()))
        elif words.LOGIN in change.fields:
            dn = self._client.name_in(self.settings.users_dn, change.fields[words.LOGIN][0])
            refused = self._make(dn, change)
        else:
            return Refused("ad_login_missing", "the account has no short login yet", lasting=True)
        if words.GROUPS in change.fields:
            wanted = {group.key.lower(): group.key for group in change.account.groups if group.met}
            joins = {key: name for key, name in wanted.items() if key not in before}
            members[change.account.student_number] = words.Member(dn, joins, before - wanted.keys())
        return refused

    def _make(self, dn: str, change: Change) -> Refused | None:
        """Make a user; return why it lacks its password, if it does."""
        control = words.NORMAL | (0 if self.settings.password_expires else words.DONT_EXPIRE)
        fields = {name: values for name, values in change.fields.items() if name != words.GROUPS}

        def make(fields: Mapping[str, Sequence[str]], password: str) -> None:
            secret: Sequence[str | bytes] = (words.typed(password),)
            own = {**fields, words.CONTROL: (str(control),), "unicodePwd": secret}
            self._client.make(dn, words.CLASSES, own)

        try:
            make(fields, change.password if change.password is not None else unguessable())
        except AdRefused as error:
            if error.refusal is not Refusal.PASSWORD or change.password is None:
                raise
            make({name: values for name, values in fields.items() if name != words.CREDENTIAL}, unguessable())
            return error.refused()
        return None

    def _change(self, dn: str, change: Change) -> Refused | None:
        left_out = (words.GROUPS, words.CREDENTIAL)
        changes: _Modifications = [
            ("replace", name, values) for name, values in change.fields.items() if name not in left_out
        ]
        if change.open is not None:
            changes += self._access(dn, open_=change.open)
        if changes:
            self._client.change(dn, changes)
        if change.password is None:
            return None
        try:
            self._client.change(
                dn,
                [
                    ("replace", "unicodePwd", (words.typed(change.password),)),
                    ("replace", words.CREDENTIAL, change.fields[words.CREDENTIAL]),
                ],
            )
        except AdRefused as error:
            if error.refusal is not Refusal.PASSWORD:
                raise
            return error.refused()
        return None

    def _shut(self, change: Change) -> None:
        assert change.found is not None  # noqa: S101  (for the type checker)
        dn = words.by_guid(change.found.ref)
        if changes := self._access(dn, open_=False):
            self._client.change(dn, changes)

    def _access(self, dn: str, *, open_: bool) -> _Modifications:
        """The change of one bit. The server refuses it if another one has changed since it was read."""
        before = words.control_of(self._client.shown(dn, [words.CONTROL]) or {})
        after = before & ~words.DISABLED if open_ else before | words.DISABLED
        if before == after:
            return []
        return [("delete", words.CONTROL, (str(before),)), ("add", words.CONTROL, (str(after),))]

    def _erase(self, found: TargetObject) -> None:
        dn, number = words.by_guid(found.ref), self.settings.number_attribute
        raw = self._client.shown(dn, [number, words.NAME])
        if raw is None:
            return
        if [value.decode() for value in raw.get(number, ())] != [found.student_number]:
            raise AdRefused(LdapAnswer(Code.NO_SUCH_OBJECT))  # it no longer carries the number that was found
        nameless = {
            words.LOGIN: found.ref.replace("-", "")[: words.LOGIN_MAX],
            words.UPN: f"{found.ref}@invalid",
        }
        changes: _Modifications = [
            ("replace", name, (nameless[name],) if name in nameless else ())
            for name in words.OWN
            if found.fields.get(name)
        ]
        changes += self._access(dn, open_=False)
        self._client.change(dn, changes)
        # Samba renames nothing by its GUID.
        self._client.move(words.name_of(raw), f"CN={found.ref}")
        self._client.change(dn, [("replace", number, ())])
        self._client.remove(dn)


_MAY_MAKE: Final = "allowedChildClassesEffective"


def unguessable() -> str:
    """A random password: a user must have one until the student chooses their own."""
    return f"Aa1-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def _charged(verb: Callable[[_Item], Refused | None]) -> Callable[[_Item], Refused | None]:
    """The verb, with a refusal of the domain as that of the student."""

    def said(item: _Item) -> Refused | None:
        try:
            return verb(item)
        except AdRefused as error:
            return _refused(error, item.found if isinstance(item, Change) else item)

    return said


def _refused(error: AdRefused, found: TargetObject | None) -> Refused:
    """The refusal of the student; out of reach, if the user was moved away."""
    if error.refusal is Refusal.RIGHT and found is not None and found.out_of_reach:
        return Refused(OUT_OF_REACH, error.told, lasting=True)
    return error.refused()
