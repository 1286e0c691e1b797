"""The directory port over LDAP: one entry at a time; a repetition writes nothing.

The upsert that holds under concurrent writers (docs: ops/ldap/README.md): read by student number; add when
there is none; when the name is taken (68), read that entry; write only the attributes that differ, with an
assertion (RFC 4528) that the entry did not change since; when it did (122), read again. A change of unique
attributes is guarded by values instead of an assertion (see `difference.UNIQUE`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Self

from consumers.directory import difference
from consumers.directory.answers import NUMBER_TAKEN, Patience, expect_success, judge, misconfigured
from consumers.directory.client import DirectoryClient
from consumers.directory.difference import DUMPED, READ
from consumers.directory.foresight import Foresight
from consumers.directory.groups import DynamicGroups, StaticGroups
from consumers.directory.port import (
    Applied,
    ApplyResult,
    Branches,
    DesiredEntry,
    EntryRefused,
    EntryUnsettled,
    GroupNames,
    Observed,
    ObservedEntry,
    PasswordPolicy,
    PasswordsTold,
)
from consumers.directory.settings import DirectorySettings
from consumers.directory.trial import Trial, leave_mark, policy_of, try_login
from consumers.kit.connector import Changes
from consumers.kit.ldap import Endpoint, any_of, name_dn, written_since
from consumers.kit.ldap_answers import Code, LdapAnswer, Lost, Modification, normal
from pipeline.errors import TargetDown

_VERB_S_MAX = 30.0
"""No verb but `dump` begins another operation after this many seconds, whatever the caller allows."""

_CONFLICTS_MAX = 16
_CONFLICTS = {Code.ASSERTION_FAILED, Code.NO_SUCH_OBJECT, Code.NO_SUCH_ATTRIBUTE, Code.VALUE_EXISTS}
_NUMBERS_PER_SEARCH = 100
_PAGE_SIZE = 40  # an entry takes ldap3 some 50 kB


class LdapDirectory:
    """`port.Directory` over LDAP.

    Args:
        client: the connections; closed by `disconnect`.
        branches: where entries are.
        sleep: waits between the attempts within a call, in seconds.
        clock_ns: nanoseconds since the epoch, for the probe's mark.
    """

    def __init__(
        self,
        client: DirectoryClient,
        branches: Branches,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._client = client
        self._branches = branches
        self._patience = Patience(sleep)
        self._clock_ns = clock_ns
        self._foresight = Foresight(client, self._patience, branches.people)
        self._static: StaticGroups | None = None
        self._dynamic: DynamicGroups | None = None
        if branches.groups is not None and branches.static_groups:
            self._static = StaticGroups(client, branches.groups, client.endpoint.bind_dn)
        elif branches.groups is not None:
            self._dynamic = DynamicGroups(client, branches.groups, branches.people)

    @classmethod
    def connected(
        cls, settings: DirectorySettings, password: Callable[[], str], *, read_only: bool = False
    ) -> Self:
        """The directory that these settings describe; `read_only` whatever they say."""
        endpoint = Endpoint(
            uri=settings.uri,
            bind_dn=settings.bind_dn,
            password=password,
            ca_file=settings.ca_file,
            connect_timeout_s=math.ceil(settings.connect_timeout_s),
            receive_timeout_s=math.ceil(settings.timeout_s),
            read_only=read_only or settings.mode == "observe",
        )
        branches = Branches(
            settings.people_dn,
            settings.groups_dn,
            settings.probe_dn,
            static_groups=settings.group_kind == "static",
            policy=settings.policy_dn,
        )
        return cls(DirectoryClient(endpoint), branches)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """See `port.Directory.within`."""
        return self._client.within(seconds)

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        """See `port.Directory.apply`."""
        with self._client.within(_VERB_S_MAX):
            found = self._read_all(batch) if observed is None else observed
            return {d.student_number: self._settle(d, found[d.student_number]) for d in batch}

    def close(self, observed: Observed) -> Mapping[str, ApplyResult]:
        """See `port.Directory.close`."""
        with self._client.within(_VERB_S_MAX):
            return {number: self._shut(found) for number, found in observed.items()}

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        """See `port.Directory.read`."""
        with self._client.within(_VERB_S_MAX):
            found = dict(self._read(student_numbers, renumbered or {}))
            for number, dn in (adopted or {}).items():
                entry = None if found.get(number) else self._patience.had(partial(self._by_dn, dn))
                if entry is not None and not entry.student_numbers:
                    found[number] = (entry,)
            return {number: tuple(map(self._with_groups, several)) for number, several in found.items()}

    def holders(self, logins: Sequence[str]) -> Mapping[str, ObservedEntry]:
        """See `port.Directory.holders`."""
        with self._client.within(_VERB_S_MAX):
            return {login.lower(): entry for entry in self._having("uid", logins) for login in entry.logins}

    def groups(self, names: Sequence[str]) -> GroupNames:
        """See `port.Directory.groups`."""
        groups = self._static or self._dynamic
        if groups is None or not names:
            return GroupNames(frozenset(name.lower() for name in names))
        with self._client.within(_VERB_S_MAX):
            return self._patience.had(lambda: groups.among(names))

    def foresee(self, batch: Sequence[DesiredEntry], observed: Observed) -> Mapping[str, ApplyResult]:
        """See `port.Directory.foresee`."""
        with self._client.within(_VERB_S_MAX):
            return self._foresight.of(batch, observed, self._foreign(batch))

    def erase(self, numbers: Mapping[str, str]) -> Mapping[str, ApplyResult]:
        """See `port.Directory.erase`."""
        with self._client.within(_VERB_S_MAX):
            return {
                dn: self._patience.settled(partial(self._erase, dn, number)) for dn, number in numbers.items()
            }

    def dump(self) -> Iterator[ObservedEntry]:
        """See `port.Directory.dump`."""
        return self._dump("(uid=*)")

    def changes_since(self, mark: str) -> Changes[ObservedEntry] | None:
        """See `port.Directory.changes_since`."""
        people = self._branches.people
        try:
            with self._client.within(_VERB_S_MAX):
                answer, cookie, gone, behind = self._client.removed_since(people, mark)
        except Lost as error:
            raise TargetDown(str(error)) from error
        if answer.code == Code.CRITICAL_EXTENSION:
            return None
        expect_success(answer)
        if cookie == mark or not mark:
            return Changes(cookie)
        criterion = written_since(mark, but_by=self._client.endpoint.bind_dn)
        return Changes(cookie, self._dump(f"(&(uid=*){criterion})"), gone, behind)

    def _dump(self, criterion: str) -> Iterator[ObservedEntry]:
        lacking: Container[str] | None = None  # asked once, of everybody
        try:
            groups = None if self._static is None else self._static.everybody()
            for answer, rows in self._client.pages(
                self._branches.people, criterion, DUMPED, page_size=_PAGE_SIZE
            ):
                expect_success(answer)
                found = [difference.observed(dn, raw) for dn, raw in rows]
                if lacking is None and any(map(_is_doubtful, found)):
                    lacking = self._lacking("(sesameCredentialRef=*)")
                for each in (_without_password(each, lacking or ()) for each in found):
                    yield each if groups is None else replace(each, groups=groups.get(normal(each.dn), ()))
        except Lost as error:
            raise TargetDown(str(error)) from error

    def probe(self) -> None:
        """See `port.Directory.probe`."""
        with self._client.within(_VERB_S_MAX):
            self._probe_branches()
            if not self._client.endpoint.read_only:
                leave_mark(self._client, self._patience, self._branches.probe, self._clock_ns())

    def tells_of_passwords(self) -> PasswordsTold:
        """See `port.Directory.tells_of_passwords`.

        A filter by an attribute that we may not search by matches nothing, negated or not.
        """
        with self._client.within(_VERB_S_MAX):
            absent = self._any(self._branches.probe, "(|(userPassword=*)(!(userPassword=*)))")
            ours, people = "(sesameCredentialRef=*)", self._branches.people
            times = not self._any(people, ours) or self._any(people, f"(&{ours}(pwdChangedTime=*))")
        return PasswordsTold(absent, times)

    def _any(self, base: str, criterion: str) -> bool:
        """Whether anything there meets a filter."""
        answer, rows = self._patience.had(
            lambda: next(self._client.pages(base, criterion, ["1.1"], page_size=1))
        )
        expect_success(answer)
        return bool(rows)

    def policy(self, dn: str | None) -> PasswordPolicy | None:
        """The password policy of this name, or the usual one; None: none is visible.

        Raises:
            TargetDown, Misconfigured: as `port.Directory` says.
        """
        wanted = dn or self._branches.policy
        if wanted is None:
            return None
        with self._client.within(_VERB_S_MAX):
            return policy_of(self._client, self._patience, wanted)

    def trial(self, login: str, password: str) -> Trial:
        """Try a login and password at the directory; a wrong password counts there.

        Raises:
            TargetDown, Misconfigured: it does not answer us.
        """
        with self._client.within(_VERB_S_MAX):
            search = partial(self._client.search, self._branches.people, any_of("uid", [login]), READ)
            return try_login(
                lambda: self._patience.had(search), self._client.bind, password, policy=self.policy
            )

    def disconnect(self) -> None:
        """See `port.Directory.disconnect`."""
        self._client.disconnect()

    # --- the branch -----------------------------------------------------------------------------------

    def _read_all(self, batch: Sequence[DesiredEntry]) -> Observed:
        renumbered = {d.student_number: d.login for d in batch if d.shown_number is not None}
        return self._read([d.student_number for d in batch], renumbered)

    def _read(self, student_numbers: Sequence[str], renumbered: Mapping[str, str]) -> Observed:
        found: dict[str, dict[str, ObservedEntry]] = {number: {} for number in student_numbers}
        logins = [login for number, login in renumbered.items() if number in found]
        for name, values in (("supannEtuId", student_numbers), ("uid", logins)):
            for observed in self._having(name, values):
                for number in observed.student_numbers:
                    if number in found:
                        found[number][observed.dn] = observed
        return {number: tuple(several.values()) for number, several in found.items()}

    def _having(self, name: str, values: Sequence[str]) -> Iterator[ObservedEntry]:
        """The entries that have any of these values."""
        for start in range(0, len(values), _NUMBERS_PER_SEARCH):
            criterion = any_of(name, values[start : start + _NUMBERS_PER_SEARCH])
            answer, rows = self._patience.had(
                partial(self._client.search, self._branches.people, criterion, READ)
            )
            expect_success(answer)
            found = [difference.observed(dn, raw) for dn, raw in rows]
            doubtful = [login for each in found if _is_doubtful(each) for login in each.logins]
            lacking = self._lacking(any_of("uid", doubtful)) if doubtful else set()
            yield from (_without_password(each, lacking) for each in found)

    def _lacking(self, whose: str) -> set[str]:
        """The names of the entries without a password, by a search alone.

        The password is never read; it needs the right to search by `userPassword`.
        """
        criterion = f"(&{whose}(!(userPassword=*)))"
        answer, rows = self._patience.had(
            partial(self._client.search, self._branches.people, criterion, ["1.1"])
        )
        expect_success(answer)
        return {dn for dn, _ in rows}

    def _with_groups(self, observed: ObservedEntry) -> ObservedEntry:
        static = self._static
        if static is None:
            return observed
        return replace(observed, groups=self._patience.had(lambda: static.of(observed.dn)))

    def _foreign(self, batch: Sequence[DesiredEntry]) -> Mapping[str, tuple[str, ...]]:
        """The wanted groups that are not ours, by student number."""
        foreign = self.groups(sorted({name for desired in batch for name in desired.groups})).foreign
        return {d.student_number: tuple(n for n in d.groups if n.lower() in foreign) for d in batch}

    def _probe_branches(self) -> None:
        """Check the branches that students' work needs.

        The probe's own entry may be elsewhere.
        """
        self._read(["sesame-probe"], {})
        groups = self._branches.groups
        if groups is None:
            return
        if self._patience.had(lambda: self._client.entry(groups, ["objectClass"])) is None:
            raise misconfigured(Code.NO_SUCH_OBJECT)

    # --- one student's entry --------------------------------------------------------------------------

    def _settle(self, desired: DesiredEntry, found: tuple[ObservedEntry, ...]) -> ApplyResult:
        known: list[tuple[ObservedEntry, ...]] = [found]

        def attempt() -> ApplyResult:
            # What was read before a failed attempt is stale: that attempt may have been carried out.
            current = known.pop() if known else self._read_all([desired])[desired.student_number]
            if self._static is not None:
                return self._join_groups(self._static, desired, current)
            foreign = () if self._dynamic is None else self._dynamic.ensure(desired.groups)
            if isinstance(foreign, EntryRefused):
                return foreign
            result = self._upsert(desired, current)
            return replace(result, foreign=foreign) if isinstance(result, Applied) else result

        return self._patience.settled(attempt)

    def _shut(self, found: tuple[ObservedEntry, ...]) -> ApplyResult:
        changed = False
        for observed in found:
            if observed.locked and observed.attributes.get("sesameMailEnabled") == ("FALSE",):
                continue
            write = partial(self._write, observed.dn, difference.shutting(observed))
            result = self._patience.settled(write)
            if not isinstance(result, Applied):
                return result
            changed = True
        return Applied(changed)

    def _erase(self, dn: str, number: str) -> ApplyResult:
        """Remove an entry that carries this number, its memberships first.

        So a repetition completes what an earlier attempt has left.
        """
        for _ in range(_CONFLICTS_MAX):
            current = self._by_dn(dn)
            if current is None:
                return Applied(changed=False)
            if number not in current.student_numbers:
                return EntryRefused(
                    "identity_collision", "the entry does not carry this student number any more"
                )
            if self._static is not None and isinstance(left := self._static.settle(dn, {}), EntryRefused):
                return left
            answer = self._client.delete(dn, revision=current.revision)
            if not _conflicts(answer):
                return self._changed(answer)
        return EntryUnsettled("directory_conflict", "somebody else kept changing the entry")

    def _upsert(self, desired: DesiredEntry, found: tuple[ObservedEntry, ...]) -> ApplyResult:
        if len(found) > 1:
            return EntryRefused(
                "student_number_ambiguous",
                "several entries carry this student number: remove it from those that are not theirs",
            )
        current = found[0] if found else self._adopted(desired)
        dn = name_dn("uid", desired.login, self._branches.people)
        by_values = False
        for _ in range(_CONFLICTS_MAX):
            if current is None:
                answer = self._client.add(dn, desired.classes, difference.new_attributes(desired))
                if answer.code != Code.ENTRY_EXISTS:
                    return self._unless_moving(desired, self._changed(answer))
                current = self._by_dn(dn)
                continue
            forbidden = difference.forbidden(desired, current)
            if forbidden is not None:
                return forbidden
            changes = difference.changes(desired, current)
            if not changes:
                return Applied(changed=False)
            by_values = by_values or any(name in difference.UNIQUE for _, name, _ in changes)
            answer = self._modify(current, changes, by_values=by_values)
            if not _conflicts(answer):
                return self._unless_moving(desired, self._changed(answer))
            before, current = current, self._by_dn(current.dn)
            # It is unchanged and the assertion failed all the same: this server cannot compare (see UNIQUE).
            by_values = by_values or (current is not None and current.revision == before.revision)
        return EntryUnsettled("directory_conflict", "somebody else kept changing the entry")

    def _adopted(self, desired: DesiredEntry) -> ObservedEntry | None:
        return None if desired.adopted is None else self._by_dn(desired.adopted)

    def _unless_moving(self, desired: DesiredEntry, result: ApplyResult) -> ApplyResult:
        """Retry if another entry of the same person still has to give its number up.

        That entry does so in its own turn.
        """
        if isinstance(result, EntryRefused) and result.cause == NUMBER_TAKEN:
            holders = self._having("supannEtuId", desired.numbers)
            if any(holder.version for holder in holders):
                return EntryUnsettled(
                    "directory_conflict", "another entry of the same person has yet to give its number up"
                )
        return result

    def _modify(self, current: ObservedEntry, changes: list[Modification], *, by_values: bool) -> LdapAnswer:
        if by_values:
            guarded = difference.guarded_by_values(changes, current)
            return self._client.modify(current.dn, guarded, revision=None)
        return self._client.modify(current.dn, changes, revision=current.revision)

    def _write(self, dn: str, changes: Sequence[Modification]) -> ApplyResult:
        return self._changed(self._client.modify(dn, changes, revision=None))

    def _by_dn(self, dn: str) -> ObservedEntry | None:
        raw = self._client.entry(dn, READ)
        return None if raw is None else difference.observed(dn, raw)

    def _join_groups(
        self, static: StaticGroups, desired: DesiredEntry, found: tuple[ObservedEntry, ...]
    ) -> ApplyResult:
        """Write the entry, then its memberships: a group never names a missing entry."""
        result = self._upsert(desired, found)
        if not isinstance(result, Applied):
            return result
        entry = found[0] if found else self._adopted(desired)
        dn = name_dn("uid", desired.login, self._branches.people) if entry is None else entry.dn
        settled = static.settle(dn, desired.groups)
        if isinstance(settled, EntryRefused):
            return settled
        return Applied(result.changed or settled.changed, settled.foreign)

    def _changed(self, answer: LdapAnswer) -> ApplyResult:
        return Applied(changed=True) if answer.code == Code.SUCCESS else judge(answer)


def _is_doubtful(entry: ObservedEntry) -> bool:
    """Whether it shows that it was given a password, and not when."""
    return entry.credential_ref is not None and entry.password.changed_at is None


def _without_password(entry: ObservedEntry, lacking: Container[str]) -> ObservedEntry:
    if not _is_doubtful(entry) or entry.dn not in lacking:
        return entry
    return replace(entry, password=replace(entry.password, absent=True))


def _conflicts(answer: LdapAnswer) -> bool:
    """Whether the entry was changed or removed after we read it."""
    taken = answer.code == Code.CONSTRAINT and answer.diagnostic.startswith("sesameVersion:")
    return taken or answer.code in _CONFLICTS
