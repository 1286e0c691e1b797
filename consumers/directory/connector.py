"""The directory's connector: students' SupAnn and eduPerson entries over LDAP.

It is the first target: the mail server looks its users up there. `entry` decides what an entry should look
like, `difference` what to write, `entries` how, and under which guards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from consumers.directory import answers
from consumers.directory.difference import forbidden
from consumers.directory.entry import (
    CREDENTIAL,
    ESI,
    OWNS,
    VERSION,
    Profile,
    federation_of,
    wanted_fields,
)
from consumers.directory.objects import GROUP_NOT_OURS, LOCK, EntryObject, compared, ref_of, texts
from consumers.directory.schema import ServerSchema, check_schema, read_schema
from consumers.directory.settings import DirectorySettings
from consumers.directory.trial import PasswordPolicy, Trial, leave_mark, policy_of, try_login
from consumers.kit.connector import (
    LOCK_IS_ANOTHER,
    Advice,
    Change,
    Changes,
    Connector,
    ConnectorContext,
    Fields,
    Held,
    Refused,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.ldap_answers import Code, is_deeper
from consumers.kit.reasons import Reason, read_reasons
from schemas.account import Account
from schemas.language import Language, gettext

if TYPE_CHECKING:  # it loads an LDAP library
    from consumers.kit.ldap_patience import PatientLdapClient

_PAGE: Final = 400


class DirectoryConnector(Connector[DirectorySettings]):
    """Entries of one branch, and the groups of another.

    `client`: None: as the settings say.
    """

    section = DirectorySettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "L'annuaire", "en": "The directory"}
    level = "platinum"
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    keeps = (
        "freed pages of the server's database (slapd: data.mdb), until they are used again",
        "its own logs and backups",
    )
    owns = (*OWNS, LOCK)
    credential = CREDENTIAL
    private = (ESI,)

    def __init__(
        self, context: ConnectorContext[DirectorySettings], client: PatientLdapClient | None = None
    ) -> None:
        from consumers.directory.entries import Entries
        from consumers.kit.ldap_patience import PatientLdapClient, endpoint_of

        super().__init__(context)
        settings = context.settings
        self._profile = Profile(settings, context.site.principal_scope, context.site.mail_target)
        self._client = client or PatientLdapClient(
            endpoint_of(context, context.secret("bind_password")), answers, monotonic=context.monotonic
        )
        self._entries = Entries(self._client, settings)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. The version is not part of the state: equal states have equal digests."""
        return Wanted(wanted_fields(account, self._profile), undigested=(VERSION,))

    def privately(self, students: Sequence[str]) -> Mapping[str, Fields]:
        """See `Connector.privately`: the ESI, where the site asks for it.

        Who has none here keeps what another system has written: a router holds the first one for good.
        """
        if ESI not in federation_of(self.settings):
            return {}
        return {
            number: {ESI: (esi,) if esi else ()} for number, esi in self.context.site.esis(students).items()
        }

    # --- reading --------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Sequence[EntryObject]]:
        """See `Connector.read`: search by number, then by login. Then read the groups."""
        adopted = self.adopted_refs([account.student_number for account in accounts])
        with self._client.within(deadline.left_s()):
            found = self._entries.of(accounts, adopted)
            groups = self._entries.groups(accounts)

        def seen(account: Account) -> list[EntryObject]:
            number = account.student_number
            each = [compared(entry, account, groups) for entry in found[number]]
            return [self._placed(one, adopted.get(number)) for one in each]

        return {account.student_number: seen(account) for account in accounts}

    def objects(self) -> Iterator[EntryObject]:
        """See `Connector.objects`."""
        return self._listed(self._entries.dump())

    def _listed(self, entries: Iterable[EntryObject]) -> Iterator[EntryObject]:
        """Mark entries further down the branch as out of place, unless adopted."""
        rows = iter(entries)
        while page := list(islice(rows, _PAGE)):
            people = self.settings.people_dn
            deeper = [each.student_number for each in page if is_deeper(each.ref, people)]
            adopted = self.context.adopted(list(filter(None, deeper))) if any(deeper) else {}
            for each in page:
                number = each.student_number
                yield self._placed(each, adopted.get(number)) if number else each

    def _placed(self, one: EntryObject, adopted: str | None) -> EntryObject:
        """Mark an entry further down the branch as out of place, unless adopted."""
        if not is_deeper(one.ref, self.settings.people_dn):
            return one
        return replace(one, out_of_place=adopted is None or ref_of(adopted) != one.ref)

    def changes_since(self, mark: str) -> Changes[EntryObject] | None:  # type: ignore[override]
        """See `Connector.changes_since`: entries only. The nightly comparison covers static groups."""
        with self._within():
            told = self._entries.changes_since(mark)
        return None if told is None else replace(told, objects=self._listed(told.objects))

    def probe(self) -> None:
        """See `Connector.probe`: write and read the pipeline's own entry. Read both branches."""
        with self._within():
            self._entries.having("supannEtuId", ["sesame-probe"])
            groups = partial(self._client.entry, self.settings.groups_dn, ["objectClass"])
            if self._client.had(groups) is None:
                raise answers.misconfigured(Code.NO_SUCH_OBJECT)
            if not self._client.endpoint.read_only:
                leave_mark(self._client, self.settings.probe_dn)

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: can we see missing passwords, and when they were set?

        A filter by an attribute that we may not search by matches nothing, negated or not. Raises
        Misconfigured if the server's schema lacks what is written.
        """
        if (schema := self._schema()) is not None:
            check_schema(schema, self.settings)
        ours, people = f"({CREDENTIAL}=*)", self.settings.people_dn
        with self._within():
            absent = self._entries.any(self.settings.probe_dn, "(|(userPassword=*)(!(userPassword=*)))")
            times = not self._entries.any(people, ours) or self._entries.any(
                people, f"(&{ours}(pwdChangedTime=*))"
            )
        if not absent:
            yield Advice(
                gettext("whether somebody deleted a password cannot be told"),
                gettext("Let the provisioner search by userPassword (=sw), as in ops/ldap/slapd.conf."),
            )
        if not times:
            yield Advice(
                gettext("whether somebody replaced a password cannot be told"),
                gettext(
                    "Let the server keep when passwords are set, and the provisioner read it "
                    "(pwdChangedTime): pwdMaxAge: 2147483647 in the password policy, as in "
                    "ops/ldap/tree.ldif. It holds for passwords that are chosen from then on."
                ),
            )

    def edition(self) -> str:
        """See `Connector.edition`: SupAnn's."""
        schema = self._schema()
        return "" if schema is None else schema.edition

    def _schema(self) -> ServerSchema | None:
        with self._within():
            return read_schema(self._client)

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.foresee`: identity, unique values taken, groups not ours."""
        whole = self._whole(changes)
        adopted = self.adopted_refs([change.account.student_number for change in changes])
        with self._client.within(deadline.left_s()):
            groups = self._entries.groups([change.account for change in changes])
            taken = self._entries.taken(whole)
        said: dict[str, Held | Refused] = {}
        for change in whole:
            account = change.account
            barred = None
            if isinstance(change.found, EntryObject):
                barred = forbidden(account, change.found, adopted.get(account.student_number))
            if (refused := barred or taken.get(account.student_number)) is not None:
                said[account.student_number] = refused
            elif foreign := groups.not_ours(account):
                said[account.student_number] = Held(GROUP_NOT_OURS, foreign)
        return said

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`, one student after the other."""
        adopted = self.adopted_refs([change.account.student_number for change in changes])
        whole = self._whole(changes)
        with self._client.within(deadline.left_s()):
            return one_by_one(whole, deadline, partial(self._entries.write, adopted))

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`, likewise."""
        with self._client.within(deadline.left_s()):
            return one_by_one(changes, deadline, self._shut)

    def unlock(self, found: TargetObject, deadline: Deadline) -> Refused | None:
        """See `Connector.unlock`: a value of pwdAccountLockedTime, not the permanent one."""
        with self._client.within(deadline.left_s()):
            return self._entries.unlock(found) if isinstance(found, EntryObject) else LOCK_IS_ANOTHER

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`: the entry, and the memberships that static groups list."""
        with self._client.within(deadline.left_s()):
            return one_by_one(found, deadline, self._erase)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._client.disconnect()

    def _shut(self, change: Change) -> Refused | None:
        return self._entries.shut(change.found) if isinstance(change.found, EntryObject) else None

    def _erase(self, found: TargetObject) -> Refused | None:
        return self._entries.erase(found.ref, found.student_number)

    def _whole(self, changes: Sequence[Change]) -> list[Change]:
        """The changes with all wanted fields. Entries may be read again while written."""
        private = self.privately([change.account.student_number for change in changes])
        return [
            replace(
                change,
                fields={
                    **wanted_fields(change.account, self._profile),
                    **private.get(change.account.student_number, {}),
                },
            )
            for change in changes
        ]

    def _within(self) -> AbstractContextManager[None]:
        return self._client.within(self.settings.verb_s_max)

    # --- for diagnosis --------------------------------------------------------------------------------

    def look(self, account: Account) -> tuple[tuple[EntryObject, ...], PasswordPolicy | None]:
        """The entries of this student number, and the password policy of the only one.

        Raises TargetDown or Misconfigured: the directory does not answer us.
        """
        with self._within():
            found = self._entries.of([account], {})[account.student_number]
            entries = tuple(each for each in found if account.student_number in each.student_numbers)
            own = entries[0].password.policy_dn if len(entries) == 1 else None
            return entries, policy_of(self._client, own or self.settings.policy_dn)

    def attributes_of(self, login: str, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """These attributes of the entries of a login. Raises TargetDown or Misconfigured."""
        with self._within():
            rows = self._client.find_any(self.settings.people_dn, "uid", [login], names)
        return {
            name: tuple(value for _, raw in rows for value in texts(raw, name))
            for name in {name for _, raw in rows for name in raw}
        }

    def trial(self, login: str, password: str) -> Trial:
        """Try a login and password; a wrong one counts. Raises TargetDown or Misconfigured."""
        with self._within():
            return try_login(self._client, self.settings, login, password)
