"""The directory's connector: students' SupAnn and eduPerson entries over LDAP.

It is the first of all targets: the mail server looks its users up in the directory. `entry` decides what an
entry should look like; the port's adapter (`upsert`) how it is written, and under which guards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from consumers.directory import objects as words
from consumers.directory.difference import forbidden
from consumers.directory.entry import Profile, desired_entry, user_password
from consumers.directory.port import (
    Applied,
    ApplyResult,
    Credential,
    DesiredEntry,
    Directory,
    EntryRefused,
    Observed,
    ObservedEntry,
)
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import (
    SLOW,
    TOO_SLOW,
    Advice,
    Change,
    Changes,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.ldap_answers import is_deeper
from consumers.kit.reasons import Reason, read_reasons
from pipeline.errors import TargetDown
from schemas.account import Account
from schemas.language import Language, gettext

_PAGE = 400
_SLICE = 10
"""Students between two looks at the clock."""


class DirectoryConnector(Connector[DirectorySettings]):
    """Entries of one branch, and the groups of another.

    Args:
        directory: the port; None: over LDAP, as the settings say.
    """

    section = DirectorySettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "L'annuaire", "en": "The directory"}
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    keeps = (
        "freed pages of the server's database (slapd: data.mdb), until they are used again",
        "its own logs and backups",
    )
    owns = (*words.OWNS, "pwdAccountLockedTime")
    credential = words.CREDENTIAL

    def __init__(
        self, context: ConnectorContext[DirectorySettings], directory: Directory | None = None
    ) -> None:
        super().__init__(context)
        self._profile = Profile(context.settings, context.site.principal_scope, context.site.mail_target)
        if directory is None:
            from consumers.directory.upsert import LdapDirectory

            secret = context.secret("bind_password")
            directory = LdapDirectory.connected(context.settings, secret, read_only=context.read_only)
        self._directory = directory

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. The version says nothing of the state: equal states have equal digests."""
        desired = desired_entry(account, self._profile)
        return Wanted(words.wanted_fields(desired, account.credential_ref), undigested=(words.VERSION,))

    # --- reading --------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: searches by number, then by login, then the groups.

        The logins are those of students without an entry.
        """
        adopted = self.adopted_refs([account.student_number for account in accounts])
        desired = [self._desired(account, adopted) for account in accounts]
        with self._directory.within(deadline.left_s()):
            own = self._directory.read(
                [each.student_number for each in desired],
                adopted,
                {each.student_number: each.login for each in desired if each.shown_number is not None},
            )
            others = self._directory.holders([d.login for d in desired if not own.get(d.student_number)])
            groups = self._directory.groups(sorted({name for each in desired for name in each.groups}))

        def seen(each: DesiredEntry) -> list[TargetObject]:
            other = others.get(each.login.lower())
            entries = own.get(each.student_number) or (() if other is None else (other,))
            found = [words.object_of(entry, each, groups) for entry in entries]
            mine = adopted.get(each.student_number)
            return [words.placed(one, mine) if self._is_deeper(one) else one for one in found]

        return {each.student_number: seen(each) for each in desired}

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        return self._listed(self._directory.dump())

    def _listed(self, entries: Iterable[ObservedEntry]) -> Iterator[TargetObject]:
        """Show entries; those further down are marked out of place unless adopted."""
        rows = iter(entries)
        while page := [words.listed(entry) for entry in islice(rows, _PAGE)]:
            deeper = [each for each in page if self._is_deeper(each) and each.student_number]
            adopted = self.context.adopted([each.student_number for each in deeper]) if deeper else {}
            astray = {each.ref: adopted.get(each.student_number) for each in deeper}
            for each in page:
                yield words.placed(each, astray[each.ref]) if each.ref in astray else each

    def _is_deeper(self, one: words.EntryObject) -> bool:
        return is_deeper(one.ref, self.settings.people_dn)

    def changes_since(self, mark: str) -> Changes[TargetObject] | None:
        """See `Connector.changes_since`: entries only.

        The night's comparison finds changes by hand in static groups.
        """
        told = self._directory.changes_since(mark)
        if told is None:
            return None
        return Changes(told.mark, self._listed(told.objects), told.gone, told.went_back)

    def probe(self) -> None:
        """See `Connector.probe`: the pipeline's own entry is written and read back."""
        with self._directory.within(self.settings.verb_s_max):
            self._directory.probe()

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: of passwords, who has none, and when they were set."""
        with self._directory.within(self.settings.verb_s_max):
            told = self._directory.tells_of_passwords()
        if not told.absent:
            yield Advice(
                gettext("whether somebody deleted a password cannot be told"),
                gettext("Let the provisioner search by userPassword (=sw), as in ops/ldap/slapd.conf."),
            )
        if not told.times:
            yield Advice(
                gettext("whether somebody replaced a password cannot be told"),
                gettext(
                    "Let the server keep when passwords are set, and the provisioner read it "
                    "(pwdChangedTime): pwdMaxAge: 2147483647 in the password policy, as in "
                    "ops/ldap/tree.ldif. It holds for passwords that are chosen from then on."
                ),
            )

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.foresee`."""
        batch, observed = self._batch(changes), _observed(changes)
        with self._directory.within(deadline.left_s()):
            foreseen = self._directory.foresee(batch, observed)
        said: dict[str, Held | Refused] = {}
        for each in batch:
            number = each.student_number
            barred = [no for entry in observed[number] if (no := forbidden(each, entry)) is not None]
            result = barred[0] if barred else foreseen.get(number, Applied(changed=False))
            if isinstance(result, Applied) and result.foreign:
                said[number] = Held(words.GROUP_NOT_OURS, result.foreign)
            elif (refused := _refusal(result)) is not None:
                said[number] = refused
        return said

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`, slice by slice."""
        return self._in_time(
            changes, deadline, lambda part: self._directory.apply(self._batch(part), _observed(part))
        )

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`, likewise."""
        return self._in_time(changes, deadline, lambda part: self._directory.close(_observed(part)))

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`: the entry, and the memberships that static groups list."""
        with self._directory.within(deadline.left_s()):
            results = self._directory.erase({each.ref: each.student_number for each in found})
        return _refusals(results)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._directory.disconnect()

    def _in_time(
        self,
        changes: Sequence[Change],
        deadline: Deadline,
        verb: Callable[[Sequence[Change]], Mapping[str, ApplyResult]],
    ) -> dict[str, Refused]:
        """Write in slices and return the refusals; those out of time are retried."""
        refused: dict[str, Refused] = {}
        for start in range(0, len(changes), _SLICE):
            part = changes[start : start + _SLICE]
            try:
                with self._directory.within(deadline.left_s()):
                    refused |= _refusals(verb(part))
            except OutOfTime as late:
                slow = Refused(SLOW, TOO_SLOW, unknown=late.unknown)
                refused |= {each.account.student_number: slow for each in part}
            except TargetDown as down:
                down.unknown = down.unknown or any(each.unknown for each in refused.values())
                raise
        return refused

    def _batch(self, changes: Sequence[Change]) -> list[DesiredEntry]:
        adopted = self.adopted_refs([change.account.student_number for change in changes])
        return [self._desired(change.account, adopted, change.password) for change in changes]

    def _desired(
        self, account: Account, adopted: Mapping[str, str], hashed: str | None = None
    ) -> DesiredEntry:
        credential = None
        if hashed is not None and account.credential_ref is not None:
            value = user_password(hashed)
            credential = Credential(account.credential_ref, lambda: value)
        mine = adopted.get(account.student_number)
        return desired_entry(account, self._profile, credential, adopted=mine)


def _observed(changes: Iterable[Change]) -> Observed:
    """The entries of each of these: several, if more than one carries the number."""
    observed: dict[str, tuple[ObservedEntry, ...]] = {}
    for change in changes:
        number = change.account.student_number
        observed[number] = (*observed.get(number, ()), *words.entries_of(change.found))
    return observed


def _refusals(results: Mapping[str, ApplyResult]) -> dict[str, Refused]:
    said = {key: _refusal(result) for key, result in results.items()}
    return {key: refused for key, refused in said.items() if refused is not None}


def _refusal(result: ApplyResult) -> Refused | None:
    match result:
        case Applied():
            return None
        case EntryRefused(cause, message):
            return Refused(cause, message, lasting=True)
    return Refused(result.cause, result.message, unknown=result.unknown)
